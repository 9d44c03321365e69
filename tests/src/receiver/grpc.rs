//! OTLP over gRPC.

use std::sync::Arc;

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
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::Shared;

struct Service(Arc<Shared>);

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let traces = TraceServiceServer::new(Service(Arc::clone(&shared)))
        .accept_compressed(Gzip)
        .accept_compressed(Zstd);
    let metrics = MetricsServiceServer::new(Service(shared))
        .accept_compressed(Gzip)
        .accept_compressed(Zstd);
    Server::builder()
        .add_service(traces)
        .add_service(metrics)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
        .expect("the gRPC server runs");
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        let treated = self.0.treat(|received| received.add_traces(request)).await;
        treated.map_err(status)?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        let treated = self.0.treat(|received| received.add_metrics(&request));
        treated.await.map_err(status)?;
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// The gRPC status that means the same as an HTTP status.
fn status(http: u16) -> Status {
    let code = match http {
        400 => Code::InvalidArgument,
        429 => Code::ResourceExhausted,
        502..=504 => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, format!("told to refuse with {http}"))
}
