//! Refuses resources whose spec must be changed, before they are stored: the same checks as
//! reconciling makes, which without the webhook end in the status.
//!
//! - **In**: admission reviews from the API server, over TLS.
//! - **Out**: allowed, allowed with a warning (it will wait), or refused with the reason.
//! - **Keeps**: one certificate, and while it is replaced a second one.
//! - **Limits**: [`LARGEST_REVIEW`] per request.
//! - **Loses**: nothing; without an answer, the API server goes by its failurePolicy.
//!
//! Every replica answers, whether it leads or not. Each makes its own authority and certificate in
//! memory and adds the authority to the `caBundle` of the ValidatingWebhookConfiguration, next to
//! those of the others, so that no private key ever leaves a process and no Secret is read. A
//! replica is ready only once its authority is there.

mod certificate;
mod review;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum_server::tls_rustls::RustlsConfig;
use kube::Client;
use rustls::ServerConfig;
use tokio::task::JoinSet;

use self::certificate::Resolver;
use self::review::Reviewer;
use self::trust::Trust;
use crate::api::{Agent, McpServer, ModelApi};
use crate::controller::{Caches, Metrics};
use crate::settings::Settings;

/// Largest request: the API server takes objects of 3 MiB at most, and sends the new and the old.
const LARGEST_REVIEW: usize = 8 << 20;

/// What the process is told of the webhook on its command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where reviews are answered.
    pub listen: SocketAddr,
    /// Name of the ValidatingWebhookConfiguration whose `caBundle` is kept.
    pub configuration: String,
    /// How long a certificate is valid; it is replaced after two thirds of that time.
    pub lifetime: Duration,
}

/// Whether the API server trusts us.
#[derive(Debug, Clone, Default)]
pub struct Trusted(Arc<AtomicBool>);

impl Trusted {
    /// Whether our authority has been in the configuration.
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Binds the address, and starts answering and keeping the certificate.
///
/// # Errors
/// The address cannot be bound.
pub fn start(
    options: Options,
    client: &Client,
    settings: &Settings,
    caches: &Arc<Caches>,
    metrics: &Arc<Metrics>,
    tasks: &mut JoinSet<()>,
) -> Result<Trusted> {
    let listen = options.listen;
    let listener = std::net::TcpListener::bind(listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {listen} for reviews"))?;
    let resolver = Arc::new(Resolver::default());
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Resolver>::clone(&resolver));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(tls)))
        .with_context(|| format!("cannot serve on {listen}"))?;
    let reviewer = Arc::new(Reviewer::new(
        client.clone(),
        settings.clone(),
        Arc::clone(caches),
        Arc::clone(metrics),
    ));
    let router = Router::new()
        .route("/validate/agents", review::route::<Agent>())
        .route("/validate/mcpservers", review::route::<McpServer>())
        .route("/validate/modelapis", review::route::<ModelApi>())
        .layer(DefaultBodyLimit::max(LARGEST_REVIEW))
        .with_state(reviewer);
    tasks.spawn(async move {
        if let Err(error) = server.serve(router.into_make_service()).await {
            tracing::error!(%error, "the webhook's server ended");
        }
    });
    let trusted = Trusted::default();
    let trust = Trust::new(client.clone(), options, resolver, trusted.clone());
    tasks.spawn(trust.keep());
    Ok(trusted)
}
