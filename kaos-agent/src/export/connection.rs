//! Connections to collectors, shared by all who speak to one.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{
    ConfigBuilderExt as _, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder,
};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::USER_AGENT;
use crate::identity::service::{Destination, Protocol};

/// Time limit for making a connection: a collector on another continent answers ten times sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// While a request waits, the collector is asked this often whether it is still there; a host that
/// vanished is otherwise noticed after a quarter of an hour.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// A connection cannot even be tried.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error("the certificate file could not be read: {0}")]
    CertificateFile(String),
    #[error("the certificate file holds no usable certificate; it must be PEM")]
    CertificateFormat,
    #[error("no certificate can name this host")]
    CertificateName,
    #[error("no certificate authorities are installed; install them or set ..._CERTIFICATE: {0}")]
    NoAuthorities(std::io::Error),
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("{0}")]
    Grpc(tonic::transport::Error),
}

/// A client of OTLP/HTTP.
pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// One connection, made when it is first used and again when it was lost.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/2, which carries any number of requests at once.
    Grpc(Channel),
    /// HTTP/1.1, which carries one at a time.
    Http {
        client: Box<HttpClient>,
        /// Held during a request, so that a second one waits instead of opening a connection.
        turn: tokio::sync::Mutex<()>,
    },
}

/// All connections that are in use.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Vec<(Peer, Weak<Connection>)>>,
}

/// What two destinations must agree in to share a connection.
#[derive(Debug, PartialEq, Eq)]
struct Peer {
    is_grpc: bool,
    /// Scheme, host and port.
    origin: String,
    certificate: Option<Result<Bytes, String>>,
    /// Whom the collector's certificate names, where that is not the host.
    named: Option<String>,
}

impl Connections {
    /// The connection of a destination. To be called within the tokio runtime.
    ///
    /// # Errors
    /// Its certificates cannot be read, or the endpoint makes no sense.
    pub(super) fn get(
        &self,
        destination: &Destination,
        endpoint: &Uri,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let scheme = endpoint.scheme_str().unwrap_or_default();
        let authority = endpoint
            .authority()
            .map_or("", |authority| authority.as_str());
        let peer = Peer {
            is_grpc: destination.protocol == Protocol::Grpc,
            origin: format!("{scheme}://{authority}"),
            certificate: destination.certificate.clone(),
            named: destination.named.clone(),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, connection)| connection.strong_count() > 0);
        let known = open.iter().find(|(other, _)| *other == peer);
        if let Some(connection) = known.and_then(|(_, connection)| connection.upgrade()) {
            return Ok(connection);
        }
        let is_secure = scheme == "https";
        let connection = Arc::new(if peer.is_grpc {
            Connection::Grpc(grpc(&peer, is_secure)?)
        } else {
            http(&peer, is_secure)?
        });
        open.push((peer, Arc::downgrade(&connection)));
        Ok(connection)
    }
}

fn grpc(peer: &Peer, is_secure: bool) -> Result<Channel, ConnectionError> {
    let mut endpoint = Endpoint::from_shared(peer.origin.clone())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(ConnectionError::Grpc)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL);
    if is_secure {
        let trust = match &peer.certificate {
            Some(pem) => {
                let pem = readable(pem)?;
                // The library takes what holds no certificate for one that trusts nobody.
                authorities(pem)?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let trust = match &peer.named {
            Some(name) => trust.domain_name(unbracketed(name)),
            None => trust,
        };
        endpoint = endpoint.tls_config(trust).map_err(ConnectionError::Grpc)?;
    }
    Ok(endpoint.connect_lazy())
}

fn http(peer: &Peer, is_secure: bool) -> Result<Connection, ConnectionError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(peer.certificate.as_ref(), is_secure)?)
        .https_or_http();
    let connector = match peer.named.as_deref().map(unbracketed) {
        Some(name) => {
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| ConnectionError::CertificateName)?;
            connector.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => connector,
    };
    let connector = connector.enable_http1().wrap_connector(tcp);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(1)
        .build(connector);
    Ok(Connection::Http {
        client: Box::new(client),
        turn: tokio::sync::Mutex::new(()),
    })
}

/// A host without the brackets that an IPv6 address has in a URL.
fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn tls(
    certificate: Option<&Result<Bytes, String>>,
    is_secure: bool,
) -> Result<ClientConfig, ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConnectionError::Tls)?;
    let config = match certificate {
        Some(pem) if is_secure => config.with_root_certificates(authorities(readable(pem)?)?),
        None if is_secure => config
            .with_native_roots()
            .map_err(ConnectionError::NoAuthorities)?,
        // Nobody is trusted, and nobody has to be: reading all authorities takes a while.
        _ => config.with_root_certificates(RootCertStore::empty()),
    };
    Ok(config.with_no_client_auth())
}

fn readable(pem: &Result<Bytes, String>) -> Result<&Bytes, ConnectionError> {
    let unread = |why: &String| ConnectionError::CertificateFile(why.clone());
    pem.as_ref().map_err(unread)
}

/// The certificate authorities in PEM.
fn authorities(pem: &[u8]) -> Result<RootCertStore, ConnectionError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| ConnectionError::CertificateFormat)?;
        store
            .add(certificate)
            .map_err(|_| ConnectionError::CertificateFormat)?;
    }
    if store.is_empty() {
        return Err(ConnectionError::CertificateFormat);
    }
    Ok(store)
}
