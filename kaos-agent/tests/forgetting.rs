//! What is over is forgotten: real traffic is replayed many times, each time by other processes on other
//! connections, and what the stages have allocated after each does not add up.

mod recordings;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use kaos_agent::capture::event::{
    ConnectionChange, ConnectionEvent, Event, Pid, ProcessChange, ProcessEvent, SocketId,
};
use kaos_agent::time::Nanos;
use recordings::{recordings, stages};

/// Rounds to begin with: afterwards tables have their size.
const WARM_UP: u8 = 8;
/// Rounds at whose end memory is looked at.
const ROUNDS: u8 = 16;
/// Rounds after which there may be more than before: a table doubles now and then, but what stays of every
/// round adds up.
const MOST_GREW: usize = 2;
/// Bytes that tables may grow by.
const MOST_GROWTH: usize = 4096;
/// Longer than anything is remembered.
const LONG: Nanos = 600_000_000_000;
/// How far time goes on at a time.
const STEP: Nanos = 10_000_000_000;

/// The system's allocator, which counts.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as we were called.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as we were called.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What makes an event one of another round: nothing that it names was there before but addresses, behind
/// which the stages remember a server for longer than it runs.
struct Shift {
    round: u8,
    time: Nanos,
}

impl Shift {
    fn pid(&self, pid: Pid) -> Pid {
        // The kernel has no higher ones than 1 << 22.
        pid + (Pid::from(self.round) << 22)
    }

    fn socket(&self, socket: SocketId) -> SocketId {
        SocketId(socket.0 ^ (u64::from(self.round) << 48))
    }

    fn event(&self, event: &Event) -> Event {
        let mut event = event.clone();
        match &mut event {
            Event::Data(data) => {
                data.at += self.time;
                (data.pid, data.tid) = (self.pid(data.pid), self.pid(data.tid));
                data.socket = self.socket(data.socket);
                // Both ends of a connection agree on it.
                data.position += u64::from(self.round) << 24;
            }
            Event::Connection(connection) => {
                connection.at += self.time;
                connection.pid = self.pid(connection.pid);
                connection.socket = self.socket(connection.socket);
                if let ConnectionChange::ConnectingIn { tid, .. } = &mut connection.change {
                    *tid = self.pid(*tid);
                }
            }
            Event::Process(process) => {
                process.at += self.time;
                process.pid = self.pid(process.pid);
                match &mut process.change {
                    ProcessChange::Forked { parent } => *parent = self.pid(*parent),
                    ProcessChange::Described(info) => {
                        // A service of its own, as each pod is.
                        let name = (
                            "OTEL_SERVICE_NAME".to_owned(),
                            format!("round-{}", self.round),
                        );
                        info.environment.retain(|(key, _)| *key != name.0);
                        info.environment.push(name);
                        info.environment.sort();
                    }
                    ProcessChange::Executed | ProcessChange::Exited => {}
                }
            }
            Event::Context(context) => {
                context.at += self.time;
                (context.pid, context.tid) = (self.pid(context.pid), self.pid(context.tid));
            }
            Event::Clock { at, .. } | Event::Lost { at, .. } => *at += self.time,
            Event::Pod(pod) => pod.at += self.time,
            Event::Peer(peer) => peer.at += self.time,
        }
        event
    }
}

/// What a recording leaves open: connections are closed, and then processes end.
fn endings(events: &[Event]) -> Vec<Event> {
    let at = events.last().map_or(0, Event::at);
    let mut sockets = BTreeSet::new();
    let mut pids = BTreeSet::new();
    for event in events {
        match event {
            Event::Data(data) => {
                sockets.insert(data.socket);
                pids.insert(data.pid);
            }
            Event::Process(process) => drop(pids.insert(process.pid)),
            _ => {}
        }
    }
    let owners = events.iter().rev().filter_map(|event| match event {
        Event::Data(data) if sockets.remove(&data.socket) => Some((data.socket, data)),
        _ => None,
    });
    let closed = owners.map(|(socket, data)| {
        Event::Connection(ConnectionEvent {
            at,
            pid: data.pid,
            socket,
            endpoints: data.endpoints,
            change: ConnectionChange::Closed,
        })
    });
    let closed: Vec<_> = closed.collect();
    let exited = pids.into_iter().map(|pid| {
        let change = ProcessChange::Exited;
        Event::Process(ProcessEvent { at, pid, change })
    });
    closed.into_iter().chain(exited).collect()
}

#[test]
fn nothing_is_kept_of_what_is_over() {
    let mut kept = Vec::new();
    for recording in recordings() {
        let mut events = recording.events();
        events.extend(endings(&events));
        let first = events.first().map_or(0, Event::at);
        let length = events.last().map_or(0, Event::at) - first + LONG;
        let mut stages = stages(&[]);
        let mut signals = Vec::new();
        // It must not grow itself.
        let mut used = Vec::with_capacity(ROUNDS.into());
        for round in 1..=WARM_UP + ROUNDS {
            let shift = Shift {
                round,
                time: length * Nanos::from(round),
            };
            for event in &events {
                stages.push(&shift.event(event), &mut signals);
            }
            let end = events.last().map_or(0, Event::at) + shift.time;
            for step in 1..LONG / STEP {
                stages.tick(end + step * STEP, &mut signals);
            }
            assert!(!signals.is_empty(), "{}", recording.name());
            signals = Vec::new();
            stages.take_opaque();
            stages.take_warnings();
            stages.take_sdks();
            if round > WARM_UP {
                used.push(ALLOCATED.load(Ordering::Relaxed));
            }
        }
        let grew = used.windows(2).filter(|pair| pair[1] > pair[0]).count();
        if grew > MOST_GREW || used[used.len() - 1] > used[0] + MOST_GROWTH {
            kept.push((recording.name(), used));
        }
    }
    assert!(kept.is_empty(), "bytes after each round: {kept:?}");
}
