//! Places to probe.

use super::image::Image;

/// Where a program is to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Name of the program, as in the table of programs.
    pub program: &'static str,
    /// The function that it observes.
    pub function: &'static str,
    /// Handed to the program at each hit.
    pub cookie: u64,
    /// Offset in the file of the instruction that is probed.
    pub offset: u64,
    /// What was chosen.
    pub place: Place,
}

/// Which instruction stands for the function, and what a hit costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its address, as the file says it.
    pub address: u64,
    /// The kernel emulates the instruction (half a microsecond a hit) instead of stepping over it
    /// in the process (one or two on bare metal, up to twenty in a virtual machine).
    pub emulated: bool,
    /// It is the first one of an inner function that gets the very same arguments.
    pub inner: bool,
}

impl Place {
    /// Why this one, and what it comes to.
    #[must_use]
    pub fn why(self) -> &'static str {
        match (self.inner, self.emulated) {
            (true, true) => {
                "in the inner function, which gets the same arguments; the kernel emulates the \
                 instruction"
            }
            (true, false) => {
                "in the inner function, which gets the same arguments; the kernel emulates no \
                 instruction at its beginning, and steps over this one"
            }
            (false, true) => "in the function itself; the kernel emulates the instruction",
            (false, false) => {
                "in the function itself; the kernel emulates no instruction that could stand for it, \
                 and steps over this one"
            }
        }
    }
}

/// Knows the functions that somebody wants to observe.
pub struct Finder {
    /// Names of the functions that it must know of.
    pub functions: &'static [&'static str],
    /// Chooses sites in a file that has at least one of them.
    pub sites: fn(&Image<'_>) -> Vec<Site>,
}
