//! What processes use.

use std::fs;
use std::time::Duration;

/// CPU time of a running process, all its threads, past and present, in user and kernel mode.
///
/// The scheduler's exact account, the one that `getrusage` and cgroups add up; a hook of the kernel
/// that runs in the time of a process is in it.
///
/// # Panics
/// The process does not run.
pub fn cpu(pid: u32) -> Duration {
    let pid = libc::pid_t::try_from(pid).expect("a pid is a pid_t");
    let mut clock = 0;
    // SAFETY: `clock` is a valid place.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    assert_eq!(error, 0, "process {pid} does not run");
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(result, 0, "process {pid} does not run");
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// CPU time of all children that have ended and were waited for.
///
/// # Panics
/// Never: the call cannot fail.
pub fn cpu_of_ended_children() -> Duration {
    // SAFETY: all bits zero are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(result, 0, "the resource usage of children can be asked for");
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs())
        + Duration::from_micros(time.tv_usec.unsigned_abs())
}

/// Resident memory of a process, in MB (10⁶ bytes).
///
/// # Panics
/// The process does not run.
pub fn resident_megabytes(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    kibibytes(&status, "VmRSS:") * 1024.0 / 1e6
}

fn kibibytes(status: &str, field: &str) -> f64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"))
        .and_then(|number| number.parse().ok())
        .expect("the kernel states it in kB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_time_advances() {
        let before = cpu(std::process::id());
        while cpu(std::process::id()) == before {}
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(
            kibibytes("VmHWM:\t    8 kB\nVmRSS:\t  12 kB\n", "VmRSS:"),
            12.0
        );
        assert!(resident_megabytes(std::process::id()) > 0.0);
    }
}
