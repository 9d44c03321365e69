//! One content coding (RFC 9110 section 8.4.1), decoded in slices.

use std::ops::ControlFlow;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation};

/// Window of the deflate format (RFC 1951 section 2).
const DEFLATE_WINDOW_BITS: u8 = 15;
/// Largest window of zstd as a content coding: 8 MiB (RFC 9659 section 3).
const ZSTD_WINDOW_BITS: u32 = 23;
/// Decoded bytes that are handed on at a time: slices end at multiples of it, and where the coded
/// bytes end.
pub const SLICE_BYTES: usize = 8 << 10;
/// Coded bytes that are given to a library at a time: pieces end at multiples of it.
pub const PIECE_BYTES: u64 = 256;
/// Coded bytes of a body that are kept for the case that they are faulty. All that is captured of a
/// message's beginning is not longer.
const KEPT_BYTES: usize = 64 << 10;
/// The longest head of a zstd frame (RFC 8878 section 3.1.1).
const ZSTD_HEAD_BYTES: u8 = 18;

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
pub type Sink<'a> = dyn FnMut(Slice<'_>) -> ControlFlow<()> + 'a;

/// Decoded bytes.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// How many were decoded with them.
    pub decoded: u64,
    /// The coded bytes that they are decoded from, at most [`PIECE_BYTES`] more than were needed.
    pub coded: u64,
}

/// Decodes one coding. What it tells, and when it gives up, does not depend on how the bytes are cut.
///
/// The libraries for `br` and `zstd` keep back what they have decoded before a fault, if it is in the
/// same piece. So the coded bytes are kept, and where they turn out to be faulty they are decoded
/// again one by one; what is too long to be kept is decoded so from the beginning of the rest.
pub struct Decoder {
    state: State,
    /// Coded bytes so far.
    coded: u64,
    /// Decoded bytes so far.
    decoded: u64,
    kept: Kept,
}

/// What is kept of the coded bytes.
enum Kept {
    /// They need not be kept.
    Nothing,
    /// All of them.
    All(Coding, Vec<u8>),
    /// They were too many: each is decoded by itself.
    TooMany,
}

/// A library's decoder.
enum State {
    /// `gzip`, and `deflate` once its kind is known.
    Inflate(Decompress),
    /// `deflate` before its second byte: zlib's header tells which kind it is.
    UnknownDeflate { first: Option<u8> },
    /// `br`
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// `zstd`, and the bytes that may be left of a frame's head.
    Zstd(Box<zstd::stream::raw::Decoder<'static>>, u8),
    /// The coded data is over; what follows is left out.
    Finished,
}

/// What one call of a library came to.
struct Step {
    read: usize,
    written: usize,
    result: Result<IsOver, BadCoding>,
}

/// The coded data is over.
type IsOver = bool;

impl Decoder {
    /// A decoder at the start of its data. `None` where it cannot be had.
    pub fn new(coding: Coding) -> Option<Self> {
        let kept = match coding {
            Coding::Gzip | Coding::Deflate => Kept::Nothing,
            Coding::Brotli | Coding::Zstd => Kept::All(coding, Vec::new()),
        };
        Some(Self {
            state: State::new(coding)?,
            coded: 0,
            decoded: 0,
            kept,
        })
    }

    /// Decodes the next bytes into `sink`, as far as it wants them.
    pub fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), BadCoding> {
        while !input.is_empty() && !matches!(self.state, State::Finished) {
            let (piece, rest) = input.split_at(self.piece_length(input.len()));
            input = rest;
            match self.piece(piece, sink) {
                Ok(true) => self.state = State::Finished,
                Ok(false) => {}
                Err(BadCoding) => self.decode_again(sink)?,
            }
        }
        Ok(())
    }

    /// How many of so many coded bytes are decoded next.
    fn piece_length(&mut self, available: usize) -> usize {
        if matches!(&self.kept, Kept::All(_, kept) if kept.len() >= KEPT_BYTES) {
            self.kept = Kept::TooMany;
        }
        let most = match self.kept {
            Kept::TooMany => 1,
            Kept::Nothing | Kept::All(..) => PIECE_BYTES - self.coded % PIECE_BYTES,
        };
        usize::try_from(most).map_or(available, |most| most.min(available))
    }

    /// The coded bytes are faulty: decodes them one by one, and tells what was kept back.
    fn decode_again(&mut self, sink: &mut Sink<'_>) -> Result<(), BadCoding> {
        let Kept::All(coding, kept) = std::mem::replace(&mut self.kept, Kept::TooMany) else {
            return Err(BadCoding);
        };
        let told = self.decoded;
        self.state = State::new(coding).ok_or(BadCoding)?;
        self.coded = 0;
        self.decoded = 0;
        self.push(&kept, &mut |slice| {
            let untold = slice.decoded.saturating_sub(told);
            let length = slice.bytes.len();
            let untold = usize::try_from(untold).map_or(length, |untold| untold.min(length));
            if untold == 0 {
                return ControlFlow::Continue(());
            }
            sink(Slice {
                bytes: &slice.bytes[length - untold..],
                ..slice
            })
        })
    }

