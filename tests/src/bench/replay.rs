//! How fast the pipeline is by itself: a synthetic recording through `kaos-agent replay`.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::report::Replay;
use super::statistics::Spread;
use super::synthetic::{CHAT, SMALL};
use super::usage::cpu_of_ended_children;
use crate::agent::executable;

/// Measures so many runs of each recording, and prints what it finds. The recordings have their
/// full length divided by `divisor`.
///
/// What counts is CPU time, of all threads together: what one core needs, whoever else uses it.
pub fn run(runs: u32, divisor: u32) -> Replay {
    let directory = TempDir::new().expect("a temporary directory");
    println!(
        "replay: synthetic recordings, spans as JSON to /dev/null, per second of CPU time, {runs} runs"
    );
    let [chat, small] = [CHAT, SMALL].map(|kind| {
        let exchanges = kind.reduced(divisor);
        let file = directory.path().join(exchanges.name);
        exchanges.record(&file);
        // The first run brings the file into memory.
        replay(&file);
        let times: Vec<f64> = (0..runs).map(|_| replay(&file)).collect();
        let megabytes = exchanges.payload_bytes() as f64 / 1e6;
        let megabytes_per_second = Spread::of(times.iter().map(|time| megabytes / time));
        let count = f64::from(exchanges.count);
        let exchanges_per_second = Spread::of(times.iter().map(|time| count / time));
        println!(
            "  {:<6} {:>7} exchanges of {:>6} bytes: {megabytes_per_second:.0} MB/s, \
             {exchanges_per_second:.0} exchanges/s",
            exchanges.name,
            exchanges.count,
            exchanges.bytes_per_exchange(),
        );
        (megabytes_per_second.median, exchanges_per_second.median)
    });
    Replay {
        mb_per_s: chat.0,
        exchanges_per_s: small.1,
    }
}

/// CPU seconds of one run.
fn replay(file: &Path) -> f64 {
    let before = cpu_of_ended_children();
    let status = Command::new(executable())
        .arg("replay")
        .arg(file)
        .args(["--output", "json"])
        .stdout(Stdio::null())
        .status()
        .expect("the agent starts");
    assert!(status.success(), "replay failed ({status})");
    (cpu_of_ended_children() - before).as_secs_f64()
}
