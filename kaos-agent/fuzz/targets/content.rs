//! Compressed answers: however they are cut, the same is read.
#![no_main]

use kaos_agent::protocols::limits::ProtocolCounters;
use kaos_fuzz::{CHAT, CODINGS, MODEL_PATHS, choice, means_the_same_unless};
use kaos_fuzz::{request, response_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, length, body)) = choice(input, CODINGS.len()) else {
        return;
    };
    let coding = CODINGS[kind];
    let header = format!("Content-Type: application/json\r\nContent-Encoding: {coding}");
    let response = response_with(&header, body);
    // What is too much is found out at other places, and the libraries for brotli and zstd keep back
    // what they have decoded before a fault.
    let is_exact = matches!(coding, "gzip" | "deflate");
    let excused = |counters: &ProtocolCounters| {
        counters.oversized_bodies > 0 || (!is_exact && counters.bad_coded_bodies > 0)
    };
    means_the_same_unless(excused, &request(MODEL_PATHS[0], CHAT), &response, length);
});
