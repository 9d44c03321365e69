//! What a copy of a context costs, by itself: in a process without an agent, in one that is not traced
//! but has the same interpreter as one that is, and in one that is followed. The second pays for the
//! probe and for nothing that the program does, so it is the least that a probe on copies can cost here.

use std::process::Command;

use super::report::Copies;
use super::statistics::Spread;
use crate::agent::Agent;
use crate::process::Process;
use crate::workloads::{directory, python};

/// A process that copies contexts when it is told to.
struct Copier {
    process: Process,
    measured: usize,
}

impl Copier {
    fn start(name: &str) -> Self {
        let mut command = Command::new(python());
        let script = directory().join("python/copies.py");
        let process = Process::spawn(name, command.arg(script));
        process.wait_for_line("that it is ready", |line| line == "ready");
        Self {
            process,
            measured: 0,
        }
    }

    /// CPU time of a copy, ns.
    fn measure(&mut self) -> f64 {
        let start = format!("copy {}: ", self.measured);
        self.measured += 1;
        self.process.signal(libc::SIGUSR1);
        let line = self
            .process
            .wait_for_line(&start, |line| line.starts_with(&start));
        let time = &line[start.len()..];
        time.parse().expect("it says a number")
    }
}

/// Measures so many rounds, and prints what it finds.
#[must_use]
pub fn run(rounds: usize) -> Copies {
    let (mut followed, mut beside) = (Copier::start("followed"), Copier::start("beside"));
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        times[0].push(followed.measure());
        let agent = Agent::watch(&[&followed.process], &[]);
        times[1].push(beside.measure());
        times[2].push(followed.measure());
        agent.stop();
    }
    let [bare, beside, followed] = times.map(Spread::of);
    println!(
        "  one copy of a context: {bare:.0} ns bare, {beside:.0} with the probe alone (not traced, same \
         interpreter), {followed:.0} followed"
    );
    Copies {
        bare_ns: bare.median,
        beside_ns: beside.median,
        followed_ns: followed.median,
    }
}
