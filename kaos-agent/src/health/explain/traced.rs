//! Is a process traced, by which agent, and by which of its rules?

use serde::Serialize;

use crate::capture::event::Pid;
use crate::capture::processes;
use crate::capture::running::{Following, following};
use crate::capture::selection::rule_of;
use crate::identity::container::pod_uid;
use crate::settings::{OutputSettings, Selection};

/// An agent that runs on this machine, and what its command line asks of it.
#[derive(Debug, Clone)]
pub struct RunningAgent {
    /// Its process.
    pub pid: Pid,
    /// Which processes it observes.
    pub selection: Selection,
    /// Where its spans go; `None` where it writes a recording.
    pub output: Option<OutputSettings>,
}

/// The answer over all agents.
#[derive(Debug, Clone, Serialize)]
pub struct Traced {
    /// In one word.
    pub verdict: TracedVerdict,
    /// What each agent on this machine does with the process.
    pub agents: Vec<Tracer>,
}

/// Is it traced?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TracedVerdict {
    /// An agent has it in its table.
    Yes,
    /// None has.
    No,
    /// There is an agent into whose table we may not look.
    Unknown,
}

/// What one agent does with the process.
#[derive(Debug, Clone, Serialize)]
pub struct Tracer {
    /// The agent's process.
    pub pid: Pid,
    /// Is it in the table that the agent's kernel side decides by? `None` where we may not look.
    pub in_table: Option<bool>,
    /// Why, or why not.
    pub why: String,
    /// It writes a recording instead of spans.
    pub records: bool,
}

impl Traced {
    /// Asks each of these agents.
    pub(super) fn by(agents: &[RunningAgent], pid: Pid) -> Self {
        let tracers: Vec<_> = agents.iter().map(|agent| Tracer::of(agent, pid)).collect();
        let verdict = if tracers.iter().any(|tracer| tracer.in_table == Some(true)) {
            TracedVerdict::Yes
        } else if tracers.iter().any(|tracer| tracer.in_table.is_none()) {
            TracedVerdict::Unknown
        } else {
            TracedVerdict::No
        };
        Self {
            verdict,
            agents: tracers,
        }
    }

    /// The agent whose defaults hold for the process: one that tells its spans, else any that would.
    pub(super) fn first_agent<'a>(&self, agents: &'a [RunningAgent]) -> Option<&'a RunningAgent> {
        let follows = |agent: &&RunningAgent| {
            let tracer = self.agents.iter().find(|tracer| tracer.pid == agent.pid);
            tracer.is_some_and(|tracer| tracer.in_table == Some(true))
        };
        let mut telling = agents.iter().filter(|agent| agent.output.is_some());
        telling.clone().find(follows).or_else(|| telling.next())
    }
}

impl Tracer {
    fn of(agent: &RunningAgent, pid: Pid) -> Self {
        let rule = rule(&agent.selection, pid);
        let (in_table, why) = match following(agent.pid, pid) {
            Ok(Following::Selected) => (
                true.into(),
                rule.unwrap_or_else(|| {
                    "selected when it started or listened; no rule matches it now".to_owned()
                }),
            ),
            Ok(Following::Candidate) => (
                true.into(),
                "captured until its executable has been matched".to_owned(),
            ),
            Ok(Following::Excluded) => (false.into(), "it is the agent itself".to_owned()),
            Ok(Following::No) => (false.into(), why_not(rule, &agent.selection)),
            Err(error) => (
                None,
                format!(
                    "{}; its kernel side cannot be asked: {error:#}",
                    rule.unwrap_or_else(|| "no rule matches".to_owned())
                ),
            ),
        };
        Self {
            pid: agent.pid,
            in_table,
            why,
            records: agent.output.is_none(),
        }
    }
}

fn rule(selection: &Selection, pid: Pid) -> Option<String> {
    let Selection::Matching(selectors) = selection else {
        return Some("selected by --all".to_owned());
    };
    let Some(rule) = rule_of(selectors, pid) else {
        return selectors.pods.as_ref().and_then(|_| rule_of_pods(pid));
    };
    Some(if rule.matches == pid {
        format!("selected by {}", rule.selector)
    } else {
        let (selector, ancestor) = (rule.selector, rule.matches);
        format!("selected by {selector}, as a descendant of process {ancestor}")
    })
}

/// The rule for what runs in a pod. Which pods are labelled only the agent knows: its table says so.
fn rule_of_pods(pid: Pid) -> Option<String> {
    let pod = pod_uid(&processes::describe(pid, None).cgroup)?;
    Some(format!(
        "selected by --kubernetes, where its pod {pod} is on the agent's node and labelled"
    ))
}

fn why_not(rule: Option<String>, selection: &Selection) -> String {
    match (rule, selection) {
        (None, _) => "no rule matches".to_owned(),
        // It enters the table with its first socket operation.
        (Some(rule), Selection::All) => format!("{rule}, as soon as it uses a socket"),
        (Some(rule), Selection::Matching(_)) => format!("not yet: {rule}"),
    }
}
