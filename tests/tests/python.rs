//! Python processes: with few privileges, in great numbers, and made to hurt.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kaos_tests::DEADLINE;
use kaos_tests::agent::Agent;
use kaos_tests::causes::{CALLS, Causes, Run};
use kaos_tests::process::Process;
use kaos_tests::workloads::{Need, lacks, python};
use tempfile::TempDir;

const ALL_RIGHT: Causes = Causes {
    right: 32 * CALLS,
    linked: 0,
    unknown: 0,
    wrong: 0,
};

fn run(python: &Path) -> Run<'_> {
    Run {
        python,
        kind: "uvicornuv-raw-plain",
        in_flight: 16,
        requests: 32,
    }
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_with_the_documented_capabilities() {
    if lacks(&[Need::Python, Need::Program("setpriv")]) {
        return;
    }
    let python = python();
    let (causes, stats) = run(&python).go_with(|server| {
        let pid = server.process.pid().to_string();
        Agent::start_with_few_capabilities(&["--pid", &pid])
    });
    assert_eq!(causes, ALL_RIGHT);
    assert_eq!(stats["python.followed"], 1, "{stats:?}");
}

/// What the agent holds: descriptors, and resident memory in KiB.
fn holds(agent: &Agent) -> (usize, usize) {
    let directory = format!("/proc/{}", agent.pid());
    let descriptors = fs::read_dir(format!("{directory}/fd")).expect("it runs");
    let status = fs::read_to_string(format!("{directory}/status")).expect("it runs");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    (descriptors.count(), resident.expect("the kernel says so"))
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_thousand_processes_leave_nothing() {
    const MOST_GROWTH_KIB: usize = 32 * 1024;
    let agent = Agent::start(&["--exe", "**/python3*"]);
    // In few at a time: each lot must be through before a deadline.
    const SCRIPT: &str = "for i in $(seq 25); do python3 -S -E -c pass || exit 1; done";
    let fifty = || {
        let shells =
            [0, 1].map(|_| Process::spawn("short-lived", Command::new("sh").args(["-c", SCRIPT])));
        for shell in shells {
            shell.succeed();
        }
    };
    // What is made once is there before it counts.
    fifty();
    let (before, resident) = holds(&agent);
    for _ in 0..20 {
        fifty();
    }
    let until = Instant::now() + DEADLINE;
    let (after, grown) = loop {
        let (descriptors, now) = holds(&agent);
        if descriptors <= before || Instant::now() > until {
            break (descriptors, now.saturating_sub(resident));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(after <= before, "{after} descriptors after {before}");
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more");
    let stats = agent.stop();
    assert!(stats["uprobes.probed_files"] >= 1, "{stats:?}");
}

/// A process with an interpreter that lies: its type of contexts is made of pointers to anywhere.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_fake_interpreter_costs_only_itself() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <unistd.h>
        static const char *name = "_contextvars.Context";
        void *PyContext_Type[64];
        void *PyContext_CopyCurrent(void) { static long n; return (void *)(++n << 40); }
        int main(void) {
            for (int i = 0; i < 64; i++) PyContext_Type[i] = (void *)(0x4141414141414141UL + i);
            PyContext_Type[3] = (void *)name;
            PyContext_Type[4] = (void *)64;
            PyContext_Type[26] = (void *)40;
            puts("lying");
            fflush(stdout);
            for (;;) { PyContext_CopyCurrent(); usleep(100); }
        }"#;
    if lacks(&[Need::Python, Need::Program("cc")]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let (source, program) = (
        directory.path().join("fake.c"),
        directory.path().join("fake"),
    );
    fs::write(&source, SOURCE).expect("it is writable");
    let mut compiler = Command::new("cc");
    compiler
        .arg("-rdynamic")
        .arg("-o")
        .arg(&program)
        .arg(&source);
    Process::spawn("cc", &mut compiler).succeed();
    let fake = Process::spawn("fake", &mut Command::new(&program));
    fake.wait_for_line("that it lies", |line| line == "lying");

    let python = python();
    let (causes, stats) =
        run(&python).go_with(|server| Agent::watch(&[&server.process, &fake], &[]));
    assert_eq!(causes, ALL_RIGHT);
    assert_eq!(stats["python.processes"], 2, "{stats:?}");
    assert_eq!(stats["python.followed"], 1, "{stats:?}");
}
