//! Certificates by which the API server recognises us.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How far the API server's clock may be behind ours.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate, and the authority that the API server has to trust for it.
pub struct Certificate {
    /// The authority, as PEM. Its key is not kept: it signs this one certificate.
    pub authority: String,
    /// The certificate with its key.
    pub served: Arc<CertifiedKey>,
}

impl Certificate {
    /// Makes a certificate for a DNS name or an IP address, which is valid from now on.
    ///
    /// # Errors
    /// The name is neither, or the machine gives no random numbers.
    pub fn make(name: &str, now: SystemTime, lifetime: Duration) -> Result<Self> {
        let valid = |mut params: CertificateParams, title: &str| {
            params.distinguished_name.push(DnType::CommonName, title);
            params.not_before = (now - SKEW).into();
            params.not_after = (now + lifetime).into();
            params
        };
        let mut authority = valid(
            CertificateParams::default(),
            "kaos-operator webhook authority",
        );
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_key = KeyPair::generate().context("cannot make a key")?;
        let signed = authority.self_signed(&authority_key);
        let authority_pem = signed.context("cannot make an authority")?.pem();

        let names = CertificateParams::new([name.to_owned()]);
        let names = names.with_context(|| format!("{name:?} is no name for a certificate"))?;
        let mut leaf = valid(names, "kaos-operator webhook");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().context("cannot make a key")?;
        let issuer = Issuer::new(authority, authority_key);
        let leaf = leaf.signed_by(&key, &issuer);
        let leaf = leaf.context("cannot make a certificate")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_ecdsa_type(&key).context("the key cannot sign")?;
        Ok(Self {
            authority: authority_pem,
            served: Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key)),
        })
    }
}

/// Gives new connections the newest certificate. Without one, they are not accepted.
#[derive(Debug, Default)]
pub struct Resolver(Mutex<Option<Arc<CertifiedKey>>>);

impl Resolver {
    /// Serves this certificate from now on.
    pub fn serve(&self, certificate: Arc<CertifiedKey>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};

    use super::*;

    const NAME: &str = "kaos-operator-webhook.kaos-system.svc";
    const LIFETIME: Duration = Duration::from_secs(100);

    /// Whether a client that trusts `authority` takes the certificate for `name` at `time`.
    fn verify(
        authority: &str,
        certificate: &Certificate,
        name: &'static str,
        time: SystemTime,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let name = ServerName::try_from(name).unwrap();
        let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let chain = &certificate.served.cert;
        let time = UnixTime::since_unix_epoch(time);
        let verified = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], time);
        verified.map(drop)
    }

    #[test]
    fn a_certificate_is_good_for_its_name_its_authority_and_its_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let made = Certificate::make(NAME, now, LIFETIME).unwrap();
        let other = Certificate::make(NAME, now, LIFETIME).unwrap();
        let (before, after) = (now - SKEW, now + LIFETIME);
        let second = Duration::from_secs(1);
        let ours = &made.authority;
        assert_eq!(verify(ours, &made, NAME, before), Ok(()));
        assert_eq!(verify(ours, &made, NAME, after), Ok(()));
        let expired = verify(ours, &made, NAME, after + second).unwrap_err();
        assert!(
            matches!(
                expired,
                Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
            ),
            "{expired:?}"
        );
        assert!(verify(ours, &made, NAME, before - second).is_err());
        assert!(verify(ours, &made, "other.kaos-system.svc", now).is_err());
        assert!(verify(&other.authority, &made, NAME, now).is_err());
    }

    #[test]
    fn addresses_are_names_too() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let made = Certificate::make("192.0.2.1", now, LIFETIME).unwrap();
        assert_eq!(verify(&made.authority, &made, "192.0.2.1", now), Ok(()));
        assert!(Certificate::make("not a name\u{e9}", now, LIFETIME).is_err());
    }
}
