//! An answer as far as it was read.

use std::collections::BTreeMap;

use super::calls::{CallPiece, Calls};
use super::fenced::Fences;
use super::fields::Field;
use super::notice::NoticeFinder;
use super::reply::{MOST_CHOICES, MOST_TOOLS, ModelReply, ReplyError, short_name};
use crate::exchanges::json::{Container, Inside, Path, Value, Visitor, Want};
use crate::time::Nanos;

/// Kinds of items and blocks that are calls which the client is to make.
const CALL_TYPES: [&str; 5] = [
    "function",
    "custom",
    "tool_use",
    "function_call",
    "custom_tool_call",
];

/// Events that end a stream.
const LAST_EVENTS: [&str; 4] = [
    "message_stop",
    "response.completed",
    "response.incomplete",
    "response.failed",
];

/// What a [`Field::Status`] is where the answer is over.
const LAST_STATUSES: [&str; 4] = ["completed", "incomplete", "failed", "cancelled"];

/// The one event of OpenAI's responses whose `delta` is text of the answer.
const TEXT_DELTA: &str = "response.output_text.delta";

/// An answer as far as it was read.
#[derive(Debug)]
pub struct Draft {
    /// What is known of it.
    pub reply: ModelReply,
    /// When what is read now came.
    pub at: Nanos,
    /// It has choices, within which are its texts and calls.
    pub has_choices: bool,
    /// Each line of it is a document.
    pub is_of_lines: bool,
    /// Lines so far.
    pub documents: u64,
    /// Its status says that it is an error.
    pub is_failure: bool,
    /// Its tokens of the request do not include those of the cache.
    pub counts_cache_apart: bool,
    field: fn(&str) -> Field,
    calls: Calls,
    fences: Fences,
    notice: NoticeFinder,
    finish_reasons: BTreeMap<u64, String>,
    status: Option<String>,
    error_code: Option<String>,
    /// The event, the choice and the call that are being read.
    event: Event,
    choice: Choice,
    call: CallPiece,
}

#[derive(Debug, Default)]
struct Event {
    kind: String,
    has_content: bool,
    message: Option<String>,
    code: Option<String>,
}

#[derive(Debug, Default)]
struct Choice {
    index: Option<u64>,
    finish_reason: Option<String>,
    calls: Vec<CallPiece>,
}

impl Draft {
    /// An answer of which nothing was read, in the dialect of this table.
    pub fn new(field: fn(&str) -> Field) -> Self {
        Self {
            reply: ModelReply::default(),
            at: 0,
            has_choices: false,
            is_of_lines: false,
            documents: 0,
            is_failure: false,
            counts_cache_apart: false,
            field,
            calls: Calls::default(),
            fences: Fences::default(),
            notice: NoticeFinder::default(),
            finish_reasons: BTreeMap::new(),
            status: None,
            error_code: None,
            event: Event::default(),
            choice: Choice::default(),
            call: CallPiece::default(),
        }
    }

    /// An event of a stream begins, of this kind where its head says it.
    pub fn begin_event(&mut self, kind: &[u8]) {
        self.event = Event {
            kind: short_name(&String::from_utf8_lossy(kind)),
            ..Event::default()
        };
    }

    /// An event of a stream, or a line of it, ends.
    pub fn end_event(&mut self) {
        self.end_document();
        if std::mem::take(&mut self.event.has_content) {
            self.reply.first_content_at.get_or_insert(self.at);
            self.reply.last_content_at = Some(self.at);
            self.reply.content_pieces += 1;
        }
        self.notice.end_event();
        self.event = Event::default();
    }

    /// It came as a whole after all: when its content came says nothing.
    pub fn is_no_stream(&mut self) {
        self.reply.first_content_at = None;
        self.reply.last_content_at = None;
        self.reply.content_pieces = 0;
    }

    /// Bytes are missing: what is half read is not what it seems.
    pub fn gap(&mut self) {
        self.choice = Choice::default();
        self.call = CallPiece::default();
        self.fences = Fences::default();
    }

    /// What is known of it in the end.
    pub fn finish(mut self) -> ModelReply {
        self.end_document();
        let mut reply = self.reply;
        if let Some(error) = &mut reply.error {
            error.kind = error.kind.take().or(self.error_code);
        }
        if self.finish_reasons.is_empty()
            && let Some(status) = self.status
        {
            self.finish_reasons.insert(0, status);
        }
        if self.counts_cache_apart
            && let Some(input) = &mut reply.usage.input
        {
            for cached in [reply.usage.cache_read, reply.usage.cache_creation] {
                *input = input.saturating_add(cached.unwrap_or_default());
            }
        }
        reply.finish_reasons = self.finish_reasons.into_values().collect();
        reply.tool_calls = self.calls.finish();
        reply.notice = self.notice.finish();
        reply
    }

    fn end_document(&mut self) {
        // What a cut left open.
        self.end_choice(0);
        self.call = CallPiece::default();
        let kind = self.event.kind.as_str();
        self.reply.is_ended |= LAST_EVENTS.contains(&kind);
        if self.is_failure || kind == "error" {
            let error = self.reply.error.get_or_insert_default();
            error.message = error.message.take().or(self.event.message.take());
            self.error_code = self.error_code.take().or(self.event.code.take());
            if *error == ReplyError::default() && self.error_code.is_none() {
                self.reply.error = None;
            }
        }
    }

