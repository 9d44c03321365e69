//! The whole pipeline: the only place that knows all stages, and that owns threads.
//!
//! [`Stages`] is the pure part: events in, signals out. [`live`] feeds it from the kernel and
//! [`replay`] from a recording; both hand its signals to the exporter.

mod collectors;
#[cfg(test)]
mod hostile_tests;
mod live;
mod memory;
mod output;
mod pods;
mod recorder;
mod reloading;
mod replay;
mod spans;
mod stages;

pub use live::run_live;
pub use replay::replay;
pub use stages::{StageSettings, Stages};

use crate::health::doctor::Check;

/// What `doctor` wants to know of the kernel side: every program loaded and attached for a moment.
#[must_use]
pub fn check_programs() -> Vec<Check> {
    crate::capture::checks::run()
}
