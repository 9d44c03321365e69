//! `cargo xtask vm`: tests of the agent on other kernels than this machine's.
//!
//! Debian's kernels start in qemu's emulation, which needs no support of the processor, with this
//! machine's files for reading. There the test binaries of the kernel tier run as they are.

mod machine;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use self::machine::Machine;
use crate::test::summary::Summary;
use crate::{command, setup, toolchain};

/// `cargo xtask vm`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these kernels: names of Debian's suites.
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
}

/// Tests of one test binary.
struct Tests {
    binary: &'static str,
    /// Their whole names; all of the kernel tier where there are none.
    names: &'static [&'static str],
}

/// A kernel, and what runs there.
struct Guest {
    /// The suite of Debian that it is of.
    suite: &'static str,
    /// More of its command line.
    parameters: &'static str,
    tests: &'static [Tests],
}

/// Does `doctor` tell the truth there?
const DOCTOR: Tests = Tests {
    binary: "kernels",
    names: &["doctor_and_run_say_what_this_kernel_can_do"],
};
/// Programs that cannot be attached on older kernels, before their verifiers.
const VERIFIER: Tests = Tests {
    binary: "kaos_agent",
    names: &[
        "capture::kernel::tests::the_socket_programs_pass_the_verifier_of_kernels_without_their_tracepoints",
    ],
};
/// Bytes, connections, selection and TLS: from each group what no other test shows.
const CAPTURE: Tests = Tests {
    binary: "capture",
    names: &[
        "connections::failed_connects_and_resets_have_their_reason",
        "connections::the_fin_is_no_byte_and_ends_are_told",
        "limits::no_program_comes_near_the_limit_of_the_verifier",
        "operations::both_ends_agree_on_positions_and_addresses",
        "operations::every_syscall_that_moves_bytes_is_seen_at_both_ends",
        "operations::large_messages_have_head_and_tail_and_a_gap_of_known_size",
        "privileges::perf_events_ask_for_what_the_kernel_says",
        "selection::children_are_captured_from_their_first_byte_and_others_are_not",
        "tls::a_library_that_is_loaded_later_is_seen_at_both_ends",
        "tls::perf_events_do_as_well",
    ],
};
/// Everything of capture.
const ALL_OF_CAPTURE: Tests = Tests {
    binary: "capture",
    names: &[],
};
/// Contexts of Python and uvloop's functions: right, unknown and wrong causes.
const CAUSES: Tests = Tests {
    binary: "python",
    names: &["causes_with_the_documented_capabilities"],
};
/// The same spans over TLS as in plain text.
const TLS: Tests = Tests {
    binary: "tls",
    names: &["httpx_and_uvicorn"],
};

/// The kernels, from the oldest to the newest.
const GUESTS: &[Guest] = &[
    // Older than what is needed.
    Guest {
        suite: "bookworm",
        parameters: "",
        tests: &[DOCTOR, VERIFIER],
    },
    Guest {
        suite: "bookworm-backports",
        parameters: "",
        tests: &[DOCTOR, CAPTURE, CAUSES],
    },
    Guest {
        suite: "trixie",
        parameters: "",
        tests: &[DOCTOR, VERIFIER, ALL_OF_CAPTURE, CAUSES, TLS],
    },
    // Preemptible: programs on functions have stacks of their own there.
    Guest {
        suite: "sid",
        parameters: "preempt=full",
        tests: &[DOCTOR, CAPTURE, CAUSES, TLS],
    },
    Guest {
        suite: "trixie-backports",
        parameters: "",
        tests: &[DOCTOR, CAPTURE, CAUSES],
    },
];

/// Begins lines that are ours, not a test's.
const MARK: &str = "KAOS-VM ";
/// What a kernel says of its own faults.
const FAULTS: [&str; 6] = [
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "rcu: INFO",
    "general protection",
];

/// Runs the tests and ends with a line `N passed, N failed, N skipped`.
///
/// # Errors
/// Something is missing, or the tests do not build.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(reason) = why_not()? {
        bail!("{reason}");
    }
    let is_unknown = |suite: &&String| GUESTS.iter().all(|guest| guest.suite != **suite);
    if let Some(unknown) = options.suites.iter().find(is_unknown) {
        bail!(
            "no kernel {unknown}: there are {}",
            setup::vm::SUITES.join(", ")
        );
    }
    let mut summary = Summary::default();
    pass(&options.suites, &mut summary)?;
    summary.report();
    Ok(summary.exit_code())
}

