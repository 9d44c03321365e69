//! Tests of content decoding.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

/// `data: {"token": "hello"}` and an empty line, eight times, in br.
const BROTLI_TEXT: [u8; 34] = [
    27, 207, 0, 248, 141, 211, 165, 246, 209, 168, 141, 74, 1, 164, 69, 116, 246, 250, 230, 40,
    130, 136, 214, 22, 164, 96, 11, 50, 66, 39, 83, 199, 97, 71,
];

/// 64 MiB of zeros in br.
const BROTLI_BOMB: [u8; 53] = [
    207, 255, 255, 127, 248, 39, 0, 226, 177, 64, 32, 247, 254, 159, 255, 255, 255, 240, 79, 0,
    196, 97, 1, 128, 238, 253, 63, 255, 255, 255, 225, 159, 0, 136, 195, 34, 0, 221, 251, 255, 252,
    255, 255, 199, 63, 1, 16, 135, 5, 0, 186, 247, 255,
];

fn text() -> Vec<u8> {
    b"data: {\"token\": \"hello\"}\n\n".repeat(8)
}

/// The bytes in a coding, which is named as on the wire, or `raw` for deflate without a header.
fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let level = Compression::default();
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "raw" => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        _ => panic!("{coding} cannot be encoded here"),
    }
}

fn decoder(codings: &str) -> Result<Option<ContentDecoder>, DecodeError> {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_ENCODING, codings.parse().unwrap());
    ContentDecoder::of(&headers, &Limits::default())
}

/// What pieces decode to, and how that ended.
fn decode(codings: &str, pieces: &[&[u8]]) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = decoder(codings).unwrap().unwrap();
    let mut decoded = Vec::new();
    for piece in pieces {
        let result = decoder.push(piece, &mut |slice| decoded.extend_from_slice(slice));
        if result.is_err() {
            return (decoded, result);
        }
    }
    (decoded, Ok(()))
}

#[test]
fn codings_are_undone() {
    for (codings, encoded) in [
        ("gzip", encode("gzip", &text())),
        ("X-GZip", encode("gzip", &text())),
        ("deflate", encode("deflate", &text())),
        ("deflate", encode("raw", &text())),
        ("br", BROTLI_TEXT.to_vec()),
        ("zstd", encode("zstd", &text())),
        ("identity, gzip", encode("gzip", &text())),
        ("br, gzip", encode("gzip", &BROTLI_TEXT)),
        (
            "deflate, zstd , gzip",
            encode("gzip", &encode("zstd", &encode("deflate", &text()))),
        ),
    ] {
        assert_eq!(decode(codings, &[&encoded]), (text(), Ok(())), "{codings}");
        let single: Vec<&[u8]> = encoded.chunks(1).collect();
        assert_eq!(decode(codings, &single), (text(), Ok(())), "{codings}");
        let more = [&encoded[..], b""];
        assert_eq!(decode(codings, &more), (text(), Ok(())), "{codings}");
    }
}

#[test]
fn what_is_not_known_is_not_decoded() {
    assert!(matches!(decoder("identity"), Ok(None)));
    assert!(matches!(decoder(""), Ok(None)));
    for codings in ["compress", "gzip, dcb", "gzip,gzip,gzip,gzip"] {
        assert!(
            matches!(decoder(codings), Err(DecodeError::UnknownCoding)),
            "{codings}"
        );
    }
}

#[test]
fn senseless_bytes_end_the_decoding() {
    for coding in ["gzip", "br", "zstd"] {
        let (_, result) = decode(coding, &[&[0xff; 100]]);
        assert_eq!(result, Err(DecodeError::BadCoding), "{coding}");
    }
    let mut flipped = encode("gzip", &text());
    let end = flipped.len() - 6;
    flipped[end] ^= 1;
    assert_eq!(decode("gzip", &[&flipped]).1, Err(DecodeError::BadCoding));
}

#[test]
fn what_comes_before_a_fault_does_not_depend_on_cuts() {
    let text: Vec<u8> = (0..400_u32)
        .flat_map(|number| format!("{:x} ", number.wrapping_mul(2_654_435_761)).into_bytes())
        .collect();
    let mut faults = 0;
    for (coding, encoded) in [
        ("gzip", encode("gzip", &text)),
        ("deflate", encode("raw", &text)),
    ] {
        for at in (0..encoded.len()).step_by(7) {
            let mut bad = encoded.clone();
            bad[at] ^= 0x5a;
            let whole = decode(coding, &[&bad]);
            faults += usize::from(whole.1.is_err());
            let pieces: Vec<&[u8]> = bad.chunks(3).collect();
            assert_eq!(whole, decode(coding, &pieces), "{coding} at {at}");
        }
    }
    assert!(faults > 100, "{faults}");
}

#[test]
fn what_follows_the_coded_data_is_left_out() {
    for coding in ["gzip", "deflate"] {
        let mut encoded = encode(coding, &text());
        encoded.extend_from_slice(b"trailing");
        assert_eq!(
            decode(coding, &[&encoded, b"more"]),
            (text(), Ok(())),
            "{coding}"
        );
    }
}

#[test]
fn bombs_do_no_harm() {
    let zeros = vec![0; 8 << 20];
    for (codings, bomb) in [
        ("gzip", encode("gzip", &zeros)),
        ("deflate", encode("raw", &zeros)),
        ("zstd", encode("zstd", &zeros)),
        ("br", BROTLI_BOMB.to_vec()),
        ("gzip, gzip", encode("gzip", &encode("gzip", &zeros))),
    ] {
        let mut decoder = decoder(codings).unwrap().unwrap();
        let (mut decoded, mut largest) = (0, 0);
        let result = decoder.push(&bomb, &mut |slice| {
            decoded += slice.len() as u64;
            largest = largest.max(slice.len());
        });
        assert_eq!(result, Err(DecodeError::Oversized), "{codings}");
        let plausible = Limits::default().decoded_ratio * bomb.len() as u64;
        assert!(decoded <= RATIO_FREE_BYTES.max(plausible), "{codings}");
        assert!(largest <= 8 << 10, "it comes in slices: {codings}");
    }
}

#[test]
fn bodies_that_compress_well_but_are_honest_are_decoded() {
    let json = br#"{"role": "assistant", "content": ""},"#.repeat(20_000);
    for coding in ["gzip", "zstd"] {
        assert_eq!(
            decode(coding, &[&encode(coding, &json)]).0,
            json,
            "{coding}"
        );
    }
}

#[test]
fn long_bodies_are_cut() {
    let limits = Limits {
        decoded_bytes: 10_000,
        ..Limits::default()
    };
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
    let mut decoder = ContentDecoder::of(&headers, &limits).unwrap().unwrap();
    let result = decoder.push(&encode("gzip", &[b'x'; 20_000]), &mut |_| ());
    assert_eq!(result, Err(DecodeError::Oversized));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(
        codings in prop::sample::select(vec!["gzip", "deflate", "br", "zstd", "zstd, br"]),
        start in prop::sample::select(vec![
            Vec::new(),
            encode("gzip", b"hello"),
            encode("deflate", b"hello"),
            encode("zstd", b"hello"),
            BROTLI_TEXT.to_vec(),
        ]),
        cut in 0_usize..60,
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..5),
    ) {
        let mut all = vec![&start[..cut.min(start.len())]];
        all.extend(pieces.iter().map(Vec::as_slice));
        let mut decoder = decoder(codings).unwrap().unwrap();
        for piece in all {
            // As its owner does: after an error nothing is pushed.
            if decoder.push(piece, &mut |_| ()).is_err() {
                break;
            }
        }
    }
}
