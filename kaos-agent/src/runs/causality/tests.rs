mod after;

use std::sync::Arc;

use super::contexts::Contexts;
use super::*;
use crate::capture::event::{ContextChange, Endpoints, Label};
use crate::exchanges::exchange::{ConnectFailure, Outcome};
use crate::runs::polls::REPEATED;
use crate::runs::testing::RequestBuilder;

const PID: Pid = 1;
/// The thread of the event loop, on which all happens that has a context.
const LOOP: u32 = 10;
const MAIN: u64 = 100;

/// A process whose every step takes a nanosecond. Contexts are numbers; request `n` has the
/// connection `n` unless it says otherwise.
#[derive(Default)]
struct Script {
    source: Causality,
    now: Nanos,
    calls: u64,
}

fn context(name: u64) -> Actor {
    actor(LOOP, Label::Context(name))
}

fn thread(tid: u32) -> Actor {
    actor(tid, Label::Thread)
}

fn actor(tid: u32, label: Label) -> Actor {
    Actor {
        pid: PID,
        tid,
        label,
    }
}

fn served(id: u64) -> RequestBuilder {
    let connection = u16::try_from(id).expect("a small number");
    RequestBuilder::get("/")
        .id(id)
        .pid(PID)
        .socket(id)
        .connection(connection)
}

impl Script {
    fn step(&mut self) -> Nanos {
        self.now += 1;
        self.now
    }

    fn receive(&mut self, id: u64, by: Actor) {
        self.receive_on(id, id, by);
    }

    fn receive_on(&mut self, socket: u64, id: u64, by: Actor) {
        let at = self.step();
        let request = served(id).socket(socket).position(at).moved_by(by).at(at);
        let event = ExchangeEvent::Started(Arc::new(request.build()));
        self.source.observe(&event);
    }

    fn copy(&mut self, context: u64, of: u64) {
        self.made(context, Label::Context(of));
    }

    fn made(&mut self, context: u64, origin: Label) {
        self.contexts(ContextChange::Made { context, origin });
    }

    fn contexts(&mut self, change: ContextChange) {
        let at = self.step();
        self.source.context(&ContextEvent {
            at,
            pid: PID,
            tid: LOOP,
            change,
        });
    }

    fn respond(&mut self, id: u64, by: Actor) {
        let at = self.step();
        self.source.observe(&ExchangeEvent::Responding {
            id: ExchangeId(id),
            at,
            actor: by,
        });
    }

    fn end(&mut self, id: u64) {
        let at = self.step();
        let ended = served(id).unanswered(Outcome::ClientClosed, at);
        self.source.observe(&ExchangeEvent::Ended(Box::new(ended)));
    }

    fn call(&mut self, by: Actor) -> Call {
        self.calls += 1;
        let at = self.step();
        let id = 1_000 + self.calls;
        let request = RequestBuilder::get("http://polled/").client().id(id);
        let request = request.connection(1_000);
        let request = request.position(id).moved_by(by).at(at).build();
        self.source
            .observe(&ExchangeEvent::Started(Arc::new(request.clone())));
        Call::of(&request)
    }

    /// A connect that began at `at` failed.
    fn connect_failed(&mut self, by: Actor, at: Nanos) -> Call {
        self.calls += 1;
        let failure = ConnectFailure {
            id: ExchangeId(1_000 + self.calls),
            actor: by,
            endpoints: Endpoints::Unknown,
            at,
            failed_at: self.step(),
            errno: 111,
        };
        let call = Call::failed(&failure);
        self.source.observe(&ExchangeEvent::ConnectFailed(failure));
        call
    }

    fn cause(&self, call: Call) -> Cause {
        self.source.cause(&call)
    }

    fn cause_of_call(&mut self, by: Actor) -> Cause {
        let call = self.call(by);
        self.cause(call)
    }
}

fn known(id: u64) -> Cause {
    Cause::Known(ExchangeId(id))
}

#[test]
fn what_is_copied_from_the_receiver_is_known_at_once() {
    let mut script = Script::default();
    // Both connections' protocols run in contexts of their own; their tasks are copies of those.
    for id in [1, 2] {
        script.copy(10 + id, MAIN);
    }
    for id in [1, 2] {
        script.receive(id, context(10 + id));
        script.copy(20 + id, 10 + id);
    }
    script.copy(31, 21);
    assert_eq!(script.cause_of_call(context(22)), known(2));
    assert_eq!(script.cause_of_call(context(31)), known(1));
    assert_eq!(script.cause_of_call(context(21)), known(1));
}

