//! An OTLP/gRPC receiver that counts. The one of the tests keeps every attribute of every span,
//! which would cost more CPU than what is measured.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::listen::listen;

/// A running receiver. It ends when this is dropped.
pub struct Sink {
    shared: Arc<Shared>,
    address: SocketAddr,
    _runtime: Runtime,
}

/// Ends of exchanges for which a span arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// SERVER spans.
    pub server: u64,
    /// CLIENT spans.
    pub client: u64,
}

impl Ends {
    /// Both kinds together.
    pub fn total(self) -> u64 {
        self.server + self.client
    }

    /// What came after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            server: self.server - earlier.server,
            client: self.client - earlier.client,
        }
    }
}

#[derive(Default)]
struct Shared {
    ends: Mutex<Ends>,
    arrived: Condvar,
}

impl Shared {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Starts it on a free port of 127.0.0.1, with a thread of its own.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start() -> Self {
        let (runtime, listener, address) = listen();
        let shared = Arc::new(Shared::default());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(Counting(Arc::clone(&shared))))
            .add_service(MetricsServiceServer::new(Counting(Arc::clone(&shared))))
            .serve_with_incoming(TcpIncoming::from(listener));
        runtime.spawn(server);
        Self {
            shared,
            address,
            _runtime: runtime,
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived so far.
    pub fn ends(&self) -> Ends {
        *self.shared.ends()
    }

    /// Waits until this many ends have arrived, or none for so long that the rest must be lost;
    /// what has arrived then.
    pub fn wait_for(&self, total: u64, patience: Duration) -> Ends {
        let mut ends = self.shared.ends();
        let mut until = Instant::now() + patience;
        while ends.total() < total {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let before = *ends;
            let woken = self.shared.arrived.wait_timeout(ends, left);
            ends = woken.unwrap_or_else(PoisonError::into_inner).0;
            if *ends != before {
                until = Instant::now() + patience;
            }
        }
        *ends
    }
}

struct Counting(Arc<Shared>);

#[tonic::async_trait]
impl TraceService for Counting {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let spans = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        let mut ends = self.0.ends();
        for span in spans {
            match span.kind() {
                SpanKind::Server => ends.server += 1,
                SpanKind::Client => ends.client += 1,
                _ => {}
            }
        }
        self.0.arrived.notify_all();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Counting {
    async fn export(
        &self,
        _: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
