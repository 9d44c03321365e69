//! MCP sessions: from `initialize` to whatever ends them.

use std::sync::Arc;

use crate::exchanges::exchange::{Exchange, Outcome, Role};
use crate::exchanges::meaning::Reply;
use crate::identity::service::Service;
use crate::runs::sessions::{IDLE_WAIT, MOST_SESSIONS, McpSession, Sessions};
use crate::runs::testing::{MILLISECOND, RequestBuilder, meanings, service};
use crate::time::Nanos;

/// Exchanges of one process, and what comes of them.
struct Script {
    sessions: Sessions,
    role: Role,
    service: Option<Arc<Service>>,
}

/// What an exchange asks for, whether it names the session in its header, and how it ends.
#[derive(Clone, Copy)]
struct Said<'a> {
    asks: &'a str,
    header: bool,
    ends: &'a [&'a str],
}

/// An exchange of streamable HTTP.
const fn said<'a>(asks: &'a str, ends: &'a [&'a str]) -> Said<'a> {
    Said {
        asks,
        header: true,
        ends,
    }
}

const OPEN: Said<'_> = said("mcp,initialize", &["session=S"]);
const CALL: Said<'_> = said("mcp,tools/call,tool=add,session=S", &[]);
const STREAM: Said<'_> = said("mcp,stream,session=S", &[]);
const DELETE: Said<'_> = said("mcp,delete,session=S", &[]);

impl Script {
    fn new(role: Role) -> Self {
        Self {
            sessions: Sessions::default(),
            role,
            service: Some(Arc::new(service("s"))),
        }
    }

    fn request(&self, said: Said<'_>, at: Nanos) -> RequestBuilder {
        let request = RequestBuilder::new("POST", "/mcp").at(at * MILLISECOND);
        let request = if said.header {
            request.header("mcp-session-id", "S")
        } else {
            request
        };
        match self.role {
            Role::Client => request.client(),
            Role::Server => request.server(),
        }
    }

    fn began(&mut self, said: Said<'_>, at: Nanos) -> Exchange {
        let request = Arc::new(self.request(said, at).build());
        let operation = Arc::new(meanings::operation(said.asks));
        self.sessions.asked(&request, Some(&operation));
        meanings::ended(&request, Some(&operation), said.ends, 0)
    }

    fn ended(&mut self, exchange: Exchange, at: Nanos) {
        let exchange = Exchange {
            ended_at: at * MILLISECOND,
            ..exchange
        };
        self.sessions.ended(&exchange, self.service.as_ref());
    }

    /// An exchange from then to then, in milliseconds.
    fn exchange(&mut self, said: Said<'_>, from: Nanos, to: Nanos) {
        let exchange = self.began(said, from);
        self.ended(exchange, to);
    }

    /// Sessions that are over: from when to when, and why, where that was a failure.
    fn over(&mut self) -> Vec<(Nanos, Nanos, Option<String>)> {
        let line = |session: McpSession| {
            let (began, ended) = (session.began / MILLISECOND, session.ended / MILLISECOND);
            (began, ended, session.error_type.map(|it| it.into_owned()))
        };
        self.sessions.take_over().into_iter().map(line).collect()
    }
}

#[test]
fn from_initialize_to_delete() {
    for role in [Role::Client, Role::Server] {
        let mut script = Script::new(role);
        script.exchange(OPEN, 10, 12);
        let stream = script.began(STREAM, 13);
        script.exchange(CALL, 15, 20);
        assert_eq!(script.over(), []);
        script.exchange(DELETE, 30, 32);
        script.ended(stream, 33);
        assert_eq!(script.over(), [(10, 32, None)], "{role:?}");
        // What is exchanged in it later makes no second one, and is forgotten.
        script.sessions.advance(2 * IDLE_WAIT);
        assert_eq!((script.over(), script.sessions.known()), (vec![], 0));
    }
}

#[test]
fn what_is_known_of_it() {
    let mut script = Script::new(Role::Client);
    let mut exchange = script.began(OPEN, 10);
    if let Some(Reply::Mcp(reply)) = &mut exchange.reply {
        reply.protocol_version = Some("2025-06-18".to_owned());
    }
    script.ended(exchange, 12);
    script.exchange(DELETE, 20, 21);
    let session = script.sessions.take_over().pop().expect("a session");
    assert_eq!(session.service.name, "s");
    assert_eq!(session.server, Some(("10.0.0.2".to_owned(), Some(8000))));
    assert_eq!(session.protocol_version.as_deref(), Some("2025-06-18"));
}

#[test]
fn how_delete_ends_matters_unless_the_server_does_not_want_it() {
    for (role, end, expected) in [
        (Role::Client, "status=200", None),
        (Role::Client, "status=405", None),
        (Role::Client, "status=500", Some("500")),
        (Role::Client, "is=reset", Some("connection_reset")),
        (Role::Server, "status=500", Some("500")),
    ] {
        let mut script = Script::new(role);
        script.exchange(OPEN, 10, 12);
        script.exchange(said(DELETE.asks, &[end]), 20, 21);
        let expected = expected.map(str::to_owned);
        assert_eq!(script.over(), [(10, 21, expected)], "{role:?} {end}");
    }
}

