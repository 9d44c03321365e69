//! What requests ask for and responses say, in scripts.
//!
//! `op=` of `serve` and `call`, parts separated by commas:
//!
//! | operation | meaning |
//! |---|---|
//! | `chat,model=M,messages=N,tools,results=ID+ID!,role=R,stream` | a chat; `!` marks results that are errors |
//! | `embed,model=M` | embeddings |
//! | `mcp,METHOD,tool=X,session=S` | a message to an MCP server; `stream` and `delete` are its GET and DELETE; `tool=X#ID,and=Y#ID` calls two tools in a batch |
//! | `send` | work for an agent (A2A) |
//! | `card` | the card of an agent |
//!
//! Options of `end`: `status=N`, `is=exit|gone|reset` (else complete), `asks=X#ID+Y`, `fenced=X`,
//! `delegates=Y`, `error=TYPE`, `notice=failed|delegation|steps`, `session=S`, `tool_error`,
//! `rpc_error=CODE`, `fails=ID` (of a call in a batch), `answers=ID+ID` (only these calls), `state=S`, `cut` (a stream without its end).

use std::sync::Arc;

use crate::exchanges::exchange::{Exchange, Outcome, Request};
use crate::exchanges::llm::{
    Api, CallStyle, ModelReply, ModelRequest, Notice, Parameters, ReplyError, ToolCall, ToolResult,
};
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::RpcError;
use crate::exchanges::rpc::a2a::{A2aKind, A2aReply, A2aRequest};
use crate::exchanges::rpc::mcp::{McpKind, McpMessage, McpReply, McpRequest, McpResult};
use crate::runs::testing::RequestBuilder;
use crate::time::Nanos;

/// The operation of `op=`.
pub fn operation(text: &str) -> Operation {
    let mut parts = text.split(',');
    let kind = parts.next().expect("a kind");
    let parts: Vec<&str> = parts.collect();
    match kind {
        "chat" => Operation::Model(Box::new(model_request(Api::OpenAiChat, &parts))),
        "embed" => Operation::Model(Box::new(model_request(Api::OpenAiEmbeddings, &parts))),
        "mcp" => Operation::Mcp(Box::new(mcp_request(&parts))),
        "send" => Operation::A2a(Box::new(A2aRequest {
            method: "SendMessage".to_owned(),
            kind: A2aKind::Send,
            id: None,
            context_id: None,
            task_id: None,
            is_delegation: true,
        })),
        "card" => Operation::AgentCard,
        _ => panic!("no such operation: {text}"),
    }
}

fn model_request(api: Api, parts: &[&str]) -> ModelRequest {
    let mut request = ModelRequest {
        api,
        model: Some("m".to_owned()),
        stream: false,
        parameters: Parameters::default(),
        tools: Vec::new(),
        messages: 1,
        last_role: Some("user".to_owned()),
        tool_results: Vec::new(),
        session_id: None,
    };
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("model", model) => request.model = Some(model.to_owned()),
            ("messages", count) => request.messages = count.parse().expect("a number"),
            ("tools", _) => request.tools.push("tool".to_owned()),
            ("role", role) => request.last_role = Some(role.to_owned()),
            ("stream", _) => request.stream = true,
            ("results", ids) => request
                .tool_results
                .extend(ids.split('+').map(|id| ToolResult {
                    call_id: Some(id.trim_end_matches('!').to_owned()),
                    name: None,
                    is_error: id.ends_with('!'),
                })),
            _ => panic!("no such part: {part}"),
        }
    }
    request
}

fn mcp_request(parts: &[&str]) -> McpRequest {
    let mut request = McpRequest {
        kind: McpKind::Messages,
        session_id: None,
        protocol_version: None,
        messages: Vec::new(),
    };
    let mut message = McpMessage::default();
    let mut others = Vec::new();
    for part in parts {
        match part.split_once('=') {
            None if *part == "stream" => request.kind = McpKind::Stream,
            None if *part == "delete" => request.kind = McpKind::End,
            None => message.method = Some((*part).to_owned()),
            Some(("tool", tool)) => {
                let (name, id) = tool.split_once('#').unzip();
                message.name = Some(name.unwrap_or(tool).to_owned());
                message.id = id.map(str::to_owned);
            }
            Some(("session", session)) => request.session_id = Some(session.to_owned()),
            Some(("and", tool)) => {
                let (name, id) = tool.split_once('#').expect("a tool with an id");
                others.push(McpMessage {
                    method: message.method.clone(),
                    id: Some(id.to_owned()),
                    name: Some(name.to_owned()),
                    ..McpMessage::default()
                });
            }
            Some(_) => panic!("no such part: {part}"),
        }
    }
    if request.kind == McpKind::Messages {
        request.messages.push(message);
        request.messages.append(&mut others);
    }
    request
}

