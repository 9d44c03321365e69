//! What leaves the process, and the runtime that it leaves by.

use std::io::{self, Write as _};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::export::exporter::Target;
use crate::export::json::JsonLines;
use crate::export::tree::{Style, TreePrinter};
use crate::health::counters::Snapshot;
use crate::settings::{Output, StatsFormat};

/// Threads that deliver: exporting waits for the network far more than it computes.
const WORKER_THREADS: usize = 1;

/// The runtime of exporter and signals.
///
/// # Errors
/// The process is out of threads or descriptors.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("export")
        .enable_all()
        .build()
        .context("cannot start the runtime of the exporter")
}

/// Where signals go.
#[must_use]
pub fn target(output: Output) -> Target {
    match output {
        Output::Otlp => Target::Otlp,
        Output::Json => Target::Stream(Box::new(JsonLines::new(io::stdout()))),
        Output::Tree => Target::Stream(Box::new(TreePrinter::new(
            io::stdout(),
            Style::for_stdout(),
        ))),
    }
}

/// Prints all counters to standard error: standard output belongs to the spans.
pub fn print_stats(format: StatsFormat, snapshot: &Snapshot) {
    let text = match format {
        StatsFormat::Text => snapshot.to_text(),
        StatsFormat::Json => snapshot.to_json(),
    };
    // Nobody reads it where standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
