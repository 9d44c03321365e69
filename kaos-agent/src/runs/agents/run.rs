//! One run of an agent: its loop, its steps, and what is done in them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::asked::Asked;
use super::call::{Kind, Outgoing};
use super::destinations::{remote, tool_server};
use super::tools::{FailedAttempt, ToolCall, Tools, tell_unreached, tell_uses};
use super::tracing::Tracing;
use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{ConnectFailure, Exchange, ExchangeId};
use crate::exchanges::llm::ToolResult;
use crate::exchanges::meaning::Reply;
use crate::identity::service::Service;
use crate::runs::part::{ModelPart, Part};
use crate::runs::span::{LocalTool, Loop, Step, Subject};
use crate::runs::traces::{Above, SpanKey};
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// Header in which the clients of OpenAI and Anthropic count their attempts, from 0.
const RETRY_COUNT: &str = "x-stainless-retry-count";

/// Failed attempts to reach a server of tools that are kept of one step.
const MAX_ATTEMPTS: usize = 64;

/// Steps of one run that are remembered after their end, for calls whose cause becomes known late.
/// Runs have a handful; of one with more the oldest are forgotten.
const MAX_PAST: usize = 32;

/// A run that goes on, or is over but for what becomes known late.
#[derive(Debug)]
pub struct Run {
    key: SpanKey,
    served: ExchangeId,
    service: Arc<Service>,
    steps: u32,
    step: Option<StepOfRun>,
    /// Steps that are over, in order.
    past: VecDeque<StepOfRun>,
    tools: Tools,
    is_placed: bool,
    over: Option<Over>,
}

/// How a run ended.
#[derive(Debug)]
struct Over {
    at: Nanos,
    verdict: Verdict,
}

#[derive(Debug)]
struct StepOfRun {
    key: SpanKey,
    number: u32,
    began: Nanos,
    ended: Option<Nanos>,
    /// The model call that counts: the last attempt.
    model: ExchangeId,
    /// What became of it; open while it goes on.
    verdict: Verdict,
    /// Messages that it sends; a second attempt sends as many.
    messages: Option<u64>,
    resends: u32,
    asked: Asked,
    attempts: Vec<FailedAttempt>,
}

impl Run {
    /// A request that gives the agent work is served.
    pub fn begin(served: ExchangeId, service: &Arc<Service>, tracing: &mut Tracing<'_>) -> Self {
        let key = tracing.make(service);
        tracing.traces.set_run(served, key);
        Self {
            key,
            served,
            service: Arc::clone(service),
            steps: 0,
            step: None,
            past: VecDeque::new(),
            tools: Tools::default(),
            is_placed: false,
            over: None,
        }
    }

    /// The agent makes a call for it.
    pub fn call(&mut self, outgoing: &Outgoing, kind: Kind, tracing: &mut Tracing<'_>) {
        let (id, at) = (outgoing.id(), outgoing.at());
        self.place(tracing);
        match kind {
            Kind::Model => self.model_call(outgoing, tracing),
            Kind::OtherModel => {
                let part = Part::Model(ModelPart::default());
                tracing.put_as(id, part, self.above(at));
            }
            Kind::Tool { name } => {
                let step = self.step_at(at);
                let since = step.as_ref().map_or(Nanos::MAX, |step| step.began);
                let call_id = step.and_then(|step| step.asked.tool_seen(&name));
                let request = outgoing.request.as_deref();
                let call = ToolCall {
                    tool: name,
                    call_id,
                    server: request.and_then(|request| tool_server(request, &self.service.agent)),
                };
                let above = Above::Span(self.above(at));
                self.tools
                    .call(outgoing, call, &self.service, above, since, tracing);
            }
            Kind::Session(part) => {
                let above = self.above(at);
                self.tools
                    .session(outgoing, part, &self.service, above, tracing);
            }
            Kind::Delegation { target } => {
                let asked = self.step_at(at).map(|step| &mut step.asked);
                let target = target
                    .or_else(|| asked.as_ref()?.only_peer().map(str::to_owned))
                    .unwrap_or_else(|| outgoing.name_by_host());
                if let Some(asked) = asked {
                    asked.delegation_seen(&target);
                }
                tracing.put_as(id, Part::Delegation { target }, self.above(at));
            }
            Kind::ToolsUnreached | Kind::Plain => tracing.put(id, Above::Span(self.above(at))),
        }
    }

