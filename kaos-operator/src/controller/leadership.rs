//! Only the holder of a Lease writes.
//!
//! `kube-lease-manager` takes, renews and gives up the lease. Two things are ours: a replica that
//! waits watches the lease, so that it takes over at once when it is given up; and a leader that
//! cannot renew steps down before the lease can be another's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};

/// Name of the Lease.
const LEASE: &str = "kaos-operator";
/// How long after its last renewal a crashed leader's lease can be taken (as in client-go).
const DURATION: u64 = 15;
/// How long before that the leader renews; it steps down when it cannot for half of this time.
const GRACE: u64 = 10;
/// How long the API server may take to answer about the lease.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two attempts after an error.
const RETRY: Duration = Duration::from_millis(500);

/// Our part in the election.
pub struct Leadership {
    /// For the lease: an answer that does not come soon is an error.
    client: Client,
    /// For the watch of the lease.
    patient: Client,
    namespace: String,
    identity: String,
}

impl Leadership {
    /// With a client of its own, whose answers must come soon.
    ///
    /// # Errors
    /// A client cannot be made.
    pub fn new(
        mut config: kube::Config,
        patient: Client,
        namespace: &str,
        identity: String,
    ) -> Result<Self> {
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(ANSWER);
        config.write_timeout = Some(ANSWER);
        Ok(Self {
            client: Client::try_from(config).context("cannot make a client for the lease")?,
            patient,
            namespace: namespace.to_owned(),
            identity,
        })
    }

    /// Who we are.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Waits until we hold the lease.
    ///
    /// # Errors
    /// The lease cannot be read or made at first.
    pub async fn acquire(&self) -> Result<LeaseManager> {
        loop {
            let manager = LeaseManagerBuilder::new(self.client.clone(), LEASE)
                .with_namespace(&self.namespace)
                .with_identity(&self.identity)
                .with_field_manager(format!("kaos-operator-lease-{}", self.identity))
                .with_duration(DURATION)
                .with_grace(GRACE)
                .build()
                .await
                .with_context(|| format!("cannot use the lease {}/{LEASE}", self.namespace))?;
            let given_up = self.given_up();
            tokio::select! {
                taken = manager.changed() => match taken {
                    Ok(true) => return Ok(manager),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot take the lease; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                // The manager sleeps until the lease would expire: a new one looks at once.
                () = given_up => {}
            }
        }
    }

    /// Waits until another's lease is given up. A lease that is free already is not waited for.
    async fn given_up(&self) {
        let api: Api<Lease> = Api::namespaced(self.patient.clone(), &self.namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        let leases = watcher(api, only).default_backoff().applied_objects();
        let mut leases = std::pin::pin!(leases);
        let mut was_held = false;
        while let Some(lease) = leases.next().await {
            let Ok(lease) = lease else { continue };
            let held = lease
                .spec
                .is_some_and(|spec| spec.holder_identity.is_some());
            if was_held && !held {
                return;
            }
            was_held = held;
        }
    }

    /// Waits until we do not hold the lease any more, and says why.
    pub async fn lost(&self, manager: &LeaseManager) -> String {
        let mut failing_since = None;
        loop {
            let limit = failing_since.map_or(Duration::MAX, |since: tokio::time::Instant| {
                Duration::from_secs(GRACE / 2).saturating_sub(since.elapsed())
            });
            let changed = tokio::time::timeout(limit, manager.changed()).await;
            match changed {
                Ok(Ok(true)) => failing_since = None,
                Ok(Ok(false)) => return "another replica has taken the lease".to_owned(),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot renew the lease; trying again");
                    failing_since.get_or_insert_with(tokio::time::Instant::now);
                    tokio::time::sleep(RETRY).await;
                }
                // The manager does not tell that it has recovered: ask.
                Err(_) if self.is_ours().await => failing_since = None,
                Err(_) => return "the lease could not be renewed in time".to_owned(),
            }
        }
    }

    async fn is_ours(&self) -> bool {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let lease = api.get(LEASE).await.ok();
        let holder = lease
            .and_then(|lease| lease.spec)
            .and_then(|spec| spec.holder_identity);
        holder.as_deref() == Some(self.identity.as_str())
    }

    /// Gives the lease up.
    ///
    /// # Errors
    /// The API server does not take it; the lease then expires.
    pub async fn release(&self, manager: &LeaseManager) -> Result<()> {
        manager.release().await.context("cannot give up the lease")
    }
}