#[test]
fn a_server_that_does_not_know_it_ends_it() {
    let mut script = Script::new(Role::Client);
    script.exchange(OPEN, 10, 12);
    script.exchange(said(CALL.asks, &["status=404"]), 20, 21);
    assert_eq!(script.over(), [(10, 21, Some("404".to_owned()))]);
}

#[test]
fn without_its_stream_it_is_over_when_it_is_silent() {
    let mut script = Script::new(Role::Server);
    script.exchange(OPEN, 10, 12);
    let call = script.began(CALL, 13);
    script.exchange(STREAM, 14, 20);
    script.sessions.advance(2 * IDLE_WAIT);
    assert_eq!(script.over(), [], "a call goes on");
    script.ended(call, 25);
    script.sessions.advance(3 * IDLE_WAIT);
    assert_eq!(script.over(), [(10, 25, None)]);
}

#[test]
fn a_stream_that_comes_back_keeps_it() {
    let mut script = Script::new(Role::Client);
    script.exchange(OPEN, 10, 12);
    script.exchange(STREAM, 14, 20);
    let again = script.began(STREAM, 22);
    script.sessions.advance(2 * IDLE_WAIT);
    assert_eq!(script.over(), []);
    script.ended(
        Exchange {
            outcome: Outcome::ServerClosed,
            ..again
        },
        30,
    );
    script.sessions.advance(4 * IDLE_WAIT);
    let closed = Some("server_closed".to_owned());
    assert_eq!(script.over(), [(10, 30, closed)]);
}

#[test]
fn one_that_never_had_a_stream_may_be_silent() {
    let mut script = Script::new(Role::Client);
    script.exchange(OPEN, 10, 12);
    script.exchange(said(STREAM.asks, &["status=405"]), 14, 20);
    script.sessions.advance(100 * IDLE_WAIT);
    assert_eq!(script.over(), []);
    assert_eq!(script.sessions.known(), 1);
}

#[test]
fn the_older_transport_ends_with_its_stream() {
    let older = |said: Said<'static>| Said {
        header: false,
        ..said
    };
    let mut script = Script::new(Role::Client);
    let stream = script.began(older(STREAM), 5);
    let open = said("mcp,initialize,session=S", &[]);
    script.exchange(older(open), 10, 12);
    script.exchange(older(CALL), 15, 16);
    assert_eq!(script.over(), []);
    script.ended(stream, 30);
    assert_eq!(script.over(), [(10, 30, None)]);
}

#[test]
fn it_ends_with_its_process() {
    let mut script = Script::new(Role::Client);
    script.exchange(OPEN, 10, 12);
    script.sessions.exited(2, 20 * MILLISECOND);
    assert_eq!(script.over(), []);
    script.sessions.exited(1, 30 * MILLISECOND);
    let exit = Some("process_exit".to_owned());
    assert_eq!(script.over(), [(10, 30, exit)]);
}

#[test]
fn an_initialize_that_is_over_after_the_delete() {
    let mut script = Script::new(Role::Client);
    let open = script.began(OPEN, 10);
    script.exchange(DELETE, 20, 21);
    assert_eq!(script.over(), []);
    script.ended(open, 22);
    assert_eq!(script.over(), [(10, 21, None)]);
}

#[test]
fn no_session_without_a_good_initialize() {
    for ends in [["session=S", "rpc_error=-32600"], ["session=S", "is=reset"]] {
        let mut script = Script::new(Role::Client);
        script.exchange(said(OPEN.asks, &ends), 10, 12);
        script.exchange(DELETE, 20, 21);
        assert_eq!(script.over(), [], "{ends:?}");
    }
    let mut untold = Script::new(Role::Client);
    untold.service = None;
    untold.exchange(OPEN, 10, 12);
    untold.exchange(DELETE, 20, 21);
    assert_eq!(untold.over(), []);
}

#[test]
fn the_one_used_longest_ago_makes_room() {
    let mut script = Script::new(Role::Client);
    script.exchange(OPEN, 1, 2);
    let mut others = Vec::new();
    for number in 0..MOST_SESSIONS {
        let operation = format!("mcp,initialize,session=other-{number}");
        others.push(operation);
    }
    for operation in &others {
        script.exchange(said(operation, &[]), 3, 4);
    }
    assert_eq!(script.sessions.known(), MOST_SESSIONS);
    assert_eq!(script.sessions.evicted(), 1);
    script.exchange(DELETE, 5, 6);
    assert_eq!(script.over(), []);
    // Its DELETE needed room once more.
    assert_eq!(script.sessions.evicted(), 2);
}

#[test]
fn other_exchanges_are_none_of_its() {
    let mut script = Script::new(Role::Client);
    for asks in ["chat", "send", "card", "mcp,tools/list"] {
        script.exchange(said(asks, &[]), 1, 2);
    }
    assert_eq!((script.over(), script.sessions.known()), (vec![], 0));
}
