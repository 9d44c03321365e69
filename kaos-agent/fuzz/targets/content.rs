//! Compressed answers: however they are cut, the same is read.
#![no_main]

use kaos_fuzz::{
    CHAT, CODINGS, MODEL_PATHS, choice, means_the_same_in_pieces, request, response_with,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, length, body)) = choice(input, CODINGS.len()) else {
        return;
    };
    let coding = CODINGS[kind];
    let header = format!("Content-Type: application/json\r\nContent-Encoding: {coding}");
    let response = response_with(&header, body);
    means_the_same_in_pieces(&request(MODEL_PATHS[0], CHAT), &response, length);
});
