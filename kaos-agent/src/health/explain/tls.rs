//! Libraries of TLS in a process, and where their plain text is read.

use std::collections::BTreeMap;
use std::io;

use memchr::memmem;
use serde::Serialize;

use super::files::file_name;
use crate::capture::event::Pid;
use crate::capture::tls::FINDER;
use crate::capture::uprobes::file::{executable_mappings, open};
use crate::capture::uprobes::image::Image;
use crate::capture::uprobes::mappings::Mapping;
use crate::capture::uprobes::site::Site;

/// A library of TLS in a process: a file of its own, or linked into another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsLibrary {
    /// `OpenSSL` (its relatives too), `GnuTLS`, …
    pub name: &'static str,
    /// The mapped file.
    pub file: String,
    /// Where its plain text is read; empty where it is not.
    pub sites: Vec<TlsSite>,
    /// Why it is not, if so.
    pub problem: Option<String>,
}

/// A place that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsSite {
    /// The function.
    pub function: &'static str,
    /// The program that runs there.
    pub program: &'static str,
    /// Offset of the instruction in the file.
    pub offset: u64,
    /// The kernel emulates the instruction, which costs a tenth of stepping over it.
    pub emulated: bool,
    /// It is in an inner function that gets the very same arguments.
    pub inner: bool,
    /// Why this place, in words.
    pub why: &'static str,
}

/// Beginnings of the names of libraries whose functions are not known here.
const OTHERS: &[(&str, &str)] = &[
    ("libgnutls.so", "GnuTLS"),
    ("libgnutls-", "GnuTLS"),
    ("libmbedtls.so", "Mbed TLS"),
    ("libnss3.so", "NSS"),
];

/// Those of a process, by file.
pub fn libraries(pid: Pid) -> Vec<TlsLibrary> {
    // A file has a mapping for each of its executable segments.
    let mappings: BTreeMap<_, _> = executable_mappings(pid)
        .into_iter()
        .map(|mapping| (mapping.path.clone(), mapping))
        .collect();
    mappings.values().filter_map(library).collect()
}

/// In the code that speaks TLS 1.3, but not in the rest of OpenSSL: what its traffic secrets are derived
/// with.
const SPEAKS_TLS: &[u8] = b"c hs traffic";
/// Before OpenSSL's version, in its own copy of what it is.
const VERSION: &[u8] = b"\0OpenSSL ";
/// Bytes of one part of a file that are looked through.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

fn library(mapping: &Mapping) -> Option<TlsLibrary> {
    let file = mapping.path.to_string_lossy().into_owned();
    let name = file_name(&file);
    let is_openssl = name.starts_with("libssl.so") || name.starts_with("libssl-");
    let other = OTHERS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let (sites, problem) = match sites(mapping) {
        Ok(Found::Sites(sites)) => (sites, None),
        Ok(Found::Unnamed(version)) => {
            let problem = format!(
                "OpenSSL {version} is linked into it, and the names of its functions are not in the file"
            );
            return Some(TlsLibrary {
                name: "OpenSSL",
                file,
                sites: Vec::new(),
                problem: Some(problem),
            });
        }
        Ok(Found::Nothing) if other.is_some() => {
            (Vec::new(), Some("its functions are not known".to_owned()))
        }
        Ok(Found::Nothing) => (Vec::new(), Some("it has none of the functions".to_owned())),
        Err(error) => (Vec::new(), Some(format!("it cannot be read: {error}"))),
    };
    let name = match other {
        Some((_, name)) => name,
        // Anything can have OpenSSL linked into it.
        None if is_openssl || problem.is_none() => "OpenSSL",
        None => return None,
    };
    Some(TlsLibrary {
        name,
        file,
        sites,
        problem,
    })
}

/// What of TLS a file has.
enum Found {
    /// Places at which its plain text is read.
    Sites(Vec<TlsSite>),
    /// OpenSSL of this version, stripped of the names of its functions.
    Unnamed(String),
    Nothing,
}

fn sites(mapping: &Mapping) -> io::Result<Found> {
    let mapped = open(mapping)?;
    let image = Image::read(&mapped.file, FINDER.functions)?;
    let sites: Vec<_> = (FINDER.sites)(&image).iter().map(TlsSite::of).collect();
    if !sites.is_empty() {
        return Ok(Found::Sites(sites));
    }
    let (code, constants) = image.constant_parts(MOST_BYTES);
    // Older linkers put both together.
    let parts: Vec<&[u8]> = [&code, &constants]
        .into_iter()
        .flatten()
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    Ok(match unnamed(&parts) {
        Some(version) => Found::Unnamed(version),
        None => Found::Nothing,
    })
}

/// Version of the OpenSSL that has both its halves in these parts of a file.
fn unnamed(parts: &[&[u8]]) -> Option<String> {
    let speaks = |part: &&[u8]| memmem::find(part, SPEAKS_TLS).is_some();
    if !parts.iter().any(speaks) {
        return None;
    }
    let versions = parts.iter().flat_map(|part| {
        memmem::find_iter(part, VERSION).filter_map(|at| version(&part[at + VERSION.len()..]))
    });
    versions.into_iter().next()
}

/// `3.5.7` of `3.5.7 9 Jun 2026`; what does not begin with two numbers is none.
fn version(text: &[u8]) -> Option<String> {
    /// `1.1.1zh-fips` is a long one.
    const MOST_LETTERS: usize = 32;
    let text = &text[..text.len().min(MOST_LETTERS)];
    let length = text.iter().position(|letter| !letter.is_ascii_graphic())?;
    let version = std::str::from_utf8(&text[..length]).ok()?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>());
    let is_version = matches!((numbers.next(), numbers.next()), (Some(Ok(_)), Some(Ok(_))));
    is_version.then(|| version.to_owned())
}

impl TlsSite {
    fn of(site: &Site) -> Self {
        Self {
            function: site.function,
            program: site.program,
            offset: site.offset,
            emulated: site.place.emulated,
            inner: site.place.inner,
            why: site.place.why(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_names_is_known_by_both_its_halves() {
        let speaks: &[u8] = b"x\0c hs traffic\0";
        let says: &[u8] = b"\0OpenSSL %s\0OpenSSL 3.5.7 9 Jun 2026\0";
        assert_eq!(unnamed(&[speaks, says]).as_deref(), Some("3.5.7"));
        assert_eq!(unnamed(&[says]), None, "libcrypto alone");
        assert_eq!(unnamed(&[speaks]), None, "another library of TLS");
        assert_eq!(unnamed(&[]), None);
    }

    #[test]
    fn versions() {
        assert_eq!(version(b"1.1.1w  11 Sep 2023").as_deref(), Some("1.1.1w"));
        assert_eq!(version(b"3.0\0").as_deref(), Some("3.0"));
        for other in [&b"3.0"[..], b"", b"CMS 1.0 ", b"3 ", b"\xff.1 "] {
            assert_eq!(version(other), None);
        }
        assert_eq!(version(&[b'1'; 64]), None);
    }
}
