//! Answers of models.
#![no_main]

use kaos_fuzz::{
    CHAT, CONTENT_TYPES, MODEL_PATHS, choice, means_the_same_in_pieces, request, response,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let kinds = MODEL_PATHS.len() * CONTENT_TYPES.len();
    let Some((kind, length, body)) = choice(input, kinds) else {
        return;
    };
    let path = MODEL_PATHS[kind / CONTENT_TYPES.len()];
    let request = request(path, CHAT);
    let response = response(CONTENT_TYPES[kind % CONTENT_TYPES.len()], body);
    means_the_same_in_pieces(&request, &response, length);
});
