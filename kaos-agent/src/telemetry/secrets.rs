//! Takes secrets by shape out of what the traffic said.

use std::borrow::Cow;

use crate::capture::redact::redact_text;

/// Shorter texts hold no secret that shows by its shape. Most names are shorter.
const SHORTEST: usize = 16;

/// The message, with what looks like a secret overwritten.
pub(super) fn masked(message: Cow<'static, str>) -> Cow<'static, str> {
    match message {
        // Our own words.
        Cow::Borrowed(_) => message,
        Cow::Owned(said) => redact_text(said).into(),
    }
}

/// The same of a name or an id.
pub(super) fn masked_name(name: &str) -> String {
    if name.len() < SHORTEST {
        name.to_owned()
    } else {
        redact_text(name.to_owned())
    }
}
