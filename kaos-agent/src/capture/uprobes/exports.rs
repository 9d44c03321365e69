//! The index of exported names in an ELF file (`.gnu.hash`), with which loaders find them.
//!
//! Four words (buckets, number of the first symbol that is in it, words of the filter, a shift of the
//! filter), a Bloom filter of 64-bit words, a bucket for each part of the hashes with the number of its
//! first symbol, and each symbol's hash, whose lowest bit ends the bucket.

/// Symbols of one bucket that are looked at. A linker makes buckets of two or three; more is a file
/// that wants to keep us busy.
const MOST_IN_BUCKET: usize = 1024;

/// The index of a file that is not trusted.
pub struct Exports<'bytes> {
    first: u32,
    shift: u32,
    filter: &'bytes [[u8; 8]],
    buckets: &'bytes [[u8; 4]],
    chains: &'bytes [[u8; 4]],
}

impl<'bytes> Exports<'bytes> {
    /// Takes a section apart; `None` where it makes no sense.
    pub fn new(bytes: &'bytes [u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>().0.split_first_chunk::<4>()?;
        let [buckets, first, filter, shift] = words.map(u32::from_le_bytes);
        let rest = rest.as_flattened();
        let (filter, rest) = rest.split_at_checked((filter as usize).checked_mul(8)?)?;
        let (buckets, chains) = rest.split_at_checked((buckets as usize).checked_mul(4)?)?;
        Some(Self {
            first,
            shift,
            filter: filter.as_chunks().0,
            buckets: buckets.as_chunks().0,
            chains: chains.as_chunks().0,
        })
    }

    /// Numbers of the symbols that may have this name: those of its hash.
    pub fn candidates(&self, name: &str) -> impl Iterator<Item = u32> + use<'bytes> {
        let hash = hash(name);
        let start = self.may_have(hash).then(|| self.bucket(hash)).flatten();
        let first = self.first;
        let chain = start.and_then(|start| self.chains.get(start as usize..));
        let start = start.unwrap_or_default();
        let mut over = false;
        let hashes = chain.unwrap_or_default().iter().take(MOST_IN_BUCKET);
        hashes
            .map(|word| u32::from_le_bytes(*word))
            .take_while(move |word| !std::mem::replace(&mut over, word & 1 == 1))
            .zip(start..)
            .filter(move |(word, _)| (word ^ hash) & !1 == 0)
            .filter_map(move |(_, place)| first.checked_add(place))
    }

    /// What the Bloom filter says.
    fn may_have(&self, hash: u32) -> bool {
        let Some(number) = (hash as usize / 64).checked_rem(self.filter.len()) else {
            return false;
        };
        let word = u64::from_le_bytes(self.filter[number]);
        let second = hash.checked_shr(self.shift).unwrap_or_default();
        word & (1 << (hash % 64)) != 0 && word & (1 << (second % 64)) != 0
    }

    /// Place of a bucket's first symbol among those that are in the index.
    fn bucket(&self, hash: u32) -> Option<u32> {
        let number = (hash as usize).checked_rem(self.buckets.len())?;
        u32::from_le_bytes(self.buckets[number]).checked_sub(self.first)
    }
}

/// The hash that loaders use.
fn hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index with one word of filter and one bucket.
    fn index(filter: u64, bucket: u32, chain: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [1, 5, 1, 6] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(filter.to_le_bytes());
        bytes.extend(bucket.to_le_bytes());
        for word in chain {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// None at all.
    const NOBODY: [u32; 0] = [];

    fn candidates(bytes: &[u8], name: &str) -> Vec<u32> {
        let exports = Exports::new(bytes).expect("it is whole");
        exports.candidates(name).collect()
    }

    #[test]
    fn names_are_found_by_their_hash() {
        assert_eq!(hash(""), 5381);
        assert_eq!(hash("printf"), 0x156b_2bb8);
        let (open, end) = (hash("a") & !1, hash("e") | 1);
        let bytes = index(u64::MAX, 6, &[7 << 1, open, end, open]);
        // From the second symbol that is in the index on, and not beyond the bucket's end.
        assert_eq!(candidates(&bytes, "a"), [6]);
        assert_eq!(candidates(&bytes, "e"), [7]);
        assert_eq!(candidates(&bytes, "c"), NOBODY);
        assert_eq!(candidates(&index(0, 6, &[open, end]), "a"), NOBODY);
    }

    #[test]
    fn what_makes_no_sense_has_no_names() {
        let whole = index(u64::MAX, 6, &[2, 3]);
        for length in 0..whole.len() {
            if let Some(exports) = Exports::new(&whole[..length]) {
                assert_eq!(exports.candidates("a").count(), 0);
            }
        }
        for bucket in [0, 4, u32::MAX] {
            assert_eq!(
                candidates(&index(u64::MAX, bucket, &[hash("a") | 1]), "a"),
                NOBODY
            );
        }
        // A bucket without an end.
        let endless = index(u64::MAX, 5, &vec![hash("a") & !1; 2 * MOST_IN_BUCKET]);
        assert_eq!(candidates(&endless, "a").len(), MOST_IN_BUCKET);
        let no_words = [0, u32::MAX, 0, u32::MAX].map(u32::to_le_bytes);
        assert_eq!(candidates(no_words.as_flattened(), "a"), NOBODY);
    }
}
