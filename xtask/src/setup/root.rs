//! Steps that need root: done as root, or by a `sudo` that asks nothing, else told to the person.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// A command line, word by word.
pub type Words = Vec<String>;

/// Whether this process is root.
pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_user(&status) == Some("0"))
}

/// What must stand before a command so that it runs as root, or `None` where that cannot be had
/// without asking a person.
pub fn prefix() -> Option<&'static [&'static str]> {
    if is_root() {
        Some(&[])
    } else if command::succeeds(Command::new("sudo").args(["-n", "true"])) {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

/// Runs the command lines as root, one after the other. Their output is shown only on failure.
///
/// # Errors
/// One fails (with the end of its output), or root cannot be had (with what a person must type).
pub fn run(lines: &[Words]) -> Result<()> {
    let Some(prefix) = prefix() else {
        bail!("this needs root; type: {}", by_hand(lines));
    };
    for line in lines {
        let mut words = prefix
            .iter()
            .copied()
            .chain(line.iter().map(String::as_str));
        let program = words.next().context("an empty command line")?;
        quietly(Command::new(program).args(words))?;
    }
    Ok(())
}

/// Runs a command and shows its output only if it fails.
///
/// # Errors
/// It cannot be started, or it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    /// What is shown of a failed command: enough for the error, not the whole log.
    const SHOWN_LINES: usize = 20;
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command::line(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    bail!(
        "{} failed ({}):\n{end}",
        command::line(command),
        output.status
    );
}

fn by_hand(lines: &[Words]) -> String {
    lines
        .iter()
        .map(|line| format!("sudo {}", line.join(" ")))
        .collect::<Vec<_>>()
        .join(" && ")
}

fn effective_user(status: &str) -> Option<&str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_decides() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some("0"));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn a_person_gets_one_line_to_type() {
        let lines = [
            vec!["apt-get".to_owned(), "update".to_owned()],
            vec!["mount".to_owned()],
        ];
        assert_eq!(by_hand(&lines), "sudo apt-get update && sudo mount");
    }

    #[test]
    fn a_failure_shows_what_the_command_said() {
        let error = quietly(Command::new("sh").args(["-c", "echo no such thing; exit 3"]))
            .expect_err("it exits with 3");
        assert!(error.to_string().ends_with("no such thing"), "{error}");
    }
}
