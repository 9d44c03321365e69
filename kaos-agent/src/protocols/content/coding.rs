//! One content coding (RFC 9110 section 8.4.1), decoded in slices.

use std::ops::ControlFlow;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation};

/// Window of the deflate format (RFC 1951 section 2).
const DEFLATE_WINDOW_BITS: u8 = 15;
/// Largest window of zstd as a content coding: 8 MiB (RFC 9659 section 3).
const ZSTD_WINDOW_BITS: u32 = 23;
/// Decoded bytes that are handed on at a time.
const SLICE_BYTES: usize = 8 << 10;

/// The name of a coding that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, RFC 1952
    Gzip,
    /// `deflate`: RFC 1950, or bare RFC 1951 as some send it
    Deflate,
    /// `br`, RFC 7932
    Brotli,
    /// `zstd`, RFC 8878
    Zstd,
}

/// The bytes are not what their coding allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCoding;

/// Takes decoded slices; `Break` ends the decoding.
pub type Sink<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;

/// Decodes one coding.
pub enum Decoder {
    /// `gzip`, and `deflate` once its kind is known.
    Inflate(Decompress),
    /// `deflate` before its second byte: zlib's header tells which kind it is.
    UnknownDeflate { first: Option<u8> },
    /// `br`
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// `zstd`
    Zstd(Box<zstd::stream::raw::Decoder<'static>>),
    /// The coded data is over; what follows is left out.
    Finished,
}

impl Decoder {
    /// A decoder at the start of its data. `None` where it cannot be had.
    pub fn new(coding: Coding) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => Self::Inflate(Decompress::new_gzip(DEFLATE_WINDOW_BITS)),
            Coding::Deflate => Self::UnknownDeflate { first: None },
            Coding::Brotli => Self::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS))
                    .ok()?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Decodes the next bytes into `sink`, as far as it wants them.
    pub fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), BadCoding> {
        let mut slice = [0; SLICE_BYTES];
        let is_over = match self {
            Self::UnknownDeflate { first } => {
                let Some((before, rest)) = deflate_start(first, input) else {
                    return Ok(());
                };
                *self = Self::Inflate(Decompress::new(is_zlib(before)));
                self.push(&before, sink)?;
                return self.push(rest, sink);
            }
            Self::Inflate(inflate) => inflate_all(inflate, input, &mut slice, sink)?,
            Self::Brotli(state) => brotli_all(state, input, &mut slice, sink)?,
            Self::Zstd(decoder) => zstd_all(decoder, input, &mut slice, sink)?,
            Self::Finished => false,
        };
        if is_over {
            *self = Self::Finished;
        }
        Ok(())
    }
}

/// The first two bytes and what follows them, once both are there.
fn deflate_start<'a>(first: &mut Option<u8>, input: &'a [u8]) -> Option<([u8; 2], &'a [u8])> {
    match (*first, input) {
        (Some(one), [two, rest @ ..]) => Some(([one, *two], rest)),
        (None, [one, two, rest @ ..]) => Some(([*one, *two], rest)),
        (None, [one]) => {
            *first = Some(*one);
            None
        }
        (_, []) => None,
    }
}

/// Whether `deflate` data has the header of RFC 1950 section 2.2: method 8, and a multiple of 31.
fn is_zlib(start: [u8; 2]) -> bool {
    start[0] & 0x0f == 8 && u16::from_be_bytes(start).is_multiple_of(31)
}

fn inflate_all(
    inflate: &mut Decompress,
    mut input: &[u8],
    slice: &mut [u8],
    sink: &mut Sink<'_>,
) -> Result<bool, BadCoding> {
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, slice, FlushDecompress::None);
        let read = (inflate.total_in() - read) as usize;
        let written = (inflate.total_out() - written) as usize;
        input = &input[read..];
        // What comes before a fault is told, however the bytes were cut.
        if written > 0 && sink(&slice[..written]).is_break() {
            return Ok(true);
        }
        match status.map_err(|_| BadCoding)? {
            Status::StreamEnd => return Ok(true),
            // A full slice may have left more inside the decoder.
            _ if input.is_empty() && written < slice.len() => return Ok(false),
            _ if read == 0 && written == 0 => return Err(BadCoding),
            _ => {}
        }
    }
}

/// How much before a fault is told depends on how the bytes were cut: the library keeps what it has
/// decoded for as long as there is more to decode. So does that for `zstd`.
fn brotli_all(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    slice: &mut [u8],
    sink: &mut Sink<'_>,
) -> Result<bool, BadCoding> {
    let mut available_in = input.len();
    let mut read = 0;
    let mut total_out = 0;
    loop {
        let mut available_out = slice.len();
        let mut written = 0;
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut read,
            input,
            &mut available_out,
            &mut written,
            slice,
            &mut total_out,
            state,
        );
        if written > 0 && sink(&slice[..written]).is_break() {
            return Ok(true);
        }
        match result {
            BrotliResult::ResultSuccess => return Ok(true),
            BrotliResult::NeedsMoreInput => return Ok(false),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(BadCoding),
        }
    }
}

fn zstd_all(
    decoder: &mut zstd::stream::raw::Decoder<'static>,
    mut input: &[u8],
    slice: &mut [u8],
    sink: &mut Sink<'_>,
) -> Result<bool, BadCoding> {
    // Frames follow each other without a mark; each begins by itself (RFC 8878 section 3.1).
    loop {
        let status = decoder
            .run_on_buffers(input, slice)
            .map_err(|_| BadCoding)?;
        input = &input[status.bytes_read..];
        let written = status.bytes_written;
        if written > 0 && sink(&slice[..written]).is_break() {
            return Ok(true);
        }
        if input.is_empty() && written < slice.len() {
            return Ok(false);
        }
        if status.bytes_read == 0 && written == 0 {
            return Err(BadCoding);
        }
    }
}
