//! What the programs know of a process: the values of their map of processes.

use crate::python::PythonLayout;

/// A process. All of it is in one value, since every operation of a traced process needs it and what
/// a lookup costs is the memory that it touches.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// [`SELECTED`], [`CANDIDATE`] or [`EXCLUDED`].
    pub selection: u32,
    /// 1: what runs in it is followed, and `python` says how.
    pub is_python: u32,
    /// Where its interpreter has what runs.
    pub python: PythonLayout,
}

impl Process {
    /// One of which nothing but that is known.
    #[must_use]
    pub fn new(selection: u32) -> Self {
        Self {
            selection,
            ..Self::default()
        }
    }
}

/// `Process::selection`: what the process sends and receives is captured.
pub const SELECTED: u32 = 1;
/// `Process::selection`: captured until user space has matched its executable.
pub const CANDIDATE: u32 = 2;
/// `Process::selection`: never captured (ourselves).
pub const EXCLUDED: u32 = 4;

const _: () = assert!(size_of::<Process>() == 8 + size_of::<PythonLayout>());
