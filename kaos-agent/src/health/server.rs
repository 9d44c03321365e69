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

use super::metrics;
use super::status::{Readiness, Status};
use crate::capture::clock::monotonic;

/// Media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds the address, and returns what then serves for ever.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    status: Arc<Status>,
) -> Result<impl Future<Output = ()> + Send> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("--listen {listen}: cannot listen there"))?;
    let router = router(status);
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the health server ended: {error}");
        }
    })
}

fn router(status: Arc<Status>) -> Router {
    let (alive, ready) = (Arc::clone(&status), Arc::clone(&status));
    let healthz = move || async move {
        match alive.is_alive(monotonic()) {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "the pipeline stands still"),
        }
    };
    let readyz = move || async move {
        match ready.readiness(monotonic()) {
            Readiness::Ready => (StatusCode::OK, "ok"),
            Readiness::Degraded(why) => (StatusCode::OK, why),
            Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        }
    };
    let metrics = move || async move {
        metrics::text(&status)
            .map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text))
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::kubernetes::Watches;

    #[tokio::test]
    async fn what_is_asked_is_answered() {
        let status = Arc::new(Status::new(monotonic(), Watches::default()));
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let server = serve(address, Arc::clone(&status)).await.expect("it binds");
        tokio::spawn(server);
        let client: Client<_, http_body_util::Empty<&[u8]>> =
            Client::builder(TokioExecutor::new()).build_http();
        let mut told = Vec::new();
        for path in ["healthz", "readyz", "metrics", "other"] {
            let url = format!("http://{address}/{path}").parse().expect("a URL");
            let response = client.get(url).await.expect("it answers");
            let code = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body");
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            told.push((code, text.lines().last().unwrap_or_default().to_owned()));
        }
        let expected = [(200, "ok"), (200, "ok"), (200, "# EOF"), (404, "")];
        let expected = expected.map(|(code, line)| (code, line.to_owned()));
        assert_eq!(told, expected);
        let taken = serve(address, status).await.err().expect("it is taken");
        assert_eq!(
            taken.to_string(),
            format!("--listen {address}: cannot listen there")
        );
    }
}
