//! One virtual machine: a kernel, an initial file system with one program, and this machine's files.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::setup::vm::{Kernel, Programs};
use crate::{command, paths};

const INIT: &str = include_str!("init.sh");
/// Memory of a machine: the agent and a few Python processes.
const MEMORY: &str = "3G";
/// Emulation is ten to thirty times slower than the processor, and others use it, too.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// What is to be started.
pub struct Machine<'a> {
    /// Name of its files.
    pub name: &'a str,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// More of the kernel's command line.
    pub parameters: &'a str,
    /// A shell script that it runs, with this machine's files.
    pub script: &'a str,
}

/// A process that ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine<'_> {
    /// Runs it to its end and hands over each line that the script says. Returns what the kernel said.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub fn run(&self, programs: &Programs, mut line: impl FnMut(&str)) -> Result<String> {
        let directory = paths::target().join("vm").join(self.name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let script = directory.join("script.sh");
        fs::write(&script, self.script)?;
        let initial = self.initial_files(programs, &directory)?;
        let socket = directory.join("files.socket");
        let log = directory.join("kernel.log");

        let _files = serve_files(programs, &socket)?;
        let mut qemu = Command::new(&programs.qemu);
        // Without CMPXCHG16B: qemu 7.2 leaves wrong flags where an interrupt follows it, and a kernel
        // that uses it comes to a double fault now and then.
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,cx16=off"])
            .args(["-smp", "2"])
            .args(["-nodefaults", "-nographic", "-no-reboot", "-nic", "none"])
            .args(["-machine", "q35,memory-backend=memory", "-m", MEMORY])
            // Shared with the server of files.
            .arg("-object")
            .arg(format!(
                "memory-backend-memfd,id=memory,size={MEMORY},share=on"
            ))
            .arg("-chardev")
            .arg(format!("socket,id=files,path={}", socket.display()))
            .args([
                "-device",
                "vhost-user-fs-pci,chardev=files,tag=host,queue-size=1024",
            ])
            .arg("-serial")
            .arg(format!("file:{}", log.display()))
            .args(["-serial", "stdio", "-kernel"])
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(initial)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet panic=-1 {} kaos.script={}",
                self.parameters,
                script.display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = qemu.spawn();
        let child = child.with_context(|| format!("cannot start {}", command::line(&qemu)))?;
        let mut running = Running(child);
        let stdout = running.0.stdout.take().context("it has no output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for bytes in BufReader::new(stdout).split(b'\n') {
                let Ok(bytes) = bytes else { break };
                let said = String::from_utf8_lossy(&bytes);
                if sender.send(said.trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(said) => line(&said),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("it has not ended after {DEADLINE:?}"),
            }
        }
        running.0.wait()?;
        let log = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Its first program, and modules.
    fn initial_files(&self, programs: &Programs, directory: &Path) -> Result<PathBuf> {
        let tree = directory.join("initial");
        fs::create_dir_all(tree.join("bin"))?;
        fs::copy(&programs.busybox, tree.join("bin/busybox"))?;
        fs::create_dir_all(tree.join("modules"))?;
        for module in fs::read_dir(self.kernel.modules())? {
            let module = module?;
            fs::copy(module.path(), tree.join("modules").join(module.file_name()))?;
        }
        fs::write(tree.join("init"), INIT)?;
        let archive = directory.join("initial.cpio");
        let pack = "chmod 755 init && find . | \"$0\" cpio -o -H newc > \"$1\"";
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", pack])
            .args([&programs.busybox, &archive])
            .stderr(Stdio::null())
            .current_dir(&tree);
        command::run(&mut shell)?;
        Ok(archive)
    }
}

/// Starts the server of this machine's files, and waits until it listens.
fn serve_files(programs: &Programs, socket: &Path) -> Result<Running> {
    let mut server = Command::new(&programs.virtiofsd);
    server
        .arg(format!("--socket-path={}", socket.display()))
        // Raising the limit takes a privilege.
        .arg("--rlimit-nofile=0")
        .args([
            "-o",
            "source=/,cache=always,sandbox=chroot,announce_submounts",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let child = server.spawn();
    let child = child.with_context(|| format!("cannot start {}", command::line(&server)))?;
    let mut server = Running(child);
    let until = Instant::now() + Duration::from_secs(30);
    while !socket.exists() {
        if let Some(status) = server.0.try_wait()? {
            bail!("the server of files ended ({status})");
        }
        if Instant::now() > until {
            bail!("the server of files does not listen");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}
