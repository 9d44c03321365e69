//! The contexts of all followed Python processes, each with the one that it was copied from.
//!
//! A request makes some twenty, so what is done for each is kept short: its name is looked up once, and
//! all else is reached by its place in a table.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use slotmap::{SlotMap, new_key_type};

use crate::capture::event::{ContextChange, ContextEvent, Label, Pid};
use crate::exchanges::exchange::Actor;
use crate::time::Nanos;

/// Copies of copies that are followed. What runs for long and goes on by copies of copies (a timer
/// that sets itself again) would keep all its ancestors; so some copy has no origin.
const MOST_GENERATIONS: u32 = 64;

new_key_type! {
    /// A context that is, or was, known. The next one in its place has another key, until a place was
    /// used two thousand million times.
    pub struct ContextKey;
}

/// So many contexts that are gone, and as many as are known, may be left in the order of those that are
/// known before it is tidied up: so rarely that it costs each context next to nothing.
const FEW: usize = 64;

/// Where something runs, for as long as that is the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A thread that runs in no context of its own.
    Thread(Pid, u32),
    /// A context: unlike its name this does not become another one's when it is gone.
    Context(ContextKey),
}

/// A place, and when it was made: 0 for before all that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub place: Place,
    /// When it was made.
    pub born: Nanos,
}

/// Where something runs, then what that was copied from, and so on. Empty where it is not known.
pub type Trail = Vec<Step>;

/// What ran, and so what a context that was made then was copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// That is not known.
    Unknown,
    /// The thread that ran, in no context of its own.
    Thread(u32),
    Context(ContextKey),
}

#[derive(Debug)]
struct Context {
    pid: Pid,
    /// Its name, until another context has it.
    name: Option<u64>,
    origin: Origin,
    born: Nanos,
    /// How many are known that were copied from it.
    copies: u32,
    generation: u32,
}

/// The contexts that are known: those that have a name, and those that they descend from.
#[derive(Debug)]
pub struct Contexts {
    most: usize,
    known: SlotMap<ContextKey, Context>,
    names: FxHashMap<Pid, FxHashMap<u64, ContextKey>>,
    /// The oldest first; with some that are known no longer.
    order: VecDeque<ContextKey>,
    /// Those that are known no longer; to be taken out.
    pub gone: Vec<Place>,
    /// Contexts forgotten because there were too many.
    pub evicted: u64,
    /// Contexts whose origin was forgotten because they descend from too many.
    pub cut: u64,
}

