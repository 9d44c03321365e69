//! Times of the pipeline.

use serde::{Deserialize, Serialize};

/// Nanoseconds of the kernel's monotonic clock (`CLOCK_MONOTONIC`), as `bpf_ktime_get_ns` gives
/// them. All stages compute with these; wall-clock time appears in `telemetry` only.
pub type Nanos = u64;

/// What must be added to a monotonic time to get nanoseconds since the Unix epoch.
///
/// Capture measures it again and again. A trace keeps the offset that held when its first span
/// began, so a clock step in mid-trace bends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WallOffset(pub i64);

impl WallOffset {
    /// Unix time in nanoseconds of a monotonic time.
    #[must_use]
    pub fn unix_nanos(self, at: Nanos) -> u64 {
        at.saturating_add_signed(self.0)
    }
}
