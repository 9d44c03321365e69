//! Where in a body a member of a message is.

use crate::exchanges::json::UNKNOWN_KEY;

/// A place in the body of JSON-RPC: one message, or a batch of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A message.
    Message,
    /// The list of a batch.
    Batch,
    /// A member of a message, by its path in it.
    Member(&'a str),
}

impl<'a> Place<'a> {
    /// Of a path in the document.
    pub fn of(path: &'a str, is_list: bool) -> Self {
        match path {
            "" if is_list => Self::Batch,
            "" | "[]" => Self::Message,
            _ => Self::Member(path.strip_prefix("[].").unwrap_or(path)),
        }
    }
}

/// The path below this member. After a gap the member's own key is not known; of those with
/// members, a request has `params` alone and a response `result`.
pub fn below<'a>(path: &'a str, member: &str) -> Option<&'a str> {
    let rest = path
        .strip_prefix(member)
        .or_else(|| path.strip_prefix(UNKNOWN_KEY))?;
    rest.strip_prefix('.')
}

/// At most so many bytes of a text.
pub fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
