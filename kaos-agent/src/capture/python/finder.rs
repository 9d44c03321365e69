//! What is probed in interpreters and in uvloop.

use kaos_ebpf::python::COPY;

use super::layout::ContextType;
use crate::capture::uprobes::image::Image;
use crate::capture::uprobes::site::{Finder, Place, Site};
use crate::capture::uprobes::tracebacks::Tracebacks;

/// Exported by every interpreter since 3.7: makes the copy of the running context that each task,
/// callback and thread gets.
pub const COPY_CURRENT: &str = "PyContext_CopyCurrent";
/// Exported, too: makes an empty context for native code.
const NEW: &str = "PyContext_New";
/// Exported, too: makes a copy of any context for native code.
const COPY_OF: &str = "PyContext_Copy";
/// Exported, too: the type of contexts.
pub const CONTEXT_TYPE: &str = "PyContext_Type";
/// Python's `Context()`.
pub const TYPE_NEW: &str = "Context()";
/// Python's `Context.copy()`.
pub const METHOD_COPY: &str = "Context.copy()";
/// Something is written to a stream of uvloop, in the context of the writer.
const BUFFER_WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__buffer_write";
/// What was written is sent, in no context.
const EXEC_WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__exec_write";
/// What they call themselves in tracebacks: in a file without names.
const IN_TRACEBACKS: [(&str, &str); 2] = [
    (BUFFER_WRITE, "uvloop.loop.UVStream._buffer_write"),
    (EXEC_WRITE, "uvloop.loop.UVStream._exec_write"),
];
/// Exported by uvloop, so that it can be imported.
const UVLOOP: &str = "PyInit_loop";

/// Program on the return of what makes contexts.
pub const CONTEXT_MADE: &str = "context_made";

/// Programs in uvloop: something is written, and then sent.
const STREAM_WRITTEN: &str = "stream_written";
/// The program where what was written begins to be sent.
pub const STREAM_FLUSH: &str = "stream_flush";
const STREAM_FLUSHED: &str = "stream_flushed";
/// All programs at what is found here.
pub const PROGRAMS: [&str; 4] = [CONTEXT_MADE, STREAM_WRITTEN, STREAM_FLUSH, STREAM_FLUSHED];

/// Finds them.
pub const FINDER: Finder = Finder {
    functions: &[
        COPY_CURRENT,
        NEW,
        COPY_OF,
        CONTEXT_TYPE,
        BUFFER_WRITE,
        EXEC_WRITE,
        UVLOOP,
    ],
    sites,
};

fn sites(image: &Image<'_>) -> Vec<Site> {
    let unnamed = unnamed(image);
    let wanted = [
        (COPY_CURRENT, CONTEXT_MADE, COPY),
        (NEW, CONTEXT_MADE, 0),
        (COPY_OF, CONTEXT_MADE, 0),
        (BUFFER_WRITE, STREAM_WRITTEN, 0),
        (EXEC_WRITE, STREAM_FLUSH, 0),
        (EXEC_WRITE, STREAM_FLUSHED, 0),
    ];
    let named = wanted.into_iter().filter_map(|(name, program, cookie)| {
        let named = image.function(name).map(|function| function.address);
        let unnamed = unnamed.iter().find(|(known, _)| *known == name);
        let address = named.or(unnamed.map(|(_, address)| *address))?;
        site(image, address, program, name, cookie)
    });
    let mut found: Vec<Site> = named.collect();
    for made in makers_of_type(image) {
        // Where the linker has folded functions that are the same into one.
        let is_known = |known: &Site| (known.program, known.offset) == (made.program, made.offset);
        if !found.iter().any(is_known) {
            found.push(made);
        }
    }
    found
}

/// Functions of uvloop in a file that was stripped of their names: both or none, since one alone tells
/// nothing.
fn unnamed(image: &Image<'_>) -> Vec<(&'static str, u64)> {
    let is_named = |name| image.function(name).is_some();
    if !is_named(UVLOOP) || (is_named(BUFFER_WRITE) && is_named(EXEC_WRITE)) {
        return Vec::new();
    }
    let tracebacks = Tracebacks::read(image);
    let found = IN_TRACEBACKS.map(|(name, text)| Some((name, tracebacks.function(text)?)));
    let found: Option<Vec<_>> = found.into_iter().collect();
    found.unwrap_or_default()
}

/// What makes contexts for Python code. These functions have no exported names; the type, which has
/// one, points to them.
fn makers_of_type(image: &Image<'_>) -> Vec<Site> {
    let Some(exported) = image.function(CONTEXT_TYPE) else {
        return Vec::new();
    };
    let Some(context_type) = ContextType::read(&image.data(), exported.address) else {
        return Vec::new();
    };
    let makers = [
        (TYPE_NEW, context_type.make),
        (METHOD_COPY, context_type.copy),
    ];
    makers
        .into_iter()
        .filter_map(|(name, address)| site(image, address, CONTEXT_MADE, name, 0))
        .collect()
}

/// The site of a function: its first instruction, or the one behind a landing pad, at which a probe
/// would cost as much as forty others. Both leave the arguments and the return address where they
/// are.
pub fn site(
    image: &Image<'_>,
    address: u64,
    program: &'static str,
    function: &'static str,
    cookie: u64,
) -> Option<Site> {
    /// `endbr64`
    const LANDING_PAD: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let code = image.code(address, LANDING_PAD.len() + 2);
    let is_landing_pad = cfg!(target_arch = "x86_64") && code.starts_with(&LANDING_PAD);
    let skipped = if is_landing_pad { LANDING_PAD.len() } else { 0 };
    let address = address.wrapping_add(skipped as u64);
    Some(Site {
        program,
        function,
        cookie,
        offset: image.offset_of(address)?,
        place: Place {
            address,
            emulated: is_push(code.get(skipped..)?),
            inner: false,
        },
    })
}

/// Whether code begins with `push` of a register, which the kernel emulates.
fn is_push(code: &[u8]) -> bool {
    matches!(code, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_known() {
        assert!(is_push(&[0x56]), "push %rsi");
        assert!(is_push(&[0x41, 0x54]), "push %r12");
        assert!(!is_push(&[0x48, 0x83, 0xec, 0x08]), "sub $8, %rsp");
        assert!(!is_push(&[]));
    }
}
