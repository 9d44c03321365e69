//! Values of environment variables, by the rules of the OpenTelemetry specification: an empty
//! variable is an unset one; a number or word that makes no sense is warned about and ignored.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::capture::event::Pid;

/// Longest value that is looked at. Real ones are a hundred times shorter; this bounds what a
/// hostile process can make the agent keep.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// Durations are milliseconds below this: an hour, beyond which none makes sense.
const MAX_MILLISECONDS: u64 = 3_600_000;

/// A setting that is not honoured. Tells the name and what was expected, never the value, which may
/// hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Warning {
    /// Whose environment; `None` is the agent's own.
    pub pid: Option<Pid>,
    /// Which variable.
    pub variable: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is ignored: {}", self.variable, self.problem)?;
        match self.pid {
            Some(pid) => write!(formatter, " (environment of process {pid})"),
            None => write!(formatter, " (environment or options of the agent)"),
        }
    }
}

/// Environment of one process, and what was found wrong with it.
pub(super) struct Variables<'a> {
    pid: Option<Pid>,
    /// Sorted by name.
    values: &'a [(String, String)],
    warnings: &'a mut Vec<Warning>,
}

impl<'a> Variables<'a> {
    /// `values` are sorted by name, as [`readable`](super::environment::readable) makes them.
    pub(super) fn new(
        pid: Option<Pid>,
        values: &'a [(String, String)],
        warnings: &'a mut Vec<Warning>,
    ) -> Self {
        Self {
            pid,
            values,
            warnings,
        }
    }

    pub(super) fn warn(&mut self, variable: &str, problem: impl Into<String>) {
        self.warnings.push(Warning {
            pid: self.pid,
            variable: variable.to_owned(),
            problem: problem.into(),
        });
    }

    /// The trimmed value, unless it is empty.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        let index = self
            .values
            .binary_search_by(|(other, _)| other.as_str().cmp(name))
            .ok()?;
        let value = self.values[index].1.trim();
        if value.len() > MAX_VALUE_BYTES {
            self.warn(name, format!("longer than {MAX_VALUE_BYTES} bytes"));
            return None;
        }
        (!value.is_empty()).then_some(value)
    }

    /// A whole number of this range.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.text(name)?;
        match value.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = range.into_inner();
                self.warn(name, format!("not a whole number from {low} to {high}"));
                None
            }
        }
    }

    /// Values of the variables whose names begin and end so, with what stands between, sorted by
    /// name.
    pub(super) fn named_like(
        &self,
        prefix: &str,
        suffix: &str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().filter_map(move |(name, value)| {
            let between = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            let value = value.trim();
            let is_set = !between.is_empty() && !value.is_empty() && value.len() <= MAX_VALUE_BYTES;
            is_set.then_some((between, value))
        })
    }

    /// Milliseconds.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.number(name, 1..=MAX_MILLISECONDS)
            .map(Duration::from_millis)
    }

    /// One of these words, in any case.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.text(name)?;
        let known = words
            .iter()
            .find(|(word, _)| value.eq_ignore_ascii_case(word));
        if known.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.warn(name, format!("not one of {}", all.join(", ")));
        }
        known.map(|(_, meaning)| *meaning)
    }

    /// A truth value.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        const WORDS: &[(&str, bool)] = &[
            ("true", true),
            ("1", true),
            ("yes", true),
            ("false", false),
            ("0", false),
            ("no", false),
        ];
        self.word(name, WORDS)
    }
}

/// Items of a `key=value,key2=value2` list, percent-decoded, in order; `Err` for one that is no
/// pair. Empty items are skipped.
pub(super) fn pairs(list: &str) -> impl Iterator<Item = Result<(String, String), NotAPair>> + '_ {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (key, value) = item.split_once('=').ok_or(NotAPair)?;
            let (key, value) = (decoded(key)?, decoded(value)?);
            if key.is_empty() {
                return Err(NotAPair);
            }
            Ok((key, value))
        })
}

/// Not `key=value` with UTF-8 on both sides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAPair;

fn decoded(text: &str) -> Result<String, NotAPair> {
    match percent_decode_str(text.trim()).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(NotAPair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads variable `X` of this value and says what came out and whether there was a warning.
    fn read<T>(value: &str, read: impl Fn(&mut Variables<'_>) -> T) -> (T, bool) {
        let values = [("X".to_owned(), value.to_owned())];
        let mut warnings = Vec::new();
        let result = read(&mut Variables::new(Some(7), &values, &mut warnings));
        (result, !warnings.is_empty())
    }

    #[test]
    fn text_is_trimmed_and_empty_is_unset() {
        assert_eq!(
            read(" a b ", |it| it.text("X").map(str::to_owned)),
            (Some("a b".into()), false)
        );
        assert_eq!(read("", |it| it.text("X").is_some()), (false, false));
        assert_eq!(read("  ", |it| it.text("X").is_some()), (false, false));
        assert_eq!(read("a", |it| it.text("Y").is_some()), (false, false));
        assert_eq!(
            read(&"a".repeat(MAX_VALUE_BYTES + 1), |it| it
                .text("X")
                .is_some()),
            (false, true)
        );
    }

    #[test]
    fn numbers() {
        let number = |value| read(value, |it| it.number("X", 1..=100));
        assert_eq!(number("1"), (Some(1), false));
        assert_eq!(number(" 100 "), (Some(100), false));
        for bad in ["0", "101", "-1", "1.5", "ten", "1s", "99999999999999999999"] {
            assert_eq!(number(bad), (None, true), "{bad}");
        }
        assert_eq!(number(""), (None, false));
    }

    #[test]
    fn words_and_booleans() {
        let word = |value| read(value, |it| it.word("X", &[("one", 1), ("two", 2)]));
        assert_eq!(word("one"), (Some(1), false));
        assert_eq!(word("TWO"), (Some(2), false));
        assert_eq!(word("three"), (None, true));
        assert_eq!(word(""), (None, false));

        let boolean = |value| read(value, |it| it.boolean("X"));
        for yes in ["true", "True", "1", "YES"] {
            assert_eq!(boolean(yes), (Some(true), false), "{yes}");
        }
        for no in ["false", "FALSE", "0", "no"] {
            assert_eq!(boolean(no), (Some(false), false), "{no}");
        }
        assert_eq!(boolean("on"), (None, true));
    }

    #[test]
    fn pairs_are_decoded() {
        let parsed = |list| pairs(list).collect::<Result<Vec<_>, _>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            parsed("a=1, b = 2 ,"),
            Ok(vec![pair("a", "1"), pair("b", "2")])
        );
        assert_eq!(parsed("a=b=c%2Cd%20e"), Ok(vec![pair("a", "b=c,d e")]));
        assert_eq!(parsed("a="), Ok(vec![pair("a", "")]));
        assert_eq!(parsed("a=100%"), Ok(vec![pair("a", "100%")]));
        assert_eq!(parsed(""), Ok(vec![]));
        for bad in ["a", "=1", "a=1,b", "a=%ff"] {
            assert_eq!(parsed(bad), Err(NotAPair), "{bad}");
        }
    }

    #[test]
    fn warnings_never_tell_the_value() {
        let values = [("X".to_owned(), "s3cret".to_owned())];
        let mut warnings = Vec::new();
        let mut variables = Variables::new(Some(7), &values, &mut warnings);
        variables.number("X", 1..=2);
        variables.boolean("X");
        assert_eq!(
            warnings[0].to_string(),
            "X is ignored: not a whole number from 1 to 2 (environment of process 7)"
        );
        assert!(
            warnings
                .iter()
                .all(|warning| !warning.to_string().contains("s3cret"))
        );
    }
}
