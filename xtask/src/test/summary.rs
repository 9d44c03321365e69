//! Counting what the test binaries report.

use std::process::ExitCode;

/// How the reason of an ignored test of the cluster tier starts.
const CLUSTER: &str = "cluster: ";

/// What came of all tests so far.
#[derive(Debug, Default)]
pub struct Summary {
    passed: usize,
    failed: usize,
    /// Each with its reason.
    skipped: Vec<String>,
    /// Ignored tests, each with its reason: those that the plain tier left to another.
    ignored: Vec<String>,
}

impl Summary {
    /// Reads a line of a test binary: `test NAME ... ok`, `FAILED` or `ignored, REASON`.
    pub fn read(&mut self, line: &str) {
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            return;
        };
        // A test may print between its name and its outcome, where nothing captures it.
        if outcome.ends_with("ok") {
            self.passed += 1;
        } else if outcome.ends_with("FAILED") {
            self.failed += 1;
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

    /// A test found at run time that it cannot run here, and passed without doing anything.
    pub fn skipped_itself(&mut self, what: &str) {
        self.passed = self.passed.saturating_sub(1);
        self.skipped.push(what.to_owned());
    }

    /// A run failed without any test saying so.
    pub fn fail_without_report(&mut self) {
        self.failed += 1;
    }

    /// How many have failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Prints what was skipped and the closing line.
    pub fn report(&self) {
        for skipped in &self.skipped {
            println!("test: skipped {skipped}");
        }
        println!("{}", self.line());
    }

    fn line(&self) -> String {
        let (passed, failed, skipped) = (self.passed, self.failed, self.skipped.len());
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// Failure if anything failed.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 {
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
    fn a_test_that_skips_itself_did_not_pass() {
        let mut summary = summary(&["test e ... kaos-tests: skipped e\nok"]);
        summary.skipped_itself("e: no nginx");
        assert_eq!(summary.line(), "0 passed, 0 failed, 1 skipped");
    }
}
