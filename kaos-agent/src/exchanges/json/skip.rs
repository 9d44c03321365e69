//! Passing over a container that nobody wants.

use memchr::memchr2;

/// Passes over a container, whose opening bracket was taken, in pieces cut anywhere. Only brackets
/// count, not which.
#[derive(Debug)]
pub struct Skip {
    depth: u64,
    is_text: bool,
    is_escaped: bool,
}

impl Skip {
    pub fn new() -> Self {
        Self {
            depth: 1,
            is_text: false,
            is_escaped: false,
        }
    }

    /// Takes the next bytes. Returns how many it took where the container ended with them.
    pub fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_text {
                if std::mem::take(&mut self.is_escaped) {
                    at += 1;
                    continue;
                }
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                if bytes[at] == b'"' {
                    self.is_text = false;
                } else {
                    self.is_escaped = true;
                }
                at += 1;
                continue;
            }
            match bytes[at] {
                b'"' => self.is_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }
}
