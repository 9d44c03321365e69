//! What is probed in interpreters and in uvloop.

use kaos_ebpf::python::COPY;

use crate::capture::uprobes::image::Image;
use crate::capture::uprobes::site::{Finder, Place, Site};

/// Exported by every interpreter since 3.7: makes the copy of the running context that each task,
/// callback and thread gets.
pub const COPY_CURRENT: &str = "PyContext_CopyCurrent";
/// Exported, too: the type of contexts.
pub const CONTEXT_TYPE: &str = "PyContext_Type";
/// Something is written to a stream of uvloop, in the context of the writer.
const BUFFER_WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__buffer_write";
/// What was written is sent, in no context.
const EXEC_WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream__exec_write";

/// Program on the return of what makes contexts.
pub const CONTEXT_MADE: &str = "context_made";

/// Finds them.
pub const FINDER: Finder = Finder {
    functions: &[COPY_CURRENT, BUFFER_WRITE, EXEC_WRITE],
    sites,
};

fn sites(image: &Image<'_>) -> Vec<Site> {
    let wanted = [
        (COPY_CURRENT, CONTEXT_MADE, COPY),
        (BUFFER_WRITE, "stream_written", 0),
        (EXEC_WRITE, "stream_flush", 0),
        (EXEC_WRITE, "stream_flushed", 0),
    ];
    let found = wanted.into_iter().filter_map(|(name, program, cookie)| {
        let address = image.function(name)?.address;
        site(image, address, program, name, cookie)
    });
    found.collect()
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
    let address = address + skipped as u64;
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
