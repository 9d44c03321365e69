//! Can the agent work here, and if not, why and what to do?

mod endpoint;
mod machine;

use std::fmt::Write;

use serde::Serialize;

pub use endpoint::check_endpoint;
pub use machine::{check_machine, holds_sys_admin};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The agent works, but tells less or costs more.
    Warn,
    /// The agent cannot work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in one or two words.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What a person can do about it; there unless the verdict is `Ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    /// The agent works, but tells less or costs more.
    #[must_use]
    pub fn warn(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(name, found)
        }
    }

    /// The agent cannot work.
    #[must_use]
    pub fn fail(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(name, found, remedy)
        }
    }
}

/// All checks, in the order in which they matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst verdict of all.
    pub verdict: Verdict,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Report {
    /// Sums the checks up.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        let verdict = checks
            .iter()
            .map(|check| check.verdict)
            .max()
            .unwrap_or(Verdict::Ok);
        Self { verdict, checks }
    }

    /// Exit code of the command: 0 ok, 1 degraded, 2 cannot work.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.verdict as u8
    }

    /// One JSON object, indented.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings in structs are JSON") + "\n"
    }

    /// A line per check, what to do below those that need it, and the sum at the end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let width = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for check in &self.checks {
            let mark = match check.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            let _ = writeln!(text, "{mark}  {:width$}  {}", check.name, check.found);
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "      {:width$}  -> {remedy}", "");
            }
        }
        text + match self.verdict {
            Verdict::Ok => "\nkaos-agent can work here\n",
            Verdict::Warn => "\nkaos-agent can work here, with the limits above\n",
            Verdict::Fail => "\nkaos-agent cannot work here\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides() {
        let (ok, warn, fail) = (
            Check::ok("a", "b"),
            Check::warn("c", "d", "e"),
            Check::fail("f", "g", "h"),
        );
        assert_eq!(Report::new(vec![ok.clone()]).exit_code(), 0);
        assert_eq!(Report::new(vec![ok.clone(), warn.clone()]).exit_code(), 1);
        assert_eq!(Report::new(vec![fail, ok, warn]).exit_code(), 2);
    }

    #[test]
    fn reports_read_well() {
        let report = Report::new(vec![
            Check::ok("kernel", "6.18.5"),
            Check::fail("BTF", "absent", "boot another kernel"),
        ]);
        insta::assert_snapshot!(report.to_text(), @r"
        ok    kernel  6.18.5
        FAIL  BTF     absent
                      -> boot another kernel

        kaos-agent cannot work here
        ");
        insta::assert_snapshot!(report.to_json(), @r#"
        {
          "verdict": "fail",
          "checks": [
            {
              "name": "kernel",
              "verdict": "ok",
              "found": "6.18.5"
            },
            {
              "name": "BTF",
              "verdict": "fail",
              "found": "absent",
              "remedy": "boot another kernel"
            }
          ]
        }
        "#);
    }
}
