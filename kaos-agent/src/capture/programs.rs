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

/// Programs that are attached to functions of the traced processes, where those have them. From
/// 6.6 on with `uprobe_multi` links, before with one perf event for each place.
pub const UPROBES: &[ProgramSpec] = &[
    optional(
        "uretprobe",
        "context_made",
        (6, 6),
        "what caused a call is not known in Python processes that serve several requests",
    ),
    optional(
        "uprobe",
        "stream_written",
        (6, 6),
        "the same, for those that use uvloop",
    ),
    optional(
        "uprobe",
        "stream_flush",
        (6, 6),
        "the same, for those that use uvloop",
    ),
    optional(
        "uretprobe",
        "stream_flushed",
        (6, 6),
        "the same, for those that use uvloop",
    ),
    optional(
        "uprobe",
        "tls_enter",
        (6, 3),
        "nothing inside of TLS is seen",
    ),
    optional(
        "uretprobe",
        "tls_return",
        (6, 3),
        "nothing inside of TLS is seen",
    ),
];

/// Programs that are run when something is to be known of all threads.
pub const ITERATORS: &[ProgramSpec] = &[optional(
    "iter",
    "threads",
    (5, 8),
    "what caused a call is not known in Python processes that serve several requests",
)];

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
    fn the_documentation_shows_these_tables() {
        let architecture = include_str!("../../../ARCHITECTURE.md");
        for table in [tracepoints_to_markdown(), uprobes_to_markdown()] {
            assert!(
                architecture.contains(&table),
                "ARCHITECTURE.md must have:\n{table}"
            );
        }
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

    /// Every program for functions of processes is a global symbol of the object, and lies in one of
    /// the two sections that are for them.
    #[test]
    fn every_uprobe_of_the_object_is_in_its_table_and_the_other_way_round() {
        use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
        let object = object::File::parse(kaos_ebpf::OBJECT).expect("it is an ELF file");
        let mut programs: Vec<_> = object
            .symbols()
            .filter(|symbol| symbol.is_global())
            .filter_map(|symbol| {
                let section = object.section_by_index(symbol.section_index()?).ok()?;
                let kind = section.name().ok()?.strip_suffix(".multi")?.to_owned();
                Some((symbol.name().ok()?.to_owned(), kind))
            })
            .collect();
        programs.sort();
        let mut table: Vec<_> = UPROBES
            .iter()
            .map(|program| (program.hook.to_owned(), program.subsystem.to_owned()))
            .collect();
        table.sort();
        assert_eq!(programs, table);
    }

    /// The tables as the documentation shows them.
    fn tracepoints_to_markdown() -> String {
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

    fn uprobes_to_markdown() -> String {
        let mut table = "| program | at | without it |\n|---|---|---|\n".to_owned();
        for program in UPROBES {
            let at = match program.subsystem {
                "uprobe" => "entry",
                _ => "return",
            };
            table += &format!("| `{}` | {at} | {} |\n", program.hook, program.why);
        }
        table
    }
}