/// What keeps these tests from running here.
///
/// # Errors
/// No home directory.
pub fn why_not() -> Result<Option<&'static str>> {
    if !setup::is_root() {
        return Ok(Some("it needs root; type: sudo -E cargo xtask vm"));
    }
    for guest in GUESTS {
        if setup::vm::programs().is_none() || setup::vm::built(guest.suite)?.is_none() {
            return Ok(Some(
                "no other kernels can be started here; type: cargo xtask setup --vm",
            ));
        }
    }
    Ok(None)
}

/// Runs the tests on the kernels of these suites, or on all, where [`why_not`] has no reason.
///
/// # Errors
/// The tests do not build, or a machine cannot be started. Failing tests are no error of ours.
pub fn pass(suites: &[String], summary: &mut Summary) -> Result<()> {
    let binaries = build()?;
    let is_wanted = |guest: &&Guest| suites.is_empty() || suites.iter().any(|it| it == guest.suite);
    for guest in GUESTS.iter().filter(is_wanted) {
        guest.pass(&binaries, summary)?;
    }
    Ok(())
}

impl Guest {
    fn pass(&self, binaries: &BTreeMap<String, PathBuf>, summary: &mut Summary) -> Result<()> {
        let kernel = setup::vm::built(self.suite)?.context("its kernel is missing")?;
        let programs = setup::vm::programs().context("qemu is missing")?;
        let release = kernel.release()?;
        println!("vm: {release} {} ({})", self.parameters, self.suite);
        let script = self.script(binaries)?;
        let started = Instant::now();
        let mut told = Told::default();
        let machine = Machine {
            name: self.suite,
            kernel: &kernel,
            parameters: self.parameters,
            script: &script,
        };
        let log = machine.run(&programs, |line| {
            println!("{line}");
            told.read(line);
        });
        let log = match log {
            Ok(log) => log,
            Err(error) => {
                println!("vm: {error:#}");
                String::new()
            }
        };
        let faults = log
            .lines()
            .filter(|line| FAULTS.iter().any(|fault| line.contains(fault)));
        let faults: Vec<&str> = faults.collect();
        for fault in &faults {
            println!("vm: the kernel says: {fault}");
        }
        let seconds = started.elapsed().as_secs();
        println!("vm: {release} took {seconds} s");
        // It is the kernel that was asked for, it did all that it was asked, and came to no harm.
        told.outcome("runs_to_its_end", told.is_ended && told.release == release);
        told.outcome("kernel_has_no_faults", !log.is_empty() && faults.is_empty());
        if self.parameters.contains("preempt=full") {
            told.outcome("kernel_is_preemptible", told.preempt.contains("(full)"));
        }
        for name in self.tests.iter().flat_map(|tests| tests.names) {
            if !told.outcomes.iter().any(|(told, _)| told == name) {
                told.outcome(name, false);
            }
        }
        for (name, is_passed) in &told.outcomes {
            let outcome = if *is_passed { "ok" } else { "FAILED" };
            summary.read(&format!("test vm::{release}::{name} ... {outcome}"));
        }
        for skipped in &told.skipped {
            summary.skipped_itself(&format!("vm::{release}::{skipped}"));
        }
        Ok(())
    }

    /// What it runs.
    fn script(&self, binaries: &BTreeMap<String, PathBuf>) -> Result<String> {
        let mut script = String::from(
            "cd /tmp\n\
             export HOME=/root TERM=dumb KAOS_TEST_SKIPS=/tmp/skips\n\
             : > $KAOS_TEST_SKIPS\n\
             run() { \"$@\"; echo \"KAOS-VM status $? $1\"; }\n",
        );
        // `python3` may be a shell script that looks for the interpreter, and takes seconds here.
        let print = "import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))";
        let python = command::output(Command::new("python3").args(["-c", print]))?;
        script += &format!(
            "export PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            python.trim()
        );
        for variable in setup::variables()? {
            script += &format!("export {variable}\n");
        }
        for Tests { binary, names } in self.tests {
            let path = binaries.get(*binary);
            let path = path.with_context(|| format!("there is no test binary {binary}"))?;
            let exact = if names.is_empty() { "" } else { "--exact" };
            script += &format!(
                "run {} --ignored --test-threads=1 --format=pretty --color=never {exact} {}\n",
                path.display(),
                names.join(" ")
            );
        }
        script += "while read line; do echo \"KAOS-VM skipped $line\"; done < $KAOS_TEST_SKIPS\n";
        Ok(script)
    }
}

