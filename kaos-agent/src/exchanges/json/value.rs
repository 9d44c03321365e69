//! Values that are no containers.

/// A value that is no container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it is written, or another bare word (`NaN`).
    Number(&'a str),
    /// A text, unescaped.
    Text(&'a str),
    /// The beginning of a text that is longer than [`MOST_TEXT`](super::MOST_TEXT).
    LongText(&'a str),
}

impl<'a> Value<'a> {
    /// Of a bare word.
    pub(super) fn of_word(word: &'a str) -> Self {
        match word {
            "null" => Self::Null,
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            number => Self::Number(number),
        }
    }

    /// The text, or its beginning where it is long.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::LongText(text) => Some(text),
            _ => None,
        }
    }

    /// A text or a number as it is written: what an id may be.
    #[must_use]
    pub fn text_or_number(self) -> Option<&'a str> {
        match self {
            Self::Number(number) => Some(number),
            _ => self.text(),
        }
    }

    /// A whole number, not negative. `12.0` is one.
    #[must_use]
    pub fn count(self) -> Option<u64> {
        let Self::Number(number) = self else {
            return None;
        };
        number.parse().ok().or_else(|| {
            let number: f64 = number.parse().ok()?;
            // Above 2^53 it would not be exact.
            let is_whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole and within the range"
            )]
            is_whole.then_some(number as u64)
        })
    }

    /// A whole number.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Number(number) => number
                .parse()
                .ok()
                .or_else(|| self.count().and_then(|count| i64::try_from(count).ok())),
            _ => None,
        }
    }

    /// A finite number.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => number
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }
}
