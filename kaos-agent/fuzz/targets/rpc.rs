//! MCP and A2A, both messages.
#![no_main]

use kaos_fuzz::{choice, means_the_same_in_pieces, request, response};
use libfuzzer_sys::fuzz_target;

const CONTENT_TYPES: [&str; 2] = ["application/json", "text/event-stream"];

// Request and response are apart by a zero byte, which neither may hold.
fuzz_target!(|input: &[u8]| {
    let Some((kind, length, bodies)) = choice(input, CONTENT_TYPES.len()) else {
        return;
    };
    let mut bodies = bodies.splitn(2, |byte| *byte == 0);
    let request = request("/mcp", bodies.next().unwrap_or_default());
    let response = response(CONTENT_TYPES[kind], bodies.next().unwrap_or_default());
    means_the_same_in_pieces(&request, &response, length);
});
