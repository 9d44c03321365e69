//! Recordings of real traffic, run through the stages up to the exchanges, against what their
//! messages of MCP and A2A are known to mean.

mod recordings;

use std::fmt::Write;

use kaos_agent::exchanges::exchange::Exchange;
use kaos_agent::exchanges::meaning::{Operation, Reply};
use recordings::recordings;

/// One line: who, what it asked for, what came of it. Names of sessions and tasks differ from
/// recording to recording and are left out.
fn line(exchange: &Exchange) -> Option<String> {
    let mut line = format!("{:?} ", exchange.request.role);
    match exchange.operation.as_deref()? {
        Operation::Mcp(request) => {
            let version = request.protocol_version.as_deref().unwrap_or("-");
            let session = if request.session_id.is_some() {
                " in session"
            } else {
                ""
            };
            write!(line, "mcp {:?} {version}{session}", request.kind).ok()?;
            for message in &request.messages {
                let method = message.method.as_deref().unwrap_or("response");
                let name = message.name.as_deref().unwrap_or_default();
                let id = message.id.as_deref().unwrap_or("-");
                write!(line, " [{id} {method} {name}]").ok()?;
            }
        }
        Operation::A2a(request) => {
            write!(line, "a2a {:?} {}", request.kind, request.method).ok()?;
            if request.is_delegation {
                line += " delegation";
            }
        }
        Operation::AgentCard => line += "card",
        Operation::Model(_) => return None,
    }
    let status = exchange.response.as_ref().map(|response| response.status);
    write!(line, " -> {status:?} {:?}", exchange.outcome).ok()?;
    match &exchange.reply {
        Some(Reply::Mcp(reply)) => {
            for result in &reply.results {
                let id = result.id.as_deref().unwrap_or("-");
                let what = match &result.error {
                    Some(error) => format!("error {}", error.code),
                    None if result.is_tool_error => "tool error".to_owned(),
                    None => "result".to_owned(),
                };
                write!(line, " [{id} {what}]").ok()?;
            }
            if reply.session_id.is_some() {
                line += " session";
            }
            if let Some(version) = &reply.protocol_version {
                write!(line, " {version}").ok()?;
            }
            if reply.notifications > 0 {
                write!(line, " {} notifications", reply.notifications).ok()?;
            }
        }
        Some(Reply::A2a(reply)) => {
            let state = reply.state.as_deref().unwrap_or("-");
            write!(line, " {state} {:?} {:?}", reply.error, reply.notice).ok()?;
        }
        Some(Reply::Model(_)) | None => {}
    }
    Some(line.replace("Some(", "").replace(')', ""))
}

#[test]
fn recordings_mean_what_is_known() {
    for recording in recordings() {
        let name = recording.name();
        if !["mcp", "kaos", "january", "unusual"].contains(&name.as_str()) {
            continue;
        }
        let lines: Vec<String> = recording.exchanges().iter().filter_map(line).collect();
        insta::assert_snapshot!(format!("meanings_of_{name}"), lines.join("\n"));
    }
}
