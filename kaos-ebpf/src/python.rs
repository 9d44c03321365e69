//! How the programs find what runs in a Python process: part of what their map of processes holds.

/// Where the interpreter of one process keeps what its threads run. Found in the process itself by
/// user space, which checks it before it enters it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PythonLayout {
    /// Address of the type of contexts: an object that is none has another type.
    pub context_type: u64,
    /// From the thread pointer to the slot with the thread state, or to the pointer to the slots.
    pub slot: i32,
    /// From what the pointer to the slots points to, to the slot; [`DIRECT`] where there is no
    /// such pointer.
    pub slot_behind: i32,
    /// From the thread state to the pointer to the running context.
    pub context: u32,
    /// From an object to the pointer to its type.
    pub object_type: u32,
    /// `PYTHON_*`.
    pub flags: u32,
    /// Changes whenever copies of contexts may have gone unseen.
    pub epoch: u32,
    /// Contexts that were made while [`PYTHON_SEARCH`] is set.
    pub searched: u32,
    /// Thread that flushes a stream of uvloop, 0 for none, or [`MANY_THREADS`]. This and the two below
    /// are the programs' own.
    pub flushing: u32,
    /// What ran when that stream was written to, as a record's label.
    pub flushed_context: u64,
    /// 0: what ran then is not known.
    pub flushed_known: u32,
    /// Zero.
    pub padding: u32,
}

/// `PythonLayout::flushing`: two threads flushed at the same time, which the interpreter's lock rules
/// out. Where there is none, what flushes run for is not known.
pub const MANY_THREADS: u32 = u32::MAX;

/// What is read of a context (`struct _pycontextobject`), from the pointer to its type on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ContextWords {
    /// Its type.
    pub context_type: u64,
    /// The context that was left for it, 0 for none.
    pub left: u64,
    /// Its variables and the list of weak references to it.
    pub others: [u64; 2],
    /// How many entered it: 0 or 1.
    pub entered: u32,
    /// Zero.
    pub padding: u32,
}

impl ContextWords {
    /// From the pointer to the type to `entered`.
    pub const ENTERED: u32 = 32;
    /// Bytes that are read: no more than a context has.
    pub const BYTES: u32 = Self::ENTERED + 4;
}

/// `PythonLayout::slot_behind`: the slot is right beside the thread pointer.
pub const DIRECT: i32 = i32::MIN;

/// `PythonLayout::flags`: a thread that runs in no context of its own does one thing at a time, so
/// that it is a label by itself.
pub const PYTHON_THREADS: u32 = 1;
/// `PythonLayout::flags`: no thread has a context yet, so it is not known where one would be.
pub const PYTHON_NO_CONTEXTS: u32 = 2;
/// `PythonLayout::flags`: there are contexts, and the first one that a thread is seen to run in shows
/// where in its state they are.
pub const PYTHON_SEARCH: u32 = 8;
/// `PythonLayout::flags`: each thread but the main one runs in a context from its beginning to its
/// end, which may be a copy of that of whoever started it.
pub const PYTHON_THREADS_HAVE_CONTEXTS: u32 = 4;

/// Bytes of a thread state that are looked at: the pointer to the context is within the first 400 in
/// 3.10 to 3.14.
pub const STATE_BYTES: u32 = 512;
/// Contexts that may be made before one is found in a thread state. After that they must be elsewhere,
/// and that no context is seen says nothing of a thread.
pub const MOST_SEARCHED: u32 = 64;

/// Cookie of a probe on what copies the running context.
pub const COPY: u64 = 1;

/// A thread, as the iterator over them tells it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadRecord {
    /// Its process.
    pub pid: u32,
    /// Zero.
    pub padding: u32,
    /// Its thread pointer.
    pub thread_pointer: u64,
}

/// Stated sizes of the maps.
pub mod sizes {
    /// Streams of uvloop whose writer is remembered: as many as connections.
    pub const STREAMS: u32 = 16_384;
}

const _: () = {
    assert!(size_of::<PythonLayout>() == 56 && size_of::<ThreadRecord>() == 16);
    assert!(core::mem::offset_of!(ContextWords, entered) == ContextWords::ENTERED as usize);
};
