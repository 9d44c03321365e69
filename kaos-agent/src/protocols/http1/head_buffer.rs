//! Finding the end of a message head, in bytes that come in pieces.

use bytes::{Buf, Bytes};
use memchr::memchr_iter;

/// Collects the bytes of one head.
#[derive(Debug, Default)]
pub struct HeadBuffer {
    /// The head so far, without the empty lines before it.
    bytes: Vec<u8>,
    /// No end of the head begins before this.
    searched: usize,
}

/// What a head came to with the next bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Collected {
    /// All bytes were taken and it is not whole.
    Partial,
    /// It is whole: its bytes, to the end of the empty line after it.
    Whole(Bytes),
    /// It is longer than the limit. Not all bytes may have been taken.
    Oversized,
}

impl HeadBuffer {
    /// Takes bytes from the front of `input`, as far as the head reaches.
    pub fn collect(&mut self, input: &mut Bytes, limit: usize) -> Collected {
        if self.bytes.is_empty()
            && let Some(end) = end_of_head(input, 0)
        {
            return if end <= limit {
                Collected::Whole(input.split_to(end))
            } else {
                Collected::Oversized
            };
        }
        let before = self.bytes.len();
        let room = (limit - before).min(input.len());
        self.bytes.extend_from_slice(&input[..room]);
        match end_of_head(&self.bytes, self.searched) {
            Some(end) => {
                input.advance(end - before);
                self.bytes.truncate(end);
                Collected::Whole(Bytes::from(std::mem::take(&mut self.bytes)))
            }
            None if room < input.len() => Collected::Oversized,
            None => {
                input.clear();
                // The longest end of a head has three bytes, the first two of which may be here.
                self.searched = self.bytes.len().saturating_sub(2);
                Collected::Partial
            }
        }
    }

    /// The head so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Drops the empty lines that may stand before a start line (RFC 9112 section 2.2).
pub fn skip_empty_lines(input: &mut Bytes) {
    let empty = input
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    input.advance(empty);
}

/// Where the head ends: after an empty line. Lines end with CRLF or LF (RFC 9112 section 2.2).
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    memchr_iter(b'\n', &bytes[from..]).find_map(|index| {
        let after = from + index + 1;
        match &bytes[after..] {
            [b'\n', ..] => Some(after + 1),
            [b'\r', b'\n', ..] => Some(after + 2),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 40;

    /// Head and rest of bytes that come in these pieces.
    fn collect(pieces: &[&str]) -> (Collected, String) {
        let mut buffer = HeadBuffer::default();
        let mut collected = Collected::Partial;
        let mut rest = String::new();
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece.as_bytes());
            if collected == Collected::Partial {
                collected = buffer.collect(&mut input, LIMIT);
            }
            rest.push_str(std::str::from_utf8(&input).unwrap());
        }
        (collected, rest)
    }

    #[test]
    fn heads_end_with_an_empty_line() {
        for (text, head) in [
            (
                "GET / HTTP/1.1\r\na: b\r\n\r\nbody",
                "GET / HTTP/1.1\r\na: b\r\n\r\n",
            ),
            ("GET / HTTP/1.1\n\nbody\n\n", "GET / HTTP/1.1\n\n"),
            (
                "GET / HTTP/1.1\r\na: b\n\r\nx",
                "GET / HTTP/1.1\r\na: b\n\r\n",
            ),
        ] {
            let whole = Collected::Whole(Bytes::copy_from_slice(head.as_bytes()));
            let rest = text[head.len()..].to_string();
            assert_eq!(
                collect(&[text]),
                (Collected::Whole(head.to_string().into()), rest.clone())
            );
            for cut in 0..text.len() {
                let (one, two) = text.split_at(cut);
                assert_eq!(
                    collect(&[one, two]),
                    (Collected::Whole(head.to_string().into()), rest.clone())
                );
            }
            let single: Vec<&str> = (0..text.len()).map(|at| &text[at..=at]).collect();
            assert_eq!(collect(&single), (whole, rest));
        }
    }

    #[test]
    fn heads_are_bounded() {
        let long = "x".repeat(LIMIT + 1);
        assert_eq!(collect(&[&long]).0, Collected::Oversized);
        assert_eq!(collect(&["x", &long]).0, Collected::Oversized);
        assert_eq!(collect(&["x".repeat(LIMIT).as_str()]).0, Collected::Partial);
        let just = "x".repeat(LIMIT - 4) + "\r\n\r\n";
        assert!(matches!(collect(&[&just]).0, Collected::Whole(_)));
        let over = "x".repeat(LIMIT - 3) + "\r\n\r\n";
        assert_eq!(collect(&[&over]).0, Collected::Oversized);
        assert_eq!(collect(&[&over[..9], &over[9..]]).0, Collected::Oversized);
    }
}
