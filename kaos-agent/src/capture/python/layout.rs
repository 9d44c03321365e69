//! Where an interpreter keeps what its threads run, found in its memory: no table of versions.
//!
//! The exported type of contexts is known by its name. A thread state is an object that a slot of
//! the thread leads to and that holds the thread's own pointer; the running context is what in it
//! points to an object of that type.

use kaos_ebpf::python::{
    ContextWords, DIRECT, PYTHON_NO_CONTEXTS, PYTHON_THREADS, PythonLayout, STATE_BYTES,
};

use super::memory::Memory;

/// Name of the type, and whose it is.
const CONTEXT_TYPE: [&str; 2] = ["_contextvars.Context", "Context"];
/// Bytes beside the thread pointer that are looked at for slots: the thread's own block of glibc
/// has its first 32 slots in 0x310..0x510 on x86-64, and before the pointer on aarch64.
const BLOCK_BYTES: u64 = 2560;
/// Slots behind a pointer, as musl has them (`PTHREAD_KEYS_MAX`).
const SLOTS_BEHIND: usize = 128;
/// Bytes of the thread's block in which musl has the pointer to them.
const POINTER_BYTES: u64 = 256;
/// Largest context that makes sense; they have some 50 bytes.
const MOST_CONTEXT_BYTES: u64 = 512;
/// Threads that are looked at for one that has a context.
const MOST_THREADS: usize = 256;
/// The same where slots are behind a pointer: there is much more to look at in each.
const MOST_THREADS_BEHIND: usize = 16;

/// What the type of contexts says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextType {
    /// Its address.
    pub address: u64,
    /// From an object to the pointer to its type.
    pub object_type: u32,
    /// Address of what makes an empty context (`tp_new`).
    pub make: u64,
    /// Address of its method `copy`, 0 where there is none.
    pub copy: u64,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The exported object is not what its name says.
    #[error("its PyContext_Type is no type of contexts that we know")]
    Type,
    /// No thread leads to a thread state.
    #[error("none of its threads leads to a thread state of Python")]
    State,
}

impl ContextType {
    /// Reads the type at an address; `None` where there is something else.
    pub fn read(memory: &impl Memory, address: u64) -> Option<Self> {
        // An object begins with two words, or in builds without the global lock with four; then
        // comes the length of variable objects, and then the type's name.
        let name_at = [24, 40].into_iter().find(|at| {
            let name = memory.word(address.wrapping_add(*at));
            name.is_some_and(|name| CONTEXT_TYPE.iter().any(|text| memory.has_text(name, text)))
        })?;
        // Words of a type from its name on, the same since 3.8.
        let field = |index: u64| memory.word(address.wrapping_add(name_at + index * 8));
        let (size, weak_references) = (field(1)?, field(23)?);
        // The last member of a context, behind the list of weak references.
        let entered = weak_references.checked_add(8)?;
        let object_type = name_at - 16;
        // So the programs read it: 3.7 to 3.14 have the same members.
        if entered != object_type + u64::from(ContextWords::ENTERED)
            || size > MOST_CONTEXT_BYTES
            || entered.checked_add(4)? > size
        {
            return None;
        }
        let methods = field(26)?;
        Some(Self {
            address,
            object_type: u32::try_from(object_type).ok()?,
            make: field(36)?,
            copy: method(memory, methods, "copy").unwrap_or(0),
        })
    }

    /// Whether an object is a context.
    fn is_context(&self, memory: &impl Memory, object: u64) -> bool {
        let its_type = memory.word(object.wrapping_add(self.object_type.into()));
        if object == 0 || !object.is_multiple_of(8) || its_type != Some(self.address) {
            return false;
        }
        let entered_at = u64::from(self.object_type + ContextWords::ENTERED);
        let entered = memory.bytes(object.wrapping_add(entered_at), 4);
        matches!(entered.as_deref(), Some([0 | 1, 0, 0, 0]))
    }
}

/// Address of a method in a table of methods.
fn method(memory: &impl Memory, table: u64, name: &str) -> Option<u64> {
    /// Methods that a type may have; this one has ten.
    const MOST_METHODS: u64 = 32;
    for index in 0..MOST_METHODS {
        let entry = memory.words(table.wrapping_add(index * 32), 2)?;
        if entry[0] == 0 {
            return None;
        }
        if memory.has_text(entry[0], name) {
            return Some(entry[1]);
        }
    }
    None
}

