//! What agents do: the requests that give them work, and what they do for them.
//!
//! A served request becomes a run if it gives work to an agent: by the Agent2Agent protocol, or as a
//! chat with a process that is an agent. A process is one if its environment says so
//! (`AGENT_NAME`), or if for a chat request it once did more than pass it on to a model: called
//! tools, or asked the model something of its own. Until that is seen, its calls wait for their
//! place, at most until the request is answered; if it is never seen, the process is a model's
//! server, and they are the calls that it makes upstream.
//!
//! ```text
//! exchange (SERVER) ── loop ─┬─ step 1 ─┬─ model call
//!                            │          └─ tool ── tools/call and its session
//!                            └─ step 2 ─┬─ model call
//!                                       └─ delegation
//! ```
//!
//! Only calls of known cause belong to a run. Others are told by themselves.

mod asked;
mod batch;
mod call;
mod destinations;
mod recognise;
mod run;
mod tools;
mod tracing;
mod upstream;

use std::collections::VecDeque;
use std::sync::Arc;

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use self::batch::{Batch, Batches, is_batch};
pub use self::call::{Forwarded, Outgoing};
use self::call::{Kind, called_tool, is_chat};
use self::destinations::{Destination, Destinations, name_by_host, tool_server};
use self::recognise::{does_more, part_alone};
use self::run::Run;
use self::tools::{ToolCall, Tools};
pub use self::tracing::Tracing;
use self::upstream::Upstream;
use crate::capture::event::Pid;
use crate::exchanges::exchange::{ConnectFailure, Exchange, ExchangeId, Request, Role};
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::a2a::A2aKind;
use crate::identity::service::Service;
use crate::runs::part::{ModelPart, Part, ToolPart};
use crate::runs::span::Subject;
use crate::runs::telling::Telling;
use crate::runs::traces::{Above, REMEMBERED_FOR};
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// Calls that wait until it is known what the process is. More are never an agent's, which acts on
/// the answers.
const MAX_UNDECIDED_CALLS: usize = 64;

/// Processes that are remembered as agents without being marked as such. The workers of a node's
/// agents are fewer.
const MAX_PROCESSES: usize = 4_096;

/// All runs, and what may become one.
#[derive(Debug, Default)]
pub struct Agents {
    /// Served requests that ask for an answer, in the order in which they came.
    served: LinkedHashMap<ExchangeId, Served, FxBuildHasher>,
    /// Calls that are not over, and what they are made for.
    calls: FxHashMap<ExchangeId, ExchangeId>,
    /// Uses of tools by agents for what is not known.
    alone: FxHashMap<ExchangeId, Tools>,
    batches: Batches,
    /// Processes that showed themselves as agents.
    processes: FxHashSet<Pid>,
    destinations: Destinations,
    /// Served requests that are answered, and until when they are remembered.
    answered: VecDeque<(Nanos, ExchangeId)>,
}

#[derive(Debug)]
struct Served {
    pid: Pid,
    service: Arc<Service>,
    operation: Arc<Operation>,
    work: Work,
    /// It is responded to, or over.
    is_answered: bool,
}

/// What a process does for a request.
#[derive(Debug)]
enum Work {
    /// Not known yet; the calls so far.
    Undecided(Vec<Outgoing>),
    /// It passes it on to a model, or is one.
    Completion(Upstream),
    /// A run.
    Run(Box<Run>),
}

impl Agents {
    /// Requests and calls that are remembered.
    #[cfg(test)]
    #[must_use]
    pub fn kept(&self) -> usize {
        self.served.len()
            + self.calls.len()
            + self.alone.len()
            + self.batches.kept()
            + self.answered.len()
    }

