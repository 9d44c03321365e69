//! Keeps the cluster as the resources say.
//!
//! - **In**: watches of the three kinds, of the objects that we own, and of the runtimes.
//! - **Out**: server-side applies with one field manager, deletions, status, events.
//! - **Keeps**: caches of all that is watched, and for a few seconds what was just written.
//! - **Limits**: [`CONCURRENCY`] reconciles of a kind at once; one queue entry per resource.
//! - **Loses**: nothing; what fails is tried again with back-off, and counted as an error.

mod caches;
mod difference;
mod leadership;
mod metrics;
mod objects;
mod queue;
mod recent;
mod reconciled;
mod reconciler;
mod server;
mod spans;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::Client;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Config, Controller, controller};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::caches::Caches;
use self::leadership::Leadership;
pub use self::metrics::{ByResult, Metrics};
use self::queue::Queue;
pub use self::reconciled::{Reconciled, references};
use self::reconciler::{Context, never_fails, reconcile};
use crate::settings::Settings;
use crate::webhook;

/// Reconciles of one kind at the same time. They wait for the API server most of the time; more
/// would only be throttled there.
const CONCURRENCY: u16 = 8;
/// How long a resource waits for further changes before it is reconciled: what one write sets off
/// (the object itself, its Deployment, its status) arrives within this time on one node.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How long running reconciles may take to end after SIGTERM, before the lease is given up anyway.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What the process is told on its command line.
#[derive(Debug, Clone)]
pub struct Process {
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// Who we are among the replicas.
    pub identity: String,
    /// The admission webhook, where there is to be one.
    pub webhook: Option<webhook::Options>,
}

/// Runs until `shutdown` completes: waits for the lease, reconciles, and gives the lease up.
///
/// # Errors
/// An address cannot be bound, the API server cannot be reached at start, or the lease was lost:
/// the process must then end, since another replica writes.
pub async fn run(
    config: kube::Config,
    settings: Settings,
    process: Process,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let client = Client::try_from(config.clone()).context("cannot make a client")?;
    let metrics = Arc::new(Metrics::default());
    let queue = Arc::new(Queue::new(Arc::clone(&metrics)));
    let mut tasks = JoinSet::new();
    let caches = Arc::new(Caches::start(
        &client, &settings, &queue, &metrics, &mut tasks,
    ));
    let trusted = match process.webhook {
        Some(options) => Some(webhook::start(
            options, &client, &settings, &caches, &metrics, &mut tasks,
        )?),
        None => None,
    };
    let (all, synced) = (Arc::clone(&metrics), Arc::clone(&caches));
    tasks.spawn(server::serve(process.listen, all, synced, trusted).await?);

    let leadership = Leadership::new(
        config,
        client.clone(),
        &settings.system_namespace,
        process.identity,
    )?;
    let mut shutdown = Box::pin(shutdown.fuse());
    let lease = tokio::select! {
        lease = leadership.acquire() => lease?,
        () = &mut shutdown => return Ok(()),
    };
    tracing::info!(identity = leadership.identity(), "became the leader");
    metrics.leader.set(1);

    tokio::select! {
        () = caches.synced() => {}
        reason = leadership.lost(&lease) => bail!("{reason}"),
        () = &mut shutdown => return leadership.release(&lease).await,
    }
    let context = Arc::new(Context::new(
        client,
        settings,
        caches,
        Arc::clone(&queue),
        metrics,
    ));
    let (stop, stopped) = watch::channel(false);
    let mut controllers = start_controllers(&context, &stopped);
    tokio::select! {
        () = &mut shutdown => {}
        reason = leadership.lost(&lease) => bail!("{reason}"),
    }
    tracing::info!("shutting down");
    stop.send_replace(true);
    let ended = tokio::time::timeout(SHUTDOWN, async {
        while controllers.join_next().await.is_some() {}
    });
    if ended.await.is_err() {
        tracing::warn!("some reconciles did not end in time");
        controllers.shutdown().await;
    }
    leadership.release(&lease).await
}

/// One controller per kind, fed by the queue alone. The queue gets everything that the caches hold.
fn start_controllers(context: &Arc<Context>, stopped: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut controllers = JoinSet::new();
    let inputs = context.queue.open();
    start(&mut controllers, context, inputs.agents, stopped);
    start(&mut controllers, context, inputs.servers, stopped);
    start(&mut controllers, context, inputs.models, stopped);
    context.caches.queue_everything(&context.queue);
    controllers
}

fn start<K: Reconciled>(
    controllers: &mut JoinSet<()>,
    context: &Arc<Context>,
    input: queue::Input<K>,
    stopped: &watch::Receiver<bool>,
) {
    let mut stopped = stopped.clone();
    let stop = async move {
        // An error means that the sender is gone, and with it the process.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let config = Config::default()
        .concurrency(CONCURRENCY)
        .debounce(DEBOUNCE);
    let store = K::store(&context.caches).clone();
    let queue = Arc::clone(&context.queue);
    let controller = Controller::for_stream(stream::pending(), store.clone())
        .with_config(config)
        .reconcile_on(input)
        .graceful_shutdown_on(stop)
        .run(reconcile::<K>, never_fails::<K>, Arc::clone(context))
        .for_each(move |result| {
            // Failures were reported where they happened.
            if let Err(controller::Error::ObjectNotFound(gone)) = result {
                let namespace = gone.namespace.unwrap_or_default();
                queue.taken::<K>(&namespace, &gone.name);
                // It may have come back before it was taken.
                let reference = ObjectRef::<K>::new(&gone.name).within(&namespace);
                if store.get(&reference).is_some() {
                    queue.add(K::COMPONENT, &namespace, &gone.name);
                }
            }
            std::future::ready(())
        });
    controllers.spawn(controller);
}
