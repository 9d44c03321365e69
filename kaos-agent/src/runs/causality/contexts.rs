//! The contexts of all followed Python processes, each with the one that it was copied from.

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::capture::event::{ContextChange, ContextEvent, Label, Pid};
use crate::exchanges::exchange::Actor;
use crate::time::Nanos;

/// Copies of copies that are followed. What runs for long and goes on by copies of copies (a timer
/// that sets itself again) would keep all its ancestors; so some copy has no origin.
const MOST_GENERATIONS: u32 = 64;

/// Where something runs, for as long as that is the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A thread that runs in no context of its own.
    Thread(Pid, u32),
    /// One of all contexts that there ever were: unlike its name this is never used again.
    Context(u64),
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

#[derive(Debug)]
struct Context {
    pid: Pid,
    /// Its name, until another context has it.
    name: Option<u64>,
    origin: Option<Place>,
    born: Nanos,
    /// How many are known that were copied from it.
    copies: u32,
    generation: u32,
}

/// The contexts that are known: those that have a name, and those that they descend from.
#[derive(Debug)]
pub struct Contexts {
    most: usize,
    /// The oldest first.
    known: LinkedHashMap<u64, Context, FxBuildHasher>,
    names: FxHashMap<Pid, FxHashMap<u64, u64>>,
    next: u64,
    /// Those that are known no longer; to be taken out.
    pub gone: Vec<u64>,
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
            known: LinkedHashMap::default(),
            names: FxHashMap::default(),
            next: 0,
            gone: Vec::new(),
            evicted: 0,
            cut: 0,
        }
    }

    /// Something happened to contexts.
    pub fn push(&mut self, event: &ContextEvent) {
        match event.change {
            ContextChange::Made { context, origin } => {
                // The name may be the origin's own, if that was lost: its old bearer goes first.
                let origin = self.place(event.pid, event.tid, origin);
                self.release_name(event.pid, context);
                self.enter(event.pid, context, origin, event.at);
            }
            ContextChange::Unseen => self.forget(event.pid),
        }
    }

    /// What a thread ran.
    pub fn trail(&mut self, actor: &Actor) -> Trail {
        let mut trail = Trail::new();
        let mut next = self.place(actor.pid, actor.tid, actor.label);
        while let Some(place) = next {
            let Place::Context(number) = place else {
                trail.push(Step { place, born: 0 });
                break;
            };
            let Some(context) = self.known.get(&number) else {
                break;
            };
            trail.push(Step {
                place,
                born: context.born,
            });
            next = context.origin;
        }
        trail
    }

    /// Forgets all contexts of a process.
    pub fn forget(&mut self, pid: Pid) {
        for number in self.names.remove(&pid).into_iter().flatten() {
            self.nameless(number.1);
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Where a label is. A context that nobody told of is older than all that was seen.
    fn place(&mut self, pid: Pid, tid: u32, label: Label) -> Option<Place> {
        match label {
            Label::Unknown => None,
            Label::Thread => Some(Place::Thread(pid, tid)),
            Label::Context(name) => Some(Place::Context(self.number(pid, name))),
            Label::ThreadsOwn(name) => {
                let number = self.number(pid, name);
                self.cut_off(number);
                Some(Place::Context(number))
            }
        }
    }

    /// The context that has a name now.
    fn number(&mut self, pid: Pid, name: u64) -> u64 {
        let known = self.names.get(&pid).and_then(|names| names.get(&name));
        match known {
            Some(number) => *number,
            None => self.enter(pid, name, None, 0),
        }
    }

    /// A context does not belong any more to what it is a copy of.
    fn cut_off(&mut self, number: u64) {
        let context = self.known.get_mut(&number);
        let Some(Place::Context(origin)) = context.and_then(|context| context.origin.take()) else {
            return;
        };
        if let Some(context) = self.known.get_mut(&origin) {
            context.copies -= 1;
            if context.name.is_none() {
                self.nameless(origin);
            }
        }
    }

    fn enter(&mut self, pid: Pid, name: u64, origin: Option<Place>, born: Nanos) -> u64 {
        while self.known.len() >= self.most {
            self.evict_oldest();
        }
        let mut origin = origin;
        let mut generation = 0;
        if let Some(Place::Context(number)) = origin {
            match self.known.get_mut(&number) {
                Some(context) if context.generation < MOST_GENERATIONS => {
                    context.copies += 1;
                    generation = context.generation + 1;
                }
                Some(_) => {
                    self.cut += 1;
                    origin = None;
                }
                // Evicted just now.
                None => origin = None,
            }
        }
        let number = self.next;
        self.next += 1;
        self.known.insert(
            number,
            Context {
                pid,
                name: Some(name),
                origin,
                born,
                copies: 0,
                generation,
            },
        );
        self.names.entry(pid).or_default().insert(name, number);
        number
    }

    fn release_name(&mut self, pid: Pid, name: u64) {
        let names = self.names.get_mut(&pid);
        if let Some(number) = names.and_then(|names| names.remove(&name)) {
            self.nameless(number);
        }
    }

    /// A context has no name any more: it is gone, and only its copies may need it.
    fn nameless(&mut self, number: u64) {
        if let Some(context) = self.known.get_mut(&number) {
            context.name = None;
        }
        let mut next = Some(number);
        while let Some(number) = next {
            match self.known.get(&number) {
                Some(context) if context.name.is_none() && context.copies == 0 => {}
                _ => break,
            }
            next = self.remove(number);
        }
    }

    /// Removes a context; returns the one that it was copied from.
    fn remove(&mut self, number: u64) -> Option<u64> {
        let context = self.known.remove(&number)?;
        self.gone.push(number);
        let Some(Place::Context(origin)) = context.origin else {
            return None;
        };
        let context = self.known.get_mut(&origin)?;
        context.copies -= 1;
        Some(origin)
    }

    fn evict_oldest(&mut self) {
        let Some((number, context)) = self.known.pop_front() else {
            return;
        };
        self.gone.push(number);
        self.evicted += 1;
        if let Some(Place::Context(origin)) = context.origin
            && let Some(origin) = self.known.get_mut(&origin)
        {
            origin.copies -= 1;
        }
        if let Some(name) = context.name
            && let Some(names) = self.names.get_mut(&context.pid)
        {
            names.remove(&name);
            if names.is_empty() {
                self.names.remove(&context.pid);
            }
        }
    }
}
