//! Libraries of TLS in a process, and where their plain text is read.

use std::collections::BTreeMap;
use std::io;

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

fn library(mapping: &Mapping) -> Option<TlsLibrary> {
    let file = mapping.path.to_string_lossy().into_owned();
    let name = file_name(&file);
    let is_openssl = name.starts_with("libssl.so") || name.starts_with("libssl-");
    let other = OTHERS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let (sites, problem) = match sites(mapping) {
        Ok(sites) if !sites.is_empty() => (sites, None),
        Ok(_) if other.is_some() => (Vec::new(), Some("its functions are not known".to_owned())),
        Ok(_) => (Vec::new(), Some("it has none of the functions".to_owned())),
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

fn sites(mapping: &Mapping) -> io::Result<Vec<TlsSite>> {
    let mapped = open(mapping)?;
    let image = Image::read(&mapped.file, FINDER.functions)?;
    if image.is_empty() {
        return Ok(Vec::new());
    }
    Ok((FINDER.sites)(&image).iter().map(TlsSite::of).collect())
}

impl TlsSite {
    fn of(site: &Site) -> Self {
        Self {
            function: site.function,
            program: site.program,
            offset: site.offset,
            emulated: site.place.emulated,
            inner: site.place.inner,
        }
    }
}
