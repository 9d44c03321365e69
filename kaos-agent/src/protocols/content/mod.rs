//! Content codings (RFC 9110 section 8.4), undone as the bytes come.

mod coding;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::limits::Limits;
use coding::{BadCoding, Coding, Decoder, SLICE_BYTES, Slice};

/// Codings applied one after the other that are undone. More serve no purpose but harm.
const MOST_CODINGS: usize = 3;

/// Decoded bytes before their ratio to the encoded ones is looked at.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Why a body is not decoded, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// A coding is not known, or there are too many.
    UnknownCoding,
    /// The bytes make no sense.
    BadCoding,
    /// It decodes to more than the limits.
    Oversized,
}

impl From<BadCoding> for DecodeError {
    fn from(_: BadCoding) -> Self {
        Self::BadCoding
    }
}

/// Undoes the codings of one body.
pub struct ContentDecoder {
    /// In the order in which they are undone, at least one.
    stages: Vec<Stage>,
}

/// One coding being undone.
struct Stage {
    decoder: Decoder,
    caps: Caps,
}

/// How much a coding may decode to.
#[derive(Clone, Copy)]
struct Caps {
    bytes: u64,
    ratio: u64,
}

impl Caps {
    /// How many bytes of a slice are told, and whether that is the end. The ratio is looked at only
    /// where slices end however the bytes are cut.
    fn of(self, slice: Slice<'_>) -> (usize, bool) {
        let surplus = slice.decoded.saturating_sub(self.bytes);
        let length = slice.bytes.len();
        let told = length.saturating_sub(usize::try_from(surplus).unwrap_or(length));
        let is_exact = slice.decoded.is_multiple_of(SLICE_BYTES as u64);
        let plausible = slice.coded.saturating_mul(self.ratio).max(RATIO_FREE_BYTES);
        (told, surplus > 0 || is_exact && slice.decoded > plausible)
    }
}

impl ContentDecoder {
    /// What undoes the codings of a message with these fields; `None` where there are none.
    ///
    /// # Errors
    /// [`DecodeError::UnknownCoding`].
    pub fn of(headers: &HeaderMap, limits: &Limits) -> Result<Option<Self>, DecodeError> {
        let mut stages = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let names = value.to_str().map_err(|_| DecodeError::UnknownCoding)?;
            for name in names.split(',').map(str::trim) {
                let Some(coding) = coding_named(name)? else {
                    continue;
                };
                if stages.len() == MOST_CODINGS {
                    return Err(DecodeError::UnknownCoding);
                }
                stages.push(Stage {
                    decoder: Decoder::new(coding).ok_or(DecodeError::UnknownCoding)?,
                    caps: Caps {
                        bytes: limits.decoded_bytes,
                        ratio: limits.decoded_ratio,
                    },
                });
            }
        }
        if stages.is_empty() {
            return Ok(None);
        }
        if stages.len() > 1 {
            // Nobody does that for good: the ratios would multiply.
            for stage in &mut stages {
                stage.caps.bytes = stage.caps.bytes.min(RATIO_FREE_BYTES);
            }
        }
        // They are listed in the order in which they were applied.
        stages.reverse();
        Ok(Some(Self { stages }))
    }

    /// Decodes the next bytes; `tell` gets them in slices.
    ///
    /// # Errors
    /// [`DecodeError::BadCoding`], [`DecodeError::Oversized`]: nothing more can be decoded.
    pub fn push(&mut self, input: &[u8], tell: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        undo(&mut self.stages, input, tell)
    }
}

/// Sends bytes through the stages: each slice that one decodes goes all the way before the next.
fn undo(
    stages: &mut [Stage],
    input: &[u8],
    tell: &mut dyn FnMut(&[u8]),
) -> Result<(), DecodeError> {
    let Some((stage, later)) = stages.split_first_mut() else {
        tell(input);
        return Ok(());
    };
    let caps = stage.caps;
    let mut result = Ok(());
    stage.decoder.push(input, &mut |slice| {
        let (told, is_too_much) = caps.of(slice);
        result = undo(later, &slice.bytes[..told], tell);
        if is_too_much && result.is_ok() {
            result = Err(DecodeError::Oversized);
        }
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    result
}

/// The coding of a name; `None` for `identity` and for empty list elements.
fn coding_named(name: &str) -> Result<Option<Coding>, DecodeError> {
    const NAMES: [(&str, Option<Coding>); 7] = [
        ("gzip", Some(Coding::Gzip)),
        ("x-gzip", Some(Coding::Gzip)),
        ("deflate", Some(Coding::Deflate)),
        ("br", Some(Coding::Brotli)),
        ("zstd", Some(Coding::Zstd)),
        ("identity", None),
        ("", None),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, coding)| *coding)
        .ok_or(DecodeError::UnknownCoding)
}
