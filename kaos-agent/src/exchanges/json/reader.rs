//! Reads documents in pieces cut anywhere.

use memchr::memchr;

use super::skip::Skip;
use super::tail::{self, Tail};
use super::text::{Kept, TextDecoder};
use super::{Container, Inside, MOST_KEY, MOST_TEXT, Path, Value, Visitor, Want};

/// Which documents a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents {
    /// One; or several in a row.
    One,
    /// One on each line (NDJSON, JSON lines).
    Lines,
}

/// Reads documents in pieces cut anywhere.
#[derive(Debug)]
pub struct Reader {
    documents: Documents,
    path: Path,
    state: State,
    /// The key, text or word that is being read.
    kept: Kept,
}

/// What may come next.
#[derive(Debug)]
enum State {
    /// A value.
    Value,
    /// A key.
    Key,
    /// The colon after a key.
    Colon,
    /// A comma, or the end of the container; in the root the next document.
    After,
    /// The rest of a word.
    Word,
    /// The rest of a key.
    KeyText(TextDecoder),
    /// The rest of a text.
    Text(TextDecoder, Want),
    /// The rest of a container that nobody wants.
    Skip(Skip),
    /// Nothing: this is no JSON.
    Broken,
    /// The rest of a line that a gap touched.
    CutLine,
    /// After a gap: anything.
    Tail(Tail),
}

impl Reader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(documents: Documents) -> Self {
        Self {
            documents,
            path: Path::default(),
            state: State::Value,
            kept: Kept::default(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8], visitor: &mut impl Visitor) {
        if self.documents == Documents::Lines {
            while let Some(end) = memchr(b'\n', bytes) {
                self.read(&bytes[..end], visitor);
                self.end_document(visitor);
                bytes = &bytes[end + 1..];
            }
        }
        self.read(bytes, visitor);
    }

    /// Bytes are missing here.
    pub fn gap(&mut self) {
        self.path.clear();
        self.kept.clear();
        self.state = match self.documents {
            Documents::One => State::Tail(Tail::default()),
            Documents::Lines => State::CutLine,
        };
    }

    /// The body is over; ready for another. `is_whole`: it came to its end, which is that of a
    /// document.
    pub fn finish(&mut self, is_whole: bool, visitor: &mut impl Visitor) {
        if is_whole && let State::Tail(tail) = &mut self.state {
            let tail = std::mem::take(tail);
            self.read_tail(&tail, visitor);
        }
        self.end_document(visitor);
    }

