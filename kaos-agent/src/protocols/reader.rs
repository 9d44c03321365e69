//! Reading a body: content codings undone, events found. Only for bodies that somebody wants.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::content::{ContentDecoder, DecodeError};
use super::context::{Context, MessageId};
use super::part::MessageContent;
use super::sse::EventParser;
use crate::time::Nanos;

/// What the next stage wants of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Nothing but its size.
    Nothing,
    /// Its bytes, decoded.
    Bytes,
    /// The events in it: it is an event stream.
    Events,
}

/// Reads one body.
pub struct BodyReader {
    decoder: Option<Decoder>,
    events: Option<EventParser>,
}

/// A decoder, and its share of the number of decoders.
struct Decoder {
    decoder: ContentDecoder,
    /// Counted by its clones.
    _share: Arc<()>,
}

impl BodyReader {
    /// A reader for a body of a message with these fields; `None` where nobody wants it or it
    /// cannot be read.
    pub fn new(headers: &HeaderMap, context: &mut Context<'_>) -> Option<Self> {
        let events = match (context.reading)(headers) {
            Reading::Nothing => return None,
            Reading::Bytes => None,
            Reading::Events => Some(EventParser::default()),
        };
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
        Some(Self { decoder, events })
    }

    /// Reads the next bytes. Whether more can be read after them.
    pub fn push(
        &mut self,
        data: Bytes,
        id: MessageId,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(decoder) = &mut self.decoder else {
            read(&mut self.events, data, id, at, context);
            return true;
        };
        let events = &mut self.events;
        let result = decoder.decoder.push(&data, &mut |slice| {
            read(events, Bytes::copy_from_slice(slice), id, at, context);
        });
        if let Err(error) = result {
            context.count_decode_error(error);
            self.miss(id, at, context);
        }
        result.is_ok()
    }

    /// Bytes are missing. Whether more can be read after them.
    pub fn gap(&mut self, id: MessageId, at: Nanos, context: &mut Context<'_>) -> bool {
        self.miss(id, at, context);
        let is_coded = self.decoder.is_some();
        context.counters.undecoded_after_gap += u64::from(is_coded);
        !is_coded
    }

    fn miss(&mut self, id: MessageId, at: Nanos, context: &mut Context<'_>) {
        if let Some(events) = &mut self.events {
            events.gap(context.limits.event_bytes);
        }
        context.tell(id, at, MessageContent::Gap);
    }

    /// Bytes that it keeps, beside the decoder's own.
    pub fn buffered(&self) -> usize {
        self.events.as_ref().map_or(0, EventParser::buffered)
    }
}

fn read(
    events: &mut Option<EventParser>,
    data: Bytes,
    id: MessageId,
    at: Nanos,
    context: &mut Context<'_>,
) {
    let Some(events) = events else {
        return context.tell(id, at, MessageContent::Bytes(data));
    };
    let limit = context.limits.event_bytes;
    events.push(&data, limit, &mut |event| {
        context.counters.cut_events += u64::from(event.is_cut);
        context.tell(id, at, MessageContent::Event(event));
    });
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
