//! Spans in words, for the lines of scripts.

use super::MILLISECOND;
use super::script::START;
use crate::runs::part::Part;
use crate::runs::span::Subject;
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// What an exchange is beyond HTTP.
pub fn part(part: &Part) -> String {
    let id = |id: &Option<String>| id.as_ref().map_or(String::new(), |id| format!("#{id}"));
    let at = |server: &Option<String>| {
        let server = server.as_ref();
        server.map_or(String::new(), |server| format!("@{server}"))
    };
    match part {
        Part::Http => String::new(),
        Part::Model(part) => {
            let name = if part.in_agent { "inference" } else { "model" };
            match part.resends {
                0 => format!(" [{name}]"),
                resends => format!(" [{name} again {resends}]"),
            }
        }
        Part::ToolCall(part) if part.in_agent => {
            let (id, server) = (id(&part.call_id), at(&part.server));
            format!(" [mcp.tool.{}{id}{server}]", part.tool)
        }
        Part::ToolCall(part) => format!(" [tools/call {}]", part.tool),
        Part::Delegation { target } => format!(" [delegate.{target}]"),
    }
}

/// What became of a span that is no exchange, and when, in milliseconds since the script began.
pub fn became(subject: &Subject) -> String {
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Succeeded => "ok".to_owned(),
        Verdict::Open => "open".to_owned(),
        Verdict::Failed { error_type, .. } => error_type.clone().into_owned(),
    };
    let times = |began: Nanos, ended: Nanos| {
        let since = |at: Nanos| (at / MILLISECOND).saturating_sub(START);
        format!("{}-{}", since(began), since(ended))
    };
    match subject {
        Subject::Exchange(_) | Subject::ConnectFailure(_) => String::new(),
        Subject::Loop(run) => format!(" {}", verdict(&run.verdict)),
        Subject::Step(step) => {
            let mut text = format!(
                " {} {}",
                verdict(&step.verdict),
                times(step.began, step.ended)
            );
            for tool in &step.local_tools {
                let error = if tool.is_error { "!" } else { "" };
                text += &format!(" local={}{error}", tool.name);
            }
            text
        }
        Subject::BatchedCall(call) => {
            let message = call.message().map(|(_, message)| message);
            let became = message.map_or(Verdict::Open, |message| {
                Verdict::of_call_in_batch(&call.exchange, message)
            });
            let times = times(call.exchange.request.at, call.ended());
            format!(" {} {times}", verdict(&became))
        }
        Subject::Tool(tool) => {
            let id = tool.call_id.as_ref();
            let id = id.map_or(String::new(), |id| format!(" #{id}"));
            let times = times(tool.began, tool.ended);
            format!("{id} {} {times}", verdict(&tool.verdict))
        }
    }
}
