//! What a link to a request that is over says, when its span is known no longer.

use hashlink::LinkedHashMap;
use opentelemetry::trace::SpanContext;
use rustc_hash::FxBuildHasher;

use crate::exchanges::exchange::ExchangeId;
use crate::runs::cause::LINKED_FOR;
use crate::time::Nanos;

/// Served requests that were forgotten in the last [`LINKED_FOR`]: so many at most, the oldest first.
#[derive(Debug)]
pub struct Links {
    most: usize,
    requests: LinkedHashMap<ExchangeId, (Nanos, SpanContext), FxBuildHasher>,
}

impl Links {
    /// Remembers at most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            requests: LinkedHashMap::default(),
        }
    }

    /// A request is forgotten, for which this span stands.
    pub fn remember(&mut self, request: ExchangeId, span: SpanContext, now: Nanos) {
        if self.requests.len() >= self.most {
            self.requests.pop_front();
        }
        let until = now.saturating_add(LINKED_FOR);
        self.requests.insert(request, (until, span));
    }

    /// The span that stands for a request.
    #[must_use]
    pub fn of(&self, request: ExchangeId) -> Option<SpanContext> {
        self.requests.get(&request).map(|(_, span)| span.clone())
    }

    /// Forgets what was remembered long enough.
    pub fn advance(&mut self, now: Nanos) {
        while let Some((_, (until, _))) = self.requests.front()
            && *until <= now
        {
            self.requests.pop_front();
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_remembered_for_a_while_and_so_many_at_most() {
        let mut links = Links::new(2);
        for (id, at) in [(1, 10), (2, 20), (3, 30)] {
            links.remember(ExchangeId(id), SpanContext::NONE, at);
        }
        let known = |links: &Links| [1, 2, 3].map(|id| links.of(ExchangeId(id)).is_some());
        assert_eq!(known(&links), [false, true, true]);
        links.advance(LINKED_FOR + 19);
        assert_eq!(known(&links), [false, true, true]);
        links.advance(LINKED_FOR + 20);
        assert_eq!(known(&links), [false, false, true]);
        links.advance(LINKED_FOR + 30);
        assert_eq!(links.len(), 0);
    }
}
