//! `seeds DIRECTORY RECORDING…`: writes what moved on the recordings' connections as first inputs
//! of the targets, into a directory for each.
#![no_main]
#![allow(unreachable_code, reason = "it is done before the target begins")]

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use kaos_fuzz::capture::event::{Direction, Event, SocketId};
use kaos_fuzz::capture::recording::Reader;
use kaos_fuzz::{CODINGS, CONTENT_TYPES, MODEL_PATHS};
use libfuzzer_sys::fuzz_target;

/// Inputs beyond this size slow the fuzzer down more than they teach it.
const MOST_BYTES: usize = 16 << 10;
/// A `traceparent`, and a `tracestate`.
const PARENT: &[u8] =
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nvendor=value,t@v2=1";
/// Frames of HTTP/2: settings, a request with its path as a literal, its body, and one with the same path.
const EXPORT: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x3d\x01\x04\0\0\0\x01\x44\x3b\
    /opentelemetry.proto.collector.trace.v1.TraceService/Export\
    \0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x01\x01\x04\0\0\0\x03\xbe";
/// Length of pieces, in the second byte of an input.
const PIECE: u8 = 7;

// Instrumented code needs libFuzzer's counters, and these come with its `main`: so this is a target
// that is done before it begins.
fuzz_target!(
    init: {
        let result = write_all();
        if let Err(error) = &result {
            eprintln!("seeds: {error}");
        }
        std::process::exit(i32::from(result.is_err()));
    },
    |_input: &[u8]| {}
);

fn write_all() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments
        .next()
        .ok_or("usage: seeds DIRECTORY RECORDING…")?;
    let mut count = write(&directory, "traceparent", "parent", &[], PARENT)?;
    count += write(&directory, "http2", "export", &[0, PIECE], EXPORT)?;
    for recording in arguments {
        let mut connections: HashMap<SocketId, Vec<(Direction, Vec<u8>)>> = HashMap::new();
        for event in Reader::open(&recording)? {
            if let Event::Data(data) = event? {
                let connection = connections.entry(data.socket).or_default();
                connection.push((data.direction, data.bytes.to_vec()));
            }
        }
        let name = recording.file_stem().ok_or("a recording has a name")?;
        let file = fs::read(&recording)?;
        count += write(&directory, "recording", &name.to_string_lossy(), &[], &file)?;
        for (socket, operations) in connections {
            let name = format!("{}-{}", name.to_string_lossy(), socket.0);
            count += write_connection(&directory, &name, &operations)?;
        }
    }
    println!("{count} seeds in {}", directory.display());
    Ok(())
}

fn write_connection(
    directory: &Path,
    name: &str,
    operations: &[(Direction, Vec<u8>)],
) -> Result<usize, Box<dyn Error>> {
    let mut wire = Vec::new();
    for (direction, bytes) in operations {
        let Ok(length) = u16::try_from(bytes.len()) else {
            continue;
        };
        wire.push(u8::from(*direction == Direction::Sent));
        wire.extend(length.to_le_bytes());
        wire.extend(bytes);
    }
    let mut count = write(directory, "http1", name, &[], &wire)?;
    // What begins a body in an operation of its own, as most do: a guess is enough for a seed.
    for (number, (_, bytes)) in operations.iter().enumerate() {
        let name = format!("{name}-{number}");
        let body = body_of(bytes);
        if body.starts_with(b"{") || body.starts_with(b"[") {
            count += write(directory, "json", &name, &[1, PIECE], body)?;
            count += write_compressed(directory, &name, body)?;
            count += write(directory, "chunked", &name, &[0, PIECE], &chunked(body))?;
            for kind in 0..MODEL_PATHS.len() {
                let kind_name = format!("{name}-{kind}");
                let reply = kind * CONTENT_TYPES.len() + if body.ends_with(b"\n") { 2 } else { 0 };
                let kinds = [("model_request", kind), ("model_reply", reply)];
                for (target, kind) in kinds {
                    let kind = u8::try_from(kind)?;
                    count += write(directory, target, &kind_name, &[kind, PIECE], body)?;
                }
            }
            count += write(directory, "rpc", &name, &[0, PIECE], body)?;
            let answered = [&body[..], b"\0", &body[..]].concat();
            count += write(
                directory,
                "rpc",
                &format!("{name}-answered"),
                &[0, PIECE],
                &answered,
            )?;
        } else if body.starts_with(b"data:") || body.starts_with(b"event:") {
            count += write(directory, "sse", &name, &[0, PIECE], body)?;
            count += write(directory, "chunked", &name, &[1, PIECE], &chunked(body))?;
            for kind in 0..MODEL_PATHS.len() {
                let kind_name = format!("{name}-{kind}");
                let kind = u8::try_from(kind * CONTENT_TYPES.len() + 1)?;
                count += write(directory, "model_reply", &kind_name, &[kind, PIECE], body)?;
            }
        }
    }
    Ok(count)
}

/// The body in each of the codings that there is an encoder for.
fn write_compressed(directory: &Path, name: &str, body: &[u8]) -> Result<usize, Box<dyn Error>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body)?;
    let gzip = gzip.finish()?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(body)?;
    let codings = [
        ("gzip", gzip.clone()),
        ("deflate", zlib.finish()?),
        // `hello`: the shortest that says something.
        ("br", b"\x0b\x02\x80hello\x03".to_vec()),
        ("zstd", zstd::encode_all(body, 0)?),
        ("gzip, zstd", zstd::encode_all(&gzip[..], 0)?),
    ];
    let mut count = 0;
    for (kind, coding) in CODINGS.iter().enumerate() {
        let encoded = codings.iter().find(|(name, _)| name == coding);
        let (_, encoded) = encoded.ok_or("a seed for each coding")?;
        let choice = [u8::try_from(kind)?, PIECE];
        let name = format!("{name}-{kind}");
        count += write(directory, "content", &name, &choice, encoded)?;
    }
    Ok(count)
}

/// In two chunks, with a trailer.
fn chunked(body: &[u8]) -> Vec<u8> {
    let (first, second) = body.split_at(body.len() / 2);
    let mut chunks = Vec::new();
    for chunk in [first, second] {
        if !chunk.is_empty() {
            chunks.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
    }
    chunks.extend_from_slice(b"0\r\nX-Trailer: z\r\n\r\n");
    chunks
}

/// After a head, and the size of a chunk.
fn body_of(bytes: &[u8]) -> &[u8] {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    let body = head.map_or(bytes, |end| &bytes[end + 4..]);
    let line = body.windows(2).position(|end| end == b"\r\n");
    match line {
        Some(end) if end > 0 && body[..end].iter().all(u8::is_ascii_hexdigit) => &body[end + 2..],
        _ => body,
    }
}

fn write(
    directory: &Path,
    target: &str,
    name: &str,
    choice: &[u8],
    body: &[u8],
) -> Result<usize, Box<dyn Error>> {
    if body.is_empty() || body.len() > MOST_BYTES {
        return Ok(0);
    }
    let directory = directory.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), [choice, body].concat())?;
    Ok(1)
}
