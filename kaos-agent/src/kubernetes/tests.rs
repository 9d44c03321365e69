//! What is told of pods and Services while the API server comes and goes.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::pods::Listeners;
use super::services::{Listener, MOST_SERVICES};
use super::watch::Follower;
use super::*;
use crate::capture::news::channel;
use crate::capture::peers::PeerNews;
use crate::capture::ring::{Bell, Waiter};
use crate::health::counters::Snapshot;

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn pod(uid: &str, restarts: u32, ip: &str) -> Pod {
    object(json!({
        "metadata": {"name": uid, "namespace": "n", "uid": uid},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"podIPs": [{"ip": ip}], "containerStatuses": [
            {"name": "c", "restartCount": restarts, "image": "", "imageID": "", "ready": true}]},
    }))
}

fn service(uid: &str, ip: &str) -> Service {
    object(json!({
        "metadata": {"name": uid, "namespace": "n", "uid": uid},
        "spec": {"clusterIP": ip, "clusterIPs": [ip]},
    }))
}

/// Wakes nobody.
fn bell() -> Bell {
    let (ring, _) = UnixStream::pair().expect("two sockets");
    let waiter = Waiter::new(&ring).expect("descriptors");
    waiter.bell().expect("a descriptor")
}

/// UIDs with the first address of each, or nothing where it is gone.
fn addresses(news: &Receiver<PeerNews>) -> Vec<(String, Option<String>)> {
    let first = |news: PeerNews| {
        let address = news.peer.map(|peer| peer.addresses[0].to_string());
        (news.uid, address)
    };
    news.try_iter().map(first).collect()
}

fn owned(uid: &str, address: Option<&str>) -> (String, Option<String>) {
    (uid.to_owned(), address.map(str::to_owned))
}

#[test]
fn pods_that_went_while_nobody_watched_are_forgotten_and_nothing_is_told_twice() {
    let (pods, pod_news) = channel(bell());
    let (peers, peer_news) = channel(bell());
    let state = Arc::new(WatchState::default());
    let mut follower = Follower::new(Listeners { pods, peers }, Arc::clone(&state));
    let told = || {
        let news = pod_news
            .try_iter()
            .map(|news| (news.uid, news.pod.is_some()));
        news.collect::<BTreeMap<_, _>>()
    };
    let known = |list: &[(&str, bool)]| {
        let list = list
            .iter()
            .map(|(uid, is_known)| ((*uid).to_owned(), *is_known));
        list.collect::<BTreeMap<_, _>>()
    };

    follower.push(Event::<Pod>::Init);
    follower.push(Event::InitApply(pod("a", 0, "10.244.0.1")));
    follower.push(Event::InitApply(pod("b", 0, "10.244.0.2")));
    assert!(!state.is_synced());
    follower.push(Event::<Pod>::InitDone);
    assert!(state.is_synced());
    assert_eq!(told(), known(&[("a", true), ("b", true)]));
    assert_eq!(
        addresses(&peer_news),
        [
            owned("a", Some("10.244.0.1")),
            owned("b", Some("10.244.0.2"))
        ]
    );
    // The connection broke; b went meanwhile, c came, and a is as it was.
    follower.push(Event::<Pod>::Init);
    follower.push(Event::InitApply(pod("a", 0, "10.244.0.1")));
    follower.push(Event::InitApply(pod("c", 0, "10.244.0.3")));
    follower.push(Event::<Pod>::InitDone);
    assert_eq!(told(), known(&[("b", false), ("c", true)]));
    assert_eq!(
        addresses(&peer_news),
        [owned("c", Some("10.244.0.3")), owned("b", None)]
    );
    assert_eq!(state.objects(), 2);
    // It changes, and goes.
    follower.push(Event::Apply(pod("a", 1, "10.244.0.1")));
    follower.push(Event::Delete(pod("a", 1, "10.244.0.1")));
    follower.push(Event::Delete(pod("stranger", 0, "10.244.0.9")));
    assert_eq!(told(), known(&[("a", false)]));
    assert_eq!(state.objects(), 1);
    drop(pod_news);
    assert!(!follower.push(Event::Apply(pod("d", 0, "10.244.0.4"))));
}

