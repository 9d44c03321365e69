//! What followed a gap: where in the document it is.

use super::{Container, TAIL};

/// The last bytes after a gap.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
}

/// From where a tail can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// A bracket or a comma, outside of texts.
    pub at: usize,
    /// The containers that are open before it, the outermost first.
    pub open: Vec<Container>,
}

impl Tail {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        // Moved together only now and then.
        if self.bytes.len() + bytes.len() > 2 * TAIL {
            let surplus = (self.bytes.len() + bytes.len()).saturating_sub(TAIL);
            self.bytes.drain(..surplus.min(self.bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The last [`TAIL`] bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(TAIL)..]
    }
}

/// From where bytes can be read whose end is that of a document, by walking backwards.
pub fn find_start(bytes: &[u8]) -> Option<Start> {
    let end = bytes.trim_ascii_end().len();
    if !matches!(bytes[..end].last(), Some(b'}' | b']')) {
        return None;
    }
    let mut open = Vec::new();
    let mut start = None;
    let mut is_text = false;
    for at in (0..end).rev() {
        let byte = bytes[at];
        if is_text {
            if byte == b'"' {
                let before = &bytes[..at];
                let backslashes = before
                    .iter()
                    .rev()
                    .take_while(|byte| **byte == b'\\')
                    .count();
                // Where nothing but backslashes precedes, the gap may hide one more.
                if backslashes > 0 && backslashes == at {
                    break;
                }
                is_text = backslashes % 2 == 1;
            }
            continue;
        }
        match byte {
            b'"' => {
                is_text = true;
                continue;
            }
            b'}' => open.push(Container::Object),
            b']' => open.push(Container::Array),
            b'{' | b'[' => {
                let container = if byte == b'{' {
                    Container::Object
                } else {
                    Container::Array
                };
                // Else this is no valid document.
                if open.last() != Some(&container) {
                    break;
                }
                open.pop();
            }
            b',' => {}
            _ => continue,
        }
        start = Some(at);
        if open.is_empty() {
            break;
        }
    }
    start.map(|at| Start { at, open })
}
