//! Services, spans and collectors for the tests of this stage.

pub(super) mod collector;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::identity::service::Service;

/// A service of this name without destinations.
pub(super) fn named_service(name: &str) -> Arc<Service> {
    Arc::new(Service {
        name: name.to_owned(),
        resource: BTreeMap::from([("service.name".to_owned(), name.to_owned())]),
        ..Service::default()
    })
}

/// A span of this name.
pub(super) fn span(name: &str) -> SpanData {
    let start_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            SpanId::from(0x1112_1314_1516_1718),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Server,
        name: name.to_owned().into(),
        start_time,
        end_time: start_time + Duration::from_millis(5),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("kaos.test").build(),
    }
}
