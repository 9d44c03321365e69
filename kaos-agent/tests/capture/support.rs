//! A real process that moves bytes, and what was captured of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kaos_agent::capture::event::{ConnectionChange, Data, Direction, Event, Pid, SocketId};
use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::live::Live;
use kaos_agent::health::counters::Counters as _;
use kaos_agent::settings::{CaptureSettings, Selection, Selectors};

/// Long: other tests may keep both cores busy, and the machine may be an emulated one.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A Python process that runs the lines it is given, and says when each is done.
pub struct Python {
    child: Child,
    input: ChildStdin,
    /// Its lines, which a thread reads, so that one that never comes is not waited for without end.
    lines: Receiver<String>,
}

impl Python {
    pub fn start() -> Self {
        Self::spawn(&mut Command::new("python3"))
    }

    /// With one more variable in its environment.
    pub fn start_with(name: &str, value: &Path) -> Self {
        Self::spawn(Command::new("python3").env(name, value))
    }

    /// In a mount namespace of its own, in which `file` lies over `place`.
    pub fn start_with_mount(file: &Path, place: &Path) -> Self {
        let mut command = Command::new("unshare");
        let script = r#"mount --bind "$0" "$1" && shift && exec python3 "$@""#;
        command.args(["--mount", "sh", "-c", script]);
        Self::spawn(command.args([file, place]))
    }

    /// In a network of its own, with this address and what resolves its names.
    pub fn start_with_network(address: &str, resolver: &Path) -> Self {
        let script = r#"mount --bind "$0" /etc/resolv.conf && ip link set lo up &&
                        ip address add "$1" dev lo && shift && exec python3 "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", script]);
        Self::spawn(command.arg(resolver).arg(address))
    }

    fn spawn(command: &mut Command) -> Self {
        let program = "import sys, os, socket, struct, threading, errno\n\
                       print('ready', flush=True)\n\
                       for line in sys.stdin:\n\
                       \x20   exec(line)\n\
                       \x20   print('done', flush=True)\n";
        let mut child = command
            .args(["-u", "-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            // Until it ends, or nobody listens any more.
            let _ = lines.into_iter().try_for_each(|line| sender.send(line));
        });
        let mut python = Self {
            child,
            input,
            lines,
        };
        assert_eq!(python.line(), "ready");
        python
    }

    pub fn pid(&self) -> Pid {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        self.line_until(Instant::now() + DEADLINE, || "its next line".to_owned())
    }

    /// Runs a line; returns what it prints before it is done.
    pub fn run(&mut self, code: &str) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        writeln!(self.input, "{code}").expect("it reads");
        let mut printed = Vec::new();
        loop {
            let what = || format!("that it is done with {code:?} after {printed:?}");
            match self.line_until(until, what) {
                line if line == "done" => return printed,
                line => printed.push(line),
            }
        }
    }

    /// The next line; where none comes in time, it is killed, and the test fails with what was waited
    /// for.
    fn line_until(&mut self, until: Instant, what: impl FnOnce() -> String) -> String {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => panic!("python ended before {}", what()),
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill().expect("it is our child");
                panic!("python did not say {} in {DEADLINE:?}", what());
            }
        }
    }

    /// Connects `a` (client) and `b` (server) over loopback.
    pub fn connect(&mut self) {
        self.run("l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()");
        self.run("a = socket.create_connection(l.getsockname()); b, _ = l.accept()");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that waits for the end of its input, does its work, and says one word.
pub struct Liar(Child);

impl Liar {
    pub fn start(program: &Path) -> Self {
        let child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("it starts"))
    }

    pub fn pid(&self) -> Pid {
        self.0.id()
    }

    /// Lets it go on; what it says.
    pub fn run(&mut self) -> String {
        drop(self.0.stdin.take());
        let output = self.0.stdout.take().expect("it is piped");
        let said = std::io::read_to_string(output).expect("it says text");
        assert!(self.0.wait().expect("it ends").success());
        said.trim_end().to_owned()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup of the v2 hierarchy, removed at the end.
pub struct Cgroup(pub std::path::PathBuf);

impl Cgroup {
    pub fn make(parent: &std::path::Path, name: &str) -> Self {
        let path = parent.join(name);
        std::fs::create_dir(&path).expect("root may make cgroups");
        Self(path)
    }

    pub fn take(&self, pid: Pid) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("root may move it");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What was captured.
#[derive(Default)]
pub struct Seen {
    pub events: Vec<Event>,
}

impl Seen {
    /// Reads until the condition holds.
    pub fn until(&mut self, live: &mut Live, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        loop {
            while live.read(1024, &mut self.events) {}
            if condition(self) {
                return;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "no {what} in {:#?}",
                self.events
            );
            live.wait();
        }
    }

    pub fn data(&self) -> impl Iterator<Item = &Data> {
        self.events.iter().filter_map(|event| match event {
            Event::Data(data) => Some(data),
            _ => None,
        })
    }

    /// Bytes of each direction of each socket in order; what was not captured as `#`.
    pub fn streams(&self) -> BTreeMap<(SocketId, bool), String> {
        let mut streams: BTreeMap<_, String> = BTreeMap::new();
        for data in self.data() {
            let stream = streams
                .entry((data.socket, data.direction == Direction::Sent))
                .or_default();
            stream.push_str(&String::from_utf8_lossy(&data.bytes));
            stream.push_str(&"#".repeat(usize::try_from(data.skipped).expect("small")));
        }
        streams
    }

    pub fn has_text(&self, text: &str) -> bool {
        self.streams().values().any(|stream| stream.contains(text))
    }

    pub fn count_text(&self, text: &str) -> usize {
        self.streams()
            .values()
            .filter(|stream| stream.contains(text))
            .count()
    }

    pub fn changes(&self) -> Vec<ConnectionChange> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Connection(connection) => Some(connection.change),
                _ => None,
            })
            .collect()
    }
}

pub fn live(selectors: Selectors) -> Live {
    live_with(selectors, CaptureSettings::default())
}

pub fn live_with(selectors: Selectors, settings: CaptureSettings) -> Live {
    let settings = CaptureSettings {
        poll_interval: Duration::from_millis(5),
        ..settings
    };
    let (live, attached) = Live::start(&settings, Selection::Matching(selectors))
        .unwrap_or_else(|error| panic!("{error}"));
    for one in attached {
        assert!(one.outcome.is_ok(), "{one:?}");
    }
    live
}

pub fn of_pid(pid: Pid) -> Selectors {
    Selectors {
        pids: vec![pid],
        ..Selectors::default()
    }
}

pub fn counter(live: &Live, name: &str) -> u64 {
    let mut found = None;
    live.visit(&mut |counter, value| {
        if counter == name {
            found = Some(value);
        }
    });
    found.unwrap_or_else(|| panic!("there is no counter {name}"))
}
