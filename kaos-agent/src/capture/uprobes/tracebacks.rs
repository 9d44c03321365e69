//! Functions of a file without names, found by what they call themselves in tracebacks.
//!
//! A module that Cython made has a text for each of its functions, the function's name in tracebacks,
//! and the function itself loads the address of that text. Both stay when a file is stripped of its
//! names, and so do the frames for unwinding (`.eh_frame_hdr`), which say where functions begin.

use memchr::memmem;

use super::image::{Image, Loaded};

/// Bytes of code and of constants that are looked through. uvloop has one MiB of the one, and 200 KiB of
/// the other.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of the table of frames: eight for each function.
const MOST_FRAME_BYTES: u64 = 4 * 1024 * 1024;

/// What functions of a file can be found in.
pub struct Tracebacks {
    code: Vec<Loaded>,
    constants: Vec<Loaded>,
    /// Where functions begin, in order.
    starts: Vec<u64>,
}

impl Tracebacks {
    /// Reads the parts of a file that are needed; what is missing has no functions.
    #[must_use]
    pub fn read(image: &Image<'_>) -> Self {
        let (code, constants) = image.constant_parts(MOST_BYTES);
        let frames = image.frames(MOST_FRAME_BYTES);
        let starts = frames.and_then(|(address, bytes)| starts(address, &bytes));
        Self {
            code,
            constants,
            starts: starts.unwrap_or_default(),
        }
    }

    /// Address of the function that gives this as its name in tracebacks. `None` where there is none, or
    /// not one alone: where the compiler has put copies of it into others, those would be missed.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        let mut users = self.loads_of(text).map(|load| self.function_at(load));
        let function = users.next()??;
        let is_alone = users.all(|user| user == Some(function));
        (is_alone && self.is_called(function)).then_some(function)
    }

    /// Address of a text with an end at either side, if it is there once.
    fn text(&self, text: &str) -> Option<u64> {
        let whole = [&[0], text.as_bytes(), &[0]].concat();
        let mut places = self.constants.iter().flat_map(|(start, bytes)| {
            memmem::find_iter(bytes, &whole).map(move |at| start + at as u64 + 1)
        });
        let place = places.next()?;
        places.next().is_none().then_some(place)
    }

    /// Addresses of the instructions that load this address: `lea address(%rip), register`.
    fn loads_of(&self, address: u64) -> impl Iterator<Item = u64> {
        const OPCODE: u8 = 0x8d;
        self.code.iter().flat_map(move |(start, code)| {
            memchr::memchr_iter(OPCODE, code).filter_map(move |at| {
                let [wide, _, operand] = *code.get(at.checked_sub(1)?..)?.first_chunk()?;
                // Of 64 bits, and relative to the next instruction.
                let is_load = wide & 0xfb == 0x48 && operand & 0xc7 == 0x05;
                let load = start + at as u64 - 1;
                (is_load && target(load, code.get(at - 1..)?, 3)? == address).then_some(load)
            })
        })
    }

    /// Whether something calls a function. What is not called may be a rarely used part of another one
    /// that the compiler has put elsewhere.
    fn is_called(&self, function: u64) -> bool {
        const OPCODE: u8 = 0xe8;
        self.code.iter().any(|(start, code)| {
            memchr::memchr_iter(OPCODE, code)
                .any(|at| target(start + at as u64, &code[at..], 1) == Some(function))
        })
    }

    /// Where the function with the code at an address begins.
    fn function_at(&self, address: u64) -> Option<u64> {
        let next = self.starts.partition_point(|start| *start <= address);
        self.starts.get(next.checked_sub(1)?).copied()
    }
}

/// The address that an instruction means which ends with a distance of 32 bits after so many bytes.
fn target(address: u64, instruction: &[u8], opcode: usize) -> Option<u64> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let distance = i32::from_le_bytes(*instruction.get(opcode..)?.first_chunk()?);
    let next = address.wrapping_add(opcode as u64 + 4);
    Some(next.wrapping_add_signed(distance.into()))
}

