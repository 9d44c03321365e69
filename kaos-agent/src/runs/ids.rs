//! Trace and span ids.

use opentelemetry::{SpanId, TraceId};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// Makes ids: the same seed gives the same ids in the same order, on every machine.
///
/// Ids need not be secret, only spread evenly, so a small generator that is defined bit by bit
/// serves better than one whose algorithm may change with a release.
#[derive(Debug, Clone)]
pub struct Ids(Xoshiro256PlusPlus);

impl Ids {
    /// A sequence of ids. A live agent takes a random seed, a replay a fixed one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A trace id, never 0. All its bits are random, so its random flag may be set.
    pub fn trace_id(&mut self) -> TraceId {
        let high = self.0.next_u64();
        let low = self.0.next_u64();
        TraceId::from((u128::from(high) << 64 | u128::from(low)).max(1))
    }

    /// A span id, never 0.
    pub fn span_id(&mut self) -> SpanId {
        SpanId::from(self.0.next_u64().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_ids() {
        let mut ids = Ids::new(1);
        let (trace, span) = (ids.trace_id(), ids.span_id());
        assert_eq!(trace.to_string(), "cfc5d07f6f03c29bbf424132963fe08d");
        assert_eq!(span.to_string(), "19a37d5757aaf520");
        assert_ne!(trace, ids.trace_id());
        assert_ne!(Ids::new(2).trace_id(), trace);
    }
}
