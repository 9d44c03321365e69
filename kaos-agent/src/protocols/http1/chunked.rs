//! Chunked transfer coding (RFC 9112 section 7.1): which bytes are data.

use memchr::memchr;

/// Hexadecimal digits of a chunk's size: what fits 64 bits.
const MOST_DIGITS: u8 = 16;

/// Bytes of chunk extensions, trailers and their line ends in one body, all together. Their use
/// is rare; without a bound they could go on forever.
const MOST_EXTRA_BYTES: usize = 16 << 10;

/// Where in the coding the next byte is.
#[derive(Debug)]
pub struct Chunked {
    state: State,
    /// Bytes of extensions and trailers so far.
    extra: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// After the digits, before the line's end.
    Extension { size: u64 },
    /// In data, so many bytes before its end.
    Data(u64),
    /// In the line end after data.
    DataEnd,
    /// In a trailer's line; whether it has had a byte yet.
    Trailer { is_empty: bool },
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many are data; at least one.
    Data(usize),
    /// So many are framing; all of the input, or data follows.
    Framing(usize),
    /// So many are framing, and the body ends with them.
    End(usize),
    /// It makes no sense.
    Bad,
}

impl Default for Chunked {
    fn default() -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extra: 0,
        }
    }
}

impl Chunked {
    /// Tells what the next bytes are; `input` is not empty.
    pub fn step(&mut self, input: &[u8]) -> Step {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            self.state = match self.state {
                State::Data(0) => State::DataEnd,
                State::Data(_) if at > 0 => return Step::Framing(at),
                State::Data(left) => {
                    let length =
                        usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    self.state = State::Data(left - length as u64);
                    return Step::Data(length);
                }
                State::Size { size, digits } => {
                    if let Some(digit) = char::from(byte).to_digit(16) {
                        if digits == MOST_DIGITS {
                            return Step::Bad;
                        }
                        at += 1;
                        State::Size {
                            size: size << 4 | u64::from(digit),
                            digits: digits + 1,
                        }
                    } else if digits == 0 {
                        return Step::Bad;
                    } else {
                        State::Extension { size }
                    }
                }
                State::Extension { size } => match self.skip_line(&input[at..]) {
                    None => return Step::Bad,
                    Some(Line::Partial) => return Step::Framing(input.len()),
                    Some(Line::Whole(length)) => {
                        at += length;
                        match size {
                            0 => State::Trailer { is_empty: true },
                            _ => State::Data(size),
                        }
                    }
                },
                State::DataEnd => {
                    at += 1;
                    match byte {
                        b'\r' => State::DataEnd,
                        b'\n' => State::Size { size: 0, digits: 0 },
                        _ => return Step::Bad,
                    }
                }
                State::Trailer { is_empty } => match byte {
                    b'\r' => {
                        at += 1;
                        State::Trailer { is_empty }
                    }
                    b'\n' if is_empty => {
                        // The next body of the connection starts with nothing.
                        *self = Self::default();
                        return Step::End(at + 1);
                    }
                    _ => match self.skip_line(&input[at..]) {
                        None => return Step::Bad,
                        Some(Line::Partial) => {
                            self.state = State::Trailer { is_empty: false };
                            return Step::Framing(input.len());
                        }
                        Some(Line::Whole(length)) => {
                            at += length;
                            State::Trailer { is_empty: true }
                        }
                    },
                },
            };
        }
        Step::Framing(at)
    }

    /// Bytes are missing. Whether it is known where in the coding the next byte is all the same:
    /// that is so where all of them are data of one chunk.
    pub fn gap(&mut self, missing: u64) -> bool {
        match self.state {
            State::Data(left) if missing <= left => {
                self.state = State::Data(left - missing);
                true
            }
            _ => false,
        }
    }

    /// Looks for the end of a line of extensions or trailers. `None` where there are too many.
    fn skip_line(&mut self, input: &[u8]) -> Option<Line> {
        let line = match memchr(b'\n', input) {
            Some(end) => Line::Whole(end + 1),
            None => Line::Partial,
        };
        self.extra += match line {
            Line::Whole(length) => length - 1,
            Line::Partial => input.len(),
        };
        (self.extra <= MOST_EXTRA_BYTES).then_some(line)
    }
}

enum Line {
    Whole(usize),
    Partial,
}

/// Looks for the end of a body whose chunks are lost track of: the last chunk without trailers, at
/// the end of what is captured of a socket operation. Large operations are captured at their two
/// ends only, which hides the sizes of chunks, but not this.
#[derive(Debug, Default)]
pub struct LastChunk {
    /// The latest bytes since the last gap, no more than matter.
    recent: Vec<u8>,
}

impl LastChunk {
    /// The end of the data before, and the last chunk.
    const END: &[u8] = b"\r\n0\r\n\r\n";

