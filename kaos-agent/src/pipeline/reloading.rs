//! Settings that are read again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::settings::Reload;

/// How often it is looked whether a file has changed: as often as would be missed by a person who
/// waits for it, and a call of the kernel each.
const EVERY: Duration = Duration::from_secs(2);

/// What of settings that were read again is the worker's.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// As in `LiveSettings`.
    pub memory_limit: Option<u64>,
}

/// When a file changed last, and its size; `None` while it cannot be looked at. That of what a
/// symbolic link leads to: Kubernetes replaces the link.
type Stamp = Option<(SystemTime, u64)>;

/// The files of the settings, and how they are read.
pub(super) struct Reloader {
    reload: Reload,
    stamps: Vec<Stamp>,
    looks: Interval,
}

impl Reloader {
    /// What they hold now is known. To be called inside of a runtime.
    pub(super) fn new(reload: Reload) -> Self {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stamps: stamps(&reload),
            reload,
            looks,
        }
    }

    /// Waits until a file has changed.
    pub(super) async fn changed(&mut self) {
        loop {
            self.looks.tick().await;
            let now = stamps(&self.reload);
            if now != self.stamps {
                self.stamps = now;
                return;
            }
        }
    }

    /// Reads the settings again, for this reason; `None` where they stay as they were.
    pub(super) fn read(&mut self, why: &str) -> Option<Reloaded> {
        match (self.reload.read)() {
            Ok(memory_limit) => {
                tracing::info!("the configuration was read again: {why}");
                Some(Reloaded { memory_limit })
            }
            Err(error) => {
                tracing::error!("{why}, but the configuration stays as it was: {error}");
                None
            }
        }
    }
}

fn stamps(reload: &Reload) -> Vec<Stamp> {
    reload.files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let metadata = file.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