    /// A call of it is over.
    pub fn call_ended(&mut self, exchange: &Exchange, tracing: &mut Tracing<'_>) {
        let id = exchange.request.id;
        if let Some(step) = self.step.as_mut()
            && step.model == id
        {
            step.verdict = Verdict::of_model_call(exchange);
            if let Some(Reply::Model(reply)) = &exchange.reply {
                step.asked.add(&reply.tool_calls);
                self.tools.name_calls(|tool| step.asked.tool_seen(tool));
            }
            return;
        }
        if let Some(attempt) = self.tools.ended(exchange, tracing) {
            self.attempt_failed(attempt, tracing);
        }
        let service = Arc::clone(&self.service);
        let at = exchange.request.at;
        let above = self.above(at);
        let mut step = self.step_at(at);
        let id_of = |tool: &str| step.as_mut()?.asked.tool_seen(tool);
        // Of the first its request tells.
        tell_uses(exchange, 1, &service, above, id_of, tracing);
    }

    /// A connection for one of its calls was not made.
    pub fn connect_failed(
        &mut self,
        failure: &ConnectFailure,
        kind: &Kind,
        tracing: &mut Tracing<'_>,
    ) {
        let verdict = Verdict::failed_with_errno(failure.errno);
        match kind {
            Kind::Model => {
                if let Some(step) = self.step.as_mut()
                    && step.model == failure.id
                {
                    step.verdict = verdict;
                }
            }
            Kind::ToolsUnreached => {
                let attempt = FailedAttempt {
                    began: failure.at,
                    ended: failure.failed_at,
                    verdict,
                    server: self.server_at(failure.endpoints),
                    address: remote(failure.endpoints),
                };
                self.attempt_failed(attempt, tracing);
            }
            _ => {}
        }
    }

    /// The request is answered, or broke off.
    pub fn end(&mut self, exchange: &Arc<Exchange>, tracing: &mut Tracing<'_>) {
        self.place(tracing);
        let verdict = Verdict::of_run(exchange);
        self.close_step(exchange.ended_at, &[], &verdict, tracing);
        self.over = Some(Over {
            at: exchange.ended_at,
            verdict: verdict.clone(),
        });
        let told = Loop {
            exchange: Arc::clone(exchange),
            verdict,
        };
        tracing.end(self.key, Subject::Loop(Box::new(told)));
    }

    /// The loop gets its place when it is certain that it is told: an SDK in the process may show
    /// itself by the first call.
    fn place(&mut self, tracing: &mut Tracing<'_>) {
        if !self.is_placed {
            self.is_placed = true;
            tracing.put(self.key, Above::Span(self.served.into()));
        }
    }

    /// An SDK tells it instead. What was told already stays.
    pub fn take_back(self, tracing: &mut Tracing<'_>) {
        tracing.traces.give_up(self.key);
    }

