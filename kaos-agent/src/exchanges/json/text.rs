//! Texts: escapes undone, at most so many bytes kept.

use memchr::memchr2;

/// Reads one text after its opening quote, in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct TextDecoder {
    escape: Escape,
    /// First half of a surrogate pair.
    high: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    None,
    /// After a backslash.
    Begun,
    /// After `\u` and so many digits.
    Unicode { digits: u8, value: u16 },
}

impl TextDecoder {
    /// Takes the next bytes up to the closing quote. Returns how many it took, and whether the text
    /// ended with them. `tell` gets the unescaped bytes.
    pub fn push(&mut self, bytes: &[u8], tell: &mut dyn FnMut(&[u8])) -> (usize, bool) {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            match self.escape {
                Escape::None => {
                    let end = memchr2(b'"', b'\\', rest);
                    let plain = &rest[..end.unwrap_or(rest.len())];
                    if !plain.is_empty() {
                        self.end_pair(tell);
                        tell(plain);
                    }
                    let Some(end) = end else {
                        return (bytes.len(), false);
                    };
                    taken += end + 1;
                    if rest[end] == b'"' {
                        self.end_pair(tell);
                        return (taken, true);
                    }
                    self.escape = Escape::Begun;
                }
                Escape::Begun => {
                    taken += 1;
                    self.begin_escape(rest[0], tell);
                }
                Escape::Unicode { digits, value } => {
                    let Some(digit) = char::from(rest[0]).to_digit(16) else {
                        // No escape: what is here is looked at again.
                        self.escape = Escape::None;
                        self.end_pair(tell);
                        tell(REPLACEMENT);
                        continue;
                    };
                    taken += 1;
                    #[expect(clippy::cast_possible_truncation, reason = "a digit is below 16")]
                    let value = value << 4 | digit as u16;
                    if digits == 3 {
                        self.escape = Escape::None;
                        self.end_unicode(value, tell);
                    } else {
                        let digits = digits + 1;
                        self.escape = Escape::Unicode { digits, value };
                    }
                }
            }
        }
        (taken, false)
    }

    fn begin_escape(&mut self, byte: u8, tell: &mut dyn FnMut(&[u8])) {
        self.escape = Escape::None;
        let byte = match byte {
            b'u' => {
                let (digits, value) = (0, 0);
                self.escape = Escape::Unicode { digits, value };
                return;
            }
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            // Quotes and slashes; whatever else stands for itself.
            other => other,
        };
        self.end_pair(tell);
        tell(&[byte]);
    }

    fn end_unicode(&mut self, value: u16, tell: &mut dyn FnMut(&[u8])) {
        let is_high = (0xd800..0xdc00).contains(&value);
        if is_high {
            self.end_pair(tell);
            self.high = Some(value);
            return;
        }
        let pair = [self.high.take().unwrap_or_default(), value];
        // Without a first half there is but one unit.
        let units = if pair[0] == 0 { &pair[1..] } else { &pair };
        for unit in char::decode_utf16(units.iter().copied()) {
            let character = unit.unwrap_or(char::REPLACEMENT_CHARACTER);
            tell(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Whatever comes now is no second half of a pair.
    fn end_pair(&mut self, tell: &mut dyn FnMut(&[u8])) {
        if self.high.take().is_some() {
            tell(REPLACEMENT);
        }
    }
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Bytes of one value, at most `limit` of them.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Kept {
    /// Takes the next bytes.
    pub fn extend(&mut self, bytes: &[u8], limit: usize) {
        let room = limit - self.bytes.len();
        self.is_cut |= bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Empty again.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    /// As text, and whether it was longer. What is no UTF-8 is replaced; a character that the
    /// limit cut is left out.
    pub fn text(&self) -> (std::borrow::Cow<'_, str>, bool) {
        let mut bytes = self.bytes.as_slice();
        if self.is_cut
            && let Err(error) = std::str::from_utf8(bytes)
            && error.error_len().is_none()
        {
            bytes = &bytes[..error.valid_up_to()];
        }
        (String::from_utf8_lossy(bytes), self.is_cut)
    }
}
