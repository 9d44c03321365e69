//! Programs, ports and files of this machine.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Ports that servers of the tests listen on: below those that the kernel gives to outgoing
/// connections (`ip_local_port_range`), so that none can take a port before its server does, or
/// while its server is restarted.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A program that is killed when this is dropped.
pub struct Running(Child);

impl Running {
    /// Starts a program with its output at the end of the file `NAME.log` of a directory.
    pub fn start(directory: &Path, name: &str, command: &mut Command) -> Self {
        let open = fs::File::options()
            .create(true)
            .append(true)
            .open(directory.join(format!("{name}.log")));
        let log = open.expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{name} does not start: {error}")))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }

    /// Kills it.
    pub fn end(&mut self) {
        // It fails only where the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that is free, and that only a test could take.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A program that `cargo xtask setup --cluster` built.
pub fn tool(path: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty());
    let cache = cache.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::home_dir().expect("a home directory");
        home.join(".cache")
    });
    let tool = cache.join("kaos").join(path);
    assert!(
        tool.exists(),
        "{} is missing; type: cargo xtask setup --cluster",
        tool.display()
    );
    tool
}

/// Writes a file, and returns its path.
pub fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// The last lines of a file, for a message.
pub fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
