//! Reads JSON as it passes: bytes cut anywhere in, calls of a [`Visitor`] out.
//!
//! - **Keeps** no document: the place where it is ([`Path`], at most [`MOST_DEPTH`] levels with keys
//!   of at most [`MOST_KEY`] bytes), the one value that is being read (at most [`MOST_TEXT`] bytes),
//!   and after a gap the last [`TAIL`] bytes. What a visitor does not want is passed over.
//! - **Tolerates** invalid UTF-8, control characters in texts, `NaN`, trailing commas, byte order
//!   marks, several documents in a row, and an end anywhere. Whatever else is no JSON ends the
//!   reading of the document, or of the line where each line is one.
//!
//! # After a gap
//!
//! What follows a gap may be within a text or outside, at any depth. Read forwards it is
//! ambiguous; read backwards from the end of the document it is not: there the depth is 0, a quote
//! ends a text, and what begins it is the next one that no backslash escapes. So the tail is kept
//! until the body has come to its end, then walked backwards to its beginning, which tells how deep
//! that is, then read forwards like everything else. Members of the root object are told exactly.
//! What cannot be known are the keys and indices of the values within which the gap ends:
//! such a key is [`UNKNOWN_KEY`] in a path, and indices count from the gap on. The value or
//! the member that the gap cuts is not told. Without the document's end nothing after the gap is.
//!
//! Where each line is a document, reading goes on at the next line instead.
//!
//! Libraries that read JSON in pieces (`actson`, `json-streaming`, `jsn`, `jiter`'s partial mode)
//! keep a text or a document whole, however long it is, and have no answer to a gap.

mod path;
mod reader;
mod skip;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use path::Path;
pub use reader::{Documents, Reader};
pub use value::Value;

/// Levels of containers that are told. What is deeper is passed over. Requests of agents have their
/// names at most 8 levels deep.
pub const MOST_DEPTH: usize = 32;

/// Bytes of a key. Longer ones are told as [`UNKNOWN_KEY`].
pub const MOST_KEY: usize = 64;

/// Bytes that are kept of a text (a name, an id, a message for people), and of a number.
pub const MOST_TEXT: usize = 1024;

/// Bytes that are kept after a gap: the kernel captures at most as many of an operation's end.
pub const TAIL: usize = 16 << 10;

/// Stands for a key that is not known, or is too long, in a path.
pub const UNKNOWN_KEY: &str = "?";

/// The kinds of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// What a visitor wants of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// All that is in it, and its end.
    Enter,
    /// Nothing more of it.
    Skip,
}

/// What a visitor wants of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// As a [`Value`].
    Value,
    /// In pieces: [`Visitor::piece`], then [`Visitor::end_of_text`]. For long ones.
    Pieces,
    /// Nothing.
    Skip,
}

/// Is told what is read. By default everything is wanted, and containers mean nothing.
///
/// After a gap, ends of containers are told whose beginnings were not.
pub trait Visitor {
    /// A container begins; its path is its own.
    fn begin(&mut self, _path: &Path, _container: Container) -> Inside {
        Inside::Enter
    }

    /// A container ends.
    fn end(&mut self, _path: &Path, _container: Container) {}

    /// A text begins.
    fn want(&mut self, _path: &Path) -> Want {
        Want::Value
    }

    /// A value that is no container.
    fn value(&mut self, path: &Path, value: Value<'_>);

    /// The next bytes of a text that is wanted in pieces, unescaped. May be cut within a character.
    fn piece(&mut self, _path: &Path, _bytes: &[u8]) {}

    /// The end of a text that is wanted in pieces.
    fn end_of_text(&mut self, _path: &Path) {}
}
