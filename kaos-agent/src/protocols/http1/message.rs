//! A message after its head: its body as it comes.

use bytes::{Buf, Bytes};
use http::HeaderMap;

use super::super::context::{Context, MessageId};
use super::super::part::{BodyEnd, CutReason, MessageContent};
use super::super::reader::BodyReader;
use super::chunked::{Chunked, LastChunk, Step};
use super::framing::{Framing, is_transfer_coded};
use crate::time::Nanos;

/// What a message came to with the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on; all bytes were taken.
    More,
    /// It is whole; the bytes left belong to the next message.
    Whole,
    /// Where it ends is not known any more.
    Lost,
}

/// A message after its head.
pub struct Message {
    /// Which message.
    pub id: MessageId,
    framing: State,
    end: BodyEnd,
    reader: Option<Box<BodyReader>>,
}

enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    /// Chunked, and not known where in it.
    LostChunked(LastChunk),
    Lost,
}

impl Message {
    /// A message of whose body nothing has come.
    pub fn new(
        id: MessageId,
        framing: Framing,
        headers: &HeaderMap,
        context: &mut Context<'_>,
    ) -> Self {
        let framing = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::UntilClose => State::UntilClose,
            Framing::Unknown => State::Lost,
        };
        let reader = match framing {
            State::Length(0) | State::Lost => None,
            _ if is_transfer_coded(headers) => None,
            _ => BodyReader::new(headers, context).map(Box::new),
        };
        Self {
            id,
            framing,
            end: BodyEnd::default(),
            reader,
        }
    }

    /// What it came to with its head alone.
    pub fn progress(&self) -> Progress {
        match self.framing {
            State::Length(0) => Progress::Whole,
            State::Lost | State::LostChunked(_) => Progress::Lost,
            _ => Progress::More,
        }
    }

    /// Whether the sender's close ends it.
    pub fn is_until_close(&self) -> bool {
        matches!(self.framing, State::UntilClose)
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        self.reader.as_ref().map_or(0, |reader| reader.buffered())
    }

    /// Takes bytes from the front of `input`, which is not empty, as far as it reaches.
    pub fn push(&mut self, input: &mut Bytes, at: Nanos, context: &mut Context<'_>) -> Progress {
        loop {
            let length = match &mut self.framing {
                State::UntilClose | State::Lost => input.len(),
                State::LostChunked(last) => {
                    let is_end = last.push(input);
                    self.moved(input.len() as u64, at);
                    input.clear();
                    return if is_end {
                        Progress::Whole
                    } else {
                        Progress::Lost
                    };
                }
                State::Length(left) => {
                    let length = limited(input.len(), *left);
                    *left -= length as u64;
                    length
                }
                State::Chunked(chunked) => match chunked.step(input) {
                    Step::Data(length) => length,
                    Step::Framing(length) => {
                        input.advance(length);
                        0
                    }
                    Step::End(length) => {
                        input.advance(length);
                        self.end.body.last_at = at;
                        return Progress::Whole;
                    }
                    Step::Bad => {
                        context.counters.bad_chunks += 1;
                        return Progress::Lost;
                    }
                },
            };
            if length > 0 {
                self.moved(length as u64, at);
                let data = input.split_to(length);
                if let Some(reader) = &mut self.reader
                    && !reader.push(data, self.id, at, context)
                {
                    self.reader = None;
                }
            }
            if self.progress() != Progress::More {
                return self.progress();
            }
            if input.is_empty() {
                return Progress::More;
            }
        }
    }

    /// Bytes are missing.
    pub fn gap(&mut self, missing: u64, at: Nanos, context: &mut Context<'_>) -> Progress {
        let is_stepped_over = match &mut self.framing {
            State::UntilClose => true,
            State::Lost | State::LostChunked(_) => false,
            State::Length(left) if missing <= *left => {
                *left -= missing;
                true
            }
            State::Length(_) => false,
            State::Chunked(chunked) => chunked.gap(missing),
        };
        if is_stepped_over {
            context.counters.gaps_in_bodies += 1;
            if let Some(reader) = &mut self.reader
                && !reader.gap(self.id, at, context)
            {
                self.reader = None;
            }
        } else {
            self.lose();
        }
        self.moved(missing, at);
        self.end.body.missing_bytes = self.end.body.missing_bytes.saturating_add(missing);
        self.progress()
    }

    /// Its end cannot be found any more. It goes on until something else shows that it is over,
    /// but nobody reads it.
    pub fn lose(&mut self) {
        self.framing = match self.framing {
            State::Chunked(_) | State::LostChunked(_) => State::LostChunked(LastChunk::default()),
            _ => State::Lost,
        };
        self.reader = None;
    }

    /// It is whole.
    pub fn tell_end(self, at: Nanos, context: &mut Context<'_>) {
        context.tell(self.id, at, MessageContent::End(self.end));
    }

    /// It is not whole and over.
    pub fn tell_cut(self, reason: CutReason, at: Nanos, context: &mut Context<'_>) {
        context.tell(self.id, at, MessageContent::Cut(self.end, reason));
    }

    fn moved(&mut self, bytes: u64, at: Nanos) {
        self.end.first_at.get_or_insert(at);
        self.end.body.wire_bytes = self.end.body.wire_bytes.saturating_add(bytes);
        self.end.body.last_at = at;
    }
}

/// The length, or what is left where that is less.
fn limited(length: usize, left: u64) -> usize {
    usize::try_from(left).map_or(length, |left| left.min(length))
}
