//! Whether something succeeded.

use std::borrow::Cow;

use http::StatusCode;

use crate::exchanges::exchange::{Exchange, Outcome, Role};
use crate::exchanges::llm::{Notice, ReplyError};
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::RpcError;
use crate::exchanges::rpc::a2a::A2aReply;
use crate::exchanges::rpc::mcp::{MOST_MESSAGES, McpMessage, McpResult};

/// Longest name of an error that a model's server may give it.
const MAX_ERROR_TYPE: usize = 64;

/// What became of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it should.
    Succeeded,
    /// It failed.
    Failed {
        /// `error.type`: a status code, or one of a fixed list of names.
        error_type: Cow<'static, str>,
        /// For people.
        message: Cow<'static, str>,
    },
    /// It is not for this end to say, or nobody saw it.
    Open,
}

impl Verdict {
    /// By the status code where that tells a failure, or else by how the exchange ended.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Self {
        let role = exchange.request.role;
        let status = exchange.response.as_ref().map(|response| response.status);
        match (role, status, exchange.outcome) {
            (_, Some(500..), _) | (Role::Client, Some(400..), _) => {
                Self::failed_with_status(status.unwrap_or_default())
            }
            // The client went away in mid-response. It may have read all that it wanted, as
            // clients of event streams do, and the server did nothing wrong.
            (_, Some(_), Outcome::ClientClosed) => Self::Open,
            (Role::Server, Some(_), Outcome::Broken { errno }) if is_reset(errno) => Self::Open,
            (_, _, Outcome::Broken { errno }) => Self::failed_with_errno(errno),
            (_, _, Outcome::ServerClosed) => Self::failed(
                "server_closed",
                "the server closed the connection before the response was complete",
            ),
            (_, None, Outcome::ClientClosed) => Self::failed(
                "client_closed",
                "the client closed the connection before the response began",
            ),
            (_, _, Outcome::ProcessExited) => {
                Self::failed("process_exit", "the process ended before the exchange did")
            }
            (_, _, Outcome::Unobserved | Outcome::Unfinished) => Self::Open,
            // To answer a bad request with 4xx is no failure of the server, nor a success.
            (Role::Server, Some(400..), _) | (_, None, _) => Self::Open,
            (_, Some(_), Outcome::Complete | Outcome::Upgraded) => Self::Succeeded,
        }
    }

    /// Of the call of a model, either end: what its answer says counts as well.
    #[must_use]
    pub fn of_model_call(exchange: &Exchange) -> Self {
        let verdict = Self::of(exchange);
        let Some(Reply::Model(reply)) = &exchange.reply else {
            return verdict;
        };
        if let Some(error) = &reply.error {
            return verdict.with_error_of(error);
        }
        if reply.is_ended && exchange.outcome == Outcome::ClientClosed {
            // It read all that it wanted, and went without waiting for the end of the message.
            return Self::Succeeded;
        }
        let role = exchange.request.role;
        match (&verdict, exchange.outcome) {
            (Self::Open, Outcome::ClientClosed) if role == Role::Client => Self::failed(
                "client_closed",
                "the client closed the connection before the answer was complete",
            ),
            (Self::Succeeded, _) if is_streamed(exchange) && !reply.is_ended => Self::failed(
                "stream_incomplete",
                "the stream ended before the answer was complete",
            ),
            _ => verdict,
        }
    }

    /// Of the call of a tool, or of any other exchange with an MCP server.
    #[must_use]
    pub fn of_tool_call(exchange: &Exchange) -> Self {
        if let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref()
            && mcp.messages.len() > 1
            && let Some(call) = mcp.messages.iter().find(|message| message.is_tool_call())
        {
            return Self::of_call_in_batch(exchange, call);
        }
        Self::of_results(exchange, |_| true)
    }

    /// Of one of the messages of a batch: what is said of it, or of the whole batch.
    #[must_use]
    pub fn of_call_in_batch(exchange: &Exchange, call: &McpMessage) -> Self {
        let is_its = |result: &McpResult| result.id.is_none() || result.id == call.id;
        let verdict = Self::of_results(exchange, is_its);
        let Some(Reply::Mcp(reply)) = &exchange.reply else {
            return verdict;
        };
        let is_unanswered = call.id.is_some() && !reply.results.iter().any(is_its);
        match verdict {
            Self::Succeeded if is_unanswered => match &exchange.response {
                // Its answer may be in what was not seen, or was not kept.
                Some(response)
                    if response.body.missing_bytes > 0 || reply.results.len() >= MOST_MESSAGES =>
                {
                    Self::Open
                }
                _ => Self::failed("no_result", "the answer to the batch has none to this call"),
            },
            verdict => verdict,
        }
    }

    fn of_results(exchange: &Exchange, counts: impl Fn(&McpResult) -> bool) -> Self {
        let verdict = Self::of(exchange);
        let Some(Reply::Mcp(reply)) = &exchange.reply else {
            return verdict;
        };
        let results = || reply.results.iter().filter(|result| counts(result));
        if let Some(error) = results().find_map(|result| result.error.as_ref()) {
            return Self::failed_with_rpc_error(error);
        }
        if results().any(|result| result.is_tool_error) {
            return Self::failed("tool_error", "the tool reported an error");
        }
        let has_result = results().next().is_some();
        if has_result && exchange.outcome == Outcome::ClientClosed {
            // Clients leave when they have the result.
            return Self::Succeeded;
        }
        verdict
    }

    /// Of work that an agent was given, as its client sees it: what it answers counts as well.
    #[must_use]
    pub fn of_delegation(exchange: &Exchange) -> Self {
        match &exchange.reply {
            Some(Reply::Model(reply)) => match Self::of_model_call(exchange) {
                failed @ Self::Failed { .. } => failed,
                verdict => Self::of_notice(reply.notice.as_ref()).unwrap_or(verdict),
            },
            Some(Reply::A2a(reply)) => Self::of_task(reply).unwrap_or_else(|| Self::of(exchange)),
            Some(Reply::Mcp(_)) | None => Self::of(exchange),
        }
    }

    /// Of the run of an agent that an exchange served: how it ended, by its answer and by whether
    /// that was wanted.
    #[must_use]
    pub fn of_run(exchange: &Exchange) -> Self {
        let status = exchange.response.as_ref().map(|response| response.status);
        if let Some(status @ 400..) = status {
            return Self::failed_with_status(status);
        }
        match Self::of_delegation(exchange) {
            Self::Open if exchange.outcome == Outcome::ClientClosed => Self::failed(
                "client_closed",
                "the client closed the connection before the answer was complete",
            ),
            verdict => verdict,
        }
    }

    fn of_notice(notice: Option<&Notice>) -> Option<Self> {
        match notice? {
            Notice::Failed => Some(Self::failed(
                "agent_error",
                "the agent answered that it encountered an error",
            )),
            Notice::DelegationFailed => Some(Self::failed(
                "delegation_failed",
                "the agent answered that a delegation failed",
            )),
            // It is an answer, if not the one that was hoped for.
            Notice::MaxSteps => None,
        }
    }

    fn of_task(reply: &A2aReply) -> Option<Self> {
        if let Some(error) = &reply.error {
            return Some(Self::failed_with_rpc_error(error));
        }
        match reply.state.as_deref() {
            Some("failed") => Some(Self::failed("task_failed", "the task failed")),
            Some("rejected") => Some(Self::failed("task_rejected", "the task was rejected")),
            Some("canceled" | "cancelled") => {
                Some(Self::failed("task_canceled", "the task was canceled"))
            }
            _ => Self::of_notice(reply.notice.as_ref()),
        }
    }

    fn failed_with_rpc_error(error: &RpcError) -> Self {
        Self::Failed {
            error_type: error.code.to_string().into(),
            message: match &error.message {
                Some(message) => format!("JSON-RPC error {}: {message}", error.code).into(),
                None => format!("JSON-RPC error {}", error.code).into(),
            },
        }
    }

    /// With what the body says of the error. An HTTP status stays the type of it.
    fn with_error_of(self, error: &ReplyError) -> Self {
        let said = error.message.as_deref().or(error.kind.as_deref());
        match (self, said) {
            (
                Self::Failed {
                    error_type,
                    message,
                },
                Some(said),
            ) => Self::Failed {
                error_type,
                message: format!("{message}: {said}").into(),
            },
            (failed @ Self::Failed { .. }, None) => failed,
            (_, said) => Self::Failed {
                error_type: match &error.kind {
                    Some(kind) if is_identifier(kind) => kind.clone().into(),
                    _ => "_OTHER".into(),
                },
                message: said.map_or("the model answered with an error".into(), |said| {
                    said.to_owned().into()
                }),
            },
        }
    }

    /// A connection failed with this error number of the kernel.
    #[must_use]
    pub fn failed_with_errno(errno: i32) -> Self {
        match errno {
            libc::ECONNREFUSED => Self::failed("connection_refused", "connection refused"),
            libc::ECONNRESET | libc::EPIPE => {
                Self::failed("connection_reset", "connection reset by the other end")
            }
            libc::ECONNABORTED => Self::failed("connection_aborted", "connection aborted"),
            libc::ETIMEDOUT => Self::failed("timeout", "connection timed out"),
            libc::EHOSTUNREACH => Self::failed("host_unreachable", "no route to the host"),
            libc::ENETUNREACH => Self::failed("network_unreachable", "network unreachable"),
            libc::EADDRNOTAVAIL => Self::failed(
                "address_not_available",
                "no local address or port available",
            ),
            libc::EACCES | libc::EPERM => {
                Self::failed("permission_denied", "connection forbidden by the system")
            }
            _ => Self::Failed {
                error_type: "_OTHER".into(),
                message: format!("connection failed with error number {errno}").into(),
            },
        }
    }

    fn failed(error_type: &'static str, message: &'static str) -> Self {
        Self::Failed {
            error_type: error_type.into(),
            message: message.into(),
        }
    }

    fn failed_with_status(status: u16) -> Self {
        let code = StatusCode::from_u16(status).ok();
        let reason = code.and_then(|code| code.canonical_reason());
        Self::Failed {
            error_type: status.to_string().into(),
            message: match reason {
                Some(reason) => format!("HTTP {status} {reason}").into(),
                None => format!("HTTP {status}").into(),
            },
        }
    }

    /// Value of `error.type`.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Self::Failed { error_type, .. } => Some(error_type),
            Self::Succeeded | Self::Open => None,
        }
    }
}