/// Where functions begin, from the table that unwinding looks them up in: pairs of distances from its
/// own beginning, in order. All linkers write it in this form.
fn starts(address: u64, bytes: &[u8]) -> Option<Vec<u64>> {
    /// Version; a number of 32 bits relative to itself; one; and such relative to the beginning.
    const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let rest = bytes.strip_prefix(&FORM)?;
    let (words, _) = rest.as_chunks::<4>();
    let [_, count, pairs @ ..] = words else {
        return None;
    };
    let count = u32::from_le_bytes(*count) as usize;
    let (pairs, _) = pairs.as_chunks::<2>();
    let start =
        |pair: &[[u8; 4]; 2]| address.wrapping_add_signed(i32::from_le_bytes(pair[0]).into());
    let starts: Vec<u64> = pairs.get(..count)?.iter().map(start).collect();
    starts.is_sorted().then_some(starts)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    const CODE: u64 = 0x1000;
    const CONSTANTS: u64 = 0x8000;

    /// Two functions of 32 bytes each, of which the second calls the first.
    fn made() -> Tracebacks {
        let mut code = vec![0x90; 64];
        load(&mut code, 8, CONSTANTS + 1);
        load(&mut code, 40, CONSTANTS + 7);
        // call 0x1000
        code[48] = 0xe8;
        code[49..53].copy_from_slice(&(-53_i32).to_le_bytes());
        Tracebacks {
            code: vec![(CODE, code)],
            constants: vec![(CONSTANTS, b"\0first\0second\0".to_vec())],
            starts: vec![CODE, CODE + 32],
        }
    }

    /// `lea address(%rip), %rdi`
    fn load(code: &mut [u8], at: usize, address: u64) {
        let distance = address - (CODE + at as u64 + 7);
        code[at..at + 3].copy_from_slice(&[0x48, 0x8d, 0x3d]);
        code[at + 3..at + 7].copy_from_slice(&(distance as u32).to_le_bytes());
    }

    #[test]
    fn a_function_is_found_by_its_name() {
        let made = made();
        assert_eq!(made.function("first"), Some(CODE));
        assert_eq!(made.function("second"), None, "nothing calls it");
        assert_eq!(made.function("firs"), None);
        assert_eq!(made.function("other"), None);
    }

    #[test]
    fn a_function_with_copies_in_others_is_not_taken() {
        let mut made = made();
        load(&mut made.code[0].1, 56, CONSTANTS + 1);
        assert_eq!(made.function("first"), None);
        // In the same function it may be as often as it likes.
        let mut made = self::made();
        load(&mut made.code[0].1, 16, CONSTANTS + 1);
        assert_eq!(made.function("first"), Some(CODE));
    }

    #[test]
    fn a_name_that_is_there_twice_is_none() {
        let mut made = made();
        made.constants.push((0x9000, b"\0first\0".to_vec()));
        assert_eq!(made.function("first"), None);
    }

    #[test]
    fn frames_are_read() {
        let mut table = vec![1, 0x1b, 0x03, 0x3b];
        for word in [0, 2, -0x1000, 0, -0x800, 0] {
            table.extend(i32::to_le_bytes(word));
        }
        assert_eq!(starts(0x2000, &table), Some(vec![0x1000, 0x1800]));
        assert_eq!(starts(0x2000, &table[..20]), None, "it is cut");
        table[3] = 0;
        assert_eq!(starts(0x2000, &table), None, "it has another form");
        assert_eq!(starts(0x2000, &[]), None);
    }

    /// Whatever the bytes are, something is found or nothing.
    #[test]
    fn damaged_files_do_no_harm() {
        for at in 0..64 {
            for value in [0x48, 0x8d, 0xe8, 0xff] {
                let mut made = made();
                made.code[0].1[at] = value;
                let _ = made.function("first");
                made.code[0].1.truncate(at);
                let _ = made.function("first");
            }
        }
        let mut made = made();
        made.code[0].0 = u64::MAX - 63;
        made.starts.clear();
        assert_eq!(made.function("first"), None);
    }
}
