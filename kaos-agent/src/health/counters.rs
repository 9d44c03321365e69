//! Counters: what each stage saw, and what it lost and why.

use std::collections::BTreeMap;

/// Something that counts.
///
/// Names are `stage.what` (`streams.gaps`, `kernel.ring_full`); a counter only ever grows. Use
/// [`counters!`](crate::counters) to make the struct and this implementation together.
pub trait Counters {
    /// Calls `visit` with the name and the value of each counter.
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64));

    /// Calls `visit` with the name and the size of each thing that is kept now: these go up and
    /// down.
    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        let _ = visit;
    }
}

/// Declares a struct of counters: named `u64` fields with a doc comment each, and its
/// [`Counters`](crate::health::counters::Counters) implementation under a common prefix.
///
/// ```
/// kaos_agent::counters! {
///     /// What stage 2 saw and lost.
///     pub struct StreamCounters: "streams" {
///         /// Holes of known size, left by lost records.
///         gaps,
///         /// Connections forgotten because the table was full.
///         evicted,
///     }
/// }
/// use kaos_agent::health::counters::Snapshot;
/// let counters = StreamCounters { gaps: 2, ..StreamCounters::default() };
/// assert_eq!(Snapshot::of(&[&counters]).get("streams.gaps"), Some(2));
/// ```
#[macro_export]
macro_rules! counters {
    (
        $(#[$struct_meta:meta])*
        $visibility:vis struct $name:ident: $prefix:literal {
            $($(#[$field_meta:meta])* $field:ident),* $(,)?
        }
    ) => {
        $(#[$struct_meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[$field_meta])* pub $field: u64,)*
        }

        impl $crate::health::counters::Counters for $name {
            fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
                $(visit(concat!($prefix, ".", stringify!($field)), self.$field);)*
            }
        }
    };
}

/// All counters at one moment, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, u64>);

impl Snapshot {
    /// Gathers them. Counters of one name add up (a stage that runs several times over).
    #[must_use]
    pub fn of(sources: &[&dyn Counters]) -> Self {
        let mut values = BTreeMap::new();
        for source in sources {
            source.visit(&mut |name, value| *values.entry(name).or_default() += value);
        }
        Self(values)
    }

    /// Gathers what is kept now, likewise.
    #[must_use]
    pub fn of_levels(sources: &[&dyn Counters]) -> Self {
        let mut values = BTreeMap::new();
        for source in sources {
            source.levels(&mut |name, value| *values.entry(name).or_default() += value);
        }
        Self(values)
    }

    /// All of them, by name.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<&'static str, u64> {
        &self.0
    }

    /// Value of one counter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// `name value` lines, sorted by name, each name padded to the longest.
    #[must_use]
    pub fn to_text(&self) -> String {
        let width = self
            .0
            .keys()
            .map(|name| name.len())
            .max()
            .unwrap_or_default();
        self.0
            .iter()
            .map(|(name, value)| format!("{name:width$}  {value}\n"))
            .collect()
    }

    /// One JSON object on one line, sorted by name.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a map of numbers under strings is JSON") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::counters! {
        /// Counters of the test.
        struct Beans: "kitchen" {
            /// Counted.
            white,
            /// Counted.
            black,
        }
    }

    #[test]
    fn snapshots_are_sorted_and_add_up() {
        let here = Beans {
            white: 1,
            black: 20,
        };
        let there = Beans { white: 2, black: 0 };
        let snapshot = Snapshot::of(&[&here, &there]);
        assert_eq!(snapshot.to_text(), "kitchen.black  20\nkitchen.white  3\n");
        assert_eq!(
            snapshot.to_json(),
            "{\"kitchen.black\":20,\"kitchen.white\":3}\n"
        );
        assert_eq!(snapshot.get("kitchen.green"), None);
    }
}