/// Finds the layout from the thread pointers of a process, the main thread's first.
///
/// # Errors
/// What was not found. It may be found later, when the interpreter has started.
pub fn find(
    memory: &impl Memory,
    context_type: &ContextType,
    threads: &[u64],
) -> Result<PythonLayout, NotFound> {
    let direct = threads.iter().take(MOST_THREADS);
    // Which C library a process has its files do not say for certain: it may be linked statically.
    let behind = threads.iter().take(MOST_THREADS_BEHIND);
    best(memory, context_type, direct, direct_states)
        .or_else(|| best(memory, context_type, behind, states_behind))
        .ok_or(NotFound::State)
}

/// Thread states of a thread.
type States<M> = fn(&M, u64) -> Vec<(i32, i32, u64)>;

/// The layout by a thread that has a context, or by any.
fn best<'a, M: Memory>(
    memory: &M,
    context_type: &ContextType,
    threads: impl Iterator<Item = &'a u64>,
    states: States<M>,
) -> Option<PythonLayout> {
    let mut without_context = None;
    for (slot, slot_behind, state) in threads.flat_map(|thread| states(memory, *thread)) {
        let mut layout = PythonLayout {
            context_type: context_type.address,
            slot,
            slot_behind,
            context: 0,
            object_type: context_type.object_type,
            flags: PYTHON_THREADS,
            ..PythonLayout::default()
        };
        if let Some(context) = context_in(memory, context_type, state) {
            layout.context = context;
            return Some(layout);
        }
        layout.flags |= PYTHON_NO_CONTEXTS;
        without_context.get_or_insert(layout);
    }
    without_context
}

/// A thread's own block: where it begins from the thread pointer, and its words.
fn block(memory: &impl Memory, thread: u64) -> Option<(i32, Vec<u64>)> {
    // It is after the pointer on x86-64 and before it on aarch64.
    let from = if cfg!(target_arch = "aarch64") {
        -(BLOCK_BYTES as i32)
    } else {
        0
    };
    let start = thread.wrapping_add_signed(from.into());
    let words = (thread != 0).then(|| memory.words(start, (BLOCK_BYTES / 8) as usize))?;
    Some((from, words?))
}

/// Thread states that slots of a thread lead to: offset of the slot, [`DIRECT`], and the state's address.
fn direct_states(memory: &impl Memory, thread: u64) -> Vec<(i32, i32, u64)> {
    let Some((from, block)) = block(memory, thread) else {
        return Vec::new();
    };
    let pairs = block.windows(2).zip((from..).step_by(8));
    pairs
        .filter_map(|(pair, at)| {
            // A slot is a number, odd while it is in use, and a pointer.
            let [sequence, pointer] = *pair else {
                return None;
            };
            let is_slot = sequence % 2 == 1 && sequence < 1 << 32;
            (is_slot && is_state(memory, pointer, thread)).then_some((at + 8, DIRECT, pointer))
        })
        .collect()
}

/// The same where the block has a pointer to the slots, which are pointers alone: its offset, that of the
/// slot from where it points to, and the state's address.
fn states_behind(memory: &impl Memory, thread: u64) -> Vec<(i32, i32, u64)> {
    let Some((from, block)) = block(memory, thread) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let pointers = block.iter().zip((from..).step_by(8));
    for (pointer, at) in pointers.take((POINTER_BYTES / 8) as usize) {
        let slots = memory.words(*pointer, SLOTS_BEHIND).unwrap_or_default();
        for (state, behind) in slots.into_iter().zip((0..).step_by(8)) {
            if is_state(memory, state, thread) {
                found.push((at, behind, state));
            }
        }
    }
    found
}

/// Whether something is the state of a thread: it lies elsewhere and holds the thread's pointer,
/// which is what both C libraries say a thread is called.
fn is_state(memory: &impl Memory, state: u64, thread: u64) -> bool {
    if state == 0 || !state.is_multiple_of(8) || state.abs_diff(thread) < 2 * BLOCK_BYTES {
        return false;
    }
    let words = memory.words(state, (STATE_BYTES / 8) as usize);
    words.is_some_and(|words| words.contains(&thread))
}

