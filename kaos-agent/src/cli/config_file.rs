//! `--config FILE`: arguments from a file, and what of them a running agent takes over on SIGHUP or
//! when the file changes.
//!
//! A line is an option as it is typed (`--port 8000`), so that there is one set of names, one check
//! and one help. What is read again and applied is what nothing was built from: the level of the log
//! and the memory limit. All else takes a restart, which costs the traces that are in flight.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::Parser as _;

use super::arguments::{Arguments, Command};
use super::exit::{UsageError, one_line};
use super::logging;
use crate::settings::Reload;

const NAME: &str = "--config";

/// What a reload applies.
const RELOADED: [&str; 2] = ["--log-level", "--memory-limit"];

/// The arguments, each `--config FILE` followed by what stands in the file.
///
/// # Errors
/// A file cannot be read.
pub fn expand(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, UsageError> {
    let mut expanded = Vec::new();
    let mut is_file = false;
    for argument in arguments {
        let file = named(&argument, &mut is_file);
        expanded.push(argument);
        if let Some(file) = file {
            expanded.extend(options_in(&read(&file)?));
        }
    }
    Ok(expanded)
}

/// The file that an argument names; `is_file` is whether the one before announced it.
fn named(argument: &OsString, is_file: &mut bool) -> Option<String> {
    let text = argument.to_string_lossy().into_owned();
    let file = match text.split_once('=') {
        _ if *is_file => Some(text),
        Some((NAME, file)) => Some(file.to_owned()),
        _ => None,
    };
    *is_file = argument == NAME && file.is_none();
    file
}

fn read(file: &str) -> Result<String, UsageError> {
    fs::read_to_string(file).map_err(|error| {
        UsageError::new(
            &format!("{NAME} {file}"),
            &error.to_string(),
            "give a file with one option per line, such as --port 8000",
        )
    })
}

/// Blank lines and those that begin with `#` say nothing. What comes after an option's name is its
/// value, whatever is in it.
fn options_in(text: &str) -> impl Iterator<Item = OsString> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|line| match line.split_once(char::is_whitespace) {
            Some((name, value)) => vec![name.into(), value.trim_start().into()],
            None => vec![line.into()],
        })
}

/// Reads the files again that the arguments name; `None` where they name none.
pub fn reloader(arguments: Vec<OsString>) -> Option<Reload> {
    let mut is_file = false;
    let files: Vec<PathBuf> = arguments
        .iter()
        .filter_map(|argument| named(argument, &mut is_file))
        .map(PathBuf::from)
        .collect();
    if files.is_empty() {
        return None;
    }
    let mut before = expand(arguments.clone()).ok()?;
    let read = Box::new(move || {
        let after = expand(arguments.clone()).map_err(|error| error.to_string())?;
        let parsed = Arguments::try_parse_from(&after).map_err(|error| one_line(&error))?;
        let (log, health) = match parsed.command {
            Command::Run(run) => (run.log, run.health),
            Command::Record(record) => (record.log, record.health),
            _ => return Err("the command is another".to_owned()),
        };
        for option in changed(&before, &after) {
            tracing::warn!("{option} takes a restart; it stays as it was");
        }
        before = after;
        logging::set_level(log.log_level.as_deref());
        Ok(health.memory_limit)
    });
    Some(Reload { files, read })
}

/// Names of options that differ and are not applied by a reload.
fn changed(before: &[OsString], after: &[OsString]) -> Vec<String> {
    let (before, after) = (options(before), options(after));
    let (gone, new) = (missing(&before, &after), missing(&after, &before));
    let mut names: Vec<String> = gone.chain(new).map(|option| option[0].clone()).collect();
    names.retain(|name| !RELOADED.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names
}

fn missing<'a>(
    of: &'a [Vec<String>],
    others: &'a [Vec<String>],
) -> impl Iterator<Item = &'a Vec<String>> {
    of.iter().filter(|option| !others.contains(option))
}

/// Options with their values.
fn options(arguments: &[OsString]) -> Vec<Vec<String>> {
    let mut options: Vec<Vec<String>> = Vec::new();
    for argument in arguments {
        let argument = argument.to_string_lossy();
        match options.last_mut() {
            Some(last) if !argument.starts_with("--") => last.push(argument.into_owned()),
            _ => options.push(argument.split('=').map(str::to_owned).collect()),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn expanded(text: &str, form: &str) -> Vec<OsString> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("it is written");
        let line = form.replace("FILE", &file.path().display().to_string());
        let all = expand(words(&line)).expect("it can be read");
        all.into_iter()
            .filter(|it| !it.to_string_lossy().contains("/"))
            .collect()
    }

    #[test]
    fn a_file_stands_for_the_options_in_it() {
        let text = "# a comment\n\n  --port 8000\n--kubernetes\n--beside-sdk a b=always\n";
        let mut expected = words("kaos-agent run --config --port 8000 --kubernetes --beside-sdk");
        expected.push("a b=always".into());
        expected.push("--all".into());
        assert_eq!(
            expanded(text, "kaos-agent run --config FILE --all"),
            expected
        );
        assert_eq!(expanded("--all", "run --config=FILE"), words("run --all"));
        let error = expand(words("run --config /nowhere")).expect_err("it is not there");
        assert!(
            error.to_string().starts_with("--config /nowhere: "),
            "{error}"
        );
    }

    #[test]
    fn what_takes_a_restart_is_told() {
        let before = words("agent run --config f --port 1 --log-level INFO --all");
        let after = words("agent run --config f --port 2 --log-level DEBUG --exe=a --all");
        assert_eq!(changed(&before, &after), ["--exe", "--port"]);
        assert_eq!(changed(&before, &before), [""; 0]);
    }

    #[test]
    fn a_reload_reads_the_file_again() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| fs::write(file.path(), text).expect("it is written");
        write("--all");
        let line = format!("kaos-agent run --config {}", file.path().display());
        let Reload { files, mut read } = reloader(words(&line)).expect("it names a file");
        assert_eq!(files, [file.path()]);
        assert_eq!(read(), Ok(None));
        write("--all\n--memory-limit 64MiB\n--log-level DEBUG");
        assert_eq!(read(), Ok(Some(64 << 20)));
        write("--none-such");
        assert!(read().is_err());
        assert!(reloader(words("kaos-agent run --all")).is_none());
    }
}
