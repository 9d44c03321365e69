//! Checks of the machine: what the kernel is, and what it lets us do.

use std::fs;
use std::path::Path;

use super::Check;
use crate::capture::release;

/// Looks at the kernel, its settings, and the capabilities of this process.
#[must_use]
pub fn check_machine() -> Vec<Check> {
    let status = read("/proc/self/status");
    let mut checks = vec![
        check_kernel(&release::running()),
        check_btf(Path::new("/sys/kernel/btf/vmlinux")),
    ];
    checks.extend(check_capabilities(&status));
    checks.push(check_lockdown(&read("/sys/kernel/security/lockdown")));
    checks.push(check_restrictions(
        &read("/proc/sys/kernel/unprivileged_bpf_disabled"),
        &read("/proc/sys/kernel/perf_event_paranoid"),
    ));
    checks.push(check_locked_memory(&read("/proc/self/limits")));
    let mounts = read("/proc/self/mounts");
    checks.push(check_tracefs(&mounts));
    checks.push(check_cgroups(&mounts));
    checks.push(check_clock(&read(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    )));
    checks
}

/// Contents of a file of the kernel's, empty where it is not there or cannot be read.
fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn check_kernel(release: &str) -> Check {
    match release::check(release) {
        Err(error) => Check::fail("kernel", format!("{release}: {}", error.why), error.remedy),
        Ok(()) if release::parse(release).is_none() => Check::warn(
            "kernel",
            format!("release {release:?} is not understood"),
            "make sure that it is not too old: the checks of the tracepoints tell",
        ),
        Ok(()) => Check::ok("kernel", release),
    }
}

fn check_btf(path: &Path) -> Check {
    match fs::File::open(path) {
        Ok(_) => Check::ok("BTF", path.display().to_string()),
        Err(error) => Check::fail(
            "BTF",
            format!("{} cannot be opened: {error}", path.display()),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, and mount /sys into the container",
        ),
    }
}

/// A capability, its number, and what is lost without it.
struct Capability {
    name: &'static str,
    bit: u32,
    /// What it is for.
    purpose: &'static str,
    /// What cannot be done without it; `None` where nothing can.
    lost: Option<&'static str>,
}

/// Numbers from linux/capability.h.
const CAPABILITIES: [Capability; 5] = [
    Capability {
        name: "CAP_BPF",
        bit: 39,
        purpose: "loads programs and their maps",
        lost: None,
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        purpose: "attaches programs that read memory, and tells what processes map",
        lost: None,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        purpose: "looks into processes: settings, executable, Python's contexts",
        lost: Some(
            "settings, executable and Python's contexts of processes of other users, or with more \
             capabilities, cannot be read",
        ),
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        purpose: "reads the files that processes map, whosever they are",
        lost: Some("files of containers that belong to other users cannot be read"),
    },
    Capability {
        name: "CAP_CHECKPOINT_RESTORE",
        bit: 40,
        purpose: "reads the very file that is mapped, even where it was replaced or deleted since",
        lost: Some("mapped files that were replaced since cannot be read"),
    },
];
/// Stands for all of them.
const CAP_SYS_ADMIN: u32 = 21;

/// Whether this process holds CAP_SYS_ADMIN.
#[must_use]
pub fn holds_sys_admin() -> bool {
    has(effective(&read("/proc/self/status")), CAP_SYS_ADMIN)
}

/// The capabilities that a process has, a bit each.
fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

fn has(capabilities: u64, bit: u32) -> bool {
    capabilities >> bit & 1 == 1
}

fn check_capabilities(status: &str) -> Vec<Check> {
    let effective = effective(status);
    let has = |bit: u32| has(effective, bit);
    let check = |capability: &Capability| {
        let name = capability.name;
        let remedy =
            format!("run as root, or grant {name} (setcap, or securityContext.capabilities)");
        match capability.lost {
            _ if has(capability.bit) => Check::ok(name, format!("held: {}", capability.purpose)),
            None if has(CAP_SYS_ADMIN) => Check::ok(name, "not held, but CAP_SYS_ADMIN is"),
            None => Check::fail(name, "not held: no program can be loaded", remedy),
            Some(lost) => Check::warn(name, format!("not held: {lost}"), remedy),
        }
    };
    CAPABILITIES.iter().map(check).collect()
}

fn check_lockdown(state: &str) -> Check {
    // The state in force stands in brackets: `none [integrity] confidentiality`.
    let current = state.split(['[', ']']).nth(1).unwrap_or("none");
    match current {
        "confidentiality" => Check::fail(
            "lockdown",
            "confidentiality: BPF programs may not read kernel memory",
            "boot with lockdown=integrity or without lockdown",
        ),
        _ => Check::ok("lockdown", current),
    }
}

