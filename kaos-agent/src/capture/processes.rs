//! What `/proc` says of a process.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::event::{Instrumentation, Pid, ProcessInfo, Surroundings};
use super::instrumentation::instrumentation;
use super::surroundings;
use crate::identity::environment::readable;

/// Bytes read of any one file of a process. The kernel bounds `environ` by the stack's limit only;
/// what KAOS sets stands well within this.
pub(super) const MOST_FILE_BYTES: u64 = 256 * 1024;

/// Inode number of the initial pid namespace (`PID_NS_INIT_INO` of `linux/nsfs.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// Inode number of the pid namespace whose numbers stand in our `/proc`, where it is not the initial
/// one: a node that is a container itself (kind) has its own, and so have all pods "in the host's".
#[must_use]
pub fn pid_namespace() -> Option<u32> {
    let inode = fs::metadata("/proc/self/ns/pid").ok()?.ino();
    let inode = Some(inode).filter(|inode| *inode != INITIAL_PID_NAMESPACE);
    u32::try_from(inode?).ok()
}

/// What the kernel told of a program when it was executed: it may be gone before we look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path as it was given to `execve`.
    path: String,
    /// As in [`ProcessInfo`].
    command: Vec<String>,
    /// As in [`ProcessInfo`].
    environment: Vec<(String, String)>,
    /// As in [`ProcessInfo`].
    instrumentation: Option<Instrumentation>,
    /// The kernel told the whole environment.
    is_whole: bool,
}

impl Program {
    /// From a path, arguments and variables that each end with a zero, and whether those are all the
    /// variables.
    #[must_use]
    pub fn new(path: &[u8], arguments: &[u8], variables: &[u8], is_whole: bool) -> Self {
        let path = String::from_utf8_lossy(path).into_owned();
        let arguments = String::from_utf8_lossy(arguments);
        let variables = String::from_utf8_lossy(variables);
        Self {
            command: reduce(&arguments),
            environment: environment(&variables),
            instrumentation: instrumentation(&path, &arguments, &variables),
            path,
            is_whole,
        }
    }
}

/// Reads what is known of a process. What cannot be read (the process is gone, or belongs to
/// somebody else) is what the kernel told of its `program`, or empty.
#[must_use]
pub fn describe(pid: Pid, program: Option<&Program>) -> ProcessInfo {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let command_line = read(&directory.join("cmdline"));
    let executable = executable(pid).unwrap_or_default();
    // Where the kernel told all variables, it told this, too, but for the end of a long command line.
    let (environment, instrumentation) = match program {
        Some(program) if program.is_whole => (
            program.environment.clone(),
            program
                .instrumentation
                .or_else(|| instrumentation(&executable, &command_line, "")),
        ),
        _ => {
            let variables = read(&directory.join("environ"));
            let instrumentation = instrumentation(&executable, &command_line, &variables);
            (environment(&variables), instrumentation)
        }
    };
    let mut info = ProcessInfo {
        executable,
        name: read(&directory.join("comm")).trim_end().to_owned(),
        command: reduce(&command_line),
        cgroup: unified_cgroup(&read(&directory.join("cgroup"))),
        // By what the rest says.
        surroundings: Surroundings::default(),
        environment,
        instrumentation,
    };
    if let Some(program) = program {
        if info.executable.is_empty() {
            info.executable.clone_from(&program.path);
        }
        if info.command.is_empty() {
            info.command.clone_from(&program.command);
        }
        if info.environment.is_empty() {
            info.environment.clone_from(&program.environment);
        }
        info.instrumentation = info.instrumentation.or(program.instrumentation);
    }
    info.surroundings = surroundings::of(&directory, &info.cgroup, &info.environment);
    info
}

/// Path of a process's executable, or what it was executed by where that cannot be seen any more.
#[must_use]
pub fn executable_or_path(pid: Pid, program: Option<&Program>) -> Option<String> {
    executable(pid).or_else(|| Some(program?.path.clone()))
}

/// Path of a process's executable, as the process sees it.
#[must_use]
pub fn executable(pid: Pid) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.to_string_lossy();
    // The kernel says so of a file that was replaced while it runs.
    Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
}

