//! Writes a recording.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{
    BLOCK_MAX_BYTES, BLOCK_TARGET_BYTES, BlockHeader, MAGIC, PAYLOAD_SIZE_BYTES, VERSION, checksum,
};
use crate::capture::event::Event;
use crate::capture::redact::Redactor;
use crate::settings::RecordedContents;
use crate::time::Nanos;

/// An event waits at most this long, in event time, before its block is written: what a killed
/// writer may lose.
const BLOCK_MAX_AGE: Nanos = 1_000_000_000;

/// zstd's fastest ordinary level: the recorder shares the machine with what it records.
const COMPRESSION_LEVEL: i32 = 1;

crate::counters! {
    /// What a recording holds.
    pub struct RecordingCounters: "recording" {
        /// Events written.
        events,
        /// Bytes of payload in them.
        payload_bytes,
        /// Bytes of the file.
        file_bytes,
        /// Connections that the redactor forgot because too many were open; what they carry is
        /// masked until their next message.
        connections_forgotten,
    }
}

/// Writes events, redacted, to a file.
///
/// Blocks are written as they fill, under the final name, so that a recording survives its
/// recorder. A writer that is dropped before it wrote any block, because something else failed to
/// start, removes its file.
pub struct Writer {
    path: PathBuf,
    file: File,
    redactor: Redactor,
    compressor: zstd::bulk::Compressor<'static>,
    /// Contents of the block: room for the payload's size, then the payload.
    contents: Vec<u8>,
    records: Vec<u8>,
    record_count: u32,
    block_began: Nanos,
    keep_file: bool,
    counters: RecordingCounters,
}

impl Writer {
    /// Creates the file, readable by its owner alone, and writes the header.
    ///
    /// # Errors
    /// The file exists already, or cannot be created or written.
    pub fn create(path: &Path, contents: RecordedContents) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut writer = Self {
            path: path.to_owned(),
            file,
            redactor: Redactor::new(contents),
            compressor,
            contents: Vec::new(),
            records: Vec::new(),
            record_count: 0,
            block_began: 0,
            keep_file: false,
            counters: RecordingCounters::default(),
        };
        writer.write(&file_header())?;
        Ok(writer)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// The file cannot be written (disk full); or the event is larger than any that capture makes.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        self.tick(event.at())?;
        if self.record_count == 0 {
            self.block_began = event.at();
            self.contents.extend_from_slice(&[0; PAYLOAD_SIZE_BYTES]);
        }
        let payload_start = self.contents.len();
        let stored = match event {
            Event::Data(data) => {
                self.contents.extend_from_slice(&data.bytes);
                self.redactor
                    .redact_data(data, &mut self.contents[payload_start..]);
                let mut stored = data.clone();
                stored.bytes = Bytes::new();
                Event::Data(stored)
            }
            Event::Process(process) => Event::Process(self.redactor.redact_process(process)),
            Event::Pod(pod) => Event::Pod(self.redactor.redact_pod(pod)),
            Event::Connection(_)
            | Event::Context(_)
            | Event::Peer(_)
            | Event::Clock { .. }
            | Event::Lost { .. } => event.clone(),
        };
        let payload_bytes = self.contents.len() - payload_start;
        self.records =
            postcard::to_extend(&(payload_bytes, stored), std::mem::take(&mut self.records))
                .map_err(io::Error::other)?;
        self.record_count += 1;
        self.counters.events += 1;
        self.counters.payload_bytes += payload_bytes as u64;
        if self.contents.len() + self.records.len() >= BLOCK_TARGET_BYTES {
            self.write_block()?;
        }
        Ok(())
    }

    /// Writes the block if its first event is old enough. Call it when there are no events, too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tick(&mut self, now: Nanos) -> io::Result<()> {
        if now.saturating_sub(self.block_began) >= BLOCK_MAX_AGE {
            self.write_block()?;
        }
        Ok(())
    }

    /// Writes what is left and the end mark; tells what was written.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<RecordingCounters> {
        self.write_block()?;
        self.write(&BlockHeader::END.encode(&[]))?;
        self.keep_file = true;
        self.file.sync_all()?;
        Ok(self.counters())
    }

    /// What was written so far.
    #[must_use]
    pub fn counters(&self) -> RecordingCounters {
        RecordingCounters {
            connections_forgotten: self.redactor.forgotten(),
            ..self.counters
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.counters.file_bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.record_count == 0 {
            return Ok(());
        }
        let payload_bytes = self.contents.len() - PAYLOAD_SIZE_BYTES;
        let payload_size = u32::try_from(payload_bytes).map_err(io::Error::other)?;
        self.contents[..PAYLOAD_SIZE_BYTES].copy_from_slice(&payload_size.to_le_bytes());
        self.contents.append(&mut self.records);

        let compressed = self.compressor.compress(&self.contents)?;
        let size = |bytes: &[u8]| match u32::try_from(bytes.len()) {
            Ok(size) if size <= BLOCK_MAX_BYTES => Ok(size),
            _ => Err(io::Error::other(
                "an event does not fit into a block of the recording",
            )),
        };
        let header = BlockHeader {
            compressed_bytes: size(&compressed)?,
            bytes: size(&self.contents)?,
            records: self.record_count,
        };
        self.contents.clear();
        self.record_count = 0;
        self.write(&header.encode(&compressed))?;
        self.write(&compressed)?;
        self.keep_file = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.keep_file {
            // Nothing can be done about a failure here, and the error that led here is told.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_header() -> Vec<u8> {
    let agent_version = env!("CARGO_PKG_VERSION");
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.push(u8::try_from(agent_version.len()).expect("a version is shorter than 256 bytes"));
    header.extend_from_slice(agent_version.as_bytes());
    let checksum = checksum(&[&header]);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}
