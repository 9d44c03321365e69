//! Which spans are kept.

use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

use crate::identity::service::Sampler;

/// Is a span of this trace kept, when its parent, where it has one, is (`true`) or is not?
///
/// The ratio is taken with the algorithm of the SDKs, so that the agent and an SDK in the process
/// decide alike.
#[must_use]
pub fn is_sampled(sampler: Sampler, trace_id: TraceId, parent_sampled: Option<bool>) -> bool {
    match (sampler, parent_sampled) {
        (Sampler::AlwaysOn, _) | (Sampler::ParentBasedAlwaysOn, None) => true,
        (Sampler::AlwaysOff, _) | (Sampler::ParentBasedAlwaysOff, None) => false,
        (Sampler::TraceIdRatio(ratio), _) | (Sampler::ParentBasedTraceIdRatio(ratio), None) => {
            is_within_ratio(ratio, trace_id)
        }
        (
            Sampler::ParentBasedAlwaysOn
            | Sampler::ParentBasedAlwaysOff
            | Sampler::ParentBasedTraceIdRatio(_),
            Some(sampled),
        ) => sampled,
    }
}

fn is_within_ratio(ratio: f64, trace_id: TraceId) -> bool {
    let sampler = opentelemetry_sdk::trace::Sampler::TraceIdRatioBased(ratio);
    let result = sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_samplers_with_all_parents() {
        // The lower half of a trace id decides: this one is kept by a ratio above one half.
        let middle = TraceId::from(u128::MAX << 64 | 1 << 63);
        for (sampler, root, of_sampled, of_unsampled) in [
            (Sampler::AlwaysOn, true, true, true),
            (Sampler::AlwaysOff, false, false, false),
            (Sampler::TraceIdRatio(0.6), true, true, true),
            (Sampler::TraceIdRatio(0.4), false, false, false),
            (Sampler::TraceIdRatio(1.0), true, true, true),
            (Sampler::TraceIdRatio(0.0), false, false, false),
            (Sampler::ParentBasedAlwaysOn, true, true, false),
            (Sampler::ParentBasedAlwaysOff, false, true, false),
            (Sampler::ParentBasedTraceIdRatio(0.6), true, true, false),
            (Sampler::ParentBasedTraceIdRatio(0.4), false, true, false),
        ] {
            let decisions =
                [None, Some(true), Some(false)].map(|parent| is_sampled(sampler, middle, parent));
            assert_eq!(decisions, [root, of_sampled, of_unsampled], "{sampler:?}");
        }
    }

    #[test]
    fn a_ratio_keeps_its_share() {
        let mut ids = crate::runs::ids::Ids::new(7);
        let kept = (0..10_000)
            .filter(|_| is_sampled(Sampler::TraceIdRatio(0.25), ids.trace_id(), None))
            .count();
        assert_eq!(kept, 2_453);
    }
}