#[test]
fn who_responds_has_served() {
    let mut script = Script::default();
    // Each connection has a task that is not copied from what receives.
    for id in [1, 2] {
        script.copy(10 + id, MAIN);
        script.copy(20 + id, MAIN);
    }
    for id in [1, 2] {
        script.receive(id, context(10 + id));
    }
    for id in [1, 2] {
        script.copy(30 + id, 20 + id);
        script.copy(40 + id, 30 + id);
        script.copy(50 + id, 30 + id);
    }
    let calls = [51, 52].map(|name| script.call(context(name)));
    assert_eq!(calls.map(|call| script.cause(call)), [Cause::NotYet; 2]);
    // The writer is a sibling of the caller.
    script.respond(2, context(42));
    assert_eq!(script.cause(calls[0]), Cause::NotYet);
    assert_eq!(script.cause(calls[1]), known(2));
    script.respond(1, context(41));
    assert_eq!(script.cause(calls[0]), known(1));
    // A stream goes on after its first byte.
    assert_eq!(script.cause_of_call(context(51)), known(1));
}

#[test]
fn later_requests_of_a_connection_are_known_at_once() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.copy(21, MAIN);
    script.receive(1, context(11));
    script.copy(31, 21);
    script.respond(1, context(31));
    script.end(1);
    script.receive_on(1, 2, context(11));
    script.copy(32, 21);
    assert_eq!(script.cause_of_call(context(32)), known(2));
    // Of another connection's request nothing is known, so it may be its task.
    script.receive(3, context(13));
    script.copy(33, 21);
    assert_eq!(script.cause_of_call(context(33)), Cause::NotYet);
}

#[test]
fn a_task_of_a_connection_serves_one_request_after_the_other() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.copy(21, MAIN);
    script.receive(1, context(11));
    let first = script.call(context(21));
    script.copy(71, 21);
    assert_eq!(script.cause(first), Cause::NotYet);
    script.respond(1, context(21));
    assert_eq!(script.cause(first), known(1));
    assert_eq!(script.cause_of_call(context(71)), known(1));
    script.end(1);
    script.receive_on(1, 2, context(11));
    assert_eq!(script.cause_of_call(context(21)), known(2));
    // What the first request left running is not the second's.
    assert_ne!(script.cause_of_call(context(71)), known(2));
}

#[test]
fn an_address_that_is_used_again_inherits_nothing() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.receive(1, context(11));
    script.copy(21, 11);
    script.copy(22, 11);
    assert_eq!(script.cause_of_call(context(21)), known(1));
    // The context is freed, and its address is that of a copy of the main one.
    script.copy(21, MAIN);
    assert_ne!(script.cause_of_call(context(21)), known(1));
    // Or of an empty one, which is a copy of none.
    script.made(22, Label::Unknown);
    assert_ne!(script.cause_of_call(context(22)), known(1));
    // Its copies descend from the new one.
    script.copy(31, 22);
    assert_ne!(script.cause_of_call(context(31)), known(1));
    script.respond(1, context(99));
    assert_eq!(script.cause_of_call(context(31)), Cause::Unknown);
}

/// A worker of a pool that was started in one request's context, as threads of 3.14 may be.
#[test]
fn a_thread_does_not_work_for_who_started_it() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.receive(1, context(11));
    script.copy(21, 11);
    let own = actor(13, Label::ThreadsOwn(21));
    assert_ne!(script.cause_of_call(own), known(1));
    // Nor does what is copied from it, or what it ran in before it was known to be a thread's.
    script.made(31, Label::ThreadsOwn(21));
    assert_ne!(script.cause_of_call(context(31)), known(1));
    assert_ne!(script.cause_of_call(context(21)), known(1));
    script.respond(1, context(11));
    assert_eq!(script.cause_of_call(own), Cause::Unknown);
    // What it receives itself it serves.
    let server = actor(14, Label::ThreadsOwn(22));
    script.copy(22, MAIN);
    script.receive(2, server);
    assert_eq!(script.cause_of_call(server), known(2));
}

#[test]
fn a_call_that_waits_keeps_its_place_when_the_address_is_used_again() {
    let mut script = Script::default();
    script.receive(1, context(11));
    script.receive(2, context(12));
    script.copy(31, MAIN);
    let call = script.call(context(31));
    script.copy(31, 5);
    script.respond(2, context(31));
    assert_eq!(script.cause(call), Cause::NotYet);
    assert_eq!(script.cause_of_call(context(31)), known(2));
}

