//! What the programs counted.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use kaos_ebpf::counter::Counter;

use super::Kernel;
use crate::health::counters::Counters;

impl Counters for Kernel {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        for (counter, name) in Counter::ALL {
            visit(name, self.counter(*counter));
        }
        // Where a loss happened says who made it; where none did there is nothing to say.
        for (counter, names) in &*LOSS_NAMES {
            for (name, value) in names.iter().zip(self.counter_by_cpu(*counter)) {
                if value > 0 {
                    visit(name, value);
                }
            }
        }
    }

    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("kernel.programs_at_work", self.programs_at_work as u64);
        self.tables.levels(visit);
    }
}

/// Names of the counters of losses by CPU: `kernel.lost.ring_full.cpu0` and so on. They live as long
/// as the process, like all names of counters.
static LOSS_NAMES: LazyLock<Vec<(Counter, Vec<String>)>> = LazyLock::new(|| {
    let cpus = aya::util::nr_cpus().map_or(0, NonZeroU32::get);
    let names = |name| (0..cpus).map(move |cpu| format!("{name}.cpu{cpu}"));
    Counter::ALL
        .iter()
        .filter(|(_, name)| name.starts_with("kernel.lost."))
        .map(|(counter, name)| (*counter, names(name).collect()))
        .collect()
});
