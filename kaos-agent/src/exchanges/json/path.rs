//! Where in a document a value is.

use super::{Container, MOST_DEPTH, MOST_KEY, UNKNOWN_KEY};

/// Where in a document a value is, written like `choices[].delta.content`: elements of an array
/// are all `[]`, with their indices beside. The root is the empty path. Keys of other
/// characters than letters, digits, `_`, `-` and `$` are written `['key']`, so that no key looks
/// like a path; keys with `'` in them and long ones are not known.
#[derive(Debug, Default)]
pub struct Path {
    text: String,
    levels: Vec<Level>,
    indices: Vec<u64>,
}

/// A container that is open.
#[derive(Debug)]
struct Level {
    container: Container,
    /// Length of its own path.
    length: usize,
}

impl Path {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Indices in the arrays that enclose the value, the outermost first.
    #[must_use]
    pub fn indices(&self) -> &[u64] {
        &self.indices
    }

    /// Index in the innermost array.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.indices.last().copied().unwrap_or_default()
    }

    /// The innermost container.
    pub(super) fn container(&self) -> Option<Container> {
        self.levels.last().map(|level| level.container)
    }

    /// No more containers are told.
    pub(super) fn is_deepest(&self) -> bool {
        self.levels.len() >= MOST_DEPTH
    }

    /// A container begins here.
    pub(super) fn open(&mut self, container: Container) {
        self.levels.push(Level {
            container,
            length: self.text.len(),
        });
        if container == Container::Array {
            self.text.push_str("[]");
            self.indices.push(0);
        }
    }

    /// The innermost container ends; the path is its own then.
    pub(super) fn close(&mut self) -> Option<Container> {
        let level = self.levels.pop()?;
        self.text.truncate(level.length);
        if level.container == Container::Array {
            self.indices.pop();
        }
        Some(level.container)
    }

    /// A member of the innermost container, an object, has this key.
    pub(super) fn key(&mut self, key: &str) {
        let length = self.levels.last().map_or(0, |level| level.length);
        self.text.truncate(length);
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
        let is_long = key.len() > MOST_KEY;
        if !is_long && !key.is_empty() && key.bytes().all(is_plain) {
            self.member(key);
        } else if is_long || key.contains('\'') {
            self.unknown_key();
        } else {
            self.text.push_str("['");
            self.text.push_str(key);
            self.text.push_str("']");
        }
    }

    /// A member of the innermost container has a key that is not known.
    pub(super) fn unknown_key(&mut self) {
        self.member(UNKNOWN_KEY);
    }

    fn member(&mut self, key: &str) {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(key);
    }

    /// The next element of the innermost container, an array.
    pub(super) fn next_element(&mut self) {
        if let Some(index) = self.indices.last_mut() {
            *index += 1;
        }
    }

    /// Back to the root.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.levels.clear();
        self.indices.clear();
    }
}