/// What a machine told.
#[derive(Default)]
struct Told {
    release: String,
    preempt: String,
    is_ended: bool,
    outcomes: Vec<(String, bool)>,
    skipped: Vec<String>,
    /// A test whose outcome comes on a later line, since it printed something.
    running: Option<String>,
}

impl Told {
    fn outcome(&mut self, name: &str, is_passed: bool) {
        self.outcomes.push((name.to_owned(), is_passed));
    }

    fn read(&mut self, line: &str) {
        if let Some(ours) = line.strip_prefix(MARK) {
            let (word, rest) = ours.split_once(' ').unwrap_or((ours, ""));
            match word {
                "release" => rest.clone_into(&mut self.release),
                "preempt" => rest.clone_into(&mut self.preempt),
                "skipped" => self.skipped.push(rest.to_owned()),
                "end" => self.is_ended = true,
                "status" => self.status(rest),
                _ => {}
            }
            return;
        }
        let mut outcome = line;
        if let Some((name, rest)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            self.running = Some(name.to_owned());
            outcome = rest;
        }
        // A test may print something between its name and its outcome.
        let is_passed = outcome.ends_with("ok");
        if (is_passed || outcome.ends_with("FAILED"))
            && let Some(name) = self.running.take()
        {
            self.outcome(&name, is_passed);
        }
    }

    /// A test binary ended with this status.
    fn status(&mut self, status: &str) {
        let (code, binary) = status.split_once(' ').unwrap_or((status, ""));
        // 101: tests failed, which they said.
        let is_told = code == "101" && self.outcomes.iter().any(|(_, is_passed)| !is_passed);
        if code != "0" && !is_told {
            self.outcome(&format!("{binary} ended with {code}"), false);
        }
    }
}

/// Builds the agent and the test binaries; those by their names.
fn build() -> Result<BTreeMap<String, PathBuf>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
        profile: Option<Profile>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let agent = ["build", "--quiet", "--package=kaos-agent", "--bins"];
    command::run(&mut toolchain::cargo(&agent)?)?;
    let mut cargo = toolchain::cargo(&[
        "test",
        "--quiet",
        "--no-run",
        "--package=kaos-agent",
        "--package=kaos-tests",
        "--message-format=json",
        "--lib",
    ])?;
    for tests in GUESTS.iter().flat_map(|guest| guest.tests) {
        if tests.binary != VERIFIER.binary {
            cargo.arg(format!("--test={}", tests.binary));
        }
    }
    let messages = command::output(cargo.stdin(Stdio::null()))?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let tests = messages.filter(|message| message.profile.as_ref().is_some_and(|it| it.test));
    Ok(tests
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_what_a_machine_says() {
        let mut told = Told::default();
        for line in [
            "KAOS-VM release 6.1.0",
            "KAOS-VM preempt none voluntary (full)",
            "test a::b ... ok",
            "test a::c ... a program: 12",
            "another: 13",
            "ok",
            "test a::d ... FAILED",
            "KAOS-VM status 101 /t/a",
            "KAOS-VM status 134 /t/b",
            "KAOS-VM skipped a::b: no nginx",
            "test result: FAILED. 1 passed; 1 failed",
            "KAOS-VM end",
        ] {
            told.read(line);
        }
        assert_eq!(told.release, "6.1.0");
        assert!(told.preempt.contains("(full)") && told.is_ended);
        let expected = [
            ("a::b", true),
            ("a::c", true),
            ("a::d", false),
            ("/t/b ended with 134", false),
        ];
        let expected = expected.map(|(name, is_passed)| (name.to_owned(), is_passed));
        assert_eq!(told.outcomes, expected);
        assert_eq!(told.skipped, ["a::b: no nginx"]);
    }

    #[test]
    fn every_kernel_that_is_fetched_is_tried() {
        let mut tried: Vec<_> = GUESTS.iter().map(|guest| guest.suite).collect();
        let mut fetched = setup::vm::SUITES.to_vec();
        tried.sort_unstable();
        fetched.sort_unstable();
        assert_eq!(tried, fetched);
    }
}
