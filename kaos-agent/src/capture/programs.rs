//! The table of kernel programs: what drives loading, `doctor` and the documentation.

/// One program of the object.
#[derive(Debug, Clone, Copy)]
pub struct ProgramSpec {
    /// Name in the object; the same as its tracepoint's.
    pub hook: &'static str,
    /// Subsystem of the tracepoint, for people who look for it in tracefs.
    pub subsystem: &'static str,
    /// First kernel that has it.
    pub since: (u32, u32),
    /// Without it nothing can be observed.
    pub needed: bool,
    /// What is lost without it.
    pub why: &'static str,
}

const fn needed(
    subsystem: &'static str,
    hook: &'static str,
    since: (u32, u32),
    why: &'static str,
) -> ProgramSpec {
    ProgramSpec {
        hook,
        subsystem,
        since,
        needed: true,
        why,
    }
}

const fn optional(
    subsystem: &'static str,
    hook: &'static str,
    since: (u32, u32),
    why: &'static str,
) -> ProgramSpec {
    ProgramSpec {
        needed: false,
        ..needed(subsystem, hook, since, why)
    }
}

/// All programs, in the order in which they are attached: processes before their bytes, so that
/// nothing is captured of a process whose end would go unnoticed. All are BTF tracepoints.
pub const PROGRAMS: &[ProgramSpec] = &[
    needed(
        "sched",
        "sched_process_exit",
        (5, 5),
        "processes that ended would be followed on",
    ),
    needed(
        "sched",
        "sched_process_fork",
        (5, 5),
        "children of a selected process would be missed",
    ),
    needed(
        "sched",
        "sched_process_exec",
        (5, 5),
        "programs that start later would be missed",
    ),
    optional(
        "cgroup",
        "cgroup_mkdir",
        (5, 5),
        "cgroups made later below a selected one are missed",
    ),
    optional(
        "cgroup",
        "cgroup_rmdir",
        (5, 5),
        "cgroups that are gone keep their place in a table",
    ),
    optional(
        "cgroup",
        "cgroup_attach_task",
        (5, 5),
        "processes moved into a selected cgroup are missed",
    ),
    needed(
        "sock",
        "inet_sock_set_state",
        (5, 5),
        "connects, failures and ends of connections would be missed",
    ),
    optional(
        "sock",
        "inet_sk_error_report",
        (5, 15),
        "errors that do not end a connection at once are missed",
    ),
    optional(
        "tcp",
        "tcp_destroy_sock",
        (5, 5),
        "ends of half-closed connections are missed, and places in a table are kept until it is full",
    ),
    needed(
        "sock",
        "sock_send_length",
        (6, 3),
        "nothing that is sent would be seen",
    ),
    needed(
        "sock",
        "sock_recv_length",
        (6, 3),
        "nothing that is received would be seen",
    ),
];

/// First kernel on which all needed programs exist.
#[must_use]
pub fn oldest_kernel() -> (u32, u32) {
    PROGRAMS
        .iter()
        .filter(|program| program.needed)
        .map(|program| program.since)
        .max()
        .expect("the table is not empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_this_table() {
        let architecture = include_str!("../../../ARCHITECTURE.md");
        let table = to_markdown();
        assert!(
            architecture.contains(&table),
            "ARCHITECTURE.md must have:\n{table}"
        );
    }

    #[test]
    fn the_socket_tracepoints_decide_the_oldest_kernel() {
        assert_eq!(oldest_kernel(), (6, 3));
    }

    #[test]
    fn every_program_of_the_object_is_in_the_table_and_the_other_way_round() {
        let object = aya_obj_program_names();
        let mut table: Vec<_> = PROGRAMS
            .iter()
            .map(|program| program.hook.to_owned())
            .collect();
        table.sort();
        assert_eq!(object, table);
    }

    fn aya_obj_program_names() -> Vec<String> {
        let text = String::from_utf8_lossy(kaos_ebpf::OBJECT);
        let mut names: Vec<String> = text
            .split('\0')
            .filter_map(|name| name.strip_prefix("tp_btf/"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The table as the documentation shows it.
    fn to_markdown() -> String {
        let mut table = "| tracepoint | since | without it |\n|---|---|---|\n".to_owned();
        for program in PROGRAMS {
            let consequence = if program.needed {
                "nothing works: "
            } else {
                ""
            };
            table += &format!(
                "| `{}:{}` | {}.{} | {consequence}{} |\n",
                program.subsystem, program.hook, program.since.0, program.since.1, program.why
            );
        }
        table
    }
}
