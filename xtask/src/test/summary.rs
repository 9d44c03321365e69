//! Counting what the test binaries report.

use std::collections::BTreeSet;
use std::process::ExitCode;

/// How the reason of an ignored test of the cluster tier starts.
const CLUSTER: &str = "cluster: ";

/// What a test says that fails because something false was told, which no second try undoes. The tests say
/// it in the message with which they fail; `kaos_tests::WRONG`, too.
pub const WRONG: &str = "wrong, and so never tried again";

/// What came of all tests so far.
#[derive(Debug, Default)]
pub struct Summary {
    passed: Vec<String>,
    failed: Vec<String>,
    /// Failed with [`WRONG`] in what they said. They are among the failed.
    wrong: BTreeSet<String>,
    /// Whose output is being read: that of a test that failed.
    speaker: Option<String>,
    /// Failed at first, and passed by themselves.
    flaky: Vec<String>,
    /// Passed without doing anything; they are among the passed.
    idle: usize,
    /// Each with its reason.
    skipped: Vec<String>,
    /// Ignored tests, each with its reason: those that the plain tier left to another.
    ignored: Vec<String>,
}

impl Summary {
    /// Reads a line of a test binary: `test NAME ... ok`, `FAILED` or `ignored, REASON`, or one of what a
    /// failed test said, behind `---- NAME stdout ----`.
    pub fn read(&mut self, line: &str) {
        let speaker = line.strip_prefix("---- ");
        if let Some(name) = speaker.and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.speaker = Some(name.to_owned());
        } else if line.starts_with("test result: ") {
            self.speaker = None;
        } else if let Some(name) = &self.speaker
            && line.contains(WRONG)
        {
            self.wrong.insert(name.clone());
        }
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            return;
        };
        // A test may print between its name and its outcome, where nothing captures it.
        if outcome.ends_with("ok") {
            self.passed.push(name.to_owned());
        } else if outcome.ends_with("FAILED") {
            self.failed.push(name.to_owned());
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches(", ");
            self.ignored.push(format!("{name}: {reason}"));
        }
    }

    /// The kernel tier does not run: what was left to it is skipped.
    pub fn skip_kernel_tier(&mut self) {
        self.skip_ignored(|reason| !reason.starts_with(CLUSTER));
    }

    /// The cluster tier does not run: what was left to it is skipped.
    pub fn skip_cluster_tier(&mut self) {
        self.skip_ignored(|reason| reason.starts_with(CLUSTER));
    }

    fn skip_ignored(&mut self, is_skipped: impl Fn(&str) -> bool) {
        let (skipped, ignored) = std::mem::take(&mut self.ignored)
            .into_iter()
            .partition(|test| {
                test.split_once(": ")
                    .is_some_and(|(_, reason)| is_skipped(reason))
            });
        self.ignored = ignored;
        self.skipped.extend::<Vec<String>>(skipped);
    }

    /// A test that is none of cargo's was not started, for this reason.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push(format!("{name}: {reason}"));
    }

    /// A test found at run time that it cannot run here, and passed without doing anything.
    pub fn skipped_itself(&mut self, what: &str) {
        self.idle += 1;
        self.skipped.push(what.to_owned());
    }

    /// A run failed without any test saying so.
    pub fn fail_without_report(&mut self) {
        self.failed.push("(a run without report)".to_owned());
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.failed.len()
    }

    /// Names of the tests that failed after so many others had, and may pass when tried again.
    pub fn failed_by_chance_since(&self, before: usize) -> Vec<String> {
        let failed = self.failed[before.min(self.failed.len())..].iter();
        let by_chance = failed.filter(|name| !self.wrong.contains(*name));
        by_chance.cloned().collect()
    }

    /// Tests that had failed ran once more, with this outcome.
    pub fn tried_again(&mut self, again: &Self) {
        let (flaky, failed) = std::mem::take(&mut self.failed)
            .into_iter()
            .partition(|name| again.passed.contains(name) && !again.failed.contains(name));
        self.failed = failed;
        self.passed.extend::<Vec<String>>(flaky.clone());
        self.flaky.extend(flaky);
    }

    /// Prints what was skipped or flaky, and the closing line.
    pub fn report(&self) {
        for wrong in &self.wrong {
            println!("test: found something wrong, so it was not tried again: {wrong}");
        }
        for flaky in &self.flaky {
            println!("test: flaky, it failed and then passed by itself: {flaky}");
        }
        for skipped in &self.skipped {
            println!("test: skipped {skipped}");
        }
        println!("{}", self.line());
    }

    fn line(&self) -> String {
        let passed = self.passed.len().saturating_sub(self.idle);
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Failure if anything failed.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        lines.iter().for_each(|line| summary.read(line));
        summary
    }

    const PLAIN: [&str; 5] = [
        "running 3 tests",
        "test a::b ... ok",
        "test a::c ... FAILED",
        "test e ... ignored, kernel: needs root",
        "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured",
    ];

    #[test]
    fn tests_of_the_kernel_tier_are_counted_there() {
        assert_eq!(summary(&PLAIN).line(), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_tier_that_does_not_run_is_skipped() {
        let mut summary = summary(&PLAIN);
        summary.skip_kernel_tier();
        assert_eq!(summary.line(), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_passes_by_itself_is_flaky_and_what_fails_again_has_failed() {
        let mut first = summary(&["test a ... ok", "test b ... FAILED", "test c ... FAILED"]);
        assert_eq!(first.failed_by_chance_since(0), ["b", "c"]);
        first.tried_again(&summary(&["test b ... ok", "test c ... FAILED"]));
        assert_eq!(first.line(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(first.flaky, ["b"]);
    }

    #[test]
    fn what_found_something_wrong_is_not_tried_again() {
        let said = format!("not as promised; {WRONG}:");
        let mut first = summary(&[
            "test a ... FAILED",
            "test b::c ... FAILED",
            "failures:",
            "---- a stdout ----",
            "thread 'a' panicked at tests/a.rs:1:1:",
            "it took too long",
            "---- b::c stdout ----",
            "thread 'b::c' panicked at tests/b.rs:1:1:",
            &said,
            "failures:",
            "    a",
            "    b::c",
            "test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured",
            &said,
        ]);
        assert_eq!(first.failed_by_chance_since(0), ["a"]);
        first.tried_again(&summary(&["test a ... ok"]));
        assert_eq!(first.line(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(first.failed, ["b::c"]);
    }

    #[test]
    fn a_test_that_skips_itself_did_not_pass() {
        let mut summary = summary(&["test e ... kaos-tests: skipped e\nok"]);
        summary.skipped_itself("e: no nginx");
        assert_eq!(summary.line(), "0 passed, 0 failed, 1 skipped");
    }
}
