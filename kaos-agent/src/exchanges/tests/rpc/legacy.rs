//! MCP's older transport: answers come on the stream of another exchange.

use super::*;
use crate::exchanges::rpc::legacy::ANSWER_WAIT;
use crate::streams::testing::PID;

const STREAM: u64 = 1;
const ENDPOINT: &str = "event: endpoint\r\ndata: /messages/?session_id=2efe\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 8\r\n\r\nAccepted";

/// Both connections of a client or a server, told in the order in which the script says.
struct Session {
    direction: Direction,
    wires: Vec<Wire>,
    events: Vec<Event>,
}

impl Session {
    /// With its stream open.
    fn open(direction: Direction, endpoint: &str) -> Self {
        let session = Self {
            direction,
            wires: (0..4).map(|socket| Wire::new(STREAM + socket)).collect(),
            events: Vec::new(),
        };
        session
            .request(0, &bare("GET", "/sse", "Accept: text/event-stream\r\n"))
            .response(0, &(stream_head("") + &chunk(endpoint)))
    }

    fn request(self, connection: usize, bytes: &str) -> Self {
        let direction = self.direction;
        self.then(connection, |wire| wire.moved(direction, bytes, 0))
    }

    fn response(self, connection: usize, bytes: &str) -> Self {
        let direction = self.direction.opposite();
        self.then(connection, |wire| wire.moved(direction, bytes, 0))
    }

    fn call(self, connection: usize, id: u64) -> Self {
        let body = format!(
            r#"{{"method":"tools/call","params":{{"name":"t{id}"}},"jsonrpc":"2.0","id":{id}}}"#
        );
        self.request(connection, &post("/messages/?session_id=2efe", "", &body))
    }

    fn accepted(self, connection: usize) -> Self {
        self.response(connection, ACCEPTED)
    }

    fn answer(self, id: u64) -> Self {
        let result = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"isError":true}}}}"#);
        self.response(0, &chunk(&message(&result)))
    }

    fn then(mut self, connection: usize, happens: impl FnOnce(Wire) -> Wire) -> Self {
        let now = self.wires.iter().map(|wire| wire.now).max();
        let wire = &mut self.wires[connection];
        wire.now = now.unwrap_or_default();
        let before = wire.events.len();
        *wire = happens(wire.clone());
        self.events.extend_from_slice(&wire.events[before..]);
        self
    }

    fn told(&self) -> Stages {
        let stages = Stages::new().run(&self.events);
        assert_understood_once(&stages.told);
        stages
    }
}

/// Exchanges that ended, with their meaning and outcome.
fn ended(stages: &Stages) -> Vec<String> {
    let ended = stages.ended().into_iter();
    ended
        .map(|ended| format!("{}; {:?}", describe(ended), ended.outcome))
        .collect()
}

/// The line of a call that was answered.
fn failed(id: u64) -> String {
    format!("mcp Messages; session 2efe; tools/call#{id} t{id} -> tool error#{id}; Complete")
}

/// The line of a call that was not.
fn unanswered(id: u64, outcome: &str) -> String {
    format!("mcp Messages; session 2efe; tools/call#{id} t{id} -> ; {outcome}")
}

fn both_ends() -> [Session; 2] {
    [Direction::Sent, Direction::Received].map(|direction| Session::open(direction, ENDPOINT))
}

#[test]
fn calls_end_when_they_are_answered() {
    for session in both_ends() {
        let session = session.call(1, 2).accepted(1).call(1, 3).accepted(1);
        assert_eq!(ended(&session.told()), [""; 0], "both wait");
        let session = session.answer(3);
        assert_eq!(ended(&session.told()), [failed(3)]);
        let session = session.answer(2);
        let told = session.told();
        assert_eq!(ended(&told), [failed(3), failed(2)]);
        let last = told.ended()[1];
        assert_eq!(last.ended_at, session.wires[0].now);
        let (_, _, counters) = told.counters();
        assert_eq!((counters.held, counters.unanswered), (2, 0));
    }
}

#[test]
fn answers_may_come_before_the_post_is_accepted() {
    for session in both_ends() {
        let session = session.call(1, 2).answer(2);
        assert_eq!(ended(&session.told()), [""; 0]);
        let told = session.accepted(1).told();
        assert_eq!(ended(&told), [failed(2)]);
        assert_eq!(told.counters().2.held, 0);
    }
}

#[test]
fn the_stream_is_known_by_its_first_event() {
    for session in both_ends() {
        let session = session.then(0, Wire::closed);
        let lines = ended(&session.told());
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("mcp Stream; session 2efe -> ; "),
            "{lines:?}"
        );
    }
}

