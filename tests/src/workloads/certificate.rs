//! A certificate for servers of the tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A certificate for 127.0.0.1 that signs itself, in files.
pub struct Certificate {
    files: TempDir,
}

impl Certificate {
    /// A new one.
    ///
    /// # Panics
    /// It cannot be made or written.
    #[must_use]
    pub fn new() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("the names are valid");
        let files = TempDir::new().expect("a temporary directory");
        fs::write(files.path().join("certificate.pem"), made.cert.pem()).expect("it is writable");
        let key = made.signing_key.serialize_pem();
        fs::write(files.path().join("key.pem"), key).expect("it is writable");
        Self { files }
    }

    /// The certificate's file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.files.path().join("certificate.pem")
    }

    /// Its key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.files.path().join("key.pem")
    }

    /// Lets a process serve with it (a convention of the workloads) and trust it (conventions of the
    /// libraries).
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command
            .env("TLS_CERTIFICATE", self.certificate())
            .env("TLS_KEY", self.key());
        for trusted in [
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "REQUESTS_CA_BUNDLE",
            "SSL_CERT_FILE",
        ] {
            command.env(trusted, self.certificate());
        }
    }

    /// What nginx needs to know of it, after the port that it listens on.
    pub(super) fn for_nginx(&self) -> String {
        format!(
            " ssl; ssl_certificate {}; ssl_certificate_key {}",
            self.certificate().display(),
            self.key().display()
        )
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
