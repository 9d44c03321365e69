//! One attempt to deliver one request.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BufMut as _, Bytes};
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::connection::{Connection, Connections, HttpClient};
use super::failure::Failure;
use super::request::{ExportRequest, rejected_in_json};
use crate::USER_AGENT;
use crate::identity::service::{Compression, Destination, Protocol};

/// Longest answer that is read; one holds a number and a sentence.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// Speaks to one destination.
#[derive(Debug)]
pub(super) struct Client {
    connection: Arc<Connection>,
    endpoint: Uri,
    protocol: Protocol,
    compression: Option<Compression>,
    headers: HeaderMap,
    timeout: Duration,
}

impl Client {
    /// To be called within the tokio runtime. `timeout` bounds an attempt, as the destination's own
    /// time limit does.
    pub(super) fn new(
        destination: &Destination,
        timeout: Duration,
        connections: &Connections,
    ) -> Result<Self, Failure> {
        let unusable = |reason: String| Failure::Permanent { reason };
        let endpoint: Uri = destination
            .endpoint
            .parse()
            .map_err(|_| unusable("the endpoint is no URL".to_owned()))?;
        let connection = connections
            .get(destination, &endpoint)
            .map_err(|error| unusable(error.to_string()))?;
        // Those that are no headers were sorted out when they were parsed.
        let headers = destination
            .headers
            .iter()
            .filter_map(|(name, value)| {
                let mut value = HeaderValue::from_str(value).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
            })
            .collect();
        Ok(Self {
            connection,
            endpoint,
            protocol: destination.protocol,
            compression: destination.compression,
            headers,
            timeout: timeout.min(destination.timeout),
        })
    }

    /// The body of a request, which [`send`](Self::send) takes any number of times.
    pub(super) fn encode<R: ExportRequest>(&self, request: &R) -> Result<Bytes, Failure> {
        let body = match self.protocol {
            // The library frames and compresses each attempt.
            Protocol::Grpc => return Ok(request.encode_to_vec().into()),
            Protocol::HttpProtobuf => request.encode_to_vec(),
            Protocol::HttpJson => {
                serde_json::to_vec(request).map_err(|error| Failure::Permanent {
                    reason: format!("not encoded: {error}"),
                })?
            }
        };
        compressed(body, self.compression).map_err(|error| Failure::Permanent {
            reason: format!("not compressed: {error}"),
        })
    }

    /// Sends a body that [`encode`](Self::encode) made. Returns how many of its items were rejected.
    pub(super) async fn send<R: ExportRequest>(&self, body: Bytes) -> Result<u64, Failure> {
        let rejected = match &*self.connection {
            Connection::Grpc(channel) => {
                let attempt = self.send_grpc::<R>(channel.clone(), body);
                let answer = timeout(self.timeout, attempt)
                    .await
                    .map_err(|_| Failure::timed_out(self.timeout))?;
                R::rejected(&answer.map_err(|status| Failure::of_grpc(&status))?)
            }
            Connection::Http { client, turn } => {
                let _turn = turn.lock().await;
                let attempt = self.send_http(client, body);
                let answer = timeout(self.timeout, attempt)
                    .await
                    .map_err(|_| Failure::timed_out(self.timeout))??;
                match self.protocol {
                    Protocol::HttpJson => rejected_in_json(&answer, R::REJECTED_FIELD),
                    Protocol::HttpProtobuf | Protocol::Grpc => R::rejected(&answer),
                }
            }
        };
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    async fn send_grpc<R: ExportRequest>(
        &self,
        channel: Channel,
        body: Bytes,
    ) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(channel);
        if let Some(compression) = self.compression {
            grpc = grpc.send_compressed(match compression {
                Compression::Gzip => CompressionEncoding::Gzip,
                Compression::Zstd => CompressionEncoding::Zstd,
            });
        }
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(body);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let path = PathAndQuery::from_static(R::GRPC_PATH);
        let answer = grpc.unary(request, path, Encoded).await?;
        Ok(answer.into_inner())
    }

    async fn send_http(&self, client: &HttpClient, body: Bytes) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let content_type = match self.protocol {
            Protocol::HttpJson => "application/json",
            Protocol::HttpProtobuf | Protocol::Grpc => "application/x-protobuf",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(compression) = self.compression {
            let coding = match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            };
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let response = client
            .request(request)
            .await
            .map_err(|error| Failure::no_answer(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
        if !head.status.is_success() {
            return Err(Failure::of_http(
                head.status,
                &head.headers,
                SystemTime::now(),
            ));
        }
        // The request was taken, even where the answer breaks off.
        Ok(body.map(|body| body.to_bytes()).unwrap_or_default())
    }
}

fn compressed(body: Vec<u8>, compression: Option<Compression>) -> std::io::Result<Bytes> {
    match compression {
        None => Ok(body.into()),
        Some(Compression::Gzip) => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            encoder.finish().map(Bytes::from)
        }
        Some(Compression::Zstd) => {
            zstd::encode_all(body.as_slice(), zstd::DEFAULT_COMPRESSION_LEVEL).map(Bytes::from)
        }
    }
}

/// Messages that are encoded already: one encoding serves all attempts.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
