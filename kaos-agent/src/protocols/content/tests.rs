//! Tests of content decoding.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::coding::PIECE_BYTES;
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
        ("zstd", encode("zstd", &text)),
        ("br", BROTLI_TEXT.to_vec()),
        ("br, gzip", encode("gzip", &BROTLI_TEXT)),
        (
            "zstd",
            [encode("zstd", &text), encode("zstd", b"another frame")].concat(),
        ),
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
fn bombs_do_not_depend_on_cuts() {
    let zeros = vec![0; 3 << 20];
    for (codings, bomb) in [
        ("gzip", encode("gzip", &zeros)),
        ("zstd", encode("zstd", &zeros)),
        ("br", BROTLI_BOMB.to_vec()),
        ("gzip, zstd", encode("zstd", &encode("gzip", &zeros))),
    ] {
        let whole = decode(codings, &[&bomb]);
        assert_eq!(whole.1, Err(DecodeError::Oversized), "{codings}");
        for length in [1, 5, 64] {
            let pieces: Vec<&[u8]> = bomb.chunks(length).collect();
            assert!(whole == decode(codings, &pieces), "{codings} in {length}");
        }
    }
}

#[test]
fn what_is_too_long_to_be_kept_does_not_depend_on_cuts() {
    let noise: Vec<u8> = (0..60_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let encoded = encode("zstd", &noise);
    assert!(encoded.len() > 100_000, "{}", encoded.len());
    for at in [1_000, 66_000, 90_000, encoded.len() - 2] {
        let mut bad = encoded.clone();
        bad[at] ^= 0x5a;
        let whole = decode("zstd", &[&bad]);
        for length in [1, 1_000, 70_000] {
            let pieces: Vec<&[u8]> = bad.chunks(length).collect();
            assert!(whole == decode("zstd", &pieces), "at {at} in {length}");
        }
    }
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
        let coded = (bomb.len() as u64).next_multiple_of(PIECE_BYTES);
        let plausible = RATIO_FREE_BYTES.max(Limits::default().decoded_ratio * coded);
        assert!(decoded <= plausible + SLICE_BYTES as u64, "{codings}");
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

/// What is decoded of arbitrary bytes in these pieces, and how that ended.
fn decode_with(limits: &Limits, codings: &str, pieces: &[&[u8]]) -> (Vec<u8>, Option<DecodeError>) {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_ENCODING, codings.parse().unwrap());
    let mut decoder = ContentDecoder::of(&headers, limits).unwrap().unwrap();
    let mut decoded = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece, &mut |slice| decoded.extend_from_slice(slice)) {
            return (decoded, Some(error));
        }
    }
    (decoded, None)
}

/// Bytes that compress to something: runs and noise.
fn compressible() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 0_usize..9_000).prop_map(|(byte, length)| vec![byte; length]);
    let noise = prop::collection::vec(any::<u8>(), 0..1_500);
    let text = (0_usize..60).prop_map(|times| b"{\"role\": \"user\"},".repeat(times));
    let pieces = prop::collection::vec(prop_oneof![run, noise, text], 0..12);
    pieces.prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cuts_make_no_difference_to_faults_and_limits(
        coding in prop::sample::select(vec!["gzip", "deflate", "raw", "zstd"]),
        text in compressible(),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        decoded_bytes in prop_oneof![Just(32_u64 << 20), 0_u64..20_000],
        lengths in prop::collection::vec(1_usize..700, 1..6),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut encoded = encode(coding, &text);
        for (at, value) in faults {
            let at = at.index(encoded.len());
            encoded[at] ^= value;
        }
        encoded.extend(tail);
        let coding = if coding == "raw" { "deflate" } else { coding };
        let limits = Limits { decoded_bytes, ..Limits::default() };
        let whole = decode_with(&limits, coding, &[&encoded]);
        let single: Vec<&[u8]> = encoded.chunks(1).collect();
        prop_assert_eq!(&decode_with(&limits, coding, &single), &whole);
        let mut rest = &encoded[..];
        let mut pieces = Vec::new();
        for length in lengths.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&decode_with(&limits, coding, &pieces), &whole);
    }

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
