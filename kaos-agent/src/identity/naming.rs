//! Name of a service that nobody named.

use crate::capture::event::ProcessInfo;

/// Programs that run another one, whose name says more. Versions behind the name do not count.
const INTERPRETERS: &[&str] = &[
    "bash", "bun", "dash", "deno", "java", "node", "nodejs", "perl", "php", "pypy", "python",
    "ruby", "sh",
];

/// Endings of scripts, which are no part of a service's name.
const SCRIPT_EXTENSIONS: &[&str] = &[
    "cjs", "jar", "js", "mjs", "php", "pl", "py", "pyc", "rb", "sh", "ts",
];

/// The script or module for an interpreter, else the executable; plain, without the
/// `unknown_service:` that SDKs put before it: here every process has one of these names, so the
/// prefix would tell nothing.
pub(super) fn service_name(info: &ProcessInfo) -> String {
    let program = executable_name(info);
    if is_interpreter(program)
        && let Some(script) = script_name(info.command.get(1..).unwrap_or_default())
    {
        return script.to_owned();
    }
    program.to_owned()
}

/// File name of the executable, or what the process calls itself.
pub(super) fn executable_name(info: &ProcessInfo) -> &str {
    let path = executable_path(info);
    if path.is_empty() {
        return &info.name;
    }
    file_name(path)
}

/// Path of the executable. The kernel marks one whose file is gone (an upgrade does that).
pub(super) fn executable_path(info: &ProcessInfo) -> &str {
    let path = info.executable.as_str();
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

fn is_interpreter(program: &str) -> bool {
    let name = program.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    INTERPRETERS.contains(&name)
}

/// First argument that is no option. The agent's captured command line has none before it but the
/// `-m` of a module.
fn script_name(arguments: &[String]) -> Option<&str> {
    let script = arguments
        .iter()
        .find(|argument| !argument.starts_with('-'))?;
    let mut name = without_extension(file_name(script));
    if name == "__main__" {
        let package = script.rsplit_once('/')?.0;
        name = file_name(package);
    }
    let name = name.strip_suffix(".__main__").unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn without_extension(file: &str) -> &str {
    match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && SCRIPT_EXTENSIONS.contains(&extension) => {
            stem
        }
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(executable: &str, command: &[&str]) -> String {
        service_name(&ProcessInfo {
            executable: executable.to_owned(),
            name: "comm".to_owned(),
            command: command
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            ..ProcessInfo::default()
        })
    }

    #[test]
    fn services_are_named_after_what_runs() {
        for (executable, command, expected) in [
            ("/usr/sbin/nginx", &["nginx"] as &[_], "nginx"),
            ("/usr/bin/ollama (deleted)", &["ollama"], "ollama"),
            (
                "/usr/bin/python3.11",
                &["python3", "/venv/bin/uvicorn"],
                "uvicorn",
            ),
            (
                "/usr/bin/python3.11",
                &["python3", "-m", "uvicorn"],
                "uvicorn",
            ),
            (
                "/usr/bin/python3.11",
                &["python3", "-m", "http.server"],
                "http.server",
            ),
            (
                "/usr/bin/python3.11",
                &["python3", "-m", "agent.__main__"],
                "agent",
            ),
            ("/usr/bin/python3.11", &["python3", "agent.py"], "agent"),
            (
                "/usr/bin/python3.11",
                &["python3", "/app/agent/__main__.py"],
                "agent",
            ),
            ("/usr/bin/python3.11", &["python3"], "python3.11"),
            ("/usr/bin/python3.11", &["python3", "-c"], "python3.11"),
            ("/usr/bin/node", &["node", "/srv/server.mjs"], "server"),
            (
                "/usr/bin/curl",
                &["curl", "https://example.com/x.py"],
                "curl",
            ),
            ("", &[], "comm"),
        ] {
            assert_eq!(
                name(executable, command),
                expected,
                "{executable} {command:?}"
            );
        }
    }
}