    /// A request is served, and what it asks for is known. Decides what it is.
    pub fn served(
        &mut self,
        request: &Request,
        operation: Option<&Arc<Operation>>,
        tracing: &mut Tracing<'_>,
    ) {
        let id = request.id;
        let Some((service, telling)) = tracing.traces.service_of(id) else {
            return;
        };
        let (Some(operation), false) = (operation, telling == Telling::Nothing) else {
            return;
        };
        let service = Arc::clone(service);
        let work = match &**operation {
            Operation::Model(model) if !is_chat(model.api) => Work::Completion(Upstream::default()),
            Operation::Model(_) if !self.is_agent(&service, request.actor.pid) => {
                Work::Undecided(Vec::new())
            }
            Operation::Model(_) => Work::Run(Box::new(Run::begin(id, &service, tracing))),
            Operation::A2a(a2a) if a2a.kind == A2aKind::Send => {
                Work::Run(Box::new(Run::begin(id, &service, tracing)))
            }
            Operation::Mcp(mcp) if is_batch(mcp) => return self.batches.served(id, &service),
            Operation::Mcp(mcp) => {
                if let Some(tool) = called_tool(mcp) {
                    let part = ToolPart {
                        tool: tool.to_owned(),
                        ..ToolPart::default()
                    };
                    tracing.traces.set_part(id, Part::ToolCall(part));
                }
                return;
            }
            Operation::A2a(_) | Operation::AgentCard => return,
        };
        if let Work::Completion(_) = work {
            let part = Part::Model(ModelPart::default());
            tracing.traces.set_part(id, part);
        }
        let served = Served {
            pid: request.actor.pid,
            service,
            operation: Arc::clone(operation),
            work,
            is_answered: false,
        };
        self.served.insert(id, served);
    }

    /// A served request is responded to, or over.
    pub fn answered(&mut self, id: ExchangeId) {
        if let Some(served) = self.served.get_mut(&id) {
            served.is_answered = true;
        }
    }

    /// The calls for this served request are to be told in their order, as they are steps, and all of
    /// them are known only when it is responded to.
    #[must_use]
    pub fn wants_order(&self, by: ExchangeId) -> bool {
        self.served.get(&by).is_some_and(|served| {
            !served.is_answered && !matches!(served.work, Work::Completion(_))
        })
    }

    /// A call was caused by this served request: gives it its place.
    pub fn caused(&mut self, outgoing: Outgoing, by: ExchangeId, tracing: &mut Tracing<'_>) {
        if !outgoing.has_meaning {
            self.leave_to_sdk(by, tracing);
            return tracing.put(outgoing.id(), Above::Span(by.into()));
        }
        let Some(served) = self.served.get_mut(&by) else {
            return self.alone(&outgoing, Above::Span(by.into()), tracing);
        };
        let kind = outgoing.kind(&served.service.agent, &mut self.destinations);
        match &mut served.work {
            Work::Undecided(calls) => {
                let is_agent = does_more(&outgoing, &kind, &served.operation, calls, tracing);
                calls.push(outgoing);
                if is_agent {
                    self.begin_run(by, tracing);
                } else if calls.len() > MAX_UNDECIDED_CALLS {
                    self.pass_on(by, tracing);
                }
            }
            Work::Completion(_) if outgoing.is_batch() => {
                let batch = Batch {
                    service: Arc::clone(&served.service),
                    in_agent: false,
                };
                let above = Above::Span(by.into());
                self.batches.sent(&outgoing, batch, above, tracing);
            }
            Work::Completion(upstream) => {
                let is_model = matches!(kind, Kind::Model | Kind::OtherModel);
                let part = if is_model {
                    let model = outgoing.model().and_then(|model| model.model.clone());
                    let resends = upstream.call(outgoing.id(), model);
                    Part::Model(ModelPart {
                        resends,
                        ..ModelPart::default()
                    })
                } else {
                    part_alone(&outgoing, &kind, &served.service, false)
                };
                let held = tracing.traces.held(outgoing.id()).cloned();
                tracing.put_as(outgoing.id(), part, by);
                self.note(&outgoing, &kind, by, held.as_ref(), tracing);
            }
            Work::Run(run) => {
                let held = tracing.traces.held(outgoing.id()).cloned();
                run.call(&outgoing, kind.clone(), tracing);
                self.note(&outgoing, &kind, by, held.as_ref(), tracing);
            }
        }
    }

