//! OTLP over HTTP, as protobuf and as JSON.

use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use super::Shared;

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    axum::serve(listener, router)
        .await
        .expect("the HTTP server runs");
}

async fn traces(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(request) = decode::<ExportTraceServiceRequest>(&headers, &body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let treated = shared.treat(|received| received.add_traces(request)).await;
    respond(&headers, treated, &ExportTraceServiceResponse::default())
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(request) = decode::<ExportMetricsServiceRequest>(&headers, &body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let treated = shared.treat(|received| received.add_metrics(&request));
    respond(
        &headers,
        treated.await,
        &ExportMetricsServiceResponse::default(),
    )
}

fn decode<M: Message + Default + DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Option<M> {
    let body = match value(headers, header::CONTENT_ENCODING) {
        "" | "identity" => body.to_vec(),
        "gzip" => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(body);
            decoder.read_to_end(&mut plain).ok()?;
            plain
        }
        "zstd" => zstd::stream::decode_all(body).ok()?,
        _ => return None,
    };
    match value(headers, header::CONTENT_TYPE) {
        "application/x-protobuf" => M::decode(body.as_slice()).ok(),
        "application/json" => serde_json::from_slice(&body).ok(),
        _ => None,
    }
}

fn respond(
    headers: &HeaderMap,
    treated: Result<(), u16>,
    response: &(impl Message + Serialize),
) -> Response {
    if let Err(status) = treated {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return status.into_response();
    }
    let content_type = value(headers, header::CONTENT_TYPE).to_owned();
    let body = if content_type == "application/json" {
        serde_json::to_vec(response).expect("a response is JSON")
    } else {
        response.encode_to_vec()
    };
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn value(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
