//! Event streams (`text/event-stream`), as WHATWG HTML section 9.2.6 interprets them.

use bytes::Bytes;
use memchr::memchr2;

use super::part::ServerSentEvent;

/// Bytes that are kept of what follows a gap in an event: as many as the kernel captures of the
/// end of an operation.
const TAIL: usize = 16 << 10;

/// Reads an event stream in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct EventParser {
    /// Beginning of a line that is not whole.
    line: Vec<u8>,
    /// Data of the event so far, each line followed by a line feed.
    data: Vec<u8>,
    /// Type of the event so far.
    event: Bytes,
    /// Last id so far; outlives the event.
    id: Bytes,
    /// The last byte was a carriage return, whose line feed may still come.
    after_carriage_return: bool,
    /// A line was seen: there can be no byte order mark any more.
    is_started: bool,
    /// Part of the event was left out.
    is_cut: bool,
    /// After a gap in an event: what follows of the line.
    tail: Vec<u8>,
    position: Position,
}

/// How well the parser knows where it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Position {
    #[default]
    Known,
    /// After a gap: somewhere in a line.
    InSomeLine,
    /// After a gap: at the start of a line of some event.
    InSomeEvent,
}

impl EventParser {
    /// Takes the next bytes; `tell` gets each event that they complete. An event keeps at most
    /// `limit` bytes.
    pub fn push(&mut self, mut bytes: &[u8], limit: usize, tell: &mut dyn FnMut(ServerSentEvent)) {
        if self.after_carriage_return && !bytes.is_empty() {
            self.after_carriage_return = false;
            if bytes[0] == b'\n' {
                bytes = &bytes[1..];
            }
        }
        while let Some(end) = memchr2(b'\r', b'\n', bytes) {
            self.extend_line(&bytes[..end], limit);
            let is_carriage_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if is_carriage_return {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_carriage_return = true,
                }
            }
            self.end_line(limit, tell);
        }
        self.extend_line(bytes, limit);
    }

    /// Bytes are missing: the event whose data they cut is told as its beginning and its end, which
    /// may be that of a later event. Other events that they touch are left out.
    pub fn gap(&mut self, limit: usize) {
        if self.position == Position::Known {
            let line = std::mem::take(&mut self.line);
            if line.starts_with(b"data:") {
                self.interpret(&line, limit, &mut |_| {});
            }
            if self.data.is_empty() {
                self.clear_event();
            }
            self.is_cut |= !self.data.is_empty();
        }
        self.tail.clear();
        self.line.clear();
        self.after_carriage_return = false;
        self.is_started = true;
        self.position = Position::InSomeLine;
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        self.line.len() + self.data.len() + self.event.len() + self.id.len() + self.tail.len()
    }

    fn extend_line(&mut self, bytes: &[u8], limit: usize) {
        if self.position != Position::Known {
            if self.position == Position::InSomeLine && !self.data.is_empty() {
                self.extend_tail(bytes);
            }
            // Only whether the line is empty matters.
            if self.line.is_empty() {
                self.line.extend(bytes.first());
            }
            return;
        }
        let room = limit.saturating_sub(self.data.len() + self.line.len());
        self.is_cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn extend_tail(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        // Moved together only now and then.
        if surplus > TAIL {
            self.tail.drain(..surplus.min(self.tail.len()));
        }
        self.tail.extend_from_slice(bytes);
    }

    fn end_line(&mut self, limit: usize, tell: &mut dyn FnMut(ServerSentEvent)) {
        let mut line = std::mem::take(&mut self.line);
        match self.position {
            Position::Known => self.interpret(&line, limit, tell),
            Position::InSomeEvent if line.is_empty() => {
                self.position = Position::Known;
                self.dispatch(tell);
            }
            Position::InSomeLine | Position::InSomeEvent => self.position = Position::InSomeEvent,
        }
        line.clear();
        self.line = line;
    }

    fn interpret(&mut self, line: &[u8], limit: usize, tell: &mut dyn FnMut(ServerSentEvent)) {
        let line = if self.is_started {
            line
        } else {
            self.is_started = true;
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        };
        if line.is_empty() {
            return self.dispatch(tell);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                let Some(room) = limit.checked_sub(self.data.len() + 1) else {
                    self.is_cut = true;
                    return;
                };
                self.is_cut |= value.len() > room;
                self.data.extend_from_slice(&value[..value.len().min(room)]);
                self.data.push(b'\n');
            }
            b"event" => self.event = Bytes::copy_from_slice(value),
            b"id" if !value.contains(&0) => self.id = Bytes::copy_from_slice(value),
            // Comments (an empty field name), `retry`, and what is not known.
            _ => {}
        }
    }

    fn dispatch(&mut self, tell: &mut dyn FnMut(ServerSentEvent)) {
        if !self.data.is_empty() {
            self.data.pop();
            tell(ServerSentEvent {
                event: std::mem::take(&mut self.event),
                data: Bytes::from(std::mem::take(&mut self.data)),
                id: self.id.clone(),
                is_cut: self.is_cut,
                tail: Bytes::copy_from_slice(&self.tail[self.tail.len().saturating_sub(TAIL)..]),
            });
        }
        self.clear_event();
    }

    fn clear_event(&mut self) {
        self.data.clear();
        self.event = Bytes::new();
        self.is_cut = false;
        self.tail.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64;

    fn parse(pieces: &[&[u8]]) -> Vec<ServerSentEvent> {
        let mut parser = EventParser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece, LIMIT, &mut |event| events.push(event));
            assert!(parser.buffered() <= 4 * LIMIT, "memory is bounded");
        }
        events
    }

    /// Events as `type|data|id`.
    fn told(stream: &str) -> Vec<String> {
        parse(&[stream.as_bytes()])
            .iter()
            .map(|event| {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                let cut = if event.is_cut { "|cut" } else { "" };
                format!(
                    "{}|{}|{}{cut}",
                    text(&event.event),
                    text(&event.data),
                    text(&event.id)
                )
            })
            .collect()
    }

    #[test]
    fn streams_are_interpreted_as_whatwg_says() {
        for (stream, events) in [
            ("data: a\n\n", vec!["|a|"]),
            (
                "data: a\r\n\r\ndata: b\r\rdata: c\n\n",
                vec!["|a|", "|b|", "|c|"],
            ),
            ("\u{feff}data: a\n\n", vec!["|a|"]),
            ("data: a\n\n\u{feff}data: b\n\n", vec!["|a|"]),
            ("data: a\ndata:  b\ndata\ndata:c\n\n", vec!["|a\n b\n\nc|"]),
            (
                "event: ping\ndata: {}\n\ndata: x\n\n",
                vec!["ping|{}|", "|x|"],
            ),
            ("event: no data\n\ndata: x\n\n", vec!["|x|"]),
            (
                "id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
                vec!["|a|7", "|b|7", "|c|"],
            ),
            ("id: a\0b\ndata: a\n\n", vec!["|a|"]),
            (": comment\nretry: 10\nother: 1\ndata: a\n\n", vec!["|a|"]),
            ("data\n\n", vec!["||"]),
            ("data: unfinished\n", vec![]),
            ("data:a:b\n\n", vec!["|a:b|"]),
        ] {
            assert_eq!(told(stream), events, "{stream:?}");
        }
    }

    #[test]
    fn long_events_are_cut() {
        let long = "x".repeat(2 * LIMIT);
        let kept = "x".repeat(LIMIT - "data: ".len());
        let stream = format!("data: {long}\n\ndata: a\n\n");
        assert_eq!(told(&stream), [format!("|{kept}||cut"), "|a|".to_string()]);
    }

    #[test]
    fn events_cut_by_a_gap_have_a_beginning_and_an_end() {
        for (before, after, events) in [
            (
                "data: a\n\ndata: {1",
                "2}\n\ndata: b\n\n",
                vec!["a", "{1...2}", "b"],
            ),
            ("data: a\n\ndat", "a: maybe\n\ndata: b\n\n", vec!["a", "b"]),
            ("data: a\n\n", "data: maybe\n\ndata: b\n\n", vec!["a", "b"]),
            ("event: x\n", "data: maybe\n\ndata: b\n\n", vec!["b"]),
            ("data: a\n", "c\ndata: d\n\ndata: b\n\n", vec!["a...c", "b"]),
            ("data: a\r", "\ndata: c\n\ndata: b\n\n", vec!["a...", "b"]),
            ("data: a", "c", vec![]),
        ] {
            let mut parser = EventParser::default();
            let mut told = Vec::new();
            let mut tell = |event: ServerSentEvent| {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                let between = if event.is_cut { "..." } else { "" };
                told.push(text(&event.data) + between + &text(&event.tail));
            };
            parser.push(before.as_bytes(), LIMIT, &mut tell);
            parser.gap(LIMIT);
            parser.push(after.as_bytes(), LIMIT, &mut tell);
            assert_eq!(told, events, "{before:?} {after:?}");
        }
    }

    #[test]
    fn of_the_end_after_a_gap_the_last_is_kept() {
        let mut parser = EventParser::default();
        let mut tails = Vec::new();
        let mut tell = |event: ServerSentEvent| tails.push(event.tail);
        parser.push(b"data: a", LIMIT, &mut tell);
        parser.gap(LIMIT);
        for _ in 0..1_000 {
            parser.push(&[b'x'; 100], LIMIT, &mut tell);
            assert!(parser.buffered() <= 2 * TAIL + LIMIT, "memory is bounded");
        }
        parser.push(b"end\n\n", LIMIT, &mut tell);
        assert_eq!(tails[0].len(), TAIL);
        assert!(tails[0].ends_with(b"xend"));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            stream in "(data: ?|event: |id: |: |\u{feff}|[a-c]{1,40}|\r|\n|\r\n){0,30}",
            cut in 0_usize..400,
            second_cut in 0_usize..400,
        ) {
            let bytes = stream.as_bytes();
            let cut = cut.min(bytes.len());
            let (head, tail) = bytes.split_at(cut);
            let (middle, tail) = tail.split_at(second_cut.min(tail.len()));
            prop_assert_eq!(parse(&[bytes]), parse(&[head, middle, tail]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(parse(&[bytes]), parse(&single));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            parse(&pieces);
        }
    }
}
