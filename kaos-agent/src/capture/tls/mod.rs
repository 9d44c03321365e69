//! TLS libraries: which functions of OpenSSL and its relatives are probed, and where.

use kaos_ebpf::settings::TlsFunction;

use super::uprobes::image::Image;
use super::uprobes::site::{Finder, Place, Site};

/// Program at the entry of a function.
const ENTER: &str = "tls_enter";
/// Program at the return of a function.
const RETURN: &str = "tls_return";

/// Finds the functions through which a program reads and writes plain text.
pub const FINDER: Finder = Finder {
    functions: &[
        "SSL_read",
        "SSL_read_ex",
        "SSL_write",
        "SSL_write_ex",
        "SSL_new",
        "SSL_clear",
        "SSL_free",
    ],
    sites,
};

/// What each function does, and whether its entry and its return are probed.
const FUNCTIONS: &[(&str, TlsFunction, bool, bool)] = &[
    ("SSL_read", TlsFunction::Read, true, true),
    ("SSL_read_ex", TlsFunction::ReadEx, true, true),
    ("SSL_write", TlsFunction::Write, true, true),
    ("SSL_write_ex", TlsFunction::WriteEx, true, true),
    ("SSL_new", TlsFunction::New, false, true),
    ("SSL_clear", TlsFunction::Clear, true, false),
    ("SSL_free", TlsFunction::Free, true, false),
];

fn sites(image: &Image<'_>) -> Vec<Site> {
    let mut sites = Vec::new();
    for (name, function, entry, exit) in FUNCTIONS {
        let Some(found) = image.function(name) else {
            continue;
        };
        let Some(offset) = image.offset_of(found.address) else {
            continue;
        };
        let programs = [(ENTER, *entry), (RETURN, *exit)];
        for (program, _) in programs.into_iter().filter(|(_, wanted)| *wanted) {
            sites.push(Site {
                program,
                function: name,
                cookie: *function as u64,
                offset,
                place: Place {
                    address: found.address,
                    emulated: false,
                    inner: false,
                },
            });
        }
    }
    sites
}
