//! Secrets that their shape alone gives away, in short texts.

use std::borrow::Cow;

use super::mask::Mask;
use super::patterns::Finder;

/// The text with such secrets masked (`sk-…`, `ghp_…`, JSON Web Tokens, …), whatever stands around
/// them.
#[must_use]
pub fn mask_tokens(text: &str) -> Cow<'_, str> {
    let mut finder = Finder::default();
    let mut mask = None::<Mask>;
    let mut masked = None::<Vec<u8>>;
    for (index, byte) in text.bytes().enumerate() {
        if let Some(other) = mask.as_mut().and_then(|mask| mask.next(byte)) {
            masked.get_or_insert_with(|| text.into())[index] = other;
            continue;
        }
        if mask.take().is_some() {
            finder = Finder::default();
        }
        if finder.next(byte).is_some_and(|meaning| meaning.shape) {
            mask = Some(Mask::Token);
        }
    }
    match masked {
        // Only ASCII was replaced, by ASCII.
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked_by_their_shape() {
        for (text, expected) in [
            ("/v1/files", "/v1/files"),
            ("/bot/sk-abc123?x=1", "/bot/sk-******?x=1"),
            ("x=ghp_abc&y=gsk_def", "x=ghp_***&y=gsk_***"),
            ("/é/hf_abc/é", "/é/hf_****é"),
            ("/task-force/desk-1", "/task-force/desk-1"),
            ("max_tokens=5&key=short", "max_tokens=5&key=short"),
        ] {
            assert_eq!(mask_tokens(text), expected);
        }
    }
}