#[test]
fn a_connect_that_failed_belongs_to_who_connected() {
    let mut script = Script::default();
    for id in [1, 2] {
        script.copy(10 + id, MAIN);
        script.receive(id, context(10 + id));
        script.copy(20 + id, 10 + id);
    }
    for id in [2, 1] {
        let began = script.step();
        let call = script.connect_failed(context(20 + id), began);
        assert_eq!(script.cause(call), known(id));
    }
    // What has its name now is another one.
    let began = script.step();
    script.copy(22, 11);
    let call = script.connect_failed(context(22), began);
    assert_eq!(script.cause(call), Cause::Unknown);
}

#[test]
fn threads_serve_what_they_receive() {
    let mut script = Script::default();
    script.receive(1, thread(11));
    script.receive(2, thread(12));
    assert_eq!(script.cause_of_call(thread(12)), known(2));
    assert_eq!(script.cause_of_call(thread(11)), known(1));
    // One that received nothing may do anything for anybody.
    let elsewhere = script.call(thread(13));
    assert_eq!(script.cause(elsewhere), Cause::NotYet);
    script.respond(1, thread(11));
    script.end(1);
    // The same thread, or another one with its number.
    script.receive(3, thread(11));
    assert_eq!(script.cause_of_call(thread(11)), known(3));
    script.respond(2, thread(12));
    script.respond(3, thread(11));
    assert_eq!(script.cause(elsewhere), Cause::Unknown);
}

#[test]
fn a_thread_that_receives_several_at_a_time_says_nothing() {
    let mut script = Script::default();
    script.receive(1, thread(11));
    script.receive(2, thread(11));
    let call = script.call(thread(11));
    assert_eq!(script.cause(call), Cause::NotYet);
    script.respond(1, thread(11));
    script.respond(2, thread(11));
    assert_eq!(script.cause(call), Cause::Unknown);
    script.end(1);
    script.end(2);
    assert_eq!(script.source.counters().places_of_several, 1);
}

/// uvloop receives all that is encrypted in one context.
#[test]
fn a_place_that_receives_several_is_not_looked_through() {
    let mut script = Script::default();
    for id in 1..=2 {
        script.receive(id, context(MAIN));
    }
    for id in 3..=100 {
        script.receive(id, context(MAIN));
        script.end(id);
    }
    assert_eq!(script.source.processes[&PID].len_at_places(), 2);
    assert_eq!(script.cause_of_call(context(MAIN)), Cause::NotYet);
}

#[test]
fn a_writer_of_all_responses_says_nothing() {
    let mut script = Script::default();
    script.receive(1, context(11));
    script.receive(2, context(12));
    let calls = [script.call(context(MAIN)), script.call(context(MAIN))];
    script.respond(1, context(MAIN));
    assert_eq!(calls.map(|call| script.cause(call)), [Cause::NotYet; 2]);
    script.respond(2, context(MAIN));
    assert_eq!(calls.map(|call| script.cause(call)), [Cause::Unknown; 2]);
}

#[test]
fn nobody_waits_for_a_response_that_never_comes() {
    let mut script = Script::default();
    script.receive(1, context(11));
    script.receive(2, context(12));
    script.copy(22, 12);
    script.respond(2, context(22));
    let call = script.call(context(MAIN));
    assert_eq!(script.cause(call), Cause::NotYet);
    script.end(1);
    assert_eq!(script.cause(call), Cause::Unknown);
}

#[test]
fn what_was_made_unseen_is_unknown() {
    let mut script = Script::default();
    script.receive(1, context(11));
    script.copy(21, 11);
    script.contexts(ContextChange::Unseen);
    let call = script.call(context(21));
    assert_eq!(script.cause(call), Cause::NotYet);
    script.respond(1, context(31));
    assert_eq!(script.cause(call), Cause::Unknown);
}

#[test]
fn where_nothing_is_known_one_in_flight_decides() {
    let mut script = Script::default();
    script.receive(1, actor(11, Label::Unknown));
    assert_eq!(script.cause_of_call(actor(12, Label::Unknown)), known(1));
    script.receive(2, actor(11, Label::Unknown));
    assert_eq!(
        script.cause_of_call(actor(12, Label::Unknown)),
        Cause::Unknown
    );
}

