//! The arguments of the running syscall.

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
