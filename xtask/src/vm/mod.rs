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
use crate::test::summary::{Summary, WRONG};
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
/// The same spans over TLS as in plain text. If the host is busy, an emulated client may give up on its
/// server, or be suspended inside its send for longer than the agent waits for it (`JOIN_WAIT`): then
/// this one fails and is tried again.
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
        tests: &[DOCTOR, ALL_OF_CAPTURE, CAUSES],
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

/// Names of tests of a binary that run; all of the kernel tier where there are none.
type Wanted<'a> = (&'a str, Vec<&'a str>);

/// Failed tests of a machine that are tried again: more than a few are no accident.
const MOST_RETRIED: usize = 3;

impl Guest {
    /// Runs its tests. Those that fail run once more, by themselves, as in the kernel tier: what is
    /// emulated on a busy machine may be suspended for longer than anything on a real one.
    fn pass(&self, binaries: &BTreeMap<String, PathBuf>, summary: &mut Summary) -> Result<()> {
        let tests = self.tests.iter();
        let wanted: Vec<Wanted<'_>> = tests
            .map(|tests| (tests.binary, tests.names.to_vec()))
            .collect();
        let (release, told) = self.run(binaries, &wanted)?;
        told.summarize(&release, summary);
        let failed = told.failed();
        if (1..=MOST_RETRIED).contains(&failed.len()) && !told.is_broken() {
            println!("vm: once more, by themselves: {failed:?}");
            let wanted = failed.iter().map(|(binary, name)| (*binary, vec![*name]));
            let (release, told) = self.run(binaries, &wanted.collect::<Vec<_>>())?;
            let mut again = Summary::default();
            told.summarize(&release, &mut again);
            summary.tried_again(&again);
        }
        Ok(())
    }

