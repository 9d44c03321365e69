//! What happens at the limits.

use std::process::{Command, Output};

use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::live::Live;
use kaos_agent::capture::programs::{ITERATORS, PROGRAMS, UPROBES};
use kaos_agent::health::counters::Counters as _;
use kaos_agent::settings::{CaptureSettings, Selection};

use tempfile::TempDir;

use crate::skip::{skip, why_not};
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
    // walk is that of `sock_send_length`, with some 17 000.
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

/// Runs the test before this one in another process, which this command starts; what it says.
fn again(command: &mut Command) -> Output {
    let tests = std::env::current_exe().expect("it runs");
    let output = command
        .arg(tests)
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("limits::no_program_comes_near_the_limit_of_the_verifier")
        .output()
        .expect("it starts");
    let (said, errors) = (&output.stdout, &output.stderr);
    let (said, errors) = (
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(errors),
    );
    println!("{said}");
    let ran = said.contains("test result: ok. 1 passed;");
    assert!(ran && output.status.success(), "{errors}");
    output
}

fn in_a_pid_namespace_of_its_own() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// Where the agent is in a pid namespace of its own, as in a node that is a container, programs look for
/// the numbers of tasks in it: the same limit holds there.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn nor_does_one_in_a_pid_namespace_of_its_own() {
    again(&mut in_a_pid_namespace_of_its_own());
}

/// What the verifier counts of the stack is only in its log, for which aya asks when a program was refused. So
/// a library that is preloaded asks for it.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn programs_leave_room_on_the_stack() {
    /// MAX_BPF_STACK of include/linux/filter.h.
    const LIMIT: u32 = 512;
    /// What `sock_send_length` takes: an eighth is left for other compilers and kernels.
    const MOST: u32 = LIMIT - 64;
    /// BPF_OBJ_NAME_LEN of include/uapi/linux/bpf.h, without the byte at its end.
    const KEPT_OF_NAME: usize = 15;
    if let Some(reason) = why_not("cc") {
        return skip(&reason);
    }
    let directory = TempDir::new().expect("a directory");
    let library = directory.path().join("verifier_log.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/verifier_log.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
    let built = compiler.arg(&library).arg(source).status();
    assert!(built.expect("it starts").success());

    let preloaded = |command: &mut Command| {
        let output = again(command.env("LD_PRELOAD", &library));
        String::from_utf8(output.stderr).expect("it says text")
    };
    for said in [
        preloaded(&mut Command::new("env")),
        preloaded(&mut in_a_pid_namespace_of_its_own()),
    ] {
        let lines = said.lines();
        let stacks = lines.filter_map(|line| line.split_once(": stack depth "));
        let stacks: Vec<_> = stacks.filter(|(name, _)| !name.is_empty()).collect();
        let is_kept_of = |name: &str, hook: &str| name == &hook[..hook.len().min(KEPT_OF_NAME)];
        for program in PROGRAMS.iter().chain(UPROBES).chain(ITERATORS) {
            let mut names = stacks.iter().map(|(name, _)| name);
            let is_said = names.any(|name| is_kept_of(name, program.hook));
            assert!(is_said, "nothing of {} in {said}", program.hook);
        }
        for (name, depths) in stacks {
            // Each function takes its own in steps of 32 bytes, and no more than all of them are on the stack
            // at a time.
            let functions = depths.split('+').map(|depth| {
                let depth: u32 = depth.parse().expect("a number of bytes");
                depth.max(1).next_multiple_of(32)
            });
            let all: u32 = functions.sum();
            println!("{name}: {depths}, {all} bytes at most");
            assert!(
                all <= MOST,
                "{name} takes {depths}, {all} of {LIMIT} bytes, and is to leave {}; `sock_send_length` took \
                 264+0+8+0+48, which is {MOST}",
                LIMIT - MOST
            );
        }
    }
}