    /// Nothing was done for it yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        !self.is_placed
    }

    /// Nothing more will be told of it. What is not over is lost, as its request is.
    pub fn forget(mut self, tracing: &mut Tracing<'_>) {
        match self.over.take() {
            // A step that became known after the end of the run.
            Some(Over { at, verdict }) => self.close_step(at, &[], &verdict, tracing),
            None => {
                if let Some(step) = &self.step {
                    tracing.traces.give_up(step.key);
                }
                tracing.traces.give_up(self.key);
            }
        }
        self.tools.finish(tracing);
    }

    fn model_call(&mut self, outgoing: &Outgoing, tracing: &mut Tracing<'_>) {
        let (id, at) = (outgoing.id(), outgoing.at());
        let messages = outgoing.model().map(|model| model.messages);
        let mut part = ModelPart {
            in_agent: true,
            resends: 0,
            configured_model: self.service.agent.model.clone(),
        };
        let latest = self.step.as_ref().or(self.past.back());
        let is_past = latest.is_some_and(|step| at < step.began)
            || self.over.as_ref().is_some_and(|over| over.at < at);
        if is_past {
            // The steps have their numbers already.
            return tracing.put_as(id, Part::Model(part), self.above(at));
        }
        match self.step.as_mut() {
            Some(step) if step.is_tried_again(outgoing, messages) => {
                step.resends += 1;
                step.model = id;
                step.messages = messages.or(step.messages);
                step.verdict = Verdict::Open;
                part.resends = step.resends;
            }
            _ => {
                let results = outgoing
                    .model()
                    .map_or(&[][..], |model| &model.tool_results);
                self.close_step(at, results, &Verdict::Open, tracing);
                self.open_step(outgoing, messages, tracing);
            }
        }
        tracing.put_as(id, Part::Model(part), self.above(at));
    }

    fn open_step(&mut self, outgoing: &Outgoing, messages: Option<u64>, tracing: &mut Tracing<'_>) {
        let key = tracing.make(&self.service);
        tracing.put(key, Above::Span(self.key));
        self.steps = self.steps.saturating_add(1);
        self.step = Some(StepOfRun {
            key,
            number: self.steps,
            began: outgoing.at(),
            ended: None,
            model: outgoing.id(),
            verdict: Verdict::Open,
            messages,
            resends: 0,
            asked: Asked::default(),
            attempts: Vec::new(),
        });
    }

    /// What comes next begins. `run` is what became of the whole run, if it is over.
    fn close_step(
        &mut self,
        at: Nanos,
        results: &[ToolResult],
        run: &Verdict,
        tracing: &mut Tracing<'_>,
    ) {
        self.tools.close(tracing);
        let Some(mut step) = self.step.take() else {
            return;
        };
        let local_tools = self.settle_asked(&mut step, results, tracing);
        let verdict = match (&step.verdict, run) {
            // The run broke off while the model was asked.
            (Verdict::Open, Verdict::Failed { .. }) => run.clone(),
            _ => step.verdict.clone(),
        };
        let ended = at.max(step.began);
        let told = Step {
            number: step.number,
            began: step.began,
            ended,
            verdict,
            local_tools,
        };
        tracing.end(step.key, Subject::Step(Box::new(told)));
        step.ended = Some(ended);
        if self.past.len() == MAX_PAST {
            self.past.pop_front();
        }
        self.past.push_back(step);
    }

    /// Tells what became of the calls that the model asked for and nobody saw.
    fn settle_asked(
        &self,
        step: &mut StepOfRun,
        results: &[ToolResult],
        tracing: &mut Tracing<'_>,
    ) -> Vec<LocalTool> {
        let attempts = &step.attempts;
        let unreached = step.asked.take_unreached(attempts.len(), results);
        for (tool, attempt) in unreached.iter().zip(attempts) {
            tell_unreached(tool, attempt, &self.service, step.key, tracing);
        }
        step.asked.take_local(results)
    }

    /// A server of tools was tried again and again: one attempt, which lasted until now.
    fn attempt_failed(&mut self, attempt: FailedAttempt, tracing: &mut Tracing<'_>) {
        let service = Arc::clone(&self.service);
        let Some(step) = self.step_at(attempt.began) else {
            return;
        };
        let attempts = &mut step.attempts;
        let is_same = |other: &FailedAttempt| other.address == attempt.address;
        match attempts.iter().position(is_same) {
            Some(index) => {
                attempts[index].ended = attempt.ended;
                attempts[index].verdict = attempt.verdict;
            }
            None if attempts.len() < MAX_ATTEMPTS => {
                if step.ended.is_some() {
                    // What the step's other attempts were for was told at its end.
                    for tool in step.asked.take_unreached(1, &[]) {
                        tell_unreached(&tool, &attempt, &service, step.key, tracing);
                    }
                }
                step.attempts.push(attempt);
            }
            None => {}
        }
    }

    fn server_at(&self, endpoints: Endpoints) -> Option<String> {
        let remote = remote(endpoints)?;
        let mut servers = self.service.agent.mcp_servers.iter();
        let server = servers.find(|(_, authority)| authority.is_at(remote));
        server.map(|(name, _)| name.clone())
    }

    /// What a call hangs under that was made then.
    fn above(&mut self, at: Nanos) -> SpanKey {
        let of_run = self.key;
        self.step_at(at).map_or(of_run, |step| step.key)
    }

    /// The step that went on then: not always the latest, as a cause may become known late.
    fn step_at(&mut self, at: Nanos) -> Option<&mut StepOfRun> {
        let mut latest_first = self.step.iter_mut().chain(self.past.iter_mut().rev());
        latest_first.find(|step| step.began <= at && step.ended.is_none_or(|ended| at <= ended))
    }
}

impl StepOfRun {
    /// Is this the same question to the model once more, after it failed? The client may say so, or
    /// nothing was added to the conversation.
    fn is_tried_again(&self, outgoing: &Outgoing, messages: Option<u64>) -> bool {
        let retries = outgoing
            .request
            .as_ref()
            .and_then(|request| request.headers.get(RETRY_COUNT));
        let is_counted = retries.is_some_and(|count| count.as_bytes() != b"0");
        let has_failed = matches!(self.verdict, Verdict::Failed { .. });
        let is_same = match (self.messages, messages) {
            (Some(before), Some(now)) => before == now,
            // Of an attempt without a connection nothing more is known.
            (None, _) | (_, None) => true,
        };
        is_counted || has_failed && is_same
    }
}
