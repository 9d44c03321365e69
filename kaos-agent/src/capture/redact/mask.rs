//! Overwrites a secret, byte by byte, and finds its end.

/// What secrets are overwritten with.
pub const MASK: u8 = b'*';

/// How a secret ends.
#[derive(Debug, Clone, Copy)]
pub enum Mask {
    /// A token by shape: at the first byte that RFC 6750's `b64token` does not allow.
    Token,
    /// A query or form parameter.
    Parameter,
    /// The password in a URL's authority: at the `@`.
    Password,
    /// A JSON number; its digits are overwritten with others, since `**` is no number.
    Number,
    /// A JSON string.
    String(StringMask),
}

impl Mask {
    /// The byte to write instead, or `None` where the secret ended before this byte.
    pub fn next(&mut self, byte: u8) -> Option<u8> {
        let is_inside = match self {
            Self::Token => byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte),
            Self::Parameter => !ends_parameter(byte),
            Self::Password => byte != b'@' && !ends_authority(byte),
            Self::Number => {
                if byte.is_ascii_digit() {
                    return Some(b'1');
                }
                return (byte.is_ascii_alphabetic() || b"+-.".contains(&byte)).then_some(byte);
            }
            Self::String(string) => return string.next(byte),
        };
        is_inside.then_some(MASK)
    }
}

fn ends_parameter(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_graphic() || b"&;\"<>\\#`".contains(&byte)
}

/// Tells if this byte cannot be part of a URL's authority (RFC 3986 section 3.2), or is hardly
/// meant to be: quotes and brackets stand around URLs in text.
pub fn ends_authority(byte: u8) -> bool {
    !byte.is_ascii_graphic() || b"/?#\"'<>\\`,;(){}|".contains(&byte)
}

/// Inside a JSON string that is to be masked.
#[derive(Debug, Clone, Copy)]
pub struct StringMask {
    /// The quote that ends it (`'` where a Python dictionary is printed).
    quote: u8,
    /// How many strings it is nested in: JSON inside a JSON string has level 1, its quotes are
    /// written `\"`.
    level: u32,
    escapes: Escapes,
}

impl StringMask {
    /// A string that opened with this quote, after this many backslashes.
    pub fn opened_by(quote: u8, backslashes: u32) -> Self {
        // At level n there are 2^n - 1 of them.
        Self {
            quote,
            level: (backslashes + 1).ilog2(),
            escapes: Escapes::default(),
        }
    }

    fn next(&mut self, byte: u8) -> Option<u8> {
        let closes = byte == self.quote && closes_string(self.escapes.backslashes, self.level);
        // JSON has no line feed in a string: it was none.
        if closes || byte == b'\n' {
            return None;
        }
        Some(self.escapes.mask(byte))
    }
}

/// Tells if a quote after this many backslashes ends a string of this level, or one around it.
pub fn closes_string(backslashes: u32, level: u32) -> bool {
    // Each level writes every backslash and every quote of the level inside it with one more
    // backslash before it. An odd number escapes the quote; taking one level off leaves half.
    let mut left = backslashes;
    for _ in 0..level {
        if left.is_multiple_of(2) {
            return true;
        }
        left /= 2;
    }
    left.is_multiple_of(2)
}

/// Masks the inside of a string so that it stays valid: escape sequences are kept, but those that
/// stand for any character (`\u00e9`) lose which.
#[derive(Debug, Clone, Copy, Default)]
pub struct Escapes {
    /// Backslashes directly before the next byte.
    pub backslashes: u32,
    /// Hexadecimal digits of `\uXXXX` that are to come.
    digits: u8,
}

impl Escapes {
    /// The byte to write instead of this one.
    pub fn mask(&mut self, byte: u8) -> u8 {
        let backslashes = std::mem::take(&mut self.backslashes);
        let digits = std::mem::take(&mut self.digits);
        match byte {
            b'\\' => {
                self.backslashes = backslashes.saturating_add(1);
                byte
            }
            b'"' | b'\'' => byte,
            b'b' | b'f' | b'n' | b'r' | b't' | b'/' if backslashes > 0 => byte,
            b'u' if backslashes > 0 => {
                self.digits = 4;
                byte
            }
            _ if digits > 0 => {
                self.digits = digits - 1;
                b'0'
            }
            _ => MASK,
        }
    }
}
