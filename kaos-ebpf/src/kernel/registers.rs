//! The arguments of the running syscall, or of the function that a probe is on.

use super::read::kernel;
use super::settings::setting;

/// Number and arguments of a syscall.
pub struct Arguments {
    /// Its number.
    pub syscall: u64,
    /// Second argument.
    pub second: u64,
    /// Third argument.
    pub third: u64,
}

impl Arguments {
    /// Reads them from the registers saved at the entry of the syscall.
    ///
    /// `None` for 32-bit processes, whose syscalls have other numbers and structures.
    #[inline(always)]
    pub fn read(registers: u64) -> Option<Self> {
        let mode: u64 = kernel(registers, setting!(registers.mode))?;
        if mode & setting!(registers.mode_mask) != setting!(registers.mode_64_bit) {
            return None;
        }
        let syscall: u32 = kernel(registers, setting!(registers.syscall))?;
        Some(Self {
            syscall: syscall as u64,
            second: kernel(registers, setting!(registers.second))?,
            third: kernel(registers, setting!(registers.third))?,
        })
    }
}

/// The first four arguments of a function that is entered. One read: each costs more than the bytes that
/// it reads.
#[inline(always)]
pub fn arguments(registers: u64) -> Option<[u64; 4]> {
    let saved: [u64; 4] = kernel(registers, setting!(registers.arguments))?;
    let [first, second, third, fourth] = saved;
    Some(if setting!(registers.arguments_from_last) == 0 {
        saved
    } else {
        [fourth, third, second, first]
    })
}

/// The result of a function that returns.
#[inline(always)]
pub fn result(registers: u64) -> Option<u64> {
    kernel(registers, setting!(registers.result))
}
