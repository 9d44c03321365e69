//! What happens at the limits.

use std::process::Command;

use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::live::Live;
use kaos_agent::health::counters::Counters as _;
use kaos_agent::settings::{CaptureSettings, Selection};

use crate::support::{Python, Seen, counter, live_with, of_pid};
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_ring_that_is_too_small_loses_only_what_it_counts() {
    let mut python = Python::start();
    let settings = CaptureSettings {
        ring_bytes: 4096,
        ..CaptureSettings::default()
    };
    let mut live = live_with(of_pid(python.pid()), settings);
    python.connect();
    python.run("exec('for i in range(500):\\n a.send(b\"GET /%04d\" % i)\\n b.recv(100)')");
    let mut seen = Seen::default();
    while live.read(1024, &mut seen.events) {}
    python.run("a.send(b'GET /last'); b.recv(100)");
    seen.until(&mut live, "what came after the loss", |seen| {
        seen.count_text("GET /last") == 2
    });
    let lost = counter(&live, "kernel.lost.ring_full");
    assert!(lost > 0);
    let mut lost_by_cpu = 0;
    live.visit(&mut |name, value| {
        if name.starts_with("kernel.lost.ring_full.cpu") {
            lost_by_cpu += value;
        }
    });
    assert_eq!(lost_by_cpu, lost);
    // Connecting is a record, too.
    let arrived = seen.data().count() as u64 + seen.changes().len() as u64;
    assert_eq!(arrived + lost, 1002 + 1);
    assert_eq!(counter(&live, "kernel.operations"), 1002);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn no_program_comes_near_the_limit_of_the_verifier() {
    // The kernel's limit is a million; other kernels walk other paths, so keep well below. The longest
    // walk is that of `sock_send_length`, with some 17 000. Of the stack the verifier itself allows no
    // more than 512 bytes, all functions of a call together, so what is attached needs less.
    const MOST: u32 = 20_000;
    let settings = CaptureSettings {
        head_bytes: 1 << 20,
        tail_bytes: 1 << 20,
        ..CaptureSettings::default()
    };
    let (_live, attached) =
        Live::start(&settings, Selection::All).unwrap_or_else(|error| panic!("{error}"));
    for one in attached {
        let instructions = one.outcome.expect("it is attached");
        println!("{}: {instructions}", one.program.hook);
        assert!(instructions < MOST, "{}: {instructions}", one.program.hook);
    }
}

/// Where the agent is in a pid namespace of its own, as in a node that is a container, programs look for
/// the numbers of tasks in it: the same limit holds there.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn nor_does_one_in_a_pid_namespace_of_its_own() {
    let tests = std::env::current_exe().expect("it runs");
    let inside = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(tests)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("limits::no_program_comes_near_the_limit_of_the_verifier")
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&inside.stdout);
    println!("{said}");
    let ran = said.contains("test result: ok. 1 passed;");
    assert!(
        ran && inside.status.success(),
        "{}",
        String::from_utf8_lossy(&inside.stderr)
    );
}
