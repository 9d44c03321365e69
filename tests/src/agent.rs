//! The built agent, run as a user runs it.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Process, child_of, send};

/// A running `kaos-agent run`.
pub struct Agent {
    process: Process,
    /// Where another program started it.
    own_pid: Option<u32>,
}

/// Its counters, by name.
pub type Stats = BTreeMap<String, u64>;

impl Agent {
    /// Starts it with these arguments beside `run` and waits until everything is attached.
    ///
    /// # Panics
    /// It does not get ready.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(executable()), arguments)
    }

    /// The same, and it says in its log what it attaches to: see [`wait_until_probed`].
    ///
    /// # Panics
    /// It does not get ready.
    ///
    /// [`wait_until_probed`]: Self::wait_until_probed
    #[must_use]
    pub fn start_verbose(arguments: &[&str]) -> Self {
        let mut command = Command::new(executable());
        command.env("LOG_LEVEL", "DEBUG");
        Self::start_by(command, arguments)
    }

    /// Waits until what is read and written through a TLS library, a file with this in its path, is
    /// seen.
    ///
    /// # Panics
    /// It is not, or the agent was not started as a verbose one.
    pub fn wait_until_probed(&self, library: &str) {
        self.process.wait_for_line("that TLS is seen", |line| {
            line.split_once("tls_return is attached to ")
                .is_some_and(|(_, path)| path.contains(library))
        });
    }

    /// Starts it with exactly the capabilities that it is documented to need.
    ///
    /// # Panics
    /// It does not get ready.
    #[must_use]
    pub fn start_with_few_capabilities(arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command
            .arg("--bounding-set=-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search,+checkpoint_restore")
            .arg("--inh-caps=-all")
            .arg(executable());
        Self::start_by(command, arguments)
    }

    fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        command.arg("run").arg("--stats=json").args(arguments);
        // The agent's own environment is its fallback; a test says all that matters itself.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let process = Process::spawn("kaos-agent", &mut command);
        process.wait_for_line("that it is ready", |line| {
            line.starts_with("kaos-agent: ready")
        });
        Self {
            process,
            own_pid: None,
        }
    }

    /// Starts it where a process is: in its pid namespace, and with its `/proc`.
    ///
    /// # Panics
    /// It does not get ready.
    #[must_use]
    pub fn start_in_pid_namespace_of(pid: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid.to_string(), "--pid", "--mount"])
            .arg(executable());
        let agent = Self::start_by(command, arguments);
        // It is the child of one that only waits for it.
        let own_pid = Some(child_of(agent.process.pid()));
        Self { own_pid, ..agent }
    }

    /// Starts it for these processes.
    #[must_use]
    pub fn watch(processes: &[&Process], arguments: &[&str]) -> Self {
        let pids: Vec<String> = processes
            .iter()
            .flat_map(|process| ["--pid".to_owned(), process.pid().to_string()])
            .collect();
        let mut all: Vec<&str> = pids.iter().map(String::as_str).collect();
        all.extend(arguments);
        Self::start(&all)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.own_pid.unwrap_or_else(|| self.process.pid())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        send(self.pid(), signal);
    }

    /// Waits until it logs a line with this in it.
    pub fn wait_for_log(&self, text: &str) {
        let what = format!("that it says {text:?}");
        self.process
            .wait_for_line(&what, |line| line.contains(text));
    }

    /// Ends it with SIGTERM, so that it flushes, and returns its counters.
    ///
    /// # Panics
    /// It fails, or prints no counters.
    pub fn stop(self) -> Stats {
        self.signal(libc::SIGTERM);
        let process = self.process;
        let stats = process.wait_for_line("its counters", |line| line.starts_with('{'));
        process.succeed();
        serde_json::from_str(&stats)
            .unwrap_or_else(|error| panic!("the counters are no JSON ({error}): {stats}"))
    }
}

/// The agent's executable: beside the test's own, in cargo's target directory.
///
/// # Panics
/// It is not built.
#[must_use]
pub fn executable() -> PathBuf {
    let own = env::current_exe().expect("a test has a path");
    own.ancestors()
        .map(|directory| directory.join("kaos-agent"))
        .find(|candidate| candidate.is_file())
        .expect("kaos-agent is built: run the tests with `cargo xtask test`")
}
