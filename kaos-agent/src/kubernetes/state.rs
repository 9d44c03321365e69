//! How the watches of the API server fare.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::health::counters::Counters;

/// How a watch fares.
#[derive(Debug, Default)]
pub struct WatchState {
    synced: AtomicBool,
    connected: AtomicBool,
    errors: AtomicU64,
    objects: AtomicU64,
    refused: AtomicU64,
}

impl WatchState {
    /// All objects were told at least once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// The last answer of the API server was none of an error.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Requests to the API server that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Objects that are known now.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// The API server answered.
    pub(crate) fn answered(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// True where this outage begins.
    pub(crate) fn failed(&self) -> bool {
        let is_first = self.errors.fetch_add(1, Ordering::Relaxed) == 0;
        self.connected.swap(false, Ordering::Relaxed) || is_first
    }

    /// All objects that there are were told.
    pub(crate) fn listed(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    pub(super) fn knows(&self, objects: usize) {
        self.objects.store(objects as u64, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The watches that there are.
#[derive(Debug, Default, Clone)]
pub struct Watches {
    /// Of this node's pods.
    pub pods: Option<Arc<WatchState>>,
    /// Of the cluster's Services.
    pub services: Option<Arc<WatchState>>,
}

impl Counters for Watches {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        if let Some(pods) = &self.pods {
            visit("kubernetes.watch_errors", pods.errors());
        }
        if let Some(services) = &self.services {
            visit("kubernetes.service_watch_errors", services.errors());
            let refused = services.refused.load(Ordering::Relaxed);
            visit("kubernetes.services_refused", refused);
        }
    }
}
