//! From the kernel: `run` and `record`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rand::Rng as _;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::oneshot;

use super::memory::{Memory, Pressure};
use super::output;
use super::pods::PodWatch;
use super::recorder::Recorder;
use super::reloading::{Reloaded, Reloader};
use super::spans::SpanMaker;
use crate::capture::clock::monotonic;
use crate::capture::event::{Event, SocketId};
use crate::capture::front_end::FrontEnd;
use crate::capture::kernel::Attached;
use crate::capture::live::Live;
use crate::capture::ring::Bell;
use crate::export::exporter::WhenFull;
use crate::health::counters::Counters;
use crate::health::server;
use crate::health::status::Status;
use crate::kubernetes::Watches;
use crate::settings::{LiveSettings, LiveTarget, Reload, Selection, Selectors, StatsFormat};
use crate::time::Nanos;

/// Records read at once, before their events go through the stages: bounds what a full ring
/// becomes in memory.
const BATCH: usize = 1024;

/// Batches read before anything else is looked at: more records than a ring of 8 MiB holds, so that
/// one round empties it, and an end so that a workload which fills it all the time cannot keep us
/// from ending.
const BATCHES: usize = 128;

/// What becomes of events.
pub(super) trait Consumer: Counters + Send {
    /// Something happened.
    ///
    /// # Errors
    /// It cannot go on.
    fn push(&mut self, event: &Event) -> anyhow::Result<()>;

    /// Time goes by: everything until `now` was pushed.
    ///
    /// # Errors
    /// It cannot go on.
    fn tick(&mut self, now: Nanos) -> anyhow::Result<()>;

    /// Memory is short, or is so no more: gives up what this names.
    fn relieve(&mut self, pressure: Pressure, now: Nanos) {
        let _ = (pressure, now);
    }

    /// Connections that nobody wants to see more of since this was asked last.
    fn take_opaque(&mut self) -> Vec<SocketId>;

    /// Ports of collectors, to which HTTP/2 is to be captured, since this was asked last.
    fn take_collector_ports(&mut self) -> Vec<u16>;

    /// Nothing more comes; delivers what is left.
    ///
    /// # Errors
    /// It cannot be delivered.
    fn finish(&mut self, now: Nanos) -> anyhow::Result<()>;
}

/// Observes this machine until SIGTERM or SIGINT. The settings are read again on SIGHUP and when their
/// file changes; where there is none SIGHUP ends it as well, since it tells that the terminal is gone.
///
/// # Errors
/// It cannot work here, a selector matches nothing that exists, or the output cannot be written.
pub fn run_live(settings: LiveSettings, reload: Option<Reload>) -> anyhow::Result<()> {
    let runtime = output::runtime()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new(reload).context("cannot handle signals")?
    };
    let pods = match &settings.selection {
        Selection::Matching(Selectors {
            pods: Some(pods), ..
        }) => Some(PodWatch::prepare(pods, &runtime)?),
        _ => None,
    };
    // Before anything is written or sent: what cannot attach must leave nothing behind.
    let (mut live, attached) = Live::start(&settings.capture, settings.selection.clone())?;
    let consumer: Box<dyn Consumer> = match &settings.target {
        LiveTarget::Spans(spans) => Box::new(SpanMaker::start(
            spans,
            settings.capture.max_connections,
            rand::rng().next_u64(),
            WhenFull::Drop,
            &runtime,
        )?),
        LiveTarget::Recording(recording) => Box::new(Recorder::create(recording)?),
    };
    let bell = live.bell().context("cannot wait for the ring buffer")?;
    let watches = match pods {
        Some(pods) => pods.start(&mut live, &runtime)?,
        None => Watches::default(),
    };
    let status = Arc::new(Status::new(monotonic(), watches));
    if let Some(listen) = settings.listen {
        let serving = server::serve(listen, Arc::clone(&status));
        runtime.spawn(runtime.block_on(serving)?);
    }
    announce(&attached);

    let wishes = Arc::new(Wishes::default());
    let (ended, mut has_ended) = oneshot::channel();
    let worker = {
        let wishes = Arc::clone(&wishes);
        let stats = settings.stats;
        let memory = Memory::new(settings.memory_limit);
        thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || {
                let result = work(live, consumer, memory, &status, &wishes, stats);
                // Nobody listens any more where the end was asked for.
                let _ = ended.send(());
                result
            })
            .context("cannot start a thread")?
    };
    runtime.block_on(signals.serve(&wishes, &bell, &mut has_ended));
    let result = worker
        .join()
        .map_err(|_| anyhow!("the pipeline stopped: this is a defect; please report it"))?;
    // Everything was flushed; what still runs waits for a collector that does not answer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// What the signals ask of the worker.
