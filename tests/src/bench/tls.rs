//! TLS for the load generator and for the server behind what is measured. Theirs is rustls: what it
//! costs is not measured, and nothing of it is seen.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::workloads::Certificate;

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Both sides of TLS with a certificate that they trust.
pub struct Tls {
    /// The certificate, for the processes that are measured.
    pub certificate: Certificate,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// With a certificate of its own.
    ///
    /// # Panics
    /// The certificate makes no sense.
    pub fn new() -> Self {
        let certificate = Certificate::new();
        let provider = Arc::new(default_provider());
        let chain = CertificateDer::from_pem_file(certificate.certificate()).expect("it is one");
        let key = PrivateKeyDer::from_pem_file(certificate.key()).expect("it is one");
        let mut trusted = RootCertStore::empty();
        trusted.add(chain.clone()).expect("it can be trusted");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("the key is the certificate's");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Self {
            certificate,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        }
    }

    /// For a server.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Encrypts a connection to 127.0.0.1.
    ///
    /// # Errors
    /// The other end does not speak TLS, or is somebody else.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}
