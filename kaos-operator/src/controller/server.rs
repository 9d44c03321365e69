//! `/healthz`, `/readyz` and `/metrics`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use super::caches::Caches;
use super::metrics::Metrics;
use crate::webhook::Trusted;

/// Media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds the address, and returns what then serves for ever. A replica is ready when its caches are
/// filled and, with a webhook, when the API server trusts it.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    metrics: Arc<Metrics>,
    caches: Arc<Caches>,
    trusted: Option<Trusted>,
) -> Result<impl Future<Output = ()> + Send> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let text = move || async move {
        let text = metrics.text();
        text.map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text))
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    let ready = move || async move {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        if !caches.are_synced() {
            (unavailable, "the caches are not synced yet")
        } else if trusted.is_some_and(|trusted| !trusted.holds()) {
            (unavailable, "the API server does not trust the webhook yet")
        } else {
            (StatusCode::OK, "ok")
        }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text));
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health server ended");
        }
    })
}
