//! An agent with a model, tools and a peer, and what it calls of them.

use super::*;
use crate::exchanges::llm::{ReplyError, Usage};
use crate::exchanges::meaning::{Operation, Reply};
use crate::runs::part::{ModelPart, ToolPart};
use crate::runs::span::{BatchedCall, LocalTool, Loop, Step, Tool};
use crate::runs::testing::meanings;

fn call(operation: &str, end: &[&str]) -> Exchange {
    let request = RequestBuilder::new("POST", "/x").client().at(MILLISECOND);
    let request = Arc::new(request.header("host", "server:8000").build());
    let operation = Arc::new(meanings::operation(operation));
    meanings::ended(&request, Some(&operation), end, 9 * MILLISECOND)
}

fn told(subject: Subject, part: Part) -> String {
    let mut agent = service("calculator");
    agent.agent.name = Some("boss".to_owned());
    agent.agent.max_steps = Some(5);
    signals(FinishedSpan {
        service: Arc::new(agent),
        part,
        ..finished(subject)
    })
}

fn in_agent() -> Part {
    Part::Model(ModelPart {
        in_agent: true,
        resends: 1,
        configured_model: None,
    })
}

#[test]
fn model_call() {
    let mut exchange = call("chat,model=gpt,stream", &[]);
    if let Some(Reply::Model(reply)) = &mut exchange.reply {
        reply.model = Some("gpt-4".to_owned());
        reply.finish_reasons = vec!["stop".to_owned()];
        reply.usage = Usage {
            input: Some(20),
            output: Some(5),
            reasoning: Some(3),
            ..Usage::default()
        };
        reply.first_content_at = Some(3 * MILLISECOND);
        reply.last_content_at = Some(7 * MILLISECOND);
        reply.content_pieces = 3;
    }
    assert_snapshot!(told(Subject::Exchange(Arc::new(exchange)), in_agent()));
}

#[test]
fn secrets_in_messages_are_masked() {
    let mut exchange = call("chat", &[]);
    if let Some(Reply::Model(reply)) = &mut exchange.reply {
        reply.error = Some(ReplyError {
            kind: Some("invalid_api_key".to_owned()),
            message: Some("Incorrect API key provided: sk-abcdefghijkl".to_owned()),
        });
    }
    let text = told(Subject::Exchange(Arc::new(exchange)), in_agent());
    assert!(
        text.contains("status error: Incorrect API key provided: sk-"),
        "{text}"
    );
    assert!(!text.contains("abcdefghijkl"), "{text}");
    assert!(text.contains("error.type: \"invalid_api_key\""), "{text}");
}

#[test]
fn tool_call() {
    let exchange = call("mcp,tools/call,tool=add,session=S", &["tool_error"]);
    let part = Part::ToolCall(ToolPart {
        in_agent: true,
        tool: "add".to_owned(),
        server: Some("calc".to_owned()),
        call_id: Some("call_1".to_owned()),
    });
    assert_snapshot!(told(Subject::Exchange(Arc::new(exchange)), part));
}

#[test]
fn batch() {
    let batch = "mcp,tools/call,tool=add#1,and=mul#2,session=S";
    let exchange = Arc::new(call(batch, &["answers=2", "fails=1"]));
    let one = BatchedCall {
        exchange: Arc::clone(&exchange),
        index: 0,
        server: Some("calc".to_owned()),
    };
    let subject = Subject::BatchedCall(Box::new(one));
    let text = told(subject, Part::Http) + &told(Subject::Exchange(exchange), Part::Http);
    assert_snapshot!(text);
}

#[test]
fn tool() {
    let tool = Tool {
        name: "add".to_owned(),
        call_id: Some("call_1".to_owned()),
        server: Some("calc".to_owned()),
        began: MILLISECOND,
        ended: 3 * MILLISECOND,
        verdict: Verdict::Succeeded,
    };
    assert_snapshot!(told(Subject::Tool(Box::new(tool)), Part::Http));
}

#[test]
fn delegation() {
    let exchange = call("send", &["state=failed"]);
    let target = "worker".to_owned();
    let subject = Subject::Exchange(Arc::new(exchange));
    assert_snapshot!(told(subject, Part::Delegation { target }));
}

#[test]
fn run() {
    let mut exchange = call("chat,stream", &["notice=steps"]);
    if let Some(Operation::Model(model)) = exchange.operation.as_deref() {
        let mut model = model.clone();
        model.session_id = Some("session".to_owned());
        exchange.operation = Some(Arc::new(Operation::Model(model)));
    }
    let run = Loop {
        verdict: Verdict::of_run(&exchange),
        exchange: Arc::new(exchange),
    };
    assert_snapshot!(told(Subject::Loop(Box::new(run)), Part::Http));
}

#[test]
fn step() {
    let step = Step {
        number: 2,
        began: MILLISECOND,
        ended: 3 * MILLISECOND,
        verdict: Verdict::Succeeded,
        local_tools: vec![LocalTool {
            name: "now".to_owned(),
            call_id: None,
            is_error: false,
        }],
    };
    assert_snapshot!(told(Subject::Step(Box::new(step)), Part::Http));
}