#[test]
fn what_calls_while_nothing_is_served_has_no_cause() {
    let mut script = Script::default();
    assert_eq!(script.cause_of_call(context(MAIN)), Cause::Nothing);
    script.receive(1, context(11));
    script.respond(1, context(11));
    script.end(1);
    assert_eq!(script.cause_of_call(context(MAIN)), Cause::Nothing);
}

fn made(contexts: &mut Contexts, context: u64, origin: Label) {
    contexts.push(&ContextEvent {
        at: 1,
        pid: PID,
        tid: LOOP,
        change: ContextChange::Made { context, origin },
    });
}

#[test]
fn contexts_that_are_gone_take_no_room() {
    let mut contexts = Contexts::new(1_000);
    // Tasks that use a few addresses over and over.
    for round in 0..10_000 {
        made(&mut contexts, round % 8, Label::Context(MAIN));
    }
    assert_eq!((contexts.len(), contexts.evicted), (9, 0));
    // A timer that sets itself again: each is a copy of the one before.
    for round in 0..10_000 {
        let origin = Label::Context(round % 2);
        made(&mut contexts, (round + 1) % 2, origin);
    }
    assert!(contexts.len() < 200, "{}", contexts.len());
    assert!(contexts.cut > 0);
    // A thread's own takes nothing of its origin with it.
    made(&mut contexts, 100, Label::Context(0));
    let known = contexts.len();
    contexts.trail(&actor(LOOP, Label::ThreadsOwn(100)));
    assert_eq!(contexts.len(), known);
    contexts.forget(PID);
    assert_eq!(contexts.len(), 0);
}

#[test]
fn contexts_are_bounded() {
    let mut contexts = Contexts::new(100);
    for name in 0..10_000 {
        made(&mut contexts, name, Label::Context(name / 2));
    }
    assert_eq!(contexts.len(), 100);
    assert!(contexts.evicted >= 9_900);
    contexts.forget(PID);
    assert_eq!(contexts.len(), 0);
}

#[test]
fn at_last_what_was_made_since_belongs_to_the_only_request_in_flight() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.copy(12, MAIN);
    script.receive(1, thread(LOOP));
    script.receive(2, thread(LOOP));
    script.end(2);
    script.copy(21, MAIN);
    let (own, background) = (script.call(context(21)), script.call(context(12)));
    assert_eq!(
        (script.cause(own), script.cause(background)),
        (Cause::NotYet, Cause::NotYet)
    );
    assert_eq!(script.source.cause_at_last(&own), known(1));
    assert_eq!(script.source.cause_at_last(&background), Cause::NotYet);
    script.receive(3, thread(LOOP));
    script.copy(22, MAIN);
    let of_two = script.call(context(22));
    assert_eq!(script.source.cause_at_last(&own), known(1));
    assert_eq!(script.source.cause_at_last(&of_two), Cause::NotYet);
}

#[test]
fn what_ran_says_more_than_that_such_a_call_is_polled() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    for _ in 0..REPEATED {
        let poll = script.call(context(11));
        assert_eq!(script.cause(poll), Cause::Nothing);
    }
    script.receive(1, thread(LOOP));
    script.copy(21, MAIN);
    let own = script.call(context(21));
    assert_eq!(script.source.cause_at_last(&own), known(1));
    // Where nothing is known of what ran it says enough.
    let elsewhere = script.call(actor(LOOP, Label::Unknown));
    assert_eq!(script.cause(elsewhere), Cause::Unknown);
}

#[test]
fn what_is_over_is_forgotten() {
    let mut script = Script::default();
    for id in [1, 2] {
        script.copy(11, MAIN);
        script.copy(21, MAIN);
        script.receive(id, context(11));
        let call = script.call(context(21));
        script.respond(id, context(21));
        script.end(id);
        let ended = RequestBuilder::get("/").client().id(call.id.0);
        let ended = ended.unanswered(Outcome::ClientClosed, script.step());
        script
            .source
            .observe(&ExchangeEvent::Ended(Box::new(ended)));
    }
    script.connect_failed(context(21), script.now);
    let exited = |at| ExchangeEvent::ProcessExited { pid: PID, at };
    script.source.observe(&exited(script.now));
    // Three calls, twice each: somebody may ask for their causes. And two requests that were served.
    assert_eq!(script.source.kept(), 8);
    script.source.observe(&exited(script.now + CALL_KEPT));
    assert_eq!(script.source.kept(), 0);
}
