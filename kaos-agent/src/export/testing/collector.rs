//! Collectors: real servers on loopback that answer as they are told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::identity::service::{Destination, Protocol};

/// How a request is answered. Without a word it is taken.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) enum Answer {
    /// 503 or UNAVAILABLE.
    Unavailable,
    /// 429 or RESOURCE_EXHAUSTED; come back after so many seconds.
    Throttled(u64),
    /// 400 or INVALID_ARGUMENT.
    Invalid,
    /// Taken, but so many of its items were not.
    Rejected(i64),
    /// Never.
    Hang,
}

/// A request that arrived.
#[derive(Debug)]
pub(in crate::export) struct Received {
    pub(in crate::export) headers: HeaderMap,
    pub(in crate::export) message: Message,
}

#[derive(Debug)]
pub(in crate::export) enum Message {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

impl Received {
    /// Names of all spans, in order.
    pub(in crate::export) fn span_names(&self) -> Vec<String> {
        let Message::Traces(request) = &self.message else {
            panic!("not a request with spans: {self:?}");
        };
        let scopes = request
            .resource_spans
            .iter()
            .flat_map(|group| &group.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .map(|span| span.name.clone())
            .collect()
    }

    pub(in crate::export) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A certificate authority's certificate, and a server's certificate and key for 127.0.0.1.
pub(in crate::export) struct Certificates {
    pub(in crate::export) authority: String,
    server: String,
    key: String,
}

impl Certificates {
    pub(in crate::export) fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let authority = parameters.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(parameters, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        Self {
            authority: authority.pem(),
            server: server.pem(),
            key: key.serialize_pem(),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(self.server.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A running collector. It stops when it is dropped, at the latest.
pub(in crate::export) struct Collector {
    pub(in crate::export) address: SocketAddr,
    protocol: Protocol,
    is_secure: bool,
    shared: Shared,
    received: mpsc::UnboundedReceiver<Received>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    accepted: Arc<AtomicUsize>,
    requests: mpsc::UnboundedSender<Received>,
}

impl Shared {
    fn take(&self, headers: HeaderMap, message: Message) -> Option<Answer> {
        let _ = self.requests.send(Received { headers, message });
        self.answers.lock().unwrap().pop_front()
    }
}

impl Collector {
    pub(in crate::export) async fn start(protocol: Protocol) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), protocol, None).await
    }

    pub(in crate::export) async fn start_at(
        address: SocketAddr,
        protocol: Protocol,
        certificates: Option<&Certificates>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, received) = mpsc::unbounded_channel();
        let shared = Shared {
            answers: Arc::default(),
            accepted: Arc::default(),
            requests,
        };
        let (stop, stopped) = oneshot::channel();
        let task = match protocol {
            Protocol::Grpc => tokio::spawn(serve_grpc(
                listener,
                shared.clone(),
                identity(certificates),
                stopped,
            )),
            Protocol::HttpProtobuf | Protocol::HttpJson => tokio::spawn(serve_http(
                listener,
                shared.clone(),
                certificates.map(Certificates::acceptor),
                stopped,
            )),
        };
        Self {
            address,
            protocol,
            is_secure: certificates.is_some(),
            shared,
            received,
            stop,
            task,
        }
    }

    /// Closes its port and its connections.
    pub(in crate::export) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }

    /// The next answers, in order.
    pub(in crate::export) fn will(&self, answers: &[Answer]) {
        self.shared.answers.lock().unwrap().extend(answers);
    }

    /// Where spans go to reach it.
    pub(in crate::export) fn destination(&self) -> Destination {
        let scheme = if self.is_secure { "https" } else { "http" };
        let path = match self.protocol {
            Protocol::Grpc => "",
            Protocol::HttpProtobuf | Protocol::HttpJson => "/v1/traces",
        };
        Destination {
            endpoint: format!("{scheme}://{}{path}", self.address),
            named: None,
            protocol: self.protocol,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression: None,
            certificate: None,
        }
    }

    /// The next request; panics when none comes.
    pub(in crate::export) async fn next(&mut self) -> Received {
        timeout(Duration::from_secs(400), self.received.recv())
            .await
            .expect("a request in time")
            .expect("a running collector")
    }

    /// Another request that has arrived already.
    pub(in crate::export) fn arrived(&mut self) -> Option<Received> {
        self.received.try_recv().ok()
    }

    /// Connections that were made to it.
    pub(in crate::export) fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

fn identity(certificates: Option<&Certificates>) -> Option<ServerTlsConfig> {
    let certificates = certificates?;
    let identity = Identity::from_pem(&certificates.server, &certificates.key);
    Some(ServerTlsConfig::new().identity(identity))
}

async fn serve_grpc(
    listener: TcpListener,
    shared: Shared,
    tls: Option<ServerTlsConfig>,
    stopped: oneshot::Receiver<()>,
) {
    let accepted = Arc::clone(&shared.accepted);
    let incoming = TcpIncoming::from(listener).map(move |stream| {
        accepted.fetch_add(1, Ordering::SeqCst);
        stream
    });
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).unwrap();
    }
    let traces = TraceServiceServer::new(Grpc(shared.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    server
        .add_service(traces)
        .add_service(MetricsServiceServer::new(Grpc(shared)))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        })
        .await
        .unwrap();
}

struct Grpc(Shared);

impl Grpc {
    async fn rejected(&self, headers: HeaderMap, message: Message) -> Result<i64, Status> {
        let with = |code, details| Err(Status::with_error_details(code, "told to", details));
        match self.0.take(headers, message) {
            None => Ok(0),
            Some(Answer::Rejected(rejected)) => Ok(rejected),
            Some(Answer::Invalid) => with(Code::InvalidArgument, ErrorDetails::new()),
            Some(Answer::Unavailable) => with(Code::Unavailable, ErrorDetails::new()),
            Some(Answer::Throttled(seconds)) => {
                let delay = Some(Duration::from_secs(seconds));
                with(
                    Code::ResourceExhausted,
                    ErrorDetails::with_retry_info(delay),
                )
            }
            Some(Answer::Hang) => pending().await,
        }
    }
}

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let message = Message::Traces(message);
        let rejected = self.rejected(metadata.into_headers(), message).await?;
        Ok(tonic::Response::new(traces_response(rejected)))
    }
}