fn check_restrictions(unprivileged_bpf_disabled: &str, perf_event_paranoid: &str) -> Check {
    // Both bind only processes without CAP_BPF and CAP_PERFMON, which are checked by themselves.
    Check::ok(
        "restrictions",
        format!(
            "unprivileged_bpf_disabled={unprivileged_bpf_disabled}, \
             perf_event_paranoid={perf_event_paranoid} (capabilities are above these)"
        ),
    )
}

fn check_locked_memory(limits: &str) -> Check {
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|values| values.split_whitespace().next())
        .unwrap_or("unknown");
    // Since 5.11 maps are charged to the memory cgroup.
    Check::ok(
        "locked memory",
        format!("limit {limit} (does not bind BPF maps on this kernel)"),
    )
}

fn check_tracefs(mounts: &str) -> Check {
    Check::ok(
        "tracefs",
        match mount_point(mounts, "tracefs") {
            Some(path) => path.to_owned(),
            None => "not mounted (not needed: neither tracepoints by BTF nor probes in processes \
                     go through it)"
                .to_owned(),
        },
    )
}

fn check_cgroups(mounts: &str) -> Check {
    match mount_point(mounts, "cgroup2") {
        Some(path) => Check::ok("cgroup v2", path),
        None => Check::warn(
            "cgroup v2",
            "not mounted: --cgroup cannot be used and containers are not recognised",
            "mount -t cgroup2 none /sys/fs/cgroup, or mount the host's into the container",
        ),
    }
}

fn mount_point<'mounts>(mounts: &'mounts str, file_system: &str) -> Option<&'mounts str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == file_system).then_some(path)
    })
}

fn check_clock(source: &str) -> Check {
    match source {
        // Read by input and output to a device, a microsecond and more each time.
        "hpet" | "acpi_pm" | "jiffies" => Check::warn(
            "clock",
            format!("{source} is slow or coarse: each event costs a microsecond more"),
            "make the kernel use tsc or a paravirtual clock (clocksource=tsc)",
        ),
        "" => Check::ok("clock", "source unknown"),
        source => Check::ok("clock", source),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fail, Ok, Warn};
    use super::*;

    #[test]
    fn kernels() {
        assert_eq!(check_kernel("6.18.5-arch1-1").verdict, Ok);
        assert_eq!(check_kernel("6.3.0").verdict, Ok);
        assert_eq!(check_kernel("6.1.0-29-amd64").verdict, Fail);
        assert_eq!(check_kernel("").verdict, Warn);
    }

    fn verdicts(mask: &str) -> Vec<Verdict> {
        check_capabilities(&format!("Name:\tx\nCapEff:\t{mask}\n"))
            .iter()
            .map(|check| check.verdict)
            .collect()
    }

    #[test]
    fn capabilities() {
        assert_eq!(verdicts("000001ffffffffff"), [Ok, Ok, Ok, Ok, Ok]);
        assert_eq!(verdicts("0000000000000000"), [Fail, Fail, Warn, Warn, Warn]);
        assert_eq!(verdicts("000000c000000000"), [Ok, Ok, Warn, Warn, Warn]);
        assert_eq!(verdicts("0000000000200000"), [Ok, Ok, Warn, Warn, Warn]);
        assert_eq!(check_capabilities("")[0].verdict, Fail);
    }

    #[test]
    fn states_of_lockdown() {
        assert_eq!(
            check_lockdown("[none] integrity confidentiality").found,
            "none"
        );
        assert_eq!(
            check_lockdown("none [integrity] confidentiality").verdict,
            Ok
        );
        assert_eq!(
            check_lockdown("none integrity [confidentiality]").verdict,
            Fail
        );
        assert_eq!(check_lockdown("").verdict, Ok);
    }

    #[test]
    fn mounts() {
        let mounts = "tracefs /sys/kernel/tracing tracefs rw 0 0\nnone /cg cgroup2 rw 0 0";
        assert_eq!(check_tracefs(mounts).found, "/sys/kernel/tracing");
        assert!(
            check_tracefs("")
                .found
                .starts_with("not mounted (not needed")
        );
        assert_eq!(check_cgroups(mounts).found, "/cg");
        assert_eq!(check_cgroups("").verdict, Warn);
    }

    #[test]
    fn clocks() {
        assert_eq!(check_clock("tsc").verdict, Ok);
        assert_eq!(check_clock("hpet").verdict, Warn);
    }

    #[test]
    fn limits() {
        let limits = "Limit  Soft Limit\nMax locked memory   8388608   8388608   bytes";
        assert!(
            check_locked_memory(limits)
                .found
                .starts_with("limit 8388608 ")
        );
    }
}
