//! `traceparent` and `tracestate`: what is valid keeps its ids, and says the same when it is sent on.
#![no_main]

use http::{HeaderMap, HeaderValue};
use kaos_fuzz::runs::w3c::{Carried, Header};
use libfuzzer_sys::fuzz_target;

// A `traceparent` and any number of `tracestate`, apart by line feeds.
fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    let names = std::iter::once("traceparent").chain(std::iter::repeat("tracestate"));
    for (name, value) in names.zip(input.split(|byte| *byte == b'\n')) {
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        headers.append(name, value);
    }
    let Header::Valid(carried) = Header::of(&headers) else {
        return;
    };
    let Carried {
        trace_id, span_id, ..
    } = carried;
    let parent = headers["traceparent"].as_bytes();
    assert_eq!(parent[3..35], *trace_id.to_string().as_bytes());
    assert_eq!(parent[36..52], *span_id.to_string().as_bytes());
    let flags = carried.flags.to_u8();
    let again = format!("00-{trace_id}-{span_id}-{flags:02x}");
    let mut sent_on = HeaderMap::new();
    sent_on.insert("traceparent", HeaderValue::try_from(again).expect("ASCII"));
    let state = carried.state.header();
    if !state.is_empty() {
        sent_on.insert("tracestate", HeaderValue::try_from(state).expect("ASCII"));
    }
    assert_eq!(Header::of(&sent_on), Header::Valid(carried));
});