    /// A call whose cause is not known, or is nothing that is followed here: gives it its place.
    pub fn alone(&mut self, outgoing: &Outgoing, above: Above, tracing: &mut Tracing<'_>) {
        let id = outgoing.id();
        let Some((service, telling)) = tracing.traces.service_of(id) else {
            return;
        };
        if telling == Telling::Nothing || !outgoing.has_meaning {
            return tracing.put(id, above);
        }
        let service = Arc::clone(service);
        let in_agent = self.is_agent(&service, outgoing.call.actor.pid);
        if outgoing.is_batch() {
            let batch = Batch { service, in_agent };
            return self.batches.sent(outgoing, batch, above, tracing);
        }
        let kind = outgoing.kind(&service.agent, &mut self.destinations);
        if let (Kind::Tool { name }, true) = (&kind, in_agent) {
            return self.tool_alone(outgoing, name, &service, above, tracing);
        }
        let part = part_alone(outgoing, &kind, &service, in_agent);
        tracing.traces.set_part(id, part);
        tracing.put(id, above);
    }

    /// An exchange is over. What it is must be decided by now. `has_meaning`: what it means is told
    /// here, and not by an SDK in the process.
    pub fn ending(
        &mut self,
        exchange: &Arc<Exchange>,
        has_meaning: bool,
        tracing: &mut Tracing<'_>,
    ) {
        let id = exchange.request.id;
        if !has_meaning {
            self.batches.forget(id);
            self.leave_to_sdk(id, tracing);
        }
        if let Some(served) = self.served.get(&id)
            && let Work::Undecided(_) = served.work
        {
            self.pass_on(id, tracing);
        }
    }

    /// An exchange is over, and was told so to the traces.
    pub fn ended(&mut self, exchange: &Arc<Exchange>, now: Nanos, tracing: &mut Tracing<'_>) {
        let id = exchange.request.id;
        self.learn(exchange);
        self.batches.ended(exchange, tracing);
        if let Some(served) = self.served.get_mut(&id) {
            if let Work::Run(run) = &mut served.work {
                run.end(exchange, tracing);
            }
            self.answered
                .push_back((now.saturating_add(REMEMBERED_FOR), id));
        } else if let Some(by) = self.calls.remove(&id) {
            self.call_ended(exchange, by, tracing);
        } else if let Some(mut tools) = self.alone.remove(&id) {
            tools.ended(exchange, tracing);
            tools.finish(tracing);
        }
    }

    /// A process is gone.
    pub fn exited(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }

    /// Time goes by.
    pub fn advance(&mut self, now: Nanos, tracing: &mut Tracing<'_>) {
        while let Some((until, id)) = self.answered.front().copied()
            && until <= now
        {
            self.answered.pop_front();
            self.forget(id, tracing);
        }
    }

    /// An exchange is not known any more.
    pub fn forget(&mut self, id: ExchangeId, tracing: &mut Tracing<'_>) {
        self.calls.remove(&id);
        self.batches.forget(id);
        if let Some(mut tools) = self.alone.remove(&id) {
            tools.finish(tracing);
        }
        match self.served.remove(&id).map(|served| served.work) {
            Some(Work::Run(run)) => run.forget(tracing),
            Some(Work::Undecided(calls)) => {
                for outgoing in calls {
                    self.alone(&outgoing, Above::Nothing, tracing);
                }
            }
            Some(Work::Completion(_)) | None => {}
        }
    }

    /// The agent stops, and every exchange has ended.
    pub fn finish(&mut self, tracing: &mut Tracing<'_>) {
        while let Some((&id, _)) = self.served.front() {
            self.forget(id, tracing);
        }
        for (_, mut tools) in self.alone.drain() {
            tools.finish(tracing);
        }
    }

    fn is_agent(&self, service: &Service, pid: Pid) -> bool {
        service.agent.name.is_some() || self.processes.contains(&pid)
    }

    /// What a request means turns out to be told by an SDK in the process. A run that began goes on
    /// to its end.
    fn leave_to_sdk(&mut self, id: ExchangeId, tracing: &mut Tracing<'_>) {
        let is_untouched = match self.served.get(&id).map(|served| &served.work) {
            Some(Work::Run(run)) => run.is_untouched(),
            Some(Work::Undecided(_)) => true,
            Some(Work::Completion(_)) | None => false,
        };
        if !is_untouched {
            return;
        }
        match self.served.remove(&id).map(|served| served.work) {
            Some(Work::Run(run)) => run.take_back(tracing),
            Some(Work::Undecided(calls)) => {
                for outgoing in calls {
                    tracing.put(outgoing.id(), Above::Span(id.into()));
                }
            }
            Some(Work::Completion(_)) | None => {}
        }
    }