impl Contexts {
    /// Knows at most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            known: SlotMap::default(),
            names: FxHashMap::default(),
            order: VecDeque::new(),
            gone: Vec::new(),
            evicted: 0,
            cut: 0,
        }
    }

    /// Something happened to contexts.
    pub fn push(&mut self, event: &ContextEvent) {
        match event.change {
            ContextChange::Made { context, origin } => {
                let origin = self.ran(event.pid, event.tid, origin);
                self.enter(event.pid, context, origin, event.at);
            }
            ContextChange::Unseen => self.forget(event.pid),
        }
    }

    /// What a thread ran.
    pub fn trail(&mut self, actor: &Actor) -> Trail {
        let mut trail = Trail::new();
        let mut next = self.ran(actor.pid, actor.tid, actor.label);
        loop {
            let (place, born, origin) = match next {
                Origin::Unknown => break,
                Origin::Thread(tid) => (Place::Thread(actor.pid, tid), 0, Origin::Unknown),
                Origin::Context(key) => match self.known.get(key) {
                    Some(context) => (Place::Context(key), context.born, context.origin),
                    None => break,
                },
            };
            trail.push(Step { place, born });
            next = origin;
        }
        trail
    }

    /// Forgets all contexts of a process.
    pub fn forget(&mut self, pid: Pid) {
        for (_, key) in self.names.remove(&pid).into_iter().flatten() {
            self.nameless(key);
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// What a label says.
    fn ran(&mut self, pid: Pid, tid: u32, label: Label) -> Origin {
        match label {
            Label::Unknown => Origin::Unknown,
            Label::Thread => Origin::Thread(tid),
            Label::Context(name) => Origin::Context(self.key(pid, name)),
            Label::ThreadsOwn(name) => {
                let key = self.key(pid, name);
                self.cut_off(key);
                Origin::Context(key)
            }
        }
    }

    /// The context that has a name now. One that nobody told of is older than all that was seen.
    fn key(&mut self, pid: Pid, name: u64) -> ContextKey {
        let known = self.names.get(&pid).and_then(|names| names.get(&name));
        match known {
            Some(key) => *key,
            None => self.enter(pid, name, Origin::Unknown, 0),
        }
    }

    /// A context does not belong any more to what it is a copy of.
    fn cut_off(&mut self, key: ContextKey) {
        if let Some(context) = self.known.get_mut(key)
            && let Origin::Context(origin) = context.origin
        {
            context.origin = Origin::Unknown;
            self.release(origin);
        }
    }

    fn enter(&mut self, pid: Pid, name: u64, origin: Origin, born: Nanos) -> ContextKey {
        while self.known.len() >= self.most {
            self.evict_oldest();
        }
        let key = self.known.insert(Context {
            pid,
            name: Some(name),
            origin: Origin::Unknown,
            born,
            copies: 0,
            generation: 0,
        });
        let bearer = self.names.entry(pid).or_default().insert(name, key);
        // It may be the origin itself, if what had the name in between was lost: before it is one.
        if let Some(bearer) = bearer {
            self.nameless(bearer);
        }
        self.descends(key, origin);
        self.order.push_back(key);
        if self.order.len() > 2 * self.known.len() + FEW {
            self.order.retain(|key| self.known.contains_key(*key));
        }
        key
    }

    /// A new context is a copy of another, if that is still known.
    fn descends(&mut self, key: ContextKey, origin: Origin) {
        let mut generation = 0;
        if let Origin::Context(above) = origin {
            let Some(above) = self.known.get_mut(above) else {
                return;
            };
            if above.generation >= MOST_GENERATIONS {
                self.cut += 1;
                return;
            }
            above.copies += 1;
            generation = above.generation + 1;
        }
        if let Some(context) = self.known.get_mut(key) {
            context.origin = origin;
            context.generation = generation;
        }
    }

    /// A context has no name any more: it is gone, and only its copies may need it.
    fn nameless(&mut self, key: ContextKey) {
        if let Some(context) = self.known.get_mut(key) {
            context.name = None;
            self.remove_if_gone(key);
        }
    }

    /// One that was copied from this is not known any more.
    fn release(&mut self, key: ContextKey) {
        if let Some(context) = self.known.get_mut(key) {
            context.copies -= 1;
            self.remove_if_gone(key);
        }
    }

    /// Removes a context that is gone and that nothing known was copied from, and what it was copied
    /// from, if that was kept for it alone.
    fn remove_if_gone(&mut self, mut key: ContextKey) {
        while let Some(context) = self.known.get(key)
            && context.name.is_none()
            && context.copies == 0
            && let Some(removed) = self.remove(key)
            && let Origin::Context(above) = removed.origin
        {
            if let Some(above) = self.known.get_mut(above) {
                above.copies -= 1;
            }
            key = above;
        }
    }

    fn remove(&mut self, key: ContextKey) -> Option<Context> {
        let context = self.known.remove(key)?;
        self.gone.push(Place::Context(key));
        Some(context)
    }

    fn evict_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else {
            return;
        };
        let Some(context) = self.remove(key) else {
            return;
        };
        self.evicted += 1;
        if let Some(name) = context.name
            && let Some(names) = self.names.get_mut(&context.pid)
        {
            names.remove(&name);
            if names.is_empty() {
                self.names.remove(&context.pid);
            }
        }
        if let Origin::Context(origin) = context.origin {
            self.release(origin);
        }
    }
}