/// Offset of the pointer to a context in a thread state; `None` where the thread has none.
fn context_in(memory: &impl Memory, context_type: &ContextType, state: u64) -> Option<u32> {
    let words = memory.words(state, (STATE_BYTES / 8) as usize)?;
    let index = words
        .iter()
        .position(|word| context_type.is_context(memory, *word))?;
    u32::try_from(index * 8).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TYPE: u64 = 0x10_0000;
    const THREAD: u64 = 0x20_0000;
    const STATE: u64 = 0x30_0000;
    const CONTEXT: u64 = 0x40_0000;
    const TEXT: u64 = 0x50_0000;
    const SLOT: u64 = 0x318;
    const CONTEXT_AT: u64 = 224;

    /// Memory in pages of zeros, with some words in it.
    #[derive(Clone, Default)]
    struct Made(BTreeMap<u64, u64>);

    impl Memory for Made {
        fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
            let end = address.checked_add(length as u64)?;
            if !(TYPE..TEXT + 0x10_0000).contains(&address) {
                return None;
            }
            let byte = |at: u64| {
                let word = self.0.get(&(at & !7)).copied().unwrap_or(0);
                word.to_ne_bytes()[(at & 7) as usize]
            };
            Some((address..end).map(byte).collect())
        }
    }

    impl Made {
        fn text(&mut self, address: u64, text: &str) {
            let bytes: Vec<u8> = text.bytes().chain([0; 8]).collect();
            for (index, word) in bytes.chunks_exact(8).enumerate() {
                let word = u64::from_ne_bytes(word.try_into().expect("eight bytes"));
                self.0.insert(address + index as u64 * 8, word);
            }
        }

        /// An interpreter as 3.11 has it on glibc.
        fn interpreter() -> Self {
            let mut made = Self::default();
            made.text(TEXT, "_contextvars.Context");
            made.text(TEXT + 64, "copy");
            let words = [
                (TYPE + 24, TEXT),
                (TYPE + 32, 48),
                (TYPE + 208, 32),
                (TYPE + 232, TYPE + 0x1000),
                (TYPE + 312, 0x1234),
                (TYPE + 0x1000, TEXT + 64),
                (TYPE + 0x1008, 0x5678),
                (THREAD + SLOT - 8, 1),
                (THREAD + SLOT, STATE),
                (STATE + 152, THREAD),
                (STATE + CONTEXT_AT, CONTEXT),
                (CONTEXT + 8, TYPE),
            ];
            made.0.extend(words);
            made
        }

        fn find(&self) -> Result<PythonLayout, NotFound> {
            let context_type = ContextType::read(self, TYPE).ok_or(NotFound::Type)?;
            find(self, &context_type, &[THREAD])
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn slot_and_context_are_found() {
        let made = Made::interpreter();
        let context_type = ContextType::read(&made, TYPE).expect("it is one");
        assert_eq!((context_type.make, context_type.copy), (0x1234, 0x5678));
        let layout = made.find().expect("it is there");
        assert_eq!((layout.slot, layout.slot_behind), (0x318, DIRECT));
        assert_eq!((layout.context, layout.object_type), (224, 8));
        assert_eq!(layout.flags, PYTHON_THREADS);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn threads_without_contexts_are_found() {
        let mut made = Made::interpreter();
        made.0.remove(&(STATE + CONTEXT_AT));
        let layout = made.find().expect("the state is there");
        assert_eq!(layout.flags, PYTHON_THREADS | PYTHON_NO_CONTEXTS);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn slots_behind_a_pointer_are_found() {
        let mut made = Made::interpreter();
        made.0.remove(&(THREAD + SLOT - 8));
        made.0.remove(&(THREAD + SLOT));
        assert_eq!(made.find(), Err(NotFound::State));
        made.0.insert(THREAD + 0x80, THREAD + 0x8000);
        made.0.insert(THREAD + 0x8000 + 24, STATE);
        let context_type = ContextType::read(&made, TYPE).expect("it is one");
        let layout = find(&made, &context_type, &[THREAD]).expect("it is there");
        assert_eq!((layout.slot, layout.slot_behind), (0x80, 24));
    }

    /// Every word of it may point anywhere: nothing is found or something, and it ends.
    #[test]
    fn wild_pointers_do_no_harm() {
        let whole = Made::interpreter();
        let wild = [
            0,
            1,
            7,
            TYPE,
            THREAD,
            STATE,
            TEXT + 0xf_ffff,
            u64::MAX,
            u64::MAX - 7,
        ];
        for place in whole.0.keys() {
            for value in wild {
                let mut made = whole.clone();
                made.0.insert(*place, value);
                let _ = made.find();
            }
        }
        let nothing = Made::default();
        assert_eq!(nothing.find(), Err(NotFound::Type));
        let context_type = ContextType::read(&whole, TYPE).expect("it is one");
        for thread in wild {
            let found = find(&whole, &context_type, &[thread]);
            assert_eq!(
                found.is_ok(),
                thread == THREAD && cfg!(target_arch = "x86_64")
            );
        }
    }
}
