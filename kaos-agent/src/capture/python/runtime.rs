//! Thread pointers as the interpreter itself knows them: for who may not ask the kernel.
//!
//! The exported `_PyRuntime` holds what the C library calls the main thread, which is its thread
//! pointer on x86-64. It is told from all other words by what it points to: itself.

use super::memory::Memory;

/// Bytes of the runtime that are looked at. The main thread is within the first two KiB in 3.10 to
/// 3.14; behind it are the objects that every program shares.
const MOST_BYTES: u64 = 16 * 1024;
/// Words that may be looked behind: a hostile runtime has nothing else in it.
const MOST_POINTERS: usize = 512;
/// Bytes that are read at once.
const PIECE_BYTES: u64 = 4096;

/// What may be thread pointers in a runtime at an address and of a length. Each is to be checked:
/// empty lists point to themselves, too.
pub fn thread_pointers(memory: &impl Memory, address: u64, length: u64) -> Vec<u64> {
    let length = length.min(MOST_BYTES);
    let runtime = address..address.saturating_add(length);
    let pieces = (0..length).step_by(PIECE_BYTES as usize).map(|start| {
        let words = (length - start).min(PIECE_BYTES) / 8;
        memory.words(address.wrapping_add(start), words as usize)
    });
    let mut found = Vec::new();
    let words = pieces.map_while(|words| words).flatten();
    let pointers =
        words.filter(|word| *word != 0 && word.is_multiple_of(8) && !runtime.contains(word));
    for pointer in pointers.take(MOST_POINTERS) {
        if memory.word(pointer) == Some(pointer) && !found.contains(&pointer) {
            found.push(pointer);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Words(BTreeMap<u64, u64>);

    impl Memory for Words {
        fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
            let words = (0..length as u64 / 8).map(|at| {
                let address = address.wrapping_add(at * 8);
                let is_mapped = (0x1000..0x9000).contains(&address);
                is_mapped.then(|| self.0.get(&address).copied().unwrap_or(0))
            });
            let words: Option<Vec<u64>> = words.collect();
            Some(words?.into_iter().flat_map(u64::to_ne_bytes).collect())
        }
    }

    #[test]
    fn what_points_to_itself_is_found() {
        let words = Words(BTreeMap::from([
            // An empty list in the runtime, two pointers to other things, one to nowhere.
            (0x1008, 0x1008),
            (0x1010, 0x8100),
            (0x1018, 0xffff_ffff_ffff_fff8),
            (0x1020, 0x8000),
            (0x8000, 0x8000),
            (0x8100, 0x8000),
            // Too far behind.
            (0x5100, 0x8200),
            (0x8200, 0x8200),
        ]));
        assert_eq!(thread_pointers(&words, 0x1000, 0x4100), [0x8000]);
        assert_eq!(thread_pointers(&words, 0x1000, 0x10), [0_u64; 0]);
        assert_eq!(thread_pointers(&words, u64::MAX - 7, u64::MAX), [0_u64; 0]);
        assert_eq!(thread_pointers(&words, 0x2_0000, 0x1000), [0_u64; 0]);
    }
}