#[test]
fn services_beyond_the_limit_are_counted_and_those_that_lose_their_address_forgotten() {
    let (peers, news) = channel(bell());
    let watches = Watches {
        pods: None,
        services: Some(Arc::default()),
    };
    let state = watches.services.clone().expect("it was given");
    let mut follower = Follower::new(Listener(peers), Arc::clone(&state));
    for number in 0..=MOST_SERVICES {
        let address = std::net::Ipv4Addr::from(u32::try_from(number).expect("a small one"));
        follower.push(Event::Apply(service(
            &number.to_string(),
            &address.to_string(),
        )));
    }
    assert_eq!(state.objects(), MOST_SERVICES as u64);
    assert_eq!(news.try_iter().count(), MOST_SERVICES);
    let refused = Snapshot::of(&[&watches]).get("kubernetes.services_refused");
    assert_eq!(refused, Some(1));
    follower.push(Event::Apply(service("7", "None")));
    follower.push(Event::Apply(service("8", "10.0.0.8")));
    assert_eq!(
        addresses(&news),
        [owned("7", None), owned("8", Some("10.0.0.8"))]
    );
}

/// An API server that knows one Service, and forbids to read it the first time that it is asked.
async fn forbidding_once() -> kube::Client {
    let was_asked = Arc::new(AtomicBool::new(false));
    let services = move |RawQuery(query): RawQuery| {
        let was_asked = was_asked.swap(true, Ordering::SeqCst);
        async move { answer(was_asked, &query.unwrap_or_default()) }
    };
    serving(Router::new().route("/api/v1/services", get(services))).await
}

async fn serving(router: Router) -> kube::Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = format!("http://{address}").parse().expect("a URL");
    kube::Client::try_from(kube::Config::new(url)).expect("a client")
}

fn answer(is_allowed: bool, query: &str) -> Response {
    if !is_allowed {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "message": "forbidden", "reason": "Forbidden", "code": 403});
        return (StatusCode::FORBIDDEN, status.to_string()).into_response();
    }
    if query.contains("watch=true") {
        return silent();
    }
    assert!(
        query.contains("fieldSelector=spec.clusterIP%21%3DNone"),
        "{query}"
    );
    let list = json!({"kind": "ServiceList", "apiVersion": "v1",
                      "metadata": {"resourceVersion": "1"}, "items": [service("s", "10.96.0.1")]});
    list.to_string().into_response()
}

/// A watch that is open, and tells nothing.
fn silent() -> Response {
    let body = futures::stream::pending::<Result<String, std::io::Error>>();
    Body::from_stream(body).into_response()
}

#[tokio::test]
async fn only_the_labelled_pods_of_the_node_are_asked_for() {
    let (asked, questions) = std::sync::mpsc::channel();
    let pods = move |RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        let is_watch = query.contains("watch=true");
        asked.send(query).expect("the test listens");
        let list = json!({"kind": "PodList", "apiVersion": "v1",
                          "metadata": {"resourceVersion": "7"}, "items": [pod("p", 0, "10.244.0.1")]});
        async move {
            if is_watch {
                silent()
            } else {
                list.to_string().into_response()
            }
        }
    };
    let client = serving(Router::new().route("/api/v1/pods", get(pods))).await;
    let (pods, news) = channel(bell());
    let (peers, _peer_news) = channel(bell());
    let node = "node-1".to_owned();
    tokio::spawn(follow_pods(client, node, pods, peers, Arc::default()));
    let (told, list, watch) = tokio::task::spawn_blocking(move || {
        let patience = Duration::from_secs(60);
        let question = || questions.recv_timeout(patience).expect("it asks");
        let told = news.recv_timeout(patience).expect("it is told");
        (told, question(), question())
    })
    .await
    .expect("it ends");
    assert_eq!(told.uid, "p");
    for question in [&list, &watch] {
        let parts: Vec<_> = question.trim_start_matches('&').split('&').collect();
        for part in [
            "fieldSelector=spec.nodeName%3Dnode-1",
            "labelSelector=kaos.tools%2Ftelemetry%3Denabled",
        ] {
            assert!(parts.contains(&part), "{question}");
        }
    }
    // Bookmarks, and from where the list ended.
    assert!(watch.contains("allowWatchBookmarks=true"), "{watch}");
    assert!(watch.contains("resourceVersion=7"), "{watch}");
}

#[tokio::test]
async fn a_watch_that_is_forbidden_goes_on_trying() {
    let client = forbidding_once().await;
    let (peers, news) = channel(bell());
    let state = Arc::new(WatchState::default());
    tokio::spawn(follow_services(client, peers, Arc::clone(&state)));
    let told = tokio::task::spawn_blocking(move || news.recv_timeout(Duration::from_secs(60)));
    let told = told.await.expect("it ends").expect("it is told");
    assert_eq!(told.uid, "s");
    assert_eq!(state.errors(), 1);
    assert!(state.is_connected());
}