    /// The process showed itself as an agent.
    fn begin_run(&mut self, by: ExchangeId, tracing: &mut Tracing<'_>) {
        let Some(served) = self.served.get_mut(&by) else {
            return;
        };
        let run = Box::new(Run::begin(by, &served.service, tracing));
        let Work::Undecided(calls) = std::mem::replace(&mut served.work, Work::Run(run)) else {
            return;
        };
        if self.processes.len() < MAX_PROCESSES {
            self.processes.insert(served.pid);
        }
        for outgoing in calls {
            self.caused(outgoing, by, tracing);
        }
    }

    /// The process passes the request on to a model, or is one.
    fn pass_on(&mut self, by: ExchangeId, tracing: &mut Tracing<'_>) {
        let Some(served) = self.served.get_mut(&by) else {
            return;
        };
        let work = Work::Completion(Upstream::default());
        let Work::Undecided(calls) = std::mem::replace(&mut served.work, work) else {
            return;
        };
        let part = Part::Model(ModelPart::default());
        tracing.traces.set_part(by, part);
        for outgoing in calls {
            self.caused(outgoing, by, tracing);
        }
    }

    /// Remembers what a call is made for, or tells its end if that was before its cause was known.
    fn note(
        &mut self,
        outgoing: &Outgoing,
        kind: &Kind,
        by: ExchangeId,
        held: Option<&Subject>,
        tracing: &mut Tracing<'_>,
    ) {
        match held {
            Some(Subject::Exchange(exchange)) => self.call_ended(exchange, by, tracing),
            Some(Subject::ConnectFailure(failure)) => self.call_failed(failure, kind, by, tracing),
            _ => {
                self.calls.insert(outgoing.id(), by);
            }
        }
    }

    fn call_ended(&mut self, exchange: &Exchange, by: ExchangeId, tracing: &mut Tracing<'_>) {
        match self.served.get_mut(&by).map(|served| &mut served.work) {
            Some(Work::Run(run)) => run.call_ended(exchange, tracing),
            Some(Work::Completion(upstream)) if upstream.latest == Some(exchange.request.id) => {
                let verdict = Verdict::of_model_call(exchange);
                upstream.has_failed = matches!(verdict, Verdict::Failed { .. });
            }
            _ => {}
        }
    }

    fn call_failed(
        &mut self,
        failure: &ConnectFailure,
        kind: &Kind,
        by: ExchangeId,
        tracing: &mut Tracing<'_>,
    ) {
        match self.served.get_mut(&by).map(|served| &mut served.work) {
            Some(Work::Run(run)) => run.connect_failed(failure, kind, tracing),
            Some(Work::Completion(upstream)) if upstream.latest == Some(failure.id) => {
                upstream.has_failed = true;
            }
            _ => {}
        }
    }

    /// The use of a tool by an agent for what is not known.
    fn tool_alone(
        &mut self,
        outgoing: &Outgoing,
        name: &str,
        service: &Arc<Service>,
        above: Above,
        tracing: &mut Tracing<'_>,
    ) {
        let request = outgoing.request.as_deref();
        let call = ToolCall {
            tool: name.to_owned(),
            call_id: None,
            server: request.and_then(|request| tool_server(request, &service.agent)),
        };
        let held = tracing.traces.held(outgoing.id()).cloned();
        let mut tools = Tools::default();
        tools.call(outgoing, call, service, above, Nanos::MAX, tracing);
        match held {
            Some(Subject::Exchange(exchange)) => {
                tools.ended(&exchange, tracing);
                tools.finish(tracing);
            }
            _ => {
                self.alone.insert(outgoing.id(), tools);
            }
        }
    }

    /// Learns what is behind the address that a call went to.
    fn learn(&mut self, exchange: &Exchange) {
        let request = &exchange.request;
        if request.role != Role::Client || exchange.response.is_none() {
            return;
        }
        let status = exchange.response.as_ref().map(|response| response.status);
        let destination = match exchange.operation.as_deref() {
            Some(Operation::Mcp(_)) => Destination::Tools,
            Some(Operation::Model(_)) => Destination::Model,
            Some(Operation::AgentCard) if status == Some(200) => {
                Destination::Peer(name_by_host(request))
            }
            Some(Operation::A2a(_) | Operation::AgentCard) | None => return,
        };
        self.destinations.learn(request.endpoints, destination);
    }
}
