//! What capture can do with few privileges.

use std::thread;
use std::time::Instant;

use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::release;
use kaos_agent::capture::uprobes::links::Attachment;
use kaos_agent::settings::CaptureSettings;

use crate::support::{DEADLINE, Python, Seen, counter, live_with, of_pid};

/// From 6.16 on a probe that is a perf event asks for CAP_SYS_ADMIN.
const ASKS_FOR_MORE: (u32, u32) = (6, 16);

/// Leaves this thread only the capabilities that the agent is documented to need.
fn drop_privileges() {
    /// linux/capability.h: DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF, CHECKPOINT_RESTORE.
    const DOCUMENTED: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39 | 1 << 40;
    /// `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let [low, high] = [DOCUMENTED as u32, (DOCUMENTED >> 32) as u32];
    // Effective, permitted and inheritable: first the low halves, then the high ones.
    let data = [low, low, 0, high, high, 0];
    // SAFETY: the kernel reads these two structures, which are there.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// In a thread of its own, since there is no way back.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn perf_events_ask_for_what_the_kernel_says() {
    let version = release::parse(&release::running()).expect("a version");
    let python = Python::start();
    let pid = python.pid();
    let refused = thread::spawn(move || {
        drop_privileges();
        let settings = CaptureSettings {
            uprobes: Some(Attachment::PerfEvents),
            ..CaptureSettings::default()
        };
        // What is no probe works, or this panics.
        let mut live = live_with(of_pid(pid), settings);
        let mut seen = Seen::default();
        let start = Instant::now();
        // The interpreter is probed, or cannot be.
        loop {
            live.read(1024, &mut seen.events);
            let refused = counter(&live, "uprobes.refused");
            if refused + counter(&live, "uprobes.probed_files") > 0 {
                return refused > 0;
            }
            assert!(start.elapsed() < DEADLINE, "it is not even tried");
            live.wait();
        }
    });
    let refused = refused.join().expect("the thread ends well");
    assert_eq!(refused, version >= ASKS_FOR_MORE, "{version:?}");
}
