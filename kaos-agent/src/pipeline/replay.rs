//! From a recording.

use std::time::Duration;

use anyhow::Context as _;

use super::live::Consumer as _;
use super::output;
use super::spans::SpanMaker;
use crate::capture::recording::Reader;
use crate::export::exporter::WhenFull;
use crate::health::counters::Snapshot;
use crate::settings::ReplaySettings;

/// Seed of the ids in replays: the same recording gives the same spans, byte for byte.
const SEED: u64 = 0;

/// Runs a recording through the pipeline, as fast as it goes.
///
/// # Errors
/// It cannot be read to its end, or the output cannot be written. What came before a damaged place
/// is told all the same.
pub fn replay(settings: ReplaySettings) -> anyhow::Result<()> {
    let runtime = output::runtime()?;
    let what = || format!("replay {}", settings.file.display());
    let reader = Reader::open(&settings.file).with_context(what)?;
    let mut maker = SpanMaker::start(
        &settings.output,
        settings.max_connections,
        SEED,
        WhenFull::Wait,
        &runtime,
    )?;
    let mut last = 0;
    let mut damage = None;
    for event in reader {
        match event {
            Ok(event) => {
                last = event.at();
                maker.push(&event)?;
                maker.take_opaque();
            }
            Err(error) => damage = Some(error),
        }
    }
    maker.finish(last)?;
    if let Some(format) = settings.stats {
        output::print_stats(format, &Snapshot::of(&[&maker]));
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    damage.map_or(Ok(()), |error| Err(error).with_context(what))
}
