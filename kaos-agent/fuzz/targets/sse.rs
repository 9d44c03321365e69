//! Event streams: however they are cut, as many events.
#![no_main]

use kaos_fuzz::{choice, exchanges, received, request, response, sent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((_, length, body)) = choice(input, 1) else {
        return;
    };
    let (request, response) = (request("/", b"{}"), response("text/event-stream", body));
    let events = |pieces: Vec<&[u8]>| {
        let operations = std::iter::once(received(&request));
        let ended = exchanges(operations.chain(pieces.into_iter().map(sent)));
        let events = ended
            .iter()
            .map(|exchange| exchange.response.as_ref().map(|it| it.events));
        events.collect::<Vec<_>>()
    };
    assert_eq!(
        events(vec![&response]),
        events(response.chunks(length).collect())
    );
});
