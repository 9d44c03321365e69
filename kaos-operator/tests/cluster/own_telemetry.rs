//! What the operator tells of itself, over both protocols.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kaos_operator::api::McpServer;
use kube::api::{Api, Patch, PatchParams, ResourceExt as _};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::control_plane::ControlPlane;
use super::machine::write;
use super::operator::Operator;
use super::{eventually, namespace, resource, wait_for_phase};

const NAMESPACE: &str = "own";

/// A certificate that is its own authority, with its key.
type Identity = CertifiedKey<KeyPair>;

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// What a collector has received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    fn receive(&self, request: ExportTraceServiceRequest) {
        self.0.lock().expect("no panic").push(request);
    }

    /// As a gRPC server; with an identity over TLS.
    async fn serve_grpc(&self, identity: Option<&Identity>) -> SocketAddr {
        let (listener, address) = listen();
        let listener = TcpListener::from_std(listener).expect("a listener");
        let mut server = Server::builder();
        if let Some(identity) = identity {
            let key = &identity.signing_key;
            let pem =
                tonic::transport::Identity::from_pem(identity.cert.pem(), key.serialize_pem());
            let tls = ServerTlsConfig::new().identity(pem);
            server = server.tls_config(tls).expect("a configuration of TLS");
        }
        let server = server
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        address
    }

    /// As an HTTP server; with an identity over TLS.
    async fn serve_http(&self, identity: Option<&Identity>) -> SocketAddr {
        let (listener, address) = listen();
        let collector = self.clone();
        let receive = |body: Bytes| async move {
            collector.receive(ExportTraceServiceRequest::decode(body).expect("protobuf"));
        };
        let router = Router::new().route("/v1/traces", post(receive));
        let service = router.into_make_service();
        match identity {
            Some(identity) => {
                let certificate = identity.cert.der().to_vec();
                let key = identity.signing_key.serialize_der();
                let tls = RustlsConfig::from_der(vec![certificate], key).await;
                let tls = tls.expect("a configuration of TLS");
                let server = axum_server::from_tcp_rustls(listener, tls).expect("a server");
                tokio::spawn(server.serve(service));
            }
            None => {
                let server = axum_server::from_tcp(listener).expect("a server");
                tokio::spawn(server.serve(service));
            }
        }
        address
    }

    /// Attributes of the resources that spans came with.
    fn resources(&self) -> Vec<BTreeMap<String, Value>> {
        let requests = self.0.lock().expect("no panic");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources
            .filter_map(|spans| Some(attributes(&spans.resource.as_ref()?.attributes)))
            .collect()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().expect("no panic");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.receive(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    let pairs = attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|any| any.value.as_ref());
        let value = match value.expect("a value") {
            AnyValue::StringValue(text) => json!(text),
            AnyValue::IntValue(number) => json!(number),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key.clone(), value)
    });
    pairs.collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(span: &Span) -> StatusCode {
    span.status
        .as_ref()
        .map_or(StatusCode::Unset, |status| status.code())
}

/// An operator that leads.
async fn leader(plane: &ControlPlane, name: &str, variables: &[(&str, &str)]) -> Operator {
    let operator = Operator::start_with(plane, name, variables).await;
    eventually("it leads", || async { operator.leads() }).await;
    operator
}