/// Is this a name that may be the value of `error.type`? Anything else could be without bound.
fn is_identifier(text: &str) -> bool {
    let is_its = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=MAX_ERROR_TYPE).contains(&text.len()) && text.bytes().all(is_its)
}

/// The answer was asked for as a stream, or came as one.
fn is_streamed(exchange: &Exchange) -> bool {
    let is_asked_for = match exchange.operation.as_deref() {
        Some(Operation::Model(model)) => model.stream,
        _ => false,
    };
    let events = exchange.response.as_ref().map(|response| response.events);
    is_asked_for || events.flatten().is_some()
}

fn is_reset(errno: i32) -> bool {
    errno == libc::ECONNRESET || errno == libc::EPIPE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::RequestBuilder;

    /// `ok`, `open`, or the error type.
    fn verdict(role: Role, status: Option<u16>, outcome: Outcome) -> String {
        let request = match role {
            Role::Client => RequestBuilder::get("/").client(),
            Role::Server => RequestBuilder::get("/").server(),
        };
        let exchange = match status {
            Some(status) => Exchange {
                outcome,
                ..request.answered(status, 1)
            },
            None => request.unanswered(outcome, 1),
        };
        match Verdict::of(&exchange) {
            Verdict::Succeeded => "ok".to_owned(),
            Verdict::Open => "open".to_owned(),
            Verdict::Failed { error_type, .. } => error_type.into_owned(),
        }
    }

    #[test]
    fn statuses() {
        for (status, server, client) in [
            (101, "ok", "ok"),
            (200, "ok", "ok"),
            (307, "ok", "ok"),
            (399, "ok", "ok"),
            (400, "open", "400"),
            (404, "open", "404"),
            (499, "open", "499"),
            (500, "500", "500"),
            (503, "503", "503"),
            (999, "999", "999"),
        ] {
            let verdicts = [Role::Server, Role::Client]
                .map(|role| verdict(role, Some(status), Outcome::Complete));
            assert_eq!(verdicts, [server, client], "{status}");
        }
    }

    #[test]
    fn outcomes() {
        let reset = Outcome::Broken {
            errno: libc::ECONNRESET,
        };
        let timeout = Outcome::Broken {
            errno: libc::ETIMEDOUT,
        };
        // On the server and on the client, each before and after the response began.
        for (outcome, expected) in [
            (Outcome::Upgraded, ["open", "ok", "open", "ok"]),
            (
                reset,
                [
                    "connection_reset",
                    "open",
                    "connection_reset",
                    "connection_reset",
                ],
            ),
            (timeout, ["timeout"; 4]),
            (Outcome::ServerClosed, ["server_closed"; 4]),
            (
                Outcome::ClientClosed,
                ["client_closed", "open", "client_closed", "open"],
            ),
            (Outcome::ProcessExited, ["process_exit"; 4]),
            (Outcome::Unobserved, ["open"; 4]),
            (Outcome::Unfinished, ["open"; 4]),
        ] {
            let verdicts = [
                verdict(Role::Server, None, outcome),
                verdict(Role::Server, Some(200), outcome),
                verdict(Role::Client, None, outcome),
                verdict(Role::Client, Some(200), outcome),
            ];
            assert_eq!(verdicts, expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_status_tells_more_than_the_end() {
        let broken = Outcome::ServerClosed;
        assert_eq!(verdict(Role::Client, Some(502), broken), "502");
        assert_eq!(verdict(Role::Server, Some(404), broken), "server_closed");
    }

    #[test]
    fn messages() {
        let message = |verdict: Verdict| match verdict {
            Verdict::Failed { message, .. } => message,
            other => panic!("{other:?}"),
        };
        let status = Verdict::failed_with_status;
        assert_eq!(message(status(503)), "HTTP 503 Service Unavailable");
        assert_eq!(message(status(599)), "HTTP 599");
        let errno = Verdict::failed_with_errno;
        assert_eq!(message(errno(libc::ECONNREFUSED)), "connection refused");
        assert_eq!(
            message(errno(libc::EIO)),
            "connection failed with error number 5"
        );
    }
}
