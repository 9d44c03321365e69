//! What a body is, by how it begins.

use bytes::{Buf, Bytes};

/// What a body looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// JSON: an object or a list.
    Json,
    /// An event stream: its first line is a comment, or a field of an event.
    Events,
    /// Anything else.
    Other,
}

/// What the first lines of event streams begin with.
const FIELDS: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];
/// Servers may send one before either.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes that say what a body is, at most.
const MOST: usize = 16;

/// Finds out the shape of a body whose bytes come in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct ShapeFinder {
    /// The beginning of the body after its white space, as long as it may be of several shapes.
    held: Vec<u8>,
}

impl ShapeFinder {
    /// Takes the next bytes. As soon as they show the shape, it gives that and the body so far,
    /// without white space before it, in two pieces.
    pub fn push(&mut self, mut data: Bytes) -> Option<(Shape, Bytes, Bytes)> {
        if self.held.is_empty() {
            let space = data.iter().take_while(|byte| byte.is_ascii_whitespace());
            data.advance(space.count());
        }
        let mut start = self.held.clone();
        start.extend(data.iter().take(MOST));
        match shape(&start) {
            Some(shape) => Some((shape, std::mem::take(&mut self.held).into(), data)),
            None => {
                self.held = start;
                None
            }
        }
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        self.held.len()
    }
}

/// The shape of a body that begins like this; `None` if that takes more of it.
fn shape(start: &[u8]) -> Option<Shape> {
    let start = match start.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest,
        None if BYTE_ORDER_MARK.starts_with(start) => return None,
        None => start,
    };
    match start.first()? {
        b'{' | b'[' => Some(Shape::Json),
        _ if FIELDS.iter().any(|field| start.starts_with(field)) => Some(Shape::Events),
        _ if FIELDS.iter().any(|field| field.starts_with(start)) => None,
        _ => Some(Shape::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_do_not_depend_on_cuts() {
        for (body, expected) in [
            ("{\"a\":1}", Some(Shape::Json)),
            (" \r\n\t[1]", Some(Shape::Json)),
            ("\u{feff}{}", Some(Shape::Json)),
            ("data: {}", Some(Shape::Events)),
            ("\ndata:{}", Some(Shape::Events)),
            (": ping", Some(Shape::Events)),
            ("event: message", Some(Shape::Events)),
            ("\u{feff}id: 1", Some(Shape::Events)),
            ("retry: 1", Some(Shape::Events)),
            ("date: today", Some(Shape::Other)),
            ("<html>", Some(Shape::Other)),
            ("\u{feff}<html>", Some(Shape::Other)),
            ("dat", None),
            (" \n ", None),
            ("", None),
        ] {
            for length in 1..=body.len().max(1) {
                let mut finder = ShapeFinder::default();
                let mut found = None;
                let mut told = Vec::new();
                for piece in body.as_bytes().chunks(length) {
                    let piece = Bytes::copy_from_slice(piece);
                    if found.is_some() {
                        told.extend_from_slice(&piece);
                    } else if let Some((shape, held, rest)) = finder.push(piece) {
                        found = Some(shape);
                        told = [held, rest].concat();
                    }
                    assert!(finder.buffered() < MOST);
                }
                assert_eq!(found, expected, "{body:?} in pieces of {length}");
                if found.is_some() {
                    assert_eq!(told, body.trim_ascii_start().as_bytes(), "{body:?}");
                }
            }
        }
    }
}