    /// Starts it once. Returns its release with what it told.
    fn run(
        &self,
        binaries: &BTreeMap<String, PathBuf>,
        wanted: &[Wanted<'_>],
    ) -> Result<(String, Told)> {
        let kernel = setup::vm::built(self.suite)?.context("its kernel is missing")?;
        let programs = setup::vm::programs().context("qemu is missing")?;
        let release = kernel.release()?;
        println!("vm: {release} {} ({})", self.parameters, self.suite);
        let script = script(binaries, wanted)?;
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
        let log = log.unwrap_or_else(|error| {
            println!("vm: {error:#}");
            String::new()
        });
        let mut is_clean = !log.is_empty();
        for line in log.lines() {
            if FAULTS.iter().any(|fault| line.contains(fault)) {
                println!("vm: the kernel says: {line}");
                is_clean = false;
            }
        }
        println!("vm: {release} took {} s", started.elapsed().as_secs());
        // It is the kernel that was asked for, it did all that it was asked, and came to no harm.
        told.binary.clear();
        let is_whole = told.is_ended && told.release == release;
        told.outcome("runs_to_its_end", is_whole);
        told.outcome("the_kernel_has_no_faults", is_clean);
        if self.parameters.contains("preempt=full") {
            let is_preemptible = told.preempt.contains("(full)");
            told.outcome("the_kernel_is_preemptible", is_preemptible);
        }
        for (_, names) in wanted {
            for name in names {
                if !told.outcomes.iter().any(|outcome| outcome.name == *name) {
                    told.outcome(name, false);
                }
            }
        }
        Ok((release, told))
    }
}

/// What a machine runs.
fn script(binaries: &BTreeMap<String, PathBuf>, wanted: &[Wanted<'_>]) -> Result<String> {
    let mut script = String::from(
        "cd /tmp\n\
             export HOME=/root TERM=dumb KAOS_TEST_SKIPS=/tmp/skips\n\
             : > $KAOS_TEST_SKIPS\n\
             run() { echo \"KAOS-VM binary $1\"; shift; \"$@\"; echo \"KAOS-VM status $?\"; }\n",
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
    for (binary, names) in wanted {
        let path = binaries.get(*binary);
        let path = path.with_context(|| format!("there is no test binary {binary}"))?;
        let exact = if names.is_empty() { "" } else { "--exact" };
        script += &format!(
            "run {binary} {} --ignored --test-threads=1 --format=pretty --color=never {exact} {}\n",
            path.display(),
            names.join(" ")
        );
    }
    script += "while read line; do echo \"KAOS-VM skipped $line\"; done < $KAOS_TEST_SKIPS\n";
    Ok(script)
}

/// What came of a test.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The test binary; none for what we look at ourselves.
    binary: String,
    name: String,
    is_passed: bool,
}

/// What a machine told.
#[derive(Default)]
struct Told {
    release: String,
    preempt: String,
    is_ended: bool,
    is_wrong: bool,
    outcomes: Vec<Outcome>,
    skipped: Vec<String>,
    /// The test binary that runs.
    binary: String,
    /// A test whose outcome comes on a later line, since it printed something.
    running: Option<String>,
}

impl Told {
    fn outcome(&mut self, name: &str, is_passed: bool) {
        self.outcomes.push(Outcome {
            binary: self.binary.clone(),
            name: name.to_owned(),
            is_passed,
        });
    }

    /// Failed tests, each with its binary.
    fn failed(&self) -> Vec<(&str, &str)> {
        let failed = self.outcomes.iter().filter(|outcome| !outcome.is_passed);
        failed
            .map(|outcome| (outcome.binary.as_str(), outcome.name.as_str()))
            .collect()
    }

    /// Something failed that is no test, or was found wrong: trying again would hide it.
    fn is_broken(&self) -> bool {
        self.is_wrong || self.failed().iter().any(|(binary, _)| binary.is_empty())
    }

    /// Hands everything over.
    fn summarize(&self, release: &str, summary: &mut Summary) {
        for Outcome {
            name, is_passed, ..
        } in &self.outcomes
        {
            let outcome = if *is_passed { "ok" } else { "FAILED" };
            summary.read(&format!("test vm::{release}::{name} ... {outcome}"));
        }
        for skipped in &self.skipped {
            summary.skipped_itself(&format!("vm::{release}::{skipped}"));
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(ours) = line.strip_prefix(MARK) {
            let (word, rest) = ours.split_once(' ').unwrap_or((ours, ""));
            match word {
                "release" => rest.clone_into(&mut self.release),
                "preempt" => rest.clone_into(&mut self.preempt),
                "skipped" => self.skipped.push(rest.to_owned()),
                "end" => self.is_ended = true,
                "binary" => rest.clone_into(&mut self.binary),
                "status" => self.status(rest),
                _ => {}
            }
            return;
        }
        self.is_wrong |= line.contains(WRONG);
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
    fn status(&mut self, code: &str) {
        let binary = std::mem::take(&mut self.binary);
        // 101: tests failed, which they said.
        let is_its = |outcome: &Outcome| outcome.binary == binary && !outcome.is_passed;
        let is_told = code == "101" && self.outcomes.iter().any(is_its);
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
            "KAOS-VM binary a",
            "test a::b ... ok",
            "test a::c ... a program: 12",
            "another: 13",
            "ok",
            "test a::d ... FAILED",
            "KAOS-VM status 101",
            "KAOS-VM binary b",
            "KAOS-VM status 134",
            "KAOS-VM skipped a::b: no nginx",
            "test result: FAILED. 1 passed; 1 failed",
            "KAOS-VM end",
        ] {
            told.read(line);
        }
        assert_eq!(told.release, "6.1.0");
        assert!(told.preempt.contains("(full)") && told.is_ended);
        let expected = [
            ("a", "a::b", true),
            ("a", "a::c", true),
            ("a", "a::d", false),
            ("", "b ended with 134", false),
        ];
        let expected = expected.map(|(binary, name, is_passed)| Outcome {
            binary: binary.to_owned(),
            name: name.to_owned(),
            is_passed,
        });
        assert_eq!(told.outcomes, expected);
        assert!(told.is_broken());
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