#[test]
fn unanswered_calls_end_with_their_stream() {
    for session in both_ends() {
        let is_client = session.direction == Direction::Sent;
        let session = session.call(1, 2).accepted(1);
        let broken = session.then(0, |wire| wire.broken(libc::ECONNRESET));
        let told = broken.told();
        let outcome = format!("Broken {{ errno: {} }}", libc::ECONNRESET);
        let stream = format!("mcp Stream; session 2efe -> ; {outcome}");
        assert_eq!(
            ended(&told),
            [unanswered(2, &outcome), stream],
            "{is_client}"
        );
        assert_eq!(told.counters().2.unanswered, 1);
    }
}

#[test]
fn unanswered_calls_end_with_their_process() {
    let session = Session::open(Direction::Received, ENDPOINT);
    let session = session.call(1, 2).accepted(1).then(1, Wire::exited);
    let told = session.told();
    assert_eq!(ended(&told)[0], unanswered(2, "ProcessExited"));
    let is_exit =
        |event: &ExchangeEvent| matches!(event, ExchangeEvent::ProcessExited { pid: PID, .. });
    let last = told.told.last();
    assert!(last.is_some_and(is_exit), "all ended before: {last:?}");
}

#[test]
fn calls_wait_only_so_long() {
    let session = Session::open(Direction::Sent, ENDPOINT)
        .call(1, 2)
        .accepted(1);
    let later = session.then(2, |wire| wire.after(ANSWER_WAIT)).call(2, 3);
    let told = later.told();
    assert_eq!(ended(&told), [unanswered(2, "Complete")]);
    assert_eq!(told.counters().2.unanswered, 1);
    assert_eq!(
        ended(&later.answer(2).answer(3).accepted(2).told())[1],
        failed(3)
    );
}

#[test]
fn notifications_and_responses_do_not_wait() {
    for body in [
        r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":{}}"#,
    ] {
        let session = Session::open(Direction::Sent, ENDPOINT);
        let request = post("/messages/?session_id=2efe", "", body);
        let session = session.request(1, &request).accepted(1);
        assert_eq!(ended(&session.told()).len(), 1);
    }
}

#[test]
fn other_posts_do_not_wait() {
    let call = r#"{"method":"tools/call","params":{"name":"t"},"jsonrpc":"2.0","id":1}"#;
    for (target, reply) in [
        ("/messages/?session_id=other", ACCEPTED),
        (
            "/messages/?session_id=2efe",
            "HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let session = Session::open(Direction::Sent, ENDPOINT);
        let session = session
            .request(1, &post(target, "", call))
            .response(1, reply);
        assert_eq!(ended(&session.told()).len(), 1, "{target}");
    }
}

#[test]
fn endpoints_may_be_any_target() {
    let call = r#"{"method":"tools/call","params":{"name":"t"},"jsonrpc":"2.0","id":1}"#;
    for (endpoint, target) in [
        ("/messages", "/messages"),
        ("http://10.0.0.2:8000/in/7", "/in/7"),
        ("/messages?sessionId=7", "/proxied/messages?sessionId=7"),
    ] {
        let endpoint = format!("event: endpoint\ndata: {endpoint}\n\n");
        let session = Session::open(Direction::Sent, &endpoint);
        let session = session.request(1, &post(target, "", call)).accepted(1);
        assert_eq!(ended(&session.told()), [""; 0], "{endpoint}");
        assert_eq!(ended(&session.answer(1).told()).len(), 1);
    }
}

#[test]
fn answers_to_nothing_are_counted() {
    let mut session = Session::open(Direction::Sent, ENDPOINT);
    for id in 0..70 {
        session = session.answer(id);
    }
    assert_eq!(session.told().counters().2.answers_unmatched, 6);
    // Those that are kept are still matched.
    let session = session.call(1, 69).accepted(1);
    assert_eq!(ended(&session.told()), [failed(69)]);
}

#[test]
fn streams_are_limited() {
    let mut events = Vec::new();
    for socket in 0..1_026 {
        let endpoint = ENDPOINT.replace("2efe", &socket.to_string());
        let wire = Wire::new(socket)
            .sent(bare("GET", "/sse", ""))
            .received(stream_head("") + &chunk(&endpoint));
        events.extend(wire.events);
    }
    let told = Stages::new().run(&events);
    assert_eq!(told.counters().2.streams_refused, 2);
}