    fn end_choice(&mut self, position: u64) {
        let choice = std::mem::take(&mut self.choice);
        let index = choice.index.unwrap_or(position);
        for call in choice.calls {
            self.calls.push(index, call);
        }
        if let Some(reason) = choice.finish_reason {
            self.stop(index, reason);
        }
    }

    fn end_call(&mut self) {
        let call = std::mem::take(&mut self.call);
        if !self.has_choices {
            self.event.has_content |= self.calls.push(0, call);
            return;
        }
        // The first piece has a name, those with arguments a number.
        self.event.has_content |= call.index.is_some() || call.name.is_some();
        if self.choice.calls.len() < MOST_TOOLS {
            self.choice.calls.push(call);
        }
    }

    fn finish_reason(&mut self, reason: String) {
        if self.has_choices {
            self.choice.finish_reason = Some(reason);
        } else {
            self.stop(0, reason);
        }
    }

    fn stop(&mut self, choice: u64, reason: String) {
        if self.finish_reasons.len() < MOST_CHOICES || self.finish_reasons.contains_key(&choice) {
            self.finish_reasons.insert(choice, reason);
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        let calls = &mut self.calls;
        self.fences
            .push(bytes, &mut |name, style| calls.fenced(name, style));
        self.notice.push(bytes);
    }

    /// Whether texts that are read now are those of the first choice, or of the answer where it
    /// has none. Calls and notices in other choices' texts are not looked for.
    fn is_first_choice(&self, path: &Path) -> bool {
        let position = path.indices().first().copied().unwrap_or_default();
        self.choice.index.unwrap_or(position) == 0
    }
}

impl Visitor for Draft {
    fn begin(&mut self, path: &Path, _container: Container) -> Inside {
        match (self.field)(path.as_str()) {
            Field::Skip => return Inside::Skip,
            Field::Error => {
                self.reply.error.get_or_insert_default();
            }
            _ => {}
        }
        Inside::Enter
    }

    fn end(&mut self, path: &Path, _container: Container) {
        match (self.field)(path.as_str()) {
            Field::Choice => self.end_choice(path.index()),
            Field::Call => self.end_call(),
            _ if path.as_str().is_empty() && self.is_of_lines => {
                self.documents += 1;
                self.end_event();
            }
            _ => {}
        }
    }

    fn want(&mut self, path: &Path) -> Want {
        match (self.field)(path.as_str()) {
            Field::Text | Field::ChoiceText | Field::Content => Want::Pieces,
            Field::Unknown | Field::Skip | Field::Choice | Field::Call => Want::Skip,
            _ => Want::Value,
        }
    }

    fn piece(&mut self, path: &Path, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.event.has_content = true;
        match (self.field)(path.as_str()) {
            Field::ChoiceText if self.is_first_choice(path) => self.text(bytes),
            // Of OpenAI's responses, what a delta is of depends on the event.
            Field::Text if path.as_str() != "delta" || self.event.kind == TEXT_DELTA => {
                self.text(bytes);
            }
            _ => {}
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        let field = (self.field)(path.as_str());
        if self.count(field, value) {
            return;
        }
        match field {
            Field::ChoiceIndex => self.choice.index = value.count(),
            Field::CallIndex => self.call.index = value.count(),
            Field::Done => self.reply.is_ended |= value.boolean() == Some(true),
            _ => {}
        }
        if let Some(text) = value.text_or_number() {
            self.name(field, text);
        }
    }
}

impl Draft {
    /// Takes a count. Whether it is one.
    fn count(&mut self, field: Field, value: Value<'_>) -> bool {
        let usage = &mut self.reply.usage;
        let durations = &mut self.reply.durations;
        let kept = match field {
            Field::Input => &mut usage.input,
            Field::Output => &mut usage.output,
            Field::CacheRead => &mut usage.cache_read,
            Field::CacheCreation => &mut usage.cache_creation,
            Field::Reasoning => &mut usage.reasoning,
            Field::TotalDuration => &mut durations.total,
            Field::LoadDuration => &mut durations.load,
            Field::InputDuration => &mut durations.input,
            Field::OutputDuration => &mut durations.output,
            _ => return false,
        };
        // Chunks without a count have `null` there.
        *kept = value.count().or(*kept);
        true
    }

    /// Takes a name, an id or a message.
    fn name(&mut self, field: Field, text: &str) {
        // Chunks without one have an empty one there.
        if text.is_empty() {
            return;
        }
        let name = || Some(short_name(text));
        match field {
            Field::Id => self.reply.id = name(),
            Field::Model => self.reply.model = name(),
            Field::EventType if self.event.kind.is_empty() => self.event.kind = short_name(text),
            Field::FinishReason => self.finish_reason(short_name(text)),
            Field::Status if LAST_STATUSES.contains(&text) => self.status = name(),
            Field::CallId => self.call.id = name(),
            Field::CallName => self.call.name = name(),
            Field::CallType => self.call.is_other = !CALL_TYPES.contains(&text),
            Field::Error | Field::ErrorMessage => {
                self.reply.error.get_or_insert_default().message = Some(text.to_owned());
            }
            Field::ErrorType => self.reply.error.get_or_insert_default().kind = name(),
            Field::ErrorCode => self.error_code = name(),
            Field::Message => self.event.message = Some(text.to_owned()),
            Field::Code => self.event.code = name(),
            _ => {}
        }
    }
}
