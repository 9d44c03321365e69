//! What capture can do with few privileges.

use std::thread;
use std::time::Instant;

use kaos_agent::capture::event::Pid;
use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::release;
use kaos_agent::capture::uprobes::links::Attachment;
use kaos_agent::settings::CaptureSettings;

use crate::support::{DEADLINE, Python, Seen, counter, live_with, of_pid};

/// From 6.16 on a probe that is a perf event asks for CAP_SYS_ADMIN. Stable series got that, too (Debian's
/// 6.12.117 has it), so that an older kernel may ask for it or not.
const ASKS_FOR_MORE: (u32, u32) = (6, 16);

/// linux/capability.h: DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF, CHECKPOINT_RESTORE.
const DOCUMENTED: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39 | 1 << 40;
/// linux/capability.h
const SYS_ADMIN: u64 = 1 << 21;

/// Leaves this thread only these capabilities.
fn keep_only(capabilities: u64) {
    /// `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let [low, high] = [capabilities as u32, (capabilities >> 32) as u32];
    // Effective, permitted and inheritable: first the low halves, then the high ones.
    let data = [low, low, 0, high, high, 0];
    // SAFETY: the kernel reads these two structures, which are there.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Whether the kernel refuses to probe this process's interpreter by perf events. All else works.
fn is_refused(pid: Pid, capabilities: u64) -> bool {
    // In a thread of its own, since there is no way back.
    let thread = thread::spawn(move || {
        keep_only(capabilities);
        let settings = CaptureSettings {
            uprobes: Some(Attachment::PerfEvents),
            ..CaptureSettings::default()
        };
        let mut live = live_with(of_pid(pid), settings);
        let mut seen = Seen::default();
        let start = Instant::now();
        loop {
            live.read(1024, &mut seen.events);
            if counter(&live, "uprobes.probed_files") > 0 {
                return counter(&live, "uprobes.refused") > 0;
            }
            assert!(start.elapsed() < DEADLINE, "it is not even tried");
            live.wait();
        }
    });
    thread.join().expect("the thread ends well")
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn perf_events_ask_for_what_the_kernel_says() {
    let python = Python::start();
    assert!(!is_refused(python.pid(), DOCUMENTED | SYS_ADMIN));
    let version = release::parse(&release::running()).expect("a version");
    if is_refused(python.pid(), DOCUMENTED) {
        println!("{version:?} asks for CAP_SYS_ADMIN");
    } else {
        assert!(version < ASKS_FOR_MORE, "{version:?} asks for no more");
    }
}
