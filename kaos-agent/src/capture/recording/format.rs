//! What writer and reader of recordings agree on.

/// First bytes of every recording.
pub const MAGIC: [u8; 8] = *b"KAOSREC\n";

/// Version of the format, which includes the shape of [`Event`](crate::capture::event::Event):
/// counts up with every change of either.
pub const VERSION: u16 = 5;

/// The oldest version that can still be read: what came since is only more.
pub const OLDEST_VERSION: u16 = 2;

/// A block is closed when it holds this much, uncompressed: large enough to compress well, small
/// enough to be lost.
pub const BLOCK_TARGET_BYTES: usize = 1 << 20;

/// No block is larger, uncompressed or compressed: one event carries at most 2 MiB, so this is
/// never in the way, and it bounds what a hostile file can make a reader allocate.
pub const BLOCK_MAX_BYTES: u32 = 16 << 20;

/// The contents of a block begin with the size of its payload, a `u32`.
pub const PAYLOAD_SIZE_BYTES: usize = 4;

/// What stands before the contents of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of the zstd frame that follows.
    pub compressed_bytes: u32,
    /// Bytes of its contents.
    pub bytes: u32,
    /// Records in it; 0 only in the block that ends the recording.
    pub records: u32,
}

impl BlockHeader {
    /// Size on disk, with the checksum.
    pub const SIZE: usize = 16;

    /// The block that a finished recording ends with.
    pub const END: Self = Self {
        compressed_bytes: 0,
        bytes: 0,
        records: 0,
    };

    /// As it stands on disk, before the given contents.
    pub fn encode(self, compressed: &[u8]) -> [u8; Self::SIZE] {
        let mut encoded = [0; Self::SIZE];
        encoded[0..4].copy_from_slice(&self.compressed_bytes.to_le_bytes());
        encoded[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        encoded[8..12].copy_from_slice(&self.records.to_le_bytes());
        let checksum = checksum(&[&encoded[..12], compressed]);
        encoded[12..16].copy_from_slice(&checksum.to_le_bytes());
        encoded
    }

    /// The header, and the checksum that it states.
    pub fn decode(encoded: &[u8; Self::SIZE]) -> (Self, u32) {
        let number = |at: usize| {
            u32::from_le_bytes([
                encoded[at],
                encoded[at + 1],
                encoded[at + 2],
                encoded[at + 3],
            ])
        };
        let header = Self {
            compressed_bytes: number(0),
            bytes: number(4),
            records: number(8),
        };
        (header, number(12))
    }
}

/// CRC-32 (IEEE) over the parts, one after the other.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
