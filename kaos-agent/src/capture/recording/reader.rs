//! Reads a recording.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

use super::format::{
    BLOCK_MAX_BYTES, BlockHeader, MAGIC, OLDEST_VERSION, PAYLOAD_SIZE_BYTES, VERSION, checksum,
};
use crate::capture::event::Event;

/// Why a recording cannot be read (on). Events that were yielded before are good.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened or read.
    #[error("reading failed: {0}; check that the file is there and readable")]
    Io(#[from] io::Error),
    /// It does not begin as a recording does.
    #[error("not a recording; give a file that `kaos-agent record` wrote")]
    NotARecording,
    /// Its format is another version's.
    #[error(
        "format version {found} of kaos-agent {agent} is not this one's, which is {VERSION}; \
         replay it with kaos-agent {agent}"
    )]
    Version {
        /// Version of the format.
        found: u16,
        /// Version of the agent that wrote it.
        agent: String,
    },
    /// The header is damaged.
    #[error("the header is damaged; record again, or get another copy of the file")]
    DamagedHeader,
    /// The file ends where more must follow: the recorder was killed, or the copy is not whole.
    #[error(
        "the file ends after record {readable} without an end mark (its recorder was killed, or \
         the copy is not whole); all records up to there were read"
    )]
    Truncated {
        /// Records before the end.
        readable: u64,
    },
    /// Bytes have changed.
    #[error(
        "damaged at record {record} ({detail}); the records before it were read, get another copy \
         of the file for the rest",
        record = readable + 1
    )]
    Damaged {
        /// Records before the damage.
        readable: u64,
        /// What is wrong.
        detail: &'static str,
    },
}

/// Events of a recording, in order. After an error there is nothing more.
pub struct Reader<R> {
    input: R,
    decompressor: zstd::bulk::Decompressor<'static>,
    block: Block,
    readable: u64,
    ended: bool,
}

/// What is left of a decompressed block.
#[derive(Default)]
struct Block {
    contents: Bytes,
    /// Where the bytes of the next record begin.
    payload_at: usize,
    payload_end: usize,
    /// Where the next record begins.
    record_at: usize,
    records: u32,
}

impl Reader<BufReader<File>> {
    /// Opens a recording and checks its header.
    ///
    /// # Errors
    /// The file cannot be opened, is no recording, or one of another version.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header of a recording.
    ///
    /// # Errors
    /// It cannot be read, is no recording, or one of another version.
    pub fn new(mut input: R) -> Result<Self, RecordingError> {
        read_file_header(&mut input)?;
        Ok(Self {
            input,
            decompressor: zstd::bulk::Decompressor::new()?,
            block: Block::default(),
            readable: 0,
            ended: false,
        })
    }

    fn next_event(&mut self) -> Result<Option<Event>, RecordingError> {
        if self.block.records == 0 {
            match self.read_block()? {
                Some(block) => self.block = block,
                None => return Ok(None),
            }
        }
        let event = self
            .block
            .next_event()
            .ok_or_else(|| self.damaged("a record makes no sense"))?;
        self.readable += 1;
        Ok(Some(event))
    }

    fn read_block(&mut self) -> Result<Option<Block>, RecordingError> {
        let mut encoded = [0; BlockHeader::SIZE];
        self.read_exact(&mut encoded)?;
        let (header, stated_checksum) = BlockHeader::decode(&encoded);
        if header.compressed_bytes > BLOCK_MAX_BYTES || header.bytes > BLOCK_MAX_BYTES {
            return Err(self.damaged("a block's size is impossible"));
        }
        let mut compressed = vec![0; header.compressed_bytes as usize];
        self.read_exact(&mut compressed)?;
        if checksum(&[&encoded[..12], &compressed]) != stated_checksum {
            return Err(self.damaged("a block's checksum does not match"));
        }
        if header == BlockHeader::END {
            return Ok(None);
        }
        let contents = self
            .decompressor
            .decompress(&compressed, header.bytes as usize)
            .map_err(|_| self.damaged("a block cannot be decompressed"))?;
        let block = Block::new(Bytes::from(contents), header.records)
            .ok_or_else(|| self.damaged("a block's parts do not fit"))?;
        Ok(Some(block))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), RecordingError> {
        self.input
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => RecordingError::Truncated {
                    readable: self.readable,
                },
                _ => RecordingError::Io(error),
            })
    }

    fn damaged(&self, detail: &'static str) -> RecordingError {
        RecordingError::Damaged {
            readable: self.readable,
            detail,
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_event().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Block {
    fn new(contents: Bytes, records: u32) -> Option<Self> {
        let (size, rest) = contents.split_first_chunk::<PAYLOAD_SIZE_BYTES>()?;
        let payload_bytes = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        if records == 0 || payload_bytes > rest.len() {
            return None;
        }
        let payload_end = PAYLOAD_SIZE_BYTES + payload_bytes;
        Some(Self {
            contents,
            payload_at: PAYLOAD_SIZE_BYTES,
            payload_end,
            record_at: payload_end,
            records,
        })
    }

    fn next_event(&mut self) -> Option<Event> {
        let remaining = &self.contents[self.record_at..];
        let ((payload_bytes, mut event), rest) =
            postcard::take_from_bytes::<(usize, Event)>(remaining).ok()?;
        self.record_at += remaining.len() - rest.len();
        if payload_bytes > self.payload_end - self.payload_at {
            return None;
        }
        if let Event::Data(data) = &mut event {
            data.bytes = self
                .contents
                .slice(self.payload_at..self.payload_at + payload_bytes);
        }
        self.payload_at += payload_bytes;
        self.records -= 1;
        Some(event)
    }
}

fn read_file_header(input: &mut impl Read) -> Result<(), RecordingError> {
    let mut header = [0; MAGIC.len() + 3];
    match input.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(RecordingError::NotARecording);
        }
        result => result?,
    }
    let [magic @ .., version_low, version_high, agent_length] = header;
    if magic != MAGIC {
        return Err(RecordingError::NotARecording);
    }
    let found = u16::from_le_bytes([version_low, version_high]);
    let mut agent = vec![0; usize::from(agent_length)];
    let mut stated_checksum = [0; 4];
    for part in [agent.as_mut_slice(), &mut stated_checksum] {
        input.read_exact(part).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RecordingError::DamagedHeader,
            _ => RecordingError::Io(error),
        })?;
    }
    if checksum(&[&header, &agent]) != u32::from_le_bytes(stated_checksum) {
        return Err(RecordingError::DamagedHeader);
    }
    if !(OLDEST_VERSION..=VERSION).contains(&found) {
        let agent = agent.escape_ascii().to_string();
        return Err(RecordingError::Version { found, agent });
    }
    Ok(())
}