    /// Decodes coded bytes up to a multiple of [`PIECE_BYTES`] at most.
    fn piece(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<IsOver, BadCoding> {
        if let Kept::All(_, kept) = &mut self.kept {
            kept.extend_from_slice(input);
        }
        self.coded += input.len() as u64;
        let coded = self.coded.next_multiple_of(PIECE_BYTES);
        let mut slice = [0; SLICE_BYTES];
        loop {
            let filled = (self.decoded % SLICE_BYTES as u64) as usize;
            let slice = &mut slice[filled..];
            let step = self.state.step(input, slice);
            input = &input[step.read..];
            self.decoded += step.written as u64;
            let told = Slice {
                bytes: &slice[..step.written],
                decoded: self.decoded,
                coded,
            };
            // What comes before a fault is told.
            if step.written > 0 && sink(told).is_break() {
                return Ok(true);
            }
            match step.result? {
                true => return Ok(true),
                // A full slice may have left more inside the decoder.
                _ if input.is_empty() && step.written < slice.len() => return Ok(false),
                _ if step.read == 0 && step.written == 0 => return Err(BadCoding),
                _ => {}
            }
        }
    }
}

impl State {
    fn new(coding: Coding) -> Option<Self> {
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
                Self::Zstd(Box::new(decoder), ZSTD_HEAD_BYTES)
            }
        })
    }

    /// One call of the library.
    fn step(&mut self, input: &[u8], slice: &mut [u8]) -> Step {
        match self {
            Self::Inflate(inflate) => inflate_step(inflate, input, slice),
            Self::UnknownDeflate { first } => {
                let Some(&byte) = input.first() else {
                    return Step::of(0, 0, Ok(false));
                };
                let Some(first) = first.replace(byte) else {
                    return Step::of(1, 0, Ok(false));
                };
                let start = [first, byte];
                let mut inflate = Decompress::new(is_zlib(start));
                // Two bytes of a head or of a block's description decode to nothing yet.
                let step = inflate_step(&mut inflate, &start, slice);
                *self = Self::Inflate(inflate);
                Step { read: 1, ..step }
            }
            Self::Brotli(state) => brotli_step(state, input, slice),
            Self::Zstd(decoder, head_left) => {
                // Frames follow each other without a mark; each begins by itself (RFC 8878 section
                // 3.1). A head that comes with its whole frame is looked at less closely.
                let length = if *head_left > 0 { 1 } else { input.len() };
                match decoder.run_on_buffers(&input[..length.min(input.len())], slice) {
                    Ok(status) => {
                        *head_left = match status.remaining {
                            0 => ZSTD_HEAD_BYTES,
                            _ => head_left.saturating_sub(u8::from(status.bytes_read > 0)),
                        };
                        Step::of(status.bytes_read, status.bytes_written, Ok(false))
                    }
                    Err(_) => Step::of(0, 0, Err(BadCoding)),
                }
            }
            Self::Finished => Step::of(input.len(), 0, Ok(true)),
        }
    }
}

impl Step {
    fn of(read: usize, written: usize, result: Result<IsOver, BadCoding>) -> Self {
        Self {
            read,
            written,
            result,
        }
    }
}

/// Whether `deflate` data has the header of RFC 1950 section 2.2: method 8, and a multiple of 31.
fn is_zlib(start: [u8; 2]) -> bool {
    start[0] & 0x0f == 8 && u16::from_be_bytes(start).is_multiple_of(31)
}

fn inflate_step(inflate: &mut Decompress, input: &[u8], slice: &mut [u8]) -> Step {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, slice, FlushDecompress::None);
    Step {
        read: (inflate.total_in() - read) as usize,
        written: (inflate.total_out() - written) as usize,
        result: match status {
            Ok(status) => Ok(status == Status::StreamEnd),
            Err(_) => Err(BadCoding),
        },
    }
}

fn brotli_step(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    slice: &mut [u8],
) -> Step {
    let (mut available_in, mut read) = (input.len(), 0);
    let (mut available_out, mut written) = (slice.len(), 0);
    let mut total_out = 0;
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
    let result = match result {
        BrotliResult::ResultSuccess => Ok(true),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(false),
        BrotliResult::ResultFailure => Err(BadCoding),
    };
    Step::of(read, written, result)
}