    /// What it was given is no JSON: nothing more is told of the document.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    fn end_document(&mut self, visitor: &mut impl Visitor) {
        if matches!(self.state, State::Word) {
            self.end_word(visitor);
        }
        self.path.clear();
        self.kept.clear();
        self.state = State::Value;
    }

    fn read_tail(&mut self, tail: &Tail, visitor: &mut impl Visitor) {
        let bytes = tail.bytes();
        self.state = State::Broken;
        let Some(start) = tail::find_start(bytes) else {
            return;
        };
        for container in start.open {
            if self.path.is_deepest() {
                return;
            }
            self.path.open(container);
            if container == Container::Object {
                self.path.unknown_key();
            }
        }
        self.state = match bytes[start.at] {
            b'{' | b'[' => State::Value,
            _ => State::After,
        };
        self.read(&bytes[start.at..], visitor);
    }

    fn read(&mut self, mut bytes: &[u8], visitor: &mut impl Visitor) {
        while let Some(&byte) = bytes.first() {
            let taken = match &mut self.state {
                State::Word => self.word(bytes, visitor),
                State::KeyText(decoder) => {
                    let kept = &mut self.kept;
                    // One more than a key may have tells that it is longer.
                    let mut keep = |bytes: &[u8]| kept.extend(bytes, MOST_KEY + 1);
                    let (taken, is_over) = decoder.push(bytes, &mut keep);
                    if is_over {
                        self.path.key(&self.kept.text().0);
                        self.kept.clear();
                        self.state = State::Colon;
                    }
                    taken
                }
                State::Text(..) => self.text(bytes, visitor),
                State::Skip(skip) => match skip.push(bytes) {
                    Some(taken) => {
                        self.state = State::After;
                        taken
                    }
                    None => return,
                },
                State::Tail(tail) => return tail.push(bytes),
                State::Broken | State::CutLine => return,
                _ if byte.is_ascii_whitespace() => 1,
                State::Value | State::Key | State::Colon | State::After => {
                    self.structure(byte, visitor)
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// Takes a byte outside of texts and words, or leaves it as the first of a word.
    fn structure(&mut self, byte: u8, visitor: &mut impl Visitor) -> usize {
        let container = self.path.container();
        if matches!(self.state, State::After) && container.is_none() {
            self.state = State::Value;
        }
        match (&self.state, byte) {
            (_, b'}') => self.close(Container::Object, visitor),
            (_, b']') => self.close(Container::Array, visitor),
            (State::Value, b'{') => self.open(Container::Object, visitor),
            (State::Value, b'[') => self.open(Container::Array, visitor),
            (State::Value, b'"') => {
                let want = visitor.want(&self.path);
                self.state = State::Text(TextDecoder::default(), want);
            }
            (State::Value, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.state = State::Word;
                return 0;
            }
            // Byte order marks, before a document.
            (State::Value, 0xef | 0xbb | 0xbf) if container.is_none() => {}
            (State::Key, b'"') => self.state = State::KeyText(TextDecoder::default()),
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') if container == Some(Container::Array) => {
                self.path.next_element();
                self.state = State::Value;
            }
            (State::After, b',') => self.state = State::Key,
            _ => self.state = State::Broken,
        }
        1
    }

    fn open(&mut self, container: Container, visitor: &mut impl Visitor) {
        if self.path.is_deepest() || visitor.begin(&self.path, container) == Inside::Skip {
            self.state = State::Skip(Skip::new());
            return;
        }
        self.path.open(container);
        self.state = match container {
            Container::Object => State::Key,
            Container::Array => State::Value,
        };
    }

    fn close(&mut self, container: Container, visitor: &mut impl Visitor) {
        if self.path.container() != Some(container) {
            self.state = State::Broken;
            return;
        }
        self.path.close();
        self.state = State::After;
        visitor.end(&self.path, container);
    }

    fn word(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> usize {
        let is_of_word =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let end = bytes.iter().position(|byte| !is_of_word(byte));
        let taken = end.unwrap_or(bytes.len());
        self.kept.extend(&bytes[..taken], MOST_TEXT);
        if end.is_some() {
            self.end_word(visitor);
        }
        taken
    }

    fn end_word(&mut self, visitor: &mut impl Visitor) {
        let (word, is_cut) = self.kept.text();
        if !is_cut {
            visitor.value(&self.path, Value::of_word(&word));
        }
        self.kept.clear();
        self.state = State::After;
    }

    fn text(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> usize {
        let State::Text(decoder, want) = &mut self.state else {
            return 0;
        };
        let (taken, is_over) = match want {
            Want::Value => {
                let kept = &mut self.kept;
                decoder.push(bytes, &mut |bytes| kept.extend(bytes, MOST_TEXT))
            }
            Want::Pieces => decoder.push(bytes, &mut |bytes| visitor.piece(&self.path, bytes)),
            Want::Skip => decoder.push(bytes, &mut |_| {}),
        };
        if is_over {
            match want {
                Want::Value => {
                    let (text, is_long) = self.kept.text();
                    let value = if is_long {
                        Value::LongText(&text)
                    } else {
                        Value::Text(&text)
                    };
                    visitor.value(&self.path, value);
                }
                Want::Pieces => visitor.end_of_text(&self.path),
                Want::Skip => {}
            }
            self.kept.clear();
            self.state = State::After;
        }
        taken
    }
}
