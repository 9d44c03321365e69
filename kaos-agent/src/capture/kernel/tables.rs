//! How full the kernel's tables are.

use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};
use aya::{Ebpf, Pod};
use kaos_ebpf::settings::{CONNECTION_BYTES, TLS_KEY_BYTES, defaults};

use super::{Kernel, take};
use crate::capture::error::CannotTrace;

/// How often entries are counted: that takes a system call for each.
const EVERY: Duration = Duration::from_secs(10);

/// Names of the levels, entries and most entries, in the order of [`Tables::used`].
const NAMES: [(&str, &str); 4] = [
    ("kernel.processes", "kernel.processes_limit"),
    ("kernel.cgroups", "kernel.cgroups_limit"),
    ("kernel.connections", "kernel.connections_limit"),
    ("kernel.tls_connections", "kernel.tls_connections_limit"),
];

/// The tables that can be full, and how full they are.
pub struct Tables {
    connections: HashMap<MapData, u64, [u8; CONNECTION_BYTES]>,
    tls_connections: HashMap<MapData, [u8; TLS_KEY_BYTES], [u8; CONNECTION_BYTES]>,
    limits: [usize; NAMES.len()],
    used: [usize; NAMES.len()],
    counted: Option<Instant>,
}

impl Tables {
    /// Takes those of the object that nobody else needs.
    ///
    /// # Errors
    /// They are not there, or of another kind: a defect.
    pub fn of(ebpf: &mut Ebpf, max_connections: u32) -> Result<Self, CannotTrace> {
        let limits = [
            defaults::PROCESSES,
            defaults::CGROUPS,
            max_connections,
            max_connections,
        ];
        Ok(Self {
            connections: take(ebpf, "CONNECTIONS", HashMap::try_from)?,
            tls_connections: take(ebpf, "TLS_CONNECTIONS", HashMap::try_from)?,
            limits: limits.map(|limit| limit as usize),
            used: [0; NAMES.len()],
            counted: None,
        })
    }

    /// Calls `visit` with the entries of each table as last counted, and with how many it can have.
    pub fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        for ((name, limit_name), (used, limit)) in
            NAMES.into_iter().zip(self.used.iter().zip(self.limits))
        {
            visit(name, *used as u64);
            visit(limit_name, limit as u64);
        }
    }
}

impl Kernel {
    /// Counts the entries of the tables, if that is due.
    pub fn count_entries(&mut self) {
        let tables = &self.tables;
        if tables.counted.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        let [processes, cgroups, connections, tls_connections] = tables.limits;
        let used = [
            entries(&self.processes, processes),
            entries(&self.cgroups, cgroups),
            entries(&tables.connections, connections),
            entries(&tables.tls_connections, tls_connections),
        ];
        self.tables.used = used;
        self.tables.counted = Some(Instant::now());
    }
}

/// Entries of a table that can have so many. It changes while it is counted, and the walk begins
/// anew where the entry that it is at is removed: hence the bound.
fn entries<K: Pod, V: Pod>(table: &HashMap<MapData, K, V>, limit: usize) -> usize {
    table.keys().take(limit).filter(Result::is_ok).count()
}
