//! What is known of a span, and what those below inherit from it.

use std::sync::Arc;

use opentelemetry::trace::{SpanContext, TraceState};
use opentelemetry::{SpanId, TraceFlags, TraceId};

use super::SpanKey;
use crate::exchanges::exchange::{ExchangeId, Role};
use crate::identity::service::Service;
use crate::runs::part::Part;
use crate::runs::sampling::is_sampled;
use crate::runs::span::{Parent, Subject};
use crate::runs::telling::Telling;
use crate::runs::w3c::{Carried, RANDOM_TRACE_ID};
use crate::time::WallOffset;

#[derive(Debug)]
pub struct Known {
    pub role: Option<Role>,
    pub service: Arc<Service>,
    pub telling: Telling,
    pub part: Part,
    /// Something hangs under it: it cannot be left out any more.
    pub is_parent: bool,
    /// The trace that it begins where nothing stands above it.
    pub own_trace_id: TraceId,
    pub span_id: SpanId,
    /// The clock when it began.
    pub clock: WallOffset,
    pub place: Option<Place>,
    /// The run that it began, which stands for it where it is not told itself.
    pub run: Option<SpanKey>,
    /// The request that it links to in place of hanging under it, and what a header names as its parent,
    /// until it has its place.
    pub after: Option<(ExchangeId, Option<Carried>)>,
    pub link: Option<SpanContext>,
    /// What it will hang under as soon as that has a place.
    pub waits_for: Option<SpanKey>,
    /// Those that wait for this one's place, in order.
    pub waited_for_by: Vec<SpanKey>,
    pub end: End,
}

/// How far a span is.
#[derive(Debug)]
pub enum End {
    /// It goes on.
    Open,
    /// It has ended, and is handed on as soon as it has a place.
    Held(Subject),
    /// It was handed on.
    Done,
}

/// Where a span stands.
#[derive(Debug, Clone)]
pub struct Place {
    pub context: SpanContext,
    pub parent: Option<Parent>,
}

/// What a span inherits from above.
pub struct Inherited {
    pub trace_id: TraceId,
    pub parent: Option<Parent>,
    pub flags: TraceFlags,
    pub state: TraceState,
}

impl From<Carried> for Inherited {
    /// From the span that a header names.
    fn from(carried: Carried) -> Self {
        Self {
            trace_id: carried.trace_id,
            parent: Some(Parent {
                span_id: carried.span_id,
                remote: false,
            }),
            flags: carried.flags,
            state: carried.state,
        }
    }
}

impl Known {
    /// Takes its place below what it inherits from.
    pub fn place(&mut self, inherited: Option<Inherited>) {
        let inherited = inherited.unwrap_or(Inherited {
            trace_id: self.own_trace_id,
            parent: None,
            flags: RANDOM_TRACE_ID,
            state: TraceState::NONE,
        });
        let parent = inherited.parent.map(|parent| Parent {
            // A server's parent is its client; of a client's, the one who inherits knows best.
            remote: parent.remote || self.role == Some(Role::Server),
            ..parent
        });
        let flags = match self.telling {
            Telling::Span => {
                let parent_sampled = parent.map(|_| inherited.flags.is_sampled());
                let sampler = self.service.sampler;
                let sampled = is_sampled(sampler, inherited.trace_id, parent_sampled);
                inherited.flags.with_sampled(sampled)
            }
            // Nobody sees it, so those below decide as if they hung under its parent.
            Telling::Measurement | Telling::Nothing => inherited.flags,
        };
        let context = SpanContext::new(
            inherited.trace_id,
            self.span_id,
            flags,
            false,
            inherited.state,
        );
        self.place = Some(Place { context, parent });
        self.waits_for = None;
    }

    /// What one below inherits from now on.
    pub fn passes_on_to_child(&mut self) -> Option<Inherited> {
        let inherited = self.passes_on()?;
        self.is_parent = self.telling == Telling::Span;
        Some(inherited)
    }

    /// What those below inherit: itself as the parent where it is told, or else its own parent.
    pub fn passes_on(&self) -> Option<Inherited> {
        let Place { context, parent } = self.place.as_ref()?;
        let parent = match self.telling {
            Telling::Span => Some(Parent {
                span_id: context.span_id(),
                remote: false,
            }),
            Telling::Measurement | Telling::Nothing => *parent,
        };
        Some(Inherited {
            trace_id: context.trace_id(),
            parent,
            flags: context.trace_flags(),
            state: context.trace_state().clone(),
        })
    }
}