/// Has an operator reconcile a server, and one that the API server refuses; both are told.
async fn check(
    plane: &ControlPlane,
    name: &str,
    variables: &[(&str, &str)],
    collector: &Collector,
) {
    let mut operator = leader(plane, name, variables).await;
    let servers: Api<McpServer> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let spec = json!({"runtime": "custom", "container": {"image": "t:1"}});
    plane
        .apply(&resource("MCPServer", NAMESPACE, name, spec))
        .await;
    wait_for_phase(&servers, name, "Pending").await;
    // A mount of a volume that is not there.
    let refused = format!("{name}-refused");
    let mounts = json!([{"name": "absent", "mountPath": "/x"}]);
    let spec = json!({"runtime": "custom", "container": {"image": "t:1", "volumeMounts": mounts}});
    plane
        .apply(&resource("MCPServer", NAMESPACE, &refused, spec))
        .await;
    wait_for_phase(&servers, &refused, "Failed").await;
    // What has not been sent is sent before it ends.
    operator.terminate().await;

    let uid = servers.get(name).await.expect("the server").uid();
    let spans = collector.spans();
    // The one that told of its outcome: an attempt before it may have failed.
    let reconcile_of = |name: &str, outcome: &str| -> &Span {
        let named = spans.iter().find(|span| {
            let attributes = attributes(&span.attributes);
            span.name == "reconcile"
                && attributes["k8s.object.name"] == name
                && attributes["kaos.reconcile.outcome"] == outcome
        });
        named.unwrap_or_else(|| panic!("no reconcile of {name} in {spans:#?}"))
    };
    let write = |parent: &Span, write: &str| -> &Span {
        let found = spans
            .iter()
            .find(|span| span.parent_span_id == parent.span_id && span.name == write);
        found.unwrap_or_else(|| panic!("no {write} in {spans:#?}"))
    };

    let reconcile = reconcile_of(name, "applied");
    assert_eq!(reconcile.parent_span_id, [0_u8; 0]);
    assert_eq!(status(reconcile), StatusCode::Unset);
    let expected = json!({
        "k8s.namespace.name": NAMESPACE,
        "k8s.object.kind": "MCPServer",
        "k8s.object.name": name,
        "k8s.object.uid": uid,
        "kaos.resource.generation": 1,
        "kaos.reconcile.outcome": "applied",
    });
    assert_eq!(json!(attributes(&reconcile.attributes)), expected);
    let deployment = write(reconcile, "apply Deployment");
    assert_eq!(deployment.kind(), SpanKind::Client);
    assert_eq!(deployment.trace_id, reconcile.trace_id);
    let object = format!("mcpserver-{name}");
    let expected = json!({
        "k8s.namespace.name": NAMESPACE,
        "k8s.object.kind": "Deployment",
        "k8s.object.name": object,
    });
    assert_eq!(json!(attributes(&deployment.attributes)), expected);
    write(reconcile, "apply Service");
    write(reconcile, "status MCPServer");

    let log = operator.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let applied: Vec<Value> = lines
        .filter(|line| {
            line["message"] == "applied" && line["kind"] == "Deployment" && line["name"] == object
        })
        .filter(|line| line["trace_id"] == hex(&reconcile.trace_id))
        .collect();
    assert_eq!(applied.len(), 1, "{log}");
    assert_eq!(applied[0]["span_id"], hex(&reconcile.span_id));

    let reconcile = reconcile_of(&refused, "invalid");
    assert_eq!(status(reconcile), StatusCode::Unset);
    let refusal = write(reconcile, "apply Deployment");
    assert_eq!(status(refusal), StatusCode::Error);
    assert_eq!(attributes(&refusal.attributes)["error.type"], "422");
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn telemetry_of_the_operator_itself() {
    let plane = ControlPlane::start(&[]).await;
    namespace(&plane, NAMESPACE).await;

    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.serve_grpc(None).await);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    check(&plane, "first", &variables, &collector).await;
    for resource in collector.resources() {
        assert_eq!(resource["service.name"], "kaos-operator");
        assert_eq!(resource["service.instance.id"], "first");
    }

    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.serve_http(None).await);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "mine"),
    ];
    check(&plane, "second", &variables, &collector).await;
    for resource in collector.resources() {
        assert_eq!(resource["service.name"], "mine");
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn telemetry_of_the_operator_itself_over_tls() {
    // Of this process, for the collector; the operator has its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::start(&[]).await;
    namespace(&plane, NAMESPACE).await;
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let identity = identity.expect("a certificate");
    let authority = write(plane.directory(), "collector.pem", &identity.cert.pem());
    let authority = authority.to_str().expect("a path in UTF-8");

    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::default();
        let address = match protocol {
            "grpc" => collector.serve_grpc(Some(&identity)).await,
            _ => collector.serve_http(Some(&identity)).await,
        };
        let endpoint = format!("https://localhost:{}", address.port());
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("SSL_CERT_FILE", authority),
        ];
        let name = format!("tls-{}", &protocol[..4]);
        check(&plane, &name, &variables, &collector).await;
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn telemetry_that_nobody_takes_does_not_keep_the_operator_from_ending() {
    let plane = ControlPlane::start(&[]).await;
    namespace(&plane, NAMESPACE).await;
    // Connections are made, and nothing is answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    for protocol in ["grpc", "http/protobuf"] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            // Nothing is sent before the end.
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ];
        let name = protocol.replace('/', "-");
        let mut operator = leader(&plane, &name, &variables).await;
        let spec = json!({"runtime": "custom", "container": {"image": "t:1"}});
        plane
            .apply(&resource("MCPServer", NAMESPACE, &name, spec))
            .await;
        let servers: Api<McpServer> = Api::namespaced(plane.client.clone(), NAMESPACE);
        wait_for_phase(&servers, &name, "Pending").await;
        operator.terminate().await;
        assert!(
            operator.log().contains("the last spans were not sent"),
            "{}",
            operator.log()
        );
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn telemetry_of_a_reconcile_that_fails() {
    let plane = ControlPlane::start(&[]).await;
    namespace(&plane, NAMESPACE).await;
    let collector = Collector::default();
    let endpoint = format!("http://{}", collector.serve_grpc(None).await);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let mut operator = leader(&plane, "first", &variables).await;
    // It may not write any more.
    let roles: Api<ClusterRole> = Api::all(plane.client.clone());
    let read = json!({"rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    ]});
    let (params, read) = (PatchParams::default(), Patch::Merge(&read));
    let patched = roles.patch("kaos-operator", &params, &read).await;
    patched.expect("the chart's role");
    let failure = || {
        let log = operator.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "a reconcile failed; trying again")
    };
    // The API server may take a moment to see the new role: there is something to write each time.
    let attempts = AtomicU32::new(0);
    eventually("a reconcile fails", || async {
        let image = format!("t:{}", attempts.fetch_add(1, Ordering::Relaxed));
        let spec = json!({"runtime": "custom", "container": {"image": image}});
        let server = resource("MCPServer", NAMESPACE, "s", spec);
        plane.apply(&server).await;
        failure().is_some()
    })
    .await;
    let line = failure().expect("a line");
    operator.terminate().await;

    let spans = collector.spans();
    let failed = spans
        .iter()
        .find(|span| line["span_id"] == hex(&span.span_id))
        .expect("the span of the line");
    assert_eq!(line["trace_id"], hex(&failed.trace_id));
    assert_eq!(failed.name, "reconcile");
    assert_eq!(status(failed), StatusCode::Error);
    let attributes = attributes(&failed.attributes);
    assert_eq!(attributes["kaos.reconcile.outcome"], "error");
    assert_eq!(attributes["error.type"], "403");
}
