//! What runs a program: its language and version.

use serde::Serialize;

use super::files::{MappedFiles, file_name};
use crate::capture::event::ProcessInfo;

/// What runs a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// `CPython`, `Node.js`, `Java`, …, or `native`.
    pub name: &'static str,
    /// Version, where the files say it.
    pub version: Option<String>,
    /// The file that it was recognised by.
    pub file: String,
    /// An event loop of its own: `uvloop`.
    pub event_loop: Option<&'static str>,
}

/// Names of executables and libraries, up to the version, and what they are. The order counts.
const RUNTIMES: &[(&str, &str)] = &[
    ("libpython", "CPython"),
    ("python", "CPython"),
    ("libpypy", "PyPy"),
    ("pypy", "PyPy"),
    ("libjvm.so", "Java"),
    ("libcoreclr.so", ".NET"),
    ("libruby", "Ruby"),
    ("ruby", "Ruby"),
    ("libnode.so", "Node.js"),
    ("nodejs", "Node.js"),
    ("node", "Node.js"),
    ("deno", "Deno"),
    ("bun", "Bun"),
];

impl Runtime {
    /// Recognised by the executable and the libraries that are mapped.
    pub(super) fn of(info: &ProcessInfo, files: &MappedFiles) -> Self {
        let executable = info.executable.as_str();
        let libraries = files.mapped(|name| name.starts_with("lib"));
        let found = libraries
            .chain([executable])
            .find_map(|path| Some((path, recognised(file_name(path))?)));
        let (file, (name, version)) = found.unwrap_or((executable, ("native", None)));
        let is_uvloop =
            |path: &str| file_name(path).starts_with("loop.") && path.contains("/uvloop/");
        Self {
            name,
            version,
            file: file.to_owned(),
            event_loop: files.mapped(|_| true).any(is_uvloop).then_some("uvloop"),
        }
    }
}

/// `python3.11` and `libpython3.11.so.1.0` are CPython 3.11; `python-tool` is none.
fn recognised(file: &str) -> Option<(&'static str, Option<String>)> {
    RUNTIMES.iter().find_map(|(prefix, name)| {
        let rest = file.strip_prefix(prefix)?;
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let (version, rest) = rest.split_at(end);
        let version = version.trim_end_matches('.');
        let is_whole = match prefix.starts_with("lib") {
            true => file.contains(".so"),
            // A build with other options: `python3.13t`, `python3.11d`.
            false => rest.len() <= 1,
        };
        is_whole.then(|| (*name, (!version.is_empty()).then(|| version.to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(executable: &str, mapped: &[&str]) -> String {
        let info = ProcessInfo {
            executable: executable.to_owned(),
            ..ProcessInfo::default()
        };
        let runtime = Runtime::of(&info, &MappedFiles::for_test(mapped));
        [
            runtime.name,
            runtime.version.as_deref().unwrap_or("-"),
            runtime.event_loop.unwrap_or("-"),
        ]
        .join(" ")
    }

    #[test]
    fn runtimes_are_recognised_by_their_files() {
        for (executable, mapped, expected) in [
            ("/usr/bin/python3.11", &[] as &[_], "CPython 3.11 -"),
            ("/opt/bin/python3.13t", &[], "CPython 3.13 -"),
            (
                "/usr/local/bin/python3",
                &["/usr/lib/libpython3.12.so.1.0"],
                "CPython 3.12 -",
            ),
            (
                "/usr/sbin/uwsgi",
                &["/usr/lib/libpython3.12.so.1.0"],
                "CPython 3.12 -",
            ),
            (
                "/usr/bin/python3.11",
                &["/v/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so"],
                "CPython 3.11 uvloop",
            ),
            ("/usr/bin/node", &[], "Node.js - -"),
            (
                "/usr/bin/java",
                &["/usr/lib/jvm/lib/server/libjvm.so"],
                "Java - -",
            ),
            ("/usr/bin/python-config", &[], "native - -"),
            ("/usr/bin/nodeadm", &[], "native - -"),
            ("/usr/bin/ollama", &["/usr/lib/libc.so.6"], "native - -"),
        ] {
            assert_eq!(runtime(executable, mapped), expected, "{executable}");
        }
    }
}
