//! Finds secrets in text, byte by byte: in JSON, in queries and forms, and by their shape.

use super::mask::{Escapes, MASK, Mask, StringMask, closes_string, ends_authority};
use super::patterns::{Finder, Meaning};

/// Finds secrets in text and masks them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scanner {
    finder: Finder,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// Nothing special.
    #[default]
    Looking,
    /// After a word that makes a name secret; what follows tells if it ended a name.
    AfterWord { meaning: Meaning, escaped: bool },
    /// After the quote that ends the name of a secret member: a colon must come.
    AfterName,
    /// After `:` or `=`: the value comes.
    BeforeValue { separator: u8, backslashes: u32 },
    /// In the authority of a URL, in this part of it.
    Authority(Authority),
    /// Inside a secret.
    Masking(Mask),
    /// After a hole.
    AfterHole(AfterHole),
}

/// Where in `user:password@host:port`. Only at the `@` is it certain what the first colon meant;
/// what follows it is a port as long as it is digits, and a password from the first other byte on.
#[derive(Debug, Clone, Copy)]
enum Authority {
    Name,
    Brackets,
    Port,
}

impl Scanner {
    /// Masks the secrets in the next bytes.
    pub fn redact(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next(*byte);
        }
    }

    /// Bytes are missing here.
    pub fn on_hole(&mut self) {
        *self = Self {
            state: State::AfterHole(AfterHole::default()),
            ..Self::default()
        };
    }

    /// The byte to write instead of this one.
    pub fn next(&mut self, byte: u8) -> u8 {
        match &mut self.state {
            State::Masking(mask) => match mask.next(byte) {
                Some(masked) => return masked,
                None => *self = Self::default(),
            },
            State::AfterHole(hole) => match hole.next(byte) {
                Some(masked) => return masked,
                None => *self = Self::default(),
            },
            State::Authority(part) => {
                self.state = authority_goes_on(*part, byte);
                if matches!(self.state, State::Masking(_)) {
                    return MASK;
                }
            }
            State::BeforeValue {
                separator,
                backslashes,
            } => {
                self.state = value_begins(*separator, *backslashes, byte);
                if let State::Masking(mask @ (Mask::Parameter | Mask::Number)) = &mut self.state {
                    // The first byte belongs to the value already.
                    match mask.next(byte) {
                        Some(masked) => return masked,
                        None => self.state = State::Looking,
                    }
                }
            }
            State::AfterName => {
                self.state = match byte {
                    b' ' | b'\t' | b'\r' | b'\n' => State::AfterName,
                    b':' => State::BeforeValue {
                        separator: byte,
                        backslashes: 0,
                    },
                    _ => State::Looking,
                }
            }
            State::AfterWord { meaning, escaped } => {
                self.state = match byte {
                    b'\\' if meaning.json => State::AfterWord {
                        meaning: *meaning,
                        escaped: true,
                    },
                    b'"' | b'\'' if meaning.json => State::AfterName,
                    b'=' if meaning.parameter && !*escaped => State::BeforeValue {
                        separator: byte,
                        backslashes: 0,
                    },
                    _ => State::Looking,
                }
            }
            State::Looking => {}
        }
        if let Some(meaning) = self.finder.next(byte) {
            if meaning.authority {
                self.state = State::Authority(Authority::Name);
            } else if meaning.shape {
                self.state = State::Masking(Mask::Token);
            } else if meaning.json || meaning.parameter {
                self.state = State::AfterWord {
                    meaning,
                    escaped: false,
                };
            }
        }
        byte
    }
}

fn authority_goes_on(part: Authority, byte: u8) -> State {
    match (part, byte) {
        (Authority::Name, b'[') => State::Authority(Authority::Brackets),
        (Authority::Brackets, b']') => State::Authority(Authority::Name),
        (Authority::Name, b':') => State::Authority(Authority::Port),
        (_, byte) if ends_authority(byte) => State::Looking,
        (Authority::Port, b'0'..=b'9') | (Authority::Name | Authority::Brackets, _) => {
            State::Authority(part)
        }
        // The password was all digits.
        (Authority::Port, b'@') => State::Looking,
        (Authority::Port, _) => State::Masking(Mask::Password),
    }
}

/// What follows from the first byte of a secret's value, or from a byte before it.
fn value_begins(separator: u8, backslashes: u32, byte: u8) -> State {
    match byte {
        b'\\' => State::BeforeValue {
            separator,
            backslashes: backslashes.saturating_add(1),
        },
        b'"' | b'\'' => State::Masking(Mask::String(StringMask::opened_by(byte, backslashes))),
        b' ' | b'\t' | b'\r' | b'\n' if separator == b':' => State::BeforeValue {
            separator,
            backslashes: 0,
        },
        // Inside arrays and objects other names and shapes decide.
        b'[' | b'{' => State::Looking,
        _ if separator == b':' => State::Masking(Mask::Number),
        _ => State::Masking(Mask::Parameter),
    }
}

/// After a hole in which a secret, or the name of one, may have begun: all is masked up to a place
/// where a value that began in the hole must have ended. That is a quote that closes a string,
/// which is one before a comma or a closing bracket, or the end of a line.
#[derive(Debug, Clone, Copy, Default)]
struct AfterHole {
    escapes: Escapes,
    /// Any backslashes before the next byte may continue a row that began in the hole.
    parity_known: bool,
    /// Last byte that is not a blank.
    last: Option<u8>,
    /// The last byte that is not a blank was a quote that may close a string.
    quote: bool,
}

impl AfterHole {
    /// The byte to write instead, or `None` where all is certain again before this byte.
    fn next(&mut self, byte: u8) -> Option<u8> {
        let is_value_over = match byte {
            b',' | b'}' | b']' => self.quote,
            b'\n' => !matches!(self.last, None | Some(b':')),
            _ => false,
        };
        if is_value_over {
            return None;
        }
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if !is_blank {
            let opens = matches!(self.last, None | Some(b':' | b',' | b'[' | b'{'));
            self.quote = byte == b'"'
                && !opens
                && self.parity_known
                && closes_string(self.escapes.backslashes, 0);
            self.last = Some(byte);
        }
        self.parity_known |= byte != b'\\';
        let masked = self.escapes.mask(byte);
        Some(if matches!(byte, b'\r' | b'\n') {
            byte
        } else {
            masked
        })
    }
}
