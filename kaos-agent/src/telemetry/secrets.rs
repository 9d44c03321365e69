//! Takes secrets by shape out of messages that the traffic said.

use std::borrow::Cow;

use crate::capture::redact::redact_text;

/// The message, with what looks like a secret overwritten.
pub(super) fn masked(message: Cow<'static, str>) -> Cow<'static, str> {
    match message {
        // Our own words.
        Cow::Borrowed(_) => message,
        Cow::Owned(said) => redact_text(said).into(),
    }
}