/// The end of the exchange of this request.
pub fn ended(
    request: &Arc<Request>,
    operation: Option<&Arc<Operation>>,
    options: &[&str],
    at: Nanos,
) -> Exchange {
    let mut exchange = Exchange {
        request: Arc::clone(request),
        operation: operation.map(Arc::clone),
        ..RequestBuilder::get("/").answered(200, at)
    };
    let mut model = ModelReply {
        is_ended: true,
        ..ModelReply::default()
    };
    let mut a2a = A2aReply::default();
    let mut mcp = McpReply::default();
    let mut result = McpResult {
        at,
        id: None,
        error: None,
        is_tool_error: false,
        needs_input: false,
    };
    let mut answers_all = true;
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("status", status) => {
                if let Some(response) = &mut exchange.response {
                    response.status = status.parse().expect("a status");
                }
            }
            ("is", outcome) => {
                exchange.response = None;
                exchange.outcome = match outcome {
                    "exit" => Outcome::ProcessExited,
                    "gone" => Outcome::ClientClosed,
                    "reset" => Outcome::Broken {
                        errno: libc::ECONNRESET,
                    },
                    _ => panic!("no such end: {outcome}"),
                };
            }
            ("asks", tools) => model.tool_calls.extend(tools.split('+').map(|tool| {
                let (name, id) = tool.split_once('#').unzip();
                call(name.unwrap_or(tool), id, CallStyle::Native)
            })),
            ("fenced", tool) => model
                .tool_calls
                .push(call(tool, None, CallStyle::FencedTool)),
            ("delegates", peer) => {
                let style = CallStyle::FencedDelegation;
                model.tool_calls.push(call(peer, None, style));
            }
            ("error", kind) => {
                model.error = Some(ReplyError {
                    kind: Some(kind.to_owned()),
                    message: None,
                });
            }
            ("notice", notice) => {
                let notice = match notice {
                    "failed" => Notice::Failed,
                    "delegation" => Notice::DelegationFailed,
                    "steps" => Notice::MaxSteps,
                    _ => panic!("no such notice: {notice}"),
                };
                model.notice = Some(notice);
                a2a.notice = Some(notice);
            }
            ("session", session) => mcp.session_id = Some(session.to_owned()),
            ("tool_error", _) => result.is_tool_error = true,
            ("fails", id) => mcp.results.push(McpResult {
                id: Some(id.to_owned()),
                is_tool_error: true,
                ..result.clone()
            }),
            ("answers", ids) => {
                answers_all = false;
                mcp.results.extend(ids.split('+').map(|id| McpResult {
                    id: Some(id.to_owned()),
                    ..result.clone()
                }));
            }
            ("rpc_error", code) => {
                let error = RpcError {
                    code: code.parse().expect("a code"),
                    message: None,
                };
                result.error = Some(error.clone());
                a2a.error = Some(error);
            }
            ("state", state) => a2a.state = Some(state.to_owned()),
            ("cut", _) => model.is_ended = false,
            _ => panic!("no such option: {option}"),
        }
    }
    if answers_all {
        mcp.results.push(result);
    }
    if exchange.response.is_some() {
        exchange.reply = match exchange.operation.as_deref() {
            Some(Operation::Model(_)) => Some(Reply::Model(Box::new(model))),
            Some(Operation::Mcp(_)) => Some(Reply::Mcp(Box::new(mcp))),
            Some(Operation::A2a(_)) => Some(Reply::A2a(Box::new(a2a))),
            Some(Operation::AgentCard) | None => None,
        };
    }
    exchange
}

fn call(name: &str, id: Option<&str>, style: CallStyle) -> ToolCall {
    ToolCall {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        style,
    }
}
