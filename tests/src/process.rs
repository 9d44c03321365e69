//! Processes of a test: started with what they say captured, ended when dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// A child process. It ends when this is dropped, with its children, and with the thread that started it, should that
/// be killed.
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
}

/// The lines of a process.
#[derive(Default)]
struct Said {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    /// Standard output and standard error, as they came.
    both: Vec<String>,
    /// Standard output alone.
    stdout: Vec<String>,
    /// How many of the two have ended.
    ended: usize,
}

impl Lines {
    /// The last lines, for a person who looks for what went wrong.
    fn end(&self) -> String {
        const SHOWN: usize = 40;
        self.both[self.both.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that whoever it starts can be ended with it.
            .process_group(0);
        // SAFETY: `prctl` is async-signal-safe, and touches nothing but the new process.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let said = Arc::new(Said::default());
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let readers = vec![
            read_lines(stdout, true, Arc::clone(&said)),
            read_lines(stderr, false, Arc::clone(&said)),
        ];
        Self {
            name: name.to_owned(),
            child,
            said,
            readers,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line on either output that the predicate accepts, once it has been said.
    ///
    /// # Panics
    /// Both outputs end, or [`DEADLINE`] passes, before there is such a line.
    pub fn wait_for_line(&self, what: &str, accepts: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        let mut lines = self.lines();
        loop {
            if let Some(line) = lines.both.iter().find(|line| accepts(line)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.ended == 2 {
                let said = lines.end();
                panic!("{} never said {what}; it said:\n{said}", self.name);
            }
            let woken = self.said.changed.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets it finish and returns its status and what it wrote to standard output.
    ///
    /// # Panics
    /// It does not finish within [`DEADLINE`].
    pub fn finish(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.wait();
        self.readers.drain(..).for_each(|reader| {
            reader.join().expect("reading a pipe does not panic");
        });
        let stdout = std::mem::take(&mut self.lines().stdout);
        (status, stdout)
    }

    /// [`finish`](Self::finish), for a process that must succeed.
    ///
    /// # Panics
    /// It fails; the message has what it said.
    pub fn succeed(self) -> Vec<String> {
        let (name, said) = (self.name.clone(), Arc::clone(&self.said));
        let (status, stdout) = self.finish();
        if !status.success() {
            let lines = said.lines.lock().unwrap_or_else(PoisonError::into_inner);
            panic!("{name} failed ({status}); it said:\n{}", lines.end());
        }
        stdout
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        // The child is ours and not reaped yet, so the pid is its own.
        send(self.pid(), signal);
    }

    /// Kills it and those that it started.
    fn kill_group(&self) {
        let pid = libc::pid_t::try_from(self.pid()).expect("a pid is a pid_t");
        // SAFETY: plain system call; the child is ours, not reaped yet, and leads this group.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }

    /// Kills it and reaps it.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// Waits for its end.
    fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            return status;
        }
        if !ends_within(self.pid(), DEADLINE) {
            panic!(
                "{} does not end; it said:\n{}",
                self.name,
                self.lines().end()
            );
        }
        self.child.wait().expect("it is our child")
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.said
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a signal to a process of ours.
pub fn send(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a pid is a pid_t");
    // SAFETY: plain system call; the caller knows whose pid it is.
    unsafe { libc::kill(pid, signal) };
}

/// The only child of a process.
///
/// # Panics
/// It has none, or several.
#[must_use]
pub fn child_of(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the process is alive");
    children.trim().parse().expect("it has one child")
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill_group();
            let _already_reaped = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.lines().end());
        }
    }
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    is_stdout: bool,
    said: Arc<Said>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut lines = said.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if is_stdout {
                lines.stdout.push(line.clone());
            }
            lines.both.push(line);
            said.changed.notify_all();
        }
        let mut lines = said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.ended += 1;
        said.changed.notify_all();
    })
}

/// Whether a child of ours ends within this time.
fn ends_within(pid: u32, time: Duration) -> bool {
    // SAFETY: plain system call; the descriptor it returns is ours alone.
    let descriptor = unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if descriptor < 0 {
            return false;
        }
        OwnedFd::from_raw_fd(descriptor as libc::c_int)
    };
    let mut poll = libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let milliseconds = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid `pollfd`, as the length says.
    unsafe { libc::poll(&raw mut poll, 1, milliseconds) == 1 }
}

/// A TCP port on which nobody listens, below the range from which the kernel takes the ports of
/// outgoing connections, so that none of those can take it before our server does.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run one after the other begin at different ports.
    let offset = (std::process::id() % u32::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            FIRST + offset.wrapping_add(next) % COUNT
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of ten thousand ports is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_are_waited_for() {
        let process = shell("echo ready >&2; sleep 1000");
        assert_eq!(
            process.wait_for_line("ready", |line| line == "ready"),
            "ready"
        );
    }

    #[test]
    fn standard_output_is_returned() {
        assert_eq!(shell("echo a; echo b >&2; echo c").succeed(), ["a", "c"]);
        assert_eq!(shell("exit 3").finish().0.code(), Some(3));
    }

    #[test]
    fn a_killed_process_is_gone() {
        let mut process = shell("sleep 1000");
        process.kill();
        assert!(!std::path::Path::new(&format!("/proc/{}", process.pid())).exists());
    }

    #[test]
    fn ports_are_different() {
        assert_ne!(free_port(), free_port());
    }
}
