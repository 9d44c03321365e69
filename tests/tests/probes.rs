//! Probes in processes: how soon they are there, and that they go.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use kaos_tests::DEADLINE;
use kaos_tests::agent::Agent;
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Certificate, Need, Workloads, lacks};

/// Prints how long it takes, which is the claim, and asserts that each is probed at all.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn libraries_are_probed_as_they_are_loaded() {
    const TIMES: usize = 11;
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
    let lines = Workloads::of(&receiver).probed(TIMES);
    let mut times: Vec<f64> = lines
        .iter()
        .map(|line| line.parse().expect("milliseconds"))
        .collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(times.len(), TIMES);
    println!(
        "a library is probed {:.1} ms after it begins to be loaded (median; {:.1} to {:.1})",
        times[TIMES / 2],
        times[0],
        times[TIMES - 1]
    );
    let stats = agent.stop();
    assert!(stats["uprobes.probed_files"] >= TIMES as u64, "{stats:?}");
    assert_eq!(stats["uprobes.lost_mappings"], 0);
}

/// Ids of the kernel's objects that a process holds, by the field of `fdinfo` that says them, with the
/// type where that has one.
fn held(pid: u32, field: &str) -> BTreeMap<u32, String> {
    let directory = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let texts = directory.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let held = texts.filter_map(|text| {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let id = value(field)?.parse().ok()?;
        Some((id, value("link_type").unwrap_or_default()))
    });
    held.collect()
}

/// Whether the kernel still has an object with this id. `command` is one of `BPF_*_GET_FD_BY_ID`.
fn exists(command: libc::c_int, id: u32) -> bool {
    // As much of `union bpf_attr` as these commands look at.
    let attributes = [id, 0, 0];
    // SAFETY: the kernel reads as many bytes as it is told to, which are there.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    if let Ok(descriptor @ 0..) = libc::c_int::try_from(descriptor) {
        // SAFETY: it was made just now, and nobody else knows it.
        unsafe { libc::close(descriptor) };
        return true;
    }
    let error = std::io::Error::last_os_error();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
    false
}

/// Every link and program of the agent is listed while it runs, and none of them after SIGTERM.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sigterm_leaves_nothing_behind() {
    /// include/uapi/linux/bpf.h
    const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
    /// include/uapi/linux/bpf.h
    const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let agent = Agent::start_verbose(&["--pid", &std::process::id().to_string()]);
    let server = workloads.python_server("server", "httptools");
    agent.wait_until_probed("libssl");
    agent.wait_for_log("stream_flushed is attached to ");
    let seen = workloads.python_client("client", "httpx", &[server.url("/echo/1")]);
    seen.succeed();

    let links = held(agent.pid(), "link_id");
    let programs = held(agent.pid(), "prog_id");
    let is_uprobe = |kind: &&String| matches!(kind.as_str(), "uprobe_multi" | "uretprobe_multi");
    // Of TLS and of uvloop two at least, of the interpreter one.
    let uprobes = links.values().filter(is_uprobe).count();
    assert!(uprobes >= 6, "{links:?}");
    assert!(programs.len() > uprobes, "{programs:?}");
    let left = || {
        let links = links.keys().map(|id| (BPF_LINK_GET_FD_BY_ID, *id));
        let programs = programs.keys().map(|id| (BPF_PROG_GET_FD_BY_ID, *id));
        let all = links.chain(programs);
        all.filter(|(command, id)| exists(*command, *id)).count()
    };
    assert_eq!(left(), links.len() + programs.len());
    agent.stop();
    // The kernel frees what was closed when no CPU can be running it any more.
    let until = Instant::now() + DEADLINE;
    while left() > 0 {
        assert!(Instant::now() < until, "{} are left", left());
        std::thread::sleep(Duration::from_millis(10));
    }
}
