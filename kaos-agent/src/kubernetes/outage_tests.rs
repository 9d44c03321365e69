//! What is said of an API server that was away while nothing happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::capture::news::channel;
use crate::capture::ring::Waiter;

/// The first watch fails; later ones are open and silent, as where nothing changes.
fn answer(watches: &AtomicUsize, query: &str) -> Response {
    if !query.contains("watch=true") {
        let list = json!({"kind": "ServiceList", "apiVersion": "v1",
                          "metadata": {"resourceVersion": "1"}, "items": []});
        return list.to_string().into_response();
    }
    if watches.fetch_add(1, Ordering::SeqCst) == 0 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let silence = futures::stream::pending::<Result<String, std::io::Error>>();
    Body::from_stream(silence).into_response()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_api_server_that_is_back_is_connected_before_anything_happens() {
    let watches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&watches);
    let services = move |RawQuery(query): RawQuery| async move {
        answer(&counted, &query.unwrap_or_default())
    };
    let router = Router::new().route("/api/v1/services", get(services));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = format!("http://{address}").parse().expect("a URL");
    let client = kube::Client::try_from(kube::Config::new(url)).expect("a client");

    let (ring, _other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    let bell = Waiter::new(&ring).and_then(|waiter| waiter.bell());
    let (peers, _news) = channel(bell.expect("a descriptor"));
    let state = Arc::new(WatchState::default());
    tokio::spawn(follow_services(client, peers, Arc::clone(&state)));
    until("the watch fails", || {
        state.errors() == 1 && !state.is_connected()
    })
    .await;
    until("it is open", || watches.load(Ordering::SeqCst) == 2).await;
    until("that is said", || state.is_connected()).await;
    assert_eq!(state.errors(), 1);
}
