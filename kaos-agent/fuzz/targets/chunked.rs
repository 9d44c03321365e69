//! Chunked coding: however it is cut, the same is told. (After bad chunks the ends of operations count:
//! the body ends with one that ends with the last chunk.)
#![no_main]

use kaos_fuzz::protocols::limits::ProtocolCounters;
use kaos_fuzz::{CHAT, MODEL_PATHS, choice, chunked_response, means_the_same_unless, request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, length, body)) = choice(input, 2) else {
        return;
    };
    let content_type = ["application/json", "text/event-stream"][kind];
    let response = chunked_response(content_type, body);
    let excused = |counters: &ProtocolCounters| counters.bad_chunks > 0;
    means_the_same_unless(excused, &request(MODEL_PATHS[0], CHAT), &response, length);
});
