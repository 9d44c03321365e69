//! TLS libraries: which functions of OpenSSL and its relatives are probed, and where.
//!
//! A connection is an `SSL *` in a process. `SSL_read` and its like give what the other end said,
//! `SSL_write` and its like take what this one says; `SSL_new`, `SSL_clear` and `SSL_free` tell where
//! a connection begins and ends. `SSL_peek` is left alone: what it gives is read again; so is early
//! data, which a client may have to send again. Found by the functions' names, in whichever file has
//! them: a shared library, a copy of it that a package brings, or an executable or a module that has it
//! inside (node, BoringSSL in envoy, `cryptography`) and exports or names them. Other libraries (Go's,
//! rustls, GnuTLS) are not looked into.

mod ends;

use kaos_ebpf::settings::TlsFunction;

pub use self::ends::{connected, hold_back};
use super::uprobes::image::{Function, Image};
use super::uprobes::prologue::{self, Needs};
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
        "SSL_peek",
        "SSL_peek_ex",
        "SSL_write",
        "SSL_write_ex",
        "SSL_read_early_data",
        "SSL_write_early_data",
        "SSL_new",
        "SSL_clear",
        "SSL_free",
    ],
    sites,
};

fn sites(image: &Image<'_>) -> Vec<Site> {
    let mut sites = Sites {
        image,
        found: Vec::new(),
    };
    match inner(image, READS) {
        Some(function) => sites.moving("SSL_read", function, TlsFunction::ReadInner, true),
        None => {
            sites.named(READS.plain, TlsFunction::Read);
            sites.named(READS.ex, TlsFunction::ReadEx);
        }
    }
    match inner(image, WRITES) {
        Some(function) => sites.moving("SSL_write", function, TlsFunction::WriteEx, true),
        None => {
            sites.named(WRITES.plain, TlsFunction::Write);
            sites.named(WRITES.ex, TlsFunction::WriteEx);
        }
    }
    // They call the others; who knows of them leaves those calls out.
    sites.named("SSL_read_early_data", TlsFunction::Early);
    sites.named("SSL_write_early_data", TlsFunction::Early);
    sites.one("SSL_new", TlsFunction::New, RETURN);
    sites.one("SSL_clear", TlsFunction::Clear, ENTER);
    sites.one("SSL_free", TlsFunction::Free, ENTER);
    sites.found
}

/// Two functions that do the same: one returns how many bytes it moved, the other writes it through
/// its fourth argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    plain: &'static str,
    ex: &'static str,
}

const READS: Pair = Pair {
    plain: "SSL_read",
    ex: "SSL_read_ex",
};
const PEEKS: Pair = Pair {
    plain: "SSL_peek",
    ex: "SSL_peek_ex",
};
const WRITES: Pair = Pair {
    plain: "SSL_write",
    ex: "SSL_write_ex",
};

/// The inner function of a pair, if both do nothing but call it: the one with its own arguments, the
/// other with the place for the length on its stack. Then whatever either of them moves goes through
/// it, and it is the same as the second. One that another pair calls too is none: it would not tell
/// what is read from what is written, or only looked at.
fn inner(image: &Image<'_>, pair: Pair) -> Option<Function> {
    let call = |name: &str| prologue::inner_call(image, image.function(name)?);
    let (of_plain, of_ex) = (call(pair.plain)?, call(pair.ex)?);
    let target = of_ex.target;
    let is_shared = of_plain.target == target
        && of_plain.fourth_on_stack
        && !of_ex.fourth_on_stack
        && !of_ex.guarded;
    let is_others = [READS, PEEKS, WRITES]
        .iter()
        .filter(|other| **other != pair)
        .flat_map(|other| [other.plain, other.ex])
        .any(|name| call(name).is_some_and(|call| call.target == target));
    let is_known = FINDER
        .functions
        .iter()
        .filter_map(|name| image.function(name))
        .any(|function| function.address == target);
    (is_shared && !is_others && !is_known).then_some(Function {
        address: target,
        size: 0,
    })
}

/// Sites that were found.
struct Sites<'image> {
    image: &'image Image<'image>,
    found: Vec<Site>,
}

impl Sites<'_> {
    fn push(
        &mut self,
        name: &'static str,
        program: &'static str,
        cookie: TlsFunction,
        place: Place,
    ) {
        if let Some(offset) = self.image.offset_of(place.address) {
            self.found.push(Site {
                program,
                function: name,
                cookie: cookie as u64,
                offset,
                place,
            });
        }
    }

    /// Probes a function by one program.
    fn one(&mut self, name: &'static str, cookie: TlsFunction, program: &'static str) {
        let needs = if program == RETURN {
            Needs::ArgumentsAndStack
        } else {
            Needs::Arguments
        };
        if let Some(function) = self.image.function(name) {
            let place = prologue::place(self.image, function, needs);
            self.push(name, program, cookie, place);
        }
    }

    /// Probes a function that moves bytes, by its name.
    fn named(&mut self, name: &'static str, cookie: TlsFunction) {
        if let Some(function) = self.image.function(name) {
            self.moving(name, function, cookie, false);
        }
    }

    /// Probes a function that moves bytes, at its entry and its return.
    fn moving(&mut self, name: &'static str, function: Function, cookie: TlsFunction, inner: bool) {
        let place = Place {
            inner,
            ..prologue::place(self.image, function, Needs::ArgumentsAndStack)
        };
        self.push(name, ENTER, cookie, place);
        self.push(name, RETURN, cookie, place);
    }
}
