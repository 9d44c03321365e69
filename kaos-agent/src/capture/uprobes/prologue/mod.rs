//! The first instructions of a function: where a probe on it is cheap.
//!
//! The kernel emulates a few instructions (half a microsecond a hit); all others it lets the process
//! execute out of line, one step at a time, which takes one or two microseconds on bare metal and up
//! to twenty in a virtual machine. So a probe need not be on the very first instruction, as long as
//! what it sees is the same there.

pub mod aarch64;
pub mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as native;
#[cfg(target_arch = "x86_64")]
use x86_64 as native;

use super::image::{Function, Image};
use super::site::Place;

/// Bytes of a function that are looked at.
const LOOKED_AT: usize = 96;

/// What a probe must find as it is at the entry of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The arguments.
    Arguments,
    /// Arguments and stack: the kernel finds the return address there.
    ArgumentsAndStack,
}

/// An instruction that may be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Bytes from the first instruction to it.
    pub distance: u64,
    /// The kernel emulates it.
    pub emulated: bool,
}

/// A call within a function, and what its target gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerCall {
    /// Address of the function that is called.
    pub target: u64,
    /// The fourth argument is an address on the caller's stack; otherwise all four are the caller's
    /// own, but that the third may have become wider.
    pub fourth_on_stack: bool,
    /// The call may be left out: where the third argument is negative.
    pub guarded: bool,
}

/// The best place for a probe on a function.
#[must_use]
pub fn place(image: &Image<'_>, function: Function, needs: Needs) -> Place {
    let choice = native::choose(&image.code(function.address, LOOKED_AT), needs);
    Place {
        address: function.address + choice.distance,
        emulated: choice.emulated,
        inner: false,
    }
}

/// The first call of a function, if it hands the caller's arguments on.
#[must_use]
pub fn inner_call(image: &Image<'_>, function: Function) -> Option<InnerCall> {
    native::inner_call(&image.code(function.address, LOOKED_AT), function.address)
}