/// All processes of this machine that the agent can see.
pub fn all() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Parent of a process.
#[must_use]
pub fn parent(pid: Pid) -> Option<Pid> {
    let status = read(Path::new(&format!("/proc/{pid}/stat")));
    // The second field is a name in parentheses that may hold anything; the parent is two on.
    status
        .rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

pub(super) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // A process may end while it is read: what came before that stands.
        let _ = file.take(MOST_FILE_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn unified_cgroup(file: &str) -> String {
    file.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or_default()
        .to_owned()
}

fn environment(file: &str) -> Vec<(String, String)> {
    let variables = file
        .split('\0')
        .filter_map(|variable| variable.split_once('='));
    readable(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// Interpreters whose first argument says what they run.
const INTERPRETERS: [&str; 9] = [
    "python", "pypy", "node", "ruby", "perl", "java", "sh", "bash", "deno",
];
/// Their options that take the next argument as a value which names what is run.
const NAMING_OPTIONS: [&str; 2] = ["-m", "-jar"];
/// Their options that take the next argument as a value which does not.
const OPTIONS_WITH_VALUE: [&str; 3] = ["-r", "--require", "--import"];

/// Keeps the program and, for an interpreter, the script or module; drops all else, since
/// arguments carry secrets.
fn reduce(command_line: &str) -> Vec<String> {
    let mut arguments = command_line
        .split('\0')
        .filter(|argument| !argument.is_empty());
    let Some(program) = arguments.next() else {
        return Vec::new();
    };
    let mut kept = vec![program.to_owned()];
    let base = program.rsplit('/').next().unwrap_or(program);
    if INTERPRETERS.iter().any(|name| is_version_of(base, name)) {
        while let Some(argument) = arguments.next() {
            if NAMING_OPTIONS.contains(&argument) {
                kept.push(argument.to_owned());
                kept.extend(arguments.next().map(str::to_owned));
                break;
            }
            // `-c CODE` and the like: there is no name, and the code is none of our business.
            if argument == "-c" || argument == "-e" {
                break;
            }
            if OPTIONS_WITH_VALUE.contains(&argument) {
                arguments.next();
                continue;
            }
            if !argument.starts_with('-') {
                kept.push(argument.to_owned());
                break;
            }
        }
    }
    kept
}

/// `python`, `python3`, `python3.11` are versions of `python`.
pub(super) fn is_version_of(program: &str, name: &str) -> bool {
    program.strip_prefix(name).is_some_and(|rest| {
        rest.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(command: &[&str]) -> String {
        reduce(&command.join("\0")).join(" ")
    }

    #[test]
    fn command_lines_keep_names_only() {
        assert_eq!(reduced(&["nginx", "-g", "daemon off;"]), "nginx");
        assert_eq!(
            reduced(&["/usr/bin/python3.11", "-u", "agent.py", "--key", "s3cret"]),
            "/usr/bin/python3.11 agent.py"
        );
        assert_eq!(
            reduced(&["python", "-m", "uvicorn", "app:app", "--api-key=x"]),
            "python -m uvicorn"
        );
        let register = "@opentelemetry/auto-instrumentations-node/register";
        assert_eq!(
            reduced(&["node", "--require", register, "app.js", "x"]),
            "node app.js"
        );
        assert_eq!(reduced(&["python", "-c", "key='s3cret'"]), "python");
        assert_eq!(reduced(&["pythonic", "secret"]), "pythonic");
        assert_eq!(reduced(&[]), "");
    }

    #[test]
    fn only_what_may_be_read_is_kept() {
        let file = "PATH=/bin\0OTEL_SERVICE_NAME=a\0BAD\0AGENT_NAME=x=y";
        let kept = environment(file);
        let shown: Vec<_> = kept
            .iter()
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        assert_eq!(shown, ["AGENT_NAME:x=y", "OTEL_SERVICE_NAME:a"]);
    }

    #[test]
    fn the_unified_hierarchy_is_found_in_a_hybrid_one() {
        assert_eq!(
            unified_cgroup("12:pids:/a\n1:name=systemd:/b\n0::/c/d\n"),
            "/c/d"
        );
        assert_eq!(unified_cgroup("12:pids:/a\n"), "");
    }

    #[test]
    fn this_process_is_described() {
        let info = describe(std::process::id(), None);
        assert!(
            info.executable.contains("kaos_agent"),
            "{}",
            info.executable
        );
        assert!(parent(std::process::id()).is_some());
        assert!(all().any(|pid| pid == std::process::id()));
    }

    #[test]
    fn a_process_that_is_gone_is_empty() {
        assert_eq!(describe(u32::MAX, None), ProcessInfo::default());
    }

    #[test]
    fn of_a_process_that_is_gone_its_program_is_known() {
        let program = Program::new(
            b"/usr/bin/python3",
            b"python3\0agent.py\0--key\0s3cret\0",
            b"PATH=/bin\0AGENT_NAME=a\0PYTHONPATH=/s3cret:/opentelemetry/instrumentation/auto_instrumentation\0",
            true,
        );
        let info = describe(u32::MAX, Some(&program));
        assert_eq!(info.executable, "/usr/bin/python3");
        assert_eq!(info.command, ["python3", "agent.py"]);
        assert_eq!(
            info.environment,
            [("AGENT_NAME".to_owned(), "a".to_owned())]
        );
        assert_eq!(info.instrumentation, Some(Instrumentation::Python));
    }
}
