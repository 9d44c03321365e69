//! Waiting for what nothing tells of.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// Between two looks: little for one who waits, and little work for the machine.
const BETWEEN: Duration = Duration::from_millis(10);

/// Looks until `look` finds what is waited for; until then it says what there is instead.
///
/// # Panics
/// It does not find it within [`DEADLINE`].
pub fn until<Found, Instead: Debug>(
    what: &str,
    mut look: impl FnMut() -> Result<Found, Instead>,
) -> Found {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(
                Instant::now() < end,
                "waited {DEADLINE:?} until {what}, and there is {instead:?}"
            ),
        }
        thread::sleep(BETWEEN);
    }
}

/// Looks until nothing is left of what `look` lists.
///
/// # Panics
/// Something is after [`DEADLINE`].
pub fn until_none<Left: Debug>(what: &str, mut look: impl FnMut() -> Vec<Left>) {
    until(what, || match look() {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
}
