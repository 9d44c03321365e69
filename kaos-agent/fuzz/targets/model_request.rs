//! Requests to models.
#![no_main]

use kaos_fuzz::{MODEL_PATHS, choice, means_the_same_in_pieces, request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, length, body)) = choice(input, MODEL_PATHS.len()) else {
        return;
    };
    means_the_same_in_pieces(&request(MODEL_PATHS[kind], body), &[], length);
});
