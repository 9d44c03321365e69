//! The calls that a model asked for, and which of them were seen to be made.

use crate::exchanges::llm::{CallStyle, ToolCall, ToolResult};
use crate::runs::span::LocalTool;

/// How an agent offers its peers to a model as tools.
const DELEGATION_TOOL_PREFIX: &str = "delegate_to_";

/// What one answer of a model asks for.
#[derive(Debug, Default)]
pub struct Asked {
    calls: Vec<AskedCall>,
}

#[derive(Debug)]
struct AskedCall {
    call: ToolCall,
    is_seen: bool,
}

impl Asked {
    /// The model answered.
    pub fn add(&mut self, calls: &[ToolCall]) {
        let calls = calls.iter().cloned();
        self.calls.extend(calls.map(|call| AskedCall {
            call,
            is_seen: false,
        }));
    }

    /// A tool is called: the first call of its name that was not seen yet. Gives its id.
    pub fn tool_seen(&mut self, tool: &str) -> Option<String> {
        let is_it = |call: &ToolCall| {
            call.style != CallStyle::FencedDelegation && is_name_of(&call.name, tool)
        };
        self.seen(is_it)?.id.clone()
    }

    /// Work is given to this agent.
    pub fn delegation_seen(&mut self, target: &str) -> Option<String> {
        self.seen(|call| peer(call).is_some_and(|peer| is_alike(peer, target)))?
            .id
            .clone()
    }

    /// The agent that work is given to, where the model asked for just one that is not seen yet.
    #[must_use]
    pub fn only_peer(&self) -> Option<&str> {
        let unseen = self.calls.iter().filter(|asked| !asked.is_seen);
        let mut peers = unseen.filter_map(|asked| peer(&asked.call));
        match (peers.next(), peers.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    fn seen(&mut self, is_it: impl Fn(&ToolCall) -> bool) -> Option<&ToolCall> {
        let mut unseen = self.calls.iter_mut().filter(|asked| !asked.is_seen);
        let asked = unseen.find(|asked| is_it(&asked.call))?;
        asked.is_seen = true;
        Some(&asked.call)
    }

    /// Takes out the tools that were never reached, in order, at most so many. Where results are
    /// known, a call with a good one was made after all.
    pub fn take_unreached(&mut self, most: usize, results: &[ToolResult]) -> Vec<ToolCall> {
        let unreached = self.calls.iter_mut().filter(|asked| {
            let result = result_of(&asked.call, results);
            // An agent may tell its model of a failure in words alone.
            let is_told_as_good = result.is_some_and(|result| !result.is_error)
                && results.iter().any(|result| result.is_error);
            !asked.is_seen && peer(&asked.call).is_none() && !is_told_as_good
        });
        unreached
            .take(most)
            .map(|asked| {
                asked.is_seen = true;
                asked.call.clone()
            })
            .collect()
    }

    /// Takes out the tools that ran within the process: nobody saw a call, but their results are
    /// there.
    pub fn take_local(&mut self, results: &[ToolResult]) -> Vec<LocalTool> {
        let unseen = self.calls.iter_mut().filter(|asked| !asked.is_seen);
        unseen
            .filter_map(|asked| {
                let result = result_of(&asked.call, results)?;
                asked.is_seen = true;
                Some(LocalTool {
                    name: asked.call.name.clone(),
                    call_id: asked.call.id.clone(),
                    is_error: result.is_error,
                })
            })
            .collect()
    }
}

fn result_of<'a>(call: &ToolCall, results: &'a [ToolResult]) -> Option<&'a ToolResult> {
    let id = call.id.as_ref()?;
    results
        .iter()
        .find(|result| result.call_id.as_ref() == Some(id))
}

/// Does a model's name for a tool mean this tool of an MCP server? Agents put the server's name
/// before it to tell tools of one name apart.
fn is_name_of(asked: &str, tool: &str) -> bool {
    asked.strip_suffix(tool).is_some_and(|prefix| {
        prefix.is_empty() || (!tool.is_empty() && prefix.ends_with(['_', '-', '.', '/', ':']))
    })
}

/// The agent that a call is for.
fn peer(call: &ToolCall) -> Option<&str> {
    match call.style {
        CallStyle::FencedDelegation => Some(&call.name),
        CallStyle::Native | CallStyle::FencedTool => call.name.strip_prefix(DELEGATION_TOOL_PREFIX),
    }
}

/// Names of tools cannot have every character that names of agents have.
fn is_alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    plain(one) == plain(other)
}
