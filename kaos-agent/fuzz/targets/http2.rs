//! A client of HTTP/2: however its bytes are cut, it asks for the same.
#![no_main]

use bytes::Bytes;
use kaos_fuzz::choice;
use kaos_fuzz::protocols::http2::Client;
use libfuzzer_sys::fuzz_target;

/// What every client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((_, length, frames)) = choice(input, 1) else {
        return;
    };
    let bytes = Bytes::from([PREFACE, frames].concat());
    let asked = |pieces: Vec<Bytes>| {
        let mut client = Client::default();
        let mut asked = Vec::new();
        let result = pieces
            .iter()
            .try_for_each(|piece| client.push(piece, &mut |one| asked.push(one)));
        assert!(client.buffered() <= 2 * bytes.len());
        (asked, result)
    };
    let pieces = bytes.chunks(length).map(Bytes::copy_from_slice);
    assert_eq!(asked(vec![bytes.clone()]), asked(pieces.collect()));
});
