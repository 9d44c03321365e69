//! What AI agents are made of: LiteLLM, MCP, and an agent that calls both.

use kaos_tests::agent::Agent;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::render;
use kaos_tests::workloads::{MODEL_API_KEY, Need, Workloads, lacks};

const NEEDS: [Need; 2] = [Need::Python, Need::Program("curl")];
const QUESTION: &str = r#"{"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}"#;

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn litellm_before_a_model() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let model = workloads.model("model");
    let litellm = workloads.litellm("litellm", &model);
    let agent = Agent::watch(&[&litellm.process, &model.process], &[]);

    let key = format!("authorization: Bearer {MODEL_API_KEY}");
    let arguments = [
        "--header",
        "content-type: application/json",
        "--header",
        &key,
    ];
    let arguments = [&arguments[..], &["--data", QUESTION]].concat();
    let seen = workloads.curl(
        "not watched",
        &arguments,
        &[litellm.url("/v1/chat/completions")],
    );
    assert!(
        seen[0].starts_with("POST /v1/chat/completions 200 "),
        "{seen:?}"
    );
    receiver.wait_for("three spans", |spans| spans.len() >= 3);
    agent.stop();

    assert_eq!(
        render(&receiver.received().spans),
        "litellm SERVER POST /v1/chat/completions 200\n  \
           litellm CLIENT POST /v1/chat/completions 200\n    \
             model SERVER POST /v1/chat/completions 200\n"
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn fastmcp_with_its_own_client() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let tools = workloads.tools("tools");
    let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
    assert_eq!(workloads.tools_client("client", &tools).succeed(), ["5"]);
    receiver.wait_for("six spans", |spans| spans.len() >= 6);
    agent.stop();
    // Discovery, the list of tools, the call: three requests on one connection, no session.
    assert_eq!(
        render(&receiver.received().spans),
        "client CLIENT POST /mcp 200\n  \
           tools SERVER POST /mcp 200\n\
         client CLIENT POST /mcp 200\n  \
           tools SERVER POST /mcp 200\n\
         client CLIENT POST /mcp 200\n  \
           tools SERVER POST /mcp 200\n"
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn an_agent_that_calls_a_model_and_a_tool() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let model = workloads.model("model");
    let tools = workloads.tools("tools");
    let assistant = workloads.agent("assistant", &model, &tools);
    let processes = [&model.process, &tools.process, &assistant.process];
    let agent = Agent::watch(&processes, &[]);

    let url = assistant.url("/v1/chat/completions");
    let arguments = [
        "--header",
        "content-type: application/json",
        "--data",
        QUESTION,
    ];
    let seen = workloads.curl("not watched", &arguments, &[url]);
    assert!(
        seen[0].starts_with("POST /v1/chat/completions 200 "),
        "{seen:?}"
    );
    receiver.wait_for("seventeen spans", |spans| spans.len() >= 17);
    agent.stop();

    assert_eq!(
        render(&receiver.received().spans),
        "assistant SERVER POST /v1/chat/completions 200\n  \
           assistant INTERNAL agent.agentic_loop\n    \
             assistant INTERNAL agent.step.1\n      \
               assistant CLIENT POST /v1/chat/completions 200\n        \
                 model SERVER POST /v1/chat/completions 200\n      \
               assistant CLIENT tool.add\n        \
                 assistant CLIENT DELETE /mcp 200\n          \
                   tools SERVER DELETE /mcp 200\n        \
                 assistant CLIENT POST /mcp 200\n          \
                   tools SERVER POST /mcp 200\n        \
                 assistant CLIENT POST /mcp 200\n          \
                   tools SERVER POST /mcp 200\n        \
                 assistant CLIENT POST /mcp 202\n          \
                   tools SERVER POST /mcp 202\n    \
             assistant INTERNAL agent.step.2\n      \
               assistant CLIENT POST /v1/chat/completions 200\n        \
                 model SERVER POST /v1/chat/completions 200\n"
    );
}
