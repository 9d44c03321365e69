//! The certificates that processes name: each is kept once, since many processes name the same.

use bytes::Bytes;
use rustc_hash::FxHashSet;

use crate::capture::event::CertificateFile;

/// Bytes of all that differ: those of all public authorities eighty times.
const MOST_BYTES: usize = 16 << 20;

/// What files of certificates hold that some process or service has.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    known: FxHashSet<Bytes>,
}

impl Certificates {
    /// Puts what is known already in the place of what is the same. What there is no room for becomes
    /// the reason why a collector cannot be trusted.
    pub(super) fn share(&mut self, file: &mut CertificateFile) {
        let Ok(pem) = &mut file.pem else {
            return;
        };
        if let Some(known) = self.known.get(pem) {
            *pem = known.clone();
            return;
        }
        let bytes: usize = self.known.iter().map(Bytes::len).sum();
        if bytes + pem.len() > MOST_BYTES {
            file.pem = Err("too many different ones are in use on this node".to_owned());
            return;
        }
        self.known.insert(pem.clone());
    }

    /// Forgets those that nobody has any more.
    pub(super) fn tick(&mut self) {
        self.known.retain(|pem| !pem.is_unique());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(pem: Vec<u8>) -> CertificateFile {
        CertificateFile {
            path: "/ca.pem".to_owned(),
            pem: Ok(pem.into()),
        }
    }

    #[test]
    fn what_is_the_same_is_kept_once_and_as_long_as_somebody_has_it() {
        let mut certificates = Certificates::default();
        let [mut first, mut second] = [file(b"A".to_vec()), file(b"A".to_vec())];
        certificates.share(&mut first);
        certificates.share(&mut second);
        let address = |file: &CertificateFile| file.pem.as_ref().expect("it was read").as_ptr();
        assert_eq!(address(&first), address(&second));
        drop(first);
        certificates.tick();
        assert_eq!(certificates.known.len(), 1);
        drop(second);
        certificates.tick();
        assert_eq!(certificates.known.len(), 0);
    }

    #[test]
    fn all_together_are_bounded() {
        let mut certificates = Certificates::default();
        let mut most = file(vec![b'A'; MOST_BYTES]);
        certificates.share(&mut most);
        assert!(most.pem.is_ok());
        let mut more = file(b"B".to_vec());
        certificates.share(&mut more);
        assert!(more.pem.is_err());
        // One that could not be read stays so.
        let mut unread = file(Vec::new());
        unread.pem = Err("gone".to_owned());
        certificates.share(&mut unread);
        assert_eq!(unread.pem, Err("gone".to_owned()));
    }
}
