//! Reading a body: content codings undone, its shape and its events found. Of what looks like nothing
//! that is read only the beginning is looked at.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::content::{ContentDecoder, DecodeError};
use super::context::{Context, MessageId};
use super::part::MessageContent;
use super::shape::{Shape, ShapeFinder};
use super::sse::EventParser;
use crate::time::Nanos;

/// What a message says of its body. What it is its first bytes show; this counts where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Nothing, or what nobody reads.
    Unsaid,
    /// It is to be read as bytes.
    Bytes,
    /// It is an event stream.
    Events,
}

/// Reads one body.
pub struct BodyReader {
    decoder: Option<Decoder>,
    content: Content,
}

/// A decoder, and its share of the number of decoders.
struct Decoder {
    decoder: ContentDecoder,
    /// Counted by its clones.
    _share: Arc<()>,
}

/// What a body is.
enum Content {
    /// That is not clear yet.
    Unknown(ShapeFinder, Reading),
    /// Its bytes are told.
    Bytes,
    /// Its events are told.
    Events(Box<EventParser>),
    /// Nobody reads it.
    Nothing,
}

impl BodyReader {
    /// A reader for a body of a message with these fields; `None` where it cannot be read.
    pub fn new(headers: &HeaderMap, context: &mut Context<'_>) -> Option<Self> {
        let reading = (context.reading)(headers);
        let decoder = match ContentDecoder::of(headers, context.limits) {
            Ok(decoder) => decoder,
            Err(error) => {
                context.count_decode_error(error);
                return None;
            }
        };
        if decoder.is_some() && Arc::strong_count(context.decoders) > context.limits.decoders {
            context.counters.decoders_exhausted += 1;
            return None;
        }
        let decoder = decoder.map(|decoder| Decoder {
            decoder,
            _share: context.decoders.clone(),
        });
        Some(Self {
            decoder,
            content: Content::Unknown(ShapeFinder::default(), reading),
        })
    }

    /// Reads the next bytes. Whether more can be read after them.
    pub fn push(
        &mut self,
        data: Bytes,
        id: MessageId,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> bool {
        let content = &mut self.content;
        let Some(decoder) = &mut self.decoder else {
            content.read(data, id, at, context);
            return content.is_read();
        };
        let result = decoder.decoder.push(&data, &mut |slice| {
            content.read(Bytes::copy_from_slice(slice), id, at, context);
        });
        if let Err(error) = result {
            context.count_decode_error(error);
            self.content.miss(id, at, context);
        }
        result.is_ok() && self.content.is_read()
    }

    /// Bytes are missing. Whether more can be read after them.
    pub fn gap(&mut self, id: MessageId, at: Nanos, context: &mut Context<'_>) -> bool {
        self.content.miss(id, at, context);
        let is_coded = self.decoder.is_some();
        context.counters.undecoded_after_gap += u64::from(is_coded);
        !is_coded && self.content.is_read()
    }

    /// Bytes that it keeps, beside the decoder's own.
    pub fn buffered(&self) -> usize {
        match &self.content {
            Content::Unknown(finder, _) => finder.buffered(),
            Content::Events(events) => events.buffered(),
            Content::Bytes | Content::Nothing => 0,
        }
    }
}

impl Content {
    /// What a body is of which this much is known.
    fn of(shape: Shape, said: Reading) -> Self {
        match (shape, said) {
            (Shape::Json, _) | (Shape::Other, Reading::Bytes) => Self::Bytes,
            (Shape::Events, _) | (Shape::Other, Reading::Events) => Self::Events(Box::default()),
            (Shape::Other, Reading::Unsaid) => Self::Nothing,
        }
    }

    fn is_read(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn read(&mut self, data: Bytes, id: MessageId, at: Nanos, context: &mut Context<'_>) {
        match self {
            Self::Unknown(finder, said) => {
                if let Some((shape, held, rest)) = finder.push(data) {
                    *self = Self::of(shape, *said);
                    for data in [held, rest] {
                        if !data.is_empty() {
                            self.read(data, id, at, context);
                        }
                    }
                }
            }
            Self::Bytes => context.tell(id, at, MessageContent::Bytes(data)),
            Self::Events(events) => {
                let limit = context.limits.event_bytes;
                events.push(&data, limit, &mut |event| {
                    context.counters.cut_events += u64::from(event.is_cut);
                    context.tell(id, at, MessageContent::Event(event));
                });
            }
            Self::Nothing => {}
        }
    }

    fn miss(&mut self, id: MessageId, at: Nanos, context: &mut Context<'_>) {
        if let Self::Unknown(_, said) = self {
            *self = Self::of(Shape::Other, *said);
        }
        if let Self::Events(events) = self {
            events.gap(context.limits.event_bytes);
        }
        if self.is_read() {
            context.tell(id, at, MessageContent::Gap);
        }
    }
}

impl Context<'_> {
    fn count_decode_error(&mut self, error: DecodeError) {
        let counters = &mut *self.counters;
        *match error {
            DecodeError::UnknownCoding => &mut counters.unknown_codings,
            DecodeError::BadCoding => &mut counters.bad_coded_bodies,
            DecodeError::Oversized => &mut counters.oversized_bodies,
        } += 1;
    }
}
