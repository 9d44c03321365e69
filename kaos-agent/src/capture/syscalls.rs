//! Where the syscalls that move bytes through sockets keep their buffers.

use kaos_ebpf::settings::BufferShape;

/// Number on this architecture, and where the buffer is. Syscalls that are not here (`sendfile`,
/// `splice`, `sendmmsg`, io_uring's) move bytes whose length and position are known and whose
/// contents are a gap.
pub const SYSCALLS: &[(libc::c_long, BufferShape)] = &[
    (libc::SYS_read, BufferShape::Plain),
    (libc::SYS_write, BufferShape::Plain),
    (libc::SYS_recvfrom, BufferShape::Plain),
    (libc::SYS_sendto, BufferShape::Plain),
    (libc::SYS_readv, BufferShape::Vector),
    (libc::SYS_writev, BufferShape::Vector),
    (libc::SYS_preadv2, BufferShape::Vector),
    (libc::SYS_pwritev2, BufferShape::Vector),
    (libc::SYS_recvmsg, BufferShape::Message),
    (libc::SYS_sendmsg, BufferShape::Message),
];

#[cfg(test)]
mod tests {
    use super::*;
    use kaos_ebpf::settings::SYSCALL_NUMBERS;

    #[test]
    fn all_numbers_fit_the_map() {
        for (number, shape) in SYSCALLS {
            assert!(
                (0..i64::from(SYSCALL_NUMBERS)).contains(number),
                "{shape:?}"
            );
        }
    }
}
