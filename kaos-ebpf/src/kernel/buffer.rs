//! The user's memory that a socket operation reads or writes.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use kaos_ebpf::settings::{BufferShape, SYSCALL_NUMBERS};

use super::maps::SYSCALLS;
use super::payload::smaller;
use super::registers::Arguments;

/// The pieces of user memory that a syscall moves bytes from or to.
#[repr(C)]
pub struct Pieces {
    /// What is left of the current piece.
    pub base: u64,
    /// Its length.
    pub length: u32,
    /// The next `iovec`.
    vector: u64,
    /// How many are left there.
    left: u32,
}

impl Pieces {
    /// Goes to the next piece; false where there is none or it cannot be read.
    #[inline(always)]
    pub fn next(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        // SAFETY: the helper checks the address.
        let Ok([base, length]) = (unsafe { bpf_probe_read_user(self.vector as *const [u64; 2]) })
        else {
            return false;
        };
        self.base = base;
        // The kernel moves less than 2 GiB at a time.
        self.length = if length > u32::MAX as u64 {
            u32::MAX
        } else {
            length as u32
        };
        self.vector += 16;
        self.left -= 1;
        true
    }

    /// Steps over at most `bytes` of the current piece and tells how many.
    #[inline(always)]
    pub fn advance(&mut self, bytes: u32) -> u32 {
        let step = smaller(bytes, self.length);
        self.base += step as u64;
        self.length -= step;
        step
    }
}

/// Where the running syscall's buffer is; `None` for those that have none that we can read.
#[inline(always)]
pub fn user_buffer() -> Option<Pieces> {
    // SAFETY: the verifier knows both helpers.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let arguments = Arguments::read(registers)?;
    if arguments.syscall >= SYSCALL_NUMBERS as u64 {
        return None;
    }
    let shape = *SYSCALLS.get(arguments.syscall as u32)?;
    if shape == BufferShape::Plain as u8 {
        return Some(Pieces {
            base: arguments.second,
            length: u32::MAX,
            vector: 0,
            left: 0,
        });
    }
    let (vector, left) = if shape == BufferShape::Vector as u8 {
        (arguments.second, arguments.third)
    } else if shape == BufferShape::Message as u8 {
        // struct user_msghdr: name, namelen, iov, iovlen.
        // SAFETY: the helper checks the address.
        let message: [u64; 4] =
            unsafe { bpf_probe_read_user(arguments.second as *const [u64; 4]) }.ok()?;
        (message[2], message[3])
    } else {
        return None;
    };
    Some(Pieces {
        base: 0,
        length: 0,
        vector,
        left: left as u32,
    })
}