#[derive(Debug, Default)]
struct Wishes {
    stop: AtomicBool,
    stats: AtomicBool,
    /// Settings that were read again.
    reloaded: Mutex<Option<Reloaded>>,
}

struct Signals {
    terminate: UnixSignal,
    interrupt: UnixSignal,
    user1: UnixSignal,
    hangup: UnixSignal,
    reloader: Option<Reloader>,
}

impl Signals {
    fn new(reload: Option<Reload>) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            reloader: reload.map(Reloader::new),
        })
    }

    /// Hands wishes on until the end is asked for or the worker ended by itself.
    async fn serve(&mut self, wishes: &Wishes, bell: &Bell, ended: &mut oneshot::Receiver<()>) {
        let reload = |reloader: &mut Reloader, why| {
            if let Some(reloaded) = reloader.read(why) {
                *locked(&wishes.reloaded) = Some(reloaded);
                bell.ring();
            }
        };
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = &mut *ended => return,
                _ = self.hangup.recv() => match &mut self.reloader {
                    Some(reloader) => reload(reloader, "SIGHUP asked for it"),
                    None => break,
                },
                reloader = changed(&mut self.reloader) => reload(reloader, "its file has changed"),
                _ = self.user1.recv() => {
                    wishes.stats.store(true, Ordering::Release);
                    bell.ring();
                }
            }
        }
        wishes.stop.store(true, Ordering::Release);
        bell.ring();
    }
}

/// Waits until a file of the settings has changed: without end where there is none.
async fn changed(reloader: &mut Option<Reloader>) -> &mut Reloader {
    match reloader {
        Some(reloader) => {
            reloader.changed().await;
            reloader
        }
        None => std::future::pending().await,
    }
}

/// What is in it is replaced whole, so a panic elsewhere cannot have left it half-done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worker: reads the kernel's records and pushes them through.
fn work(
    mut front_end: impl FrontEnd,
    mut consumer: Box<dyn Consumer>,
    mut memory: Memory,
    status: &Status,
    wishes: &Wishes,
    stats: Option<StatsFormat>,
) -> anyhow::Result<()> {
    let print = |format, sources: &[&dyn Counters]| {
        output::print_stats(format, &status.counters(sources));
    };
    let mut events = Vec::with_capacity(BATCH);
    let result = loop {
        let is_last_round = wishes.stop.load(Ordering::Acquire);
        let may_have_more = match drain(&mut front_end, &mut *consumer, &mut events) {
            Ok(may_have_more) => may_have_more,
            Err(error) => break Err(error),
        };
        if let Some(reloaded) = locked(&wishes.reloaded).take() {
            memory.set_limit(reloaded.memory_limit);
        }
        memory.tidy(monotonic());
        if let Some(pressure) = memory.look(monotonic()) {
            consumer.relieve(pressure, monotonic());
        }
        let sources: [&dyn Counters; 3] = [&front_end, &*consumer, &memory];
        status.round_ended(monotonic(), &sources);
        if wishes.stats.swap(false, Ordering::AcqRel) {
            print(stats.unwrap_or(StatsFormat::Text), &sources);
        }
        if is_last_round {
            break consumer.finish(monotonic());
        }
        if !may_have_more {
            front_end.wait();
        }
    };
    if let Some(format) = stats {
        print(format, &[&front_end, &*consumer, &memory]);
    }
    result
}

/// Pushes what is in the ring through; true if there may be more.
fn drain(
    front_end: &mut impl FrontEnd,
    consumer: &mut dyn Consumer,
    events: &mut Vec<Event>,
) -> anyhow::Result<bool> {
    for _ in 0..BATCHES {
        // Before reading: what is read afterwards may be later, never earlier.
        let now = monotonic();
        let may_have_more = front_end.read(BATCH, events);
        for event in events.drain(..) {
            consumer.push(&event)?;
        }
        for socket in consumer.take_opaque() {
            front_end.mute(socket);
        }
        for port in consumer.take_collector_ports() {
            front_end.capture_http2_to(port);
        }
        if !may_have_more {
            consumer.tick(now)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn announce(attached: &[Attached]) {
    let mut count = 0;
    for one in attached {
        match &one.outcome {
            Ok(_) => count += 1,
            Err(failure) => tracing::warn!(
                "{} is not attached, so {}: {failure}",
                one.program.hook,
                one.program.why
            ),
        }
    }
    eprintln!(
        "kaos-agent: ready, {count} of {} programs attached",
        attached.len()
    );
}
