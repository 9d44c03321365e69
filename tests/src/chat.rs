//! Chat completions of agents: what their user asks and sees.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::DEADLINE;
use crate::process::Process;
use crate::workloads::Server;

/// Span id of the user's own span, of which nobody is told.
const PARENT: u64 = 1;

/// What the user of an agent asks.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the agent's model answers, turn by turn: `workloads/python/scripted/script.py`.
    pub script: Value,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Whether the request says that it is JSON. Agents take it for that anyway.
    pub says_json: bool,
}

impl Question {
    /// To be answered as a whole.
    #[must_use]
    pub fn new(script: Value) -> Self {
        Self {
            script,
            stream: false,
            traceparent: None,
            says_json: true,
        }
    }

    /// To be answered as a stream.
    #[must_use]
    pub fn streamed(self) -> Self {
        Self {
            stream: true,
            ..self
        }
    }

    /// Without a content type.
    #[must_use]
    pub fn without_content_type(self) -> Self {
        Self {
            says_json: false,
            ..self
        }
    }

    /// In this trace, so that what is told of it can be found.
    #[must_use]
    pub fn in_trace(self, trace: u128) -> Self {
        Self {
            traceparent: Some(format!("00-{trace:032x}-{PARENT:016x}-01")),
            ..self
        }
    }

    /// For curl, which has a content type of its own where it is not told.
    fn content_type(&self) -> &'static str {
        match self.says_json {
            true => "content-type: application/json",
            false => "content-type:",
        }
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> String {
        let message = json!({"role": "user", "content": self.script.to_string()});
        json!({"model": "agent", "messages": [message], "stream": self.stream}).to_string()
    }
}

/// What the user gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The text of the answer; of a stream all its pieces, one after the other.
    pub text: String,
}

/// Asks and waits for the answer.
///
/// # Panics
/// None comes, or something that is no answer.
#[must_use]
pub fn ask(agent: &Server, question: &Question) -> Answer {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error"])
        .args(["--max-time", &DEADLINE.as_secs().to_string()])
        .args(["--write-out", "\\n%{http_code}", "--data-binary", "@-"])
        .args(["--header", question.content_type()]);
    if let Some(traceparent) = &question.traceparent {
        command.args(["--header", &format!("traceparent: {traceparent}")]);
    }
    let mut curl = command
        .arg(agent.url("/v1/chat/completions"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let mut stdin = curl.stdin.take().expect("it is piped");
    stdin
        .write_all(question.body().as_bytes())
        .expect("curl reads its input");
    drop(stdin);
    let output = curl.wait_with_output().expect("curl is our child");
    assert!(output.status.success(), "curl failed ({})", output.status);
    let output = String::from_utf8(output.stdout).expect("answers are UTF-8");
    let (body, status) = output.rsplit_once('\n').expect("curl writes the status");
    Answer {
        status: status.parse().expect("a status is a number"),
        text: if question.stream {
            streamed_text(body)
        } else {
            whole_text(body)
        },
    }
}

/// Asks as a user who may leave before the answer is complete: by being dropped.
#[must_use]
pub fn ask_and_stay(agent: &Server, question: &Question) -> Process {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--no-buffer", "--data-binary", &question.body()])
        .args(["--header", question.content_type()])
        .arg(agent.url("/v1/chat/completions"));
    Process::spawn("the user", &mut command)
}

/// The text of a chat completion; the body as it is where it is none.
fn whole_text(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let text = answer.pointer("/choices/0/message/content");
    text.and_then(Value::as_str).unwrap_or(body).to_owned()
}

/// The text of a stream of chat completion chunks.
fn streamed_text(body: &str) -> String {
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            let text = chunk.pointer("/choices/0/delta/content")?;
            Some(text.as_str()?.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found() {
        let whole = r#"{"choices": [{"message": {"content": "hello"}}]}"#;
        assert_eq!(whole_text(whole), "hello");
        assert_eq!(whole_text("Bad Gateway"), "Bad Gateway");
        let stream = "data: {\"choices\": [{\"delta\": {\"content\": \"a \"}}]}\n\n\
                      data: {\"choices\": [{\"delta\": {\"content\": \"b\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(streamed_text(stream), "a b");
    }
}