    /// Whether the body ends with these bytes.
    pub fn push(&mut self, input: &[u8]) -> bool {
        let kept = Self::END.len();
        self.recent
            .extend_from_slice(&input[input.len().saturating_sub(kept)..]);
        self.recent.drain(..self.recent.len().saturating_sub(kept));
        // After a gap the last chunk may come alone: many send it in an operation of its own.
        self.recent == Self::END || self.recent == Self::END[2..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data of a body in these pieces; the rest after its end, where that is reached.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), ()> {
        let mut chunked = Chunked::default();
        let mut data = Vec::new();
        let mut rest: Option<Vec<u8>> = None;
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                if let Some(rest) = &mut rest {
                    rest.extend_from_slice(input);
                    break;
                }
                match chunked.step(input) {
                    Step::Data(length) => {
                        assert!(length > 0, "no endless loop");
                        data.extend_from_slice(&input[..length]);
                        input = &input[length..];
                    }
                    Step::Framing(length) => {
                        assert!(length > 0, "no endless loop");
                        input = &input[length..];
                    }
                    Step::End(length) => {
                        rest = Some(Vec::new());
                        input = &input[length..];
                    }
                    Step::Bad => return Err(()),
                }
            }
        }
        Ok((data, rest))
    }

    #[test]
    fn bodies_are_decoded() {
        for (body, data, rest) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", Some("")),
            (
                "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP",
                "hello world",
                Some("HTTP"),
            ),
            ("0\r\n\r\nGET", "", Some("GET")),
            ("00A\r\n0123456789\r\n000\r\n\r\n", "0123456789", Some("")),
            (
                "a;x=y;z=\"w\"\r\n0123456789\r\n0;last\r\n\r\n",
                "0123456789",
                Some(""),
            ),
            ("5  \r\nhello\r\n0 \r\n\r\n", "hello", Some("")),
            (
                "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\nx",
                "hello",
                Some("x"),
            ),
            ("5\nhello\n0\n\nx", "hello", Some("x")),
            ("5\r\nhel", "hel", None),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", Some("")),
        ] {
            let expected = Ok((
                data.as_bytes().to_vec(),
                rest.map(|rest| rest.as_bytes().to_vec()),
            ));
            assert_eq!(decode(&[body.as_bytes()]), expected, "{body:?}");
            let single: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            assert_eq!(decode(&single), expected, "{body:?}");
        }
    }

    #[test]
    fn senseless_bodies_are_refused() {
        let long = format!("1;{}\r\n", "x".repeat(MOST_EXTRA_BYTES));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MOST_EXTRA_BYTES / 4));
        for body in [
            "\r\n",
            "x\r\n",
            "-5\r\n",
            "5\r\nhelloX",
            "10000000000000000\r\n",
            "HTTP/1.1 200 OK",
            &long,
            &trailers,
        ] {
            assert_eq!(decode(&[body.as_bytes()]), Err(()), "{body:.40?}");
        }
    }

    #[test]
    fn gaps_within_one_chunk_are_stepped_over() {
        for (before, missing, after, is_known) in [
            ("5\r\nh", 3, "o\r\n0\r\n\r\n", true),
            ("5\r\n", 5, "\r\n0\r\n\r\n", true),
            ("5\r\nh", 5, "", false),
            ("5\r\nhello", 1, "", false),
            ("", 1, "", false),
            ("5", 1, "", false),
        ] {
            let mut chunked = Chunked::default();
            let mut input = before.as_bytes();
            while let (false, Step::Data(length) | Step::Framing(length)) = (
                input.is_empty(),
                if input.is_empty() {
                    Step::Bad
                } else {
                    chunked.step(input)
                },
            ) {
                input = &input[length..];
            }
            assert_eq!(chunked.gap(missing), is_known, "{before:?}");
            if is_known {
                let mut input = after.as_bytes();
                while let Step::Data(length) | Step::Framing(length) = chunked.step(input) {
                    input = &input[length..];
                }
                assert_eq!(chunked.step(b"0\r\n\r\n"), Step::End(5), "it ended");
            }
        }
    }

    #[test]
    fn the_last_chunk_is_recognised() {
        for (pieces, is_end) in [
            (vec!["data\r\n0\r\n\r\n"], true),
            (vec!["data\r\n", "0\r\n\r\n"], true),
            (vec!["0\r\n\r\n"], true),
            (vec!["d", "\r", "\n0\r", "\n\r", "\n"], true),
            (vec!["data0\r\n\r\n"], false),
            (vec!["10\r\n\r\n"], false),
            (vec!["data\r\n0\r\n\r\nmore"], false),
            (vec!["\r\n"], false),
        ] {
            let mut last = LastChunk::default();
            let ends: Vec<bool> = pieces
                .iter()
                .map(|piece| last.push(piece.as_bytes()))
                .collect();
            assert_eq!(ends.last(), Some(&is_end), "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(prop::sample::select(b"05aF;\r\n x".to_vec()), 0..80), cut in 0_usize..80) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(decode(&[&bytes]), decode(&[head, tail]));
        }
    }
}
