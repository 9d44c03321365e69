//! Reads the body of a model's response.

use super::draft::Draft;
use super::reply::ModelReply;
use super::request::ModelRequest;
use super::{Api, anthropic, ollama, openai, responses};
use crate::exchanges::exchange::Response;
use crate::exchanges::json::{Documents, Reader};
use crate::exchanges::meaning::Reply;
use crate::exchanges::{content_type, reading};
use crate::protocols::part::ServerSentEvent;
use crate::protocols::reader::Reading;
use crate::time::Nanos;

/// What ends OpenAI's event streams.
const DONE: &[u8] = b"[DONE]";

/// Reads the body of a model's response.
#[derive(Debug)]
pub struct ReplyReader {
    draft: Draft,
    reader: Reader,
    /// As far as is known: its fields say so until something of it has come.
    is_of_events: bool,
    lines: Lines,
    has_gap: bool,
}

/// Whether each line of a body is a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    No,
    /// If there are several: whatever a proxy calls it, a stream was asked for.
    Possible,
    /// Its content type says so.
    Said,
}

impl ReplyReader {
    /// For the response to this request.
    #[must_use]
    pub fn of(request: &ModelRequest, response: &Response) -> Self {
        let content_type = content_type(&response.headers).unwrap_or_default();
        let lines = if content_type.to_ascii_lowercase().ends_with(b"ndjson") {
            Lines::Said
        } else if request.stream && request.api.streams_by_default() && response.status < 400 {
            Lines::Possible
        } else {
            Lines::No
        };
        let (field, has_choices): (fn(&str) -> _, _) = match request.api {
            Api::OpenAiChat | Api::OpenAiCompletions => (openai::field, true),
            Api::OpenAiEmbeddings => (openai::field, false),
            Api::OpenAiResponses => (responses::field, false),
            Api::AnthropicMessages => (anthropic::field, false),
            Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed => (ollama::field, false),
        };
        let mut draft = Draft::new(field);
        draft.has_choices = has_choices;
        draft.is_of_lines = lines != Lines::No;
        draft.is_failure = response.status >= 400;
        // Beside those that were read from a cache or written to it.
        draft.counts_cache_apart = request.api == Api::AnthropicMessages;
        let documents = match lines {
            Lines::Said => Documents::Lines,
            Lines::Possible | Lines::No => Documents::One,
        };
        Self {
            draft,
            reader: Reader::new(documents),
            is_of_events: reading(&response.headers) == Reading::Events,
            lines,
            has_gap: false,
        }
    }

    /// The next bytes of a body that is no event stream.
    pub fn bytes(&mut self, bytes: &[u8], at: Nanos) {
        self.draft.at = at;
        self.is_of_events = false;
        self.reader.push(bytes, &mut self.draft);
    }

    /// The next event.
    pub fn event(&mut self, event: &ServerSentEvent, at: Nanos) {
        self.draft.at = at;
        self.is_of_events = true;
        if event.data.trim_ascii() == DONE {
            self.draft.reply.is_ended = true;
            return;
        }
        self.draft.begin_event(&event.event);
        self.reader.push(&event.data, &mut self.draft);
        if !event.tail.is_empty() {
            self.reader.gap();
            self.draft.gap();
            self.reader.push(&event.tail, &mut self.draft);
        }
        self.reader.finish(true, &mut self.draft);
        self.draft.end_event();
    }

    /// Bytes of the body are missing. Those of an event it tells itself.
    pub fn gap(&mut self) {
        self.has_gap = true;
        if !self.is_of_events {
            self.reader.gap();
            self.draft.gap();
            self.draft.begin_event(b"");
        }
    }

    /// The exchange is over. `is_whole`: the response came to its end.
    #[must_use]
    pub fn finish(mut self, is_whole: bool) -> Reply {
        self.reader.finish(is_whole, &mut self.draft);
        let is_of_lines = match self.lines {
            Lines::No => false,
            Lines::Said => true,
            Lines::Possible => self.draft.documents > 1,
        };
        if self.lines == Lines::Possible && !is_of_lines && !self.is_of_events {
            self.draft.is_no_stream();
        }
        let is_stream = self.is_of_events || is_of_lines;
        // The end of a stream may be in the gap.
        self.draft.reply.is_ended |= is_whole && (!is_stream || self.has_gap);
        let reply: ModelReply = self.draft.finish();
        Reply::Model(Box::new(reply))
    }
}
