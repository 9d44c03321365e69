//! Conversations made up by proptest, and what must be told of them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::capture::event::Direction;
use crate::streams::testing::Wire;

/// How a body is framed.
#[derive(Debug, Clone, Copy)]
pub enum Framed {
    Nothing,
    Length,
    Chunked { size: usize },
}

/// What the server answers.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Plain(Framed),
    NoContent,
    NotModified,
    Continued(Framed),
    Events { is_gzip: bool },
}

/// One exchange of a conversation.
#[derive(Debug, Clone)]
pub struct Turn {
    pub is_head: bool,
    pub request: Framed,
    pub request_body: String,
    pub answer: Answer,
    pub response_body: String,
    /// Sent together with the request before.
    pub is_pipelined: bool,
}

fn framed() -> impl Strategy<Value = Framed> {
    prop_oneof![
        Just(Framed::Nothing),
        Just(Framed::Length),
        (1_usize..20).prop_map(|size| Framed::Chunked { size }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let with_length = prop_oneof![
        Just(Framed::Length),
        (1_usize..20).prop_map(|size| Framed::Chunked { size }),
    ];
    prop_oneof![
        with_length.clone().prop_map(Answer::Plain),
        Just(Answer::NoContent),
        Just(Answer::NotModified),
        with_length.prop_map(Answer::Continued),
        any::<bool>().prop_map(|is_gzip| Answer::Events { is_gzip }),
    ]
}

/// Turns with bodies from `body`.
pub fn turns(body: &'static str, may_pipeline: bool) -> impl Strategy<Value = Vec<Turn>> {
    let turn = (any::<bool>(), framed(), body, answer(), body, any::<bool>());
    let turn = turn.prop_map(
        move |(is_head, request, request_body, answer, response_body, is_pipelined)| Turn {
            is_head: is_head && may_pipeline,
            request,
            request_body,
            answer,
            response_body,
            is_pipelined: is_pipelined && may_pipeline,
        },
    );
    prop::collection::vec(turn, 1..7)
}

impl Turn {
    fn request(&self, number: usize) -> Vec<u8> {
        let method = if self.is_head { "HEAD" } else { "POST" };
        let start = format!("{method} /{number} HTTP/1.1\r\nHost: a\r\n");
        framed_message(&start, self.request, self.request_body.as_bytes())
    }

    fn response(&self, number: usize) -> Vec<u8> {
        let start = format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\n");
        let body = self.response_body.as_bytes();
        match self.answer {
            Answer::NoContent => start.replace("200", "204").into_bytes().with("\r\n"),
            Answer::NotModified => start.replace("200", "304").into_bytes().with("\r\n"),
            Answer::Plain(framed) => self.cut_for_head(framed_message(&start, framed, body)),
            Answer::Continued(framed) => b"HTTP/1.1 100 Continue\r\n\r\n"
                .to_vec()
                .with(self.cut_for_head(framed_message(&start, framed, body))),
            Answer::Events { is_gzip } => {
                let stream = "data: x\n\n".repeat(self.events());
                let mut start = start + "Content-Type: text/event-stream\r\n";
                let mut body = stream.into_bytes();
                if is_gzip {
                    start += "Content-Encoding: gzip\r\n";
                    body = gzip(&body);
                }
                self.cut_for_head(framed_message(&start, Framed::Chunked { size: 7 }, &body))
            }
        }
    }

    fn events(&self) -> usize {
        self.response_body.len() % 5 + 1
    }

    /// A response to HEAD ends after its head.
    fn cut_for_head(&self, mut response: Vec<u8>) -> Vec<u8> {
        if self.is_head {
            let end = response.windows(4).position(|window| window == b"\r\n\r\n");
            response.truncate(end.unwrap() + 4);
        }
        response
    }

    /// The line that must be told of it, and how many events.
    fn expected(&self, number: usize) -> (String, Option<u64>) {
        let request = match self.request {
            Framed::Nothing => 0,
            _ => self.request_body.len(),
        };
        let (status, body) = match self.answer {
            Answer::NoContent => (204, 0),
            Answer::NotModified => (304, 0),
            _ if self.is_head => (200, 0),
            Answer::Plain(_) | Answer::Continued(_) => (200, self.response_body.len()),
            Answer::Events { is_gzip } => {
                let stream = "data: x\n\n".repeat(self.events());
                let encoded = if is_gzip {
                    gzip(stream.as_bytes()).len()
                } else {
                    stream.len()
                };
                (200, encoded)
            }
        };
        let has_events = matches!(self.answer, Answer::Events { .. }) && !self.is_head;
        let line = format!("/{number}:{request} {status}:{body} Complete");
        (line, has_events.then(|| self.events() as u64))
    }
}

/// What must be told of each turn.
pub fn expected(turns: &[Turn]) -> Vec<(String, Option<u64>)> {
    let numbered = turns.iter().enumerate();
    numbered
        .map(|(number, turn)| turn.expected(number))
        .collect()
}

/// The events of the conversation, as the client or the server sees it: one operation for the
/// requests that are sent together, one for their responses.
pub fn wire(turns: &[Turn], is_client: bool) -> Wire {
    let requests = if is_client {
        Direction::Sent
    } else {
        Direction::Received
    };
    let mut wire = Wire::new(1);
    let mut number = 0;
    while number < turns.len() {
        let mut end = number + 1;
        while end < turns.len() && turns[end].is_pipelined {
            end += 1;
        }
        let together = || turns[number..end].iter().enumerate();
        let sent = together().flat_map(|(index, turn)| turn.request(number + index));
        let answered = together().flat_map(|(index, turn)| turn.response(number + index));
        wire = wire.moved(requests, sent.collect::<Vec<u8>>(), 0);
        wire = wire.moved(requests.opposite(), answered.collect::<Vec<u8>>(), 0);
        number = end;
    }
    wire
}

fn framed_message(start: &str, framed: Framed, body: &[u8]) -> Vec<u8> {
    let message = start.as_bytes().to_vec();
    match framed {
        Framed::Nothing => message.with("\r\n"),
        Framed::Length => message
            .with(format!("Content-Length: {}\r\n\r\n", body.len()))
            .with(body),
        Framed::Chunked { size } => {
            let mut message = message.with("Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(size) {
                message = message
                    .with(format!("{:X};ext\r\n", chunk.len()))
                    .with(chunk)
                    .with("\r\n");
            }
            message.with("0\r\nX-Trailer: y\r\n\r\n")
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

trait With {
    fn with(self, more: impl AsRef<[u8]>) -> Self;
}

impl With for Vec<u8> {
    fn with(mut self, more: impl AsRef<[u8]>) -> Self {
        self.extend_from_slice(more.as_ref());
        self
    }
}
