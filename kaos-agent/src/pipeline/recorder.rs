//! Events to a recording.

use anyhow::Context as _;

use super::live::Consumer;
use crate::capture::event::{Event, SocketId};
use crate::capture::recording::{RecordingCounters, Writer};
use crate::health::counters::Counters;
use crate::settings::RecordingSettings;
use crate::time::Nanos;

/// Writes a recording.
pub(super) struct Recorder {
    path: String,
    /// Until the end.
    writer: Option<Writer>,
    recorded: RecordingCounters,
}

impl Recorder {
    /// Creates the file.
    ///
    /// # Errors
    /// It exists already or cannot be created.
    pub(super) fn create(settings: &RecordingSettings) -> anyhow::Result<Self> {
        let path = settings.file.display().to_string();
        let writer = Writer::create(&settings.file, settings.contents).map_err(|error| {
            anyhow::anyhow!("record -o {path}: {error}; give a path that is new and writable")
        })?;
        Ok(Self {
            path,
            writer: Some(writer),
            recorded: RecordingCounters::default(),
        })
    }

    fn with_writer(
        &mut self,
        write: impl FnOnce(&mut Writer) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        match &mut self.writer {
            Some(writer) => {
                write(writer).with_context(|| format!("cannot write the recording {}", self.path))
            }
            None => Ok(()),
        }
    }
}

impl Consumer for Recorder {
    fn push(&mut self, event: &Event) -> anyhow::Result<()> {
        self.with_writer(|writer| writer.push(event))
    }

    fn tick(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.with_writer(|writer| writer.tick(now))
    }

    fn take_opaque(&mut self) -> Vec<SocketId> {
        // What a connection carries is decided in the replay; the kernel has muted what is
        // certainly not HTTP.
        Vec::new()
    }

    fn take_collector_ports(&mut self) -> Vec<u16> {
        // Secrets in HTTP/2 are not found by who masks them, so none of it is captured.
        Vec::new()
    }

    fn finish(&mut self, _now: Nanos) -> anyhow::Result<()> {
        if let Some(writer) = self.writer.take() {
            self.recorded = writer
                .finish()
                .with_context(|| format!("cannot finish the recording {}", self.path))?;
        }
        Ok(())
    }
}

impl Counters for Recorder {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        match &self.writer {
            Some(writer) => writer.counters().visit(visit),
            None => self.recorded.visit(visit),
        }
    }
}