#[tonic::async_trait]
impl MetricsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let message = Message::Metrics(message);
        self.rejected(metadata.into_headers(), message).await?;
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn traces_response(rejected_spans: i64) -> ExportTraceServiceResponse {
    ExportTraceServiceResponse {
        partial_success: (rejected_spans > 0).then(|| ExportTracePartialSuccess {
            rejected_spans,
            error_message: String::new(),
        }),
    }
}

async fn serve_http(
    listener: TcpListener,
    shared: Shared,
    acceptor: Option<TlsAcceptor>,
    mut stopped: oneshot::Receiver<()>,
) {
    // Closed when this returns.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer_http(shared.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no failure of the collector.
            match acceptor {
                None => {
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                }
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    }
                }
            }
        });
    }
}

async fn answer_http(
    shared: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = match head
        .headers
        .get("content-encoding")
        .map(|value| value.as_bytes())
    {
        None => body.to_vec(),
        Some(b"gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..])
                .read_to_end(&mut plain)
                .unwrap();
            plain
        }
        Some(b"zstd") => zstd::decode_all(&body[..]).unwrap(),
        Some(other) => panic!("unknown coding {other:?}"),
    };
    let is_json = head.headers["content-type"] == "application/json";
    let message = match (head.uri.path(), is_json) {
        ("/v1/metrics", false) => Message::Metrics(prost::Message::decode(&body[..]).unwrap()),
        ("/v1/metrics", true) => Message::Metrics(serde_json::from_slice(&body).unwrap()),
        (_, false) => Message::Traces(prost::Message::decode(&body[..]).unwrap()),
        (_, true) => Message::Traces(serde_json::from_slice(&body).unwrap()),
    };
    let taken = |rejected: i64| match is_json {
        true => format!(r#"{{"partialSuccess":{{"rejectedSpans":"{rejected}"}}}}"#).into_bytes(),
        false => traces_response(rejected).encode_to_vec(),
    };
    let response = Response::builder();
    let (response, body) = match shared.take(head.headers, message) {
        None => (response, taken(0)),
        Some(Answer::Rejected(rejected)) => (response, taken(rejected)),
        Some(Answer::Invalid) => (response.status(400), Vec::new()),
        Some(Answer::Unavailable) => (response.status(503), Vec::new()),
        Some(Answer::Throttled(seconds)) => (
            response.status(429).header("retry-after", seconds),
            Vec::new(),
        ),
        Some(Answer::Hang) => pending().await,
    };
    Ok(response.body(Full::new(body.into())).unwrap())
}
