//! What goes wrong around an agent, and the tree that each of it gives.

use kaos_tests::agent::Agent;
use kaos_tests::chat::{Question, ask, ask_and_stay};
use kaos_tests::process::free_port;
use kaos_tests::received::{Span, ended_runs};
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::render_names;
use kaos_tests::workloads::{AgentKind, AgentPlace, Need, Server, Workloads, lacks};
use serde_json::{Value, json};

const NEEDS: [Need; 2] = [Need::Python, Need::Program("curl")];

/// What a fault is called, what the model answers in it, and the tree that it gives.
type Fault = (&'static str, Value, &'static str);

/// Asks these one after the other, each in a trace of its own, and compares the trees.
fn compare(receiver: &Receiver, agent: Agent, asked: &Server, faults: &[Fault]) {
    for (trace, (_, script, _)) in (1..).zip(faults) {
        let question = Question::new(script.clone()).in_trace(trace);
        assert_eq!(ask(asked, &question).status, 200);
    }
    receiver.wait_for("the ends of all runs", |spans| {
        ended_runs(spans, "supervisor") >= faults.len()
    });
    agent.stop();
    let spans = receiver.received().spans;
    let (mut told, mut expected) = (String::new(), String::new());
    for (trace, (what, _, tree)) in (1_u128..).zip(faults) {
        told += &format!("{what}:\n{}", render_names(&of_trace(&spans, trace)));
        expected += &format!("{what}:\n{tree}");
    }
    assert_eq!(told, expected);
}

fn of_trace(spans: &[Span], trace: u128) -> Vec<Span> {
    let trace = format!("{trace:032x}");
    let mut spans = spans.to_vec();
    spans.retain(|span| span.trace_id == trace);
    spans
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn failures_around_an_agent() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, tools) = (workloads.model("model"), workloads.tools("tools"));
    let place = || AgentPlace::of(&model, &tools);
    let worker = workloads.kaos_agent("worker", AgentKind::Current, &place());
    let place = place()
        .with_peer("worker", worker.url(""))
        .with_peer("nobody", format!("http://127.0.0.1:{}", free_port()));
    let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
    let agent = Agent::watch(&[&supervisor.process, &worker.process], &[]);

    let faults = [
        (
            "the model fails, and the client asks three times",
            json!([{"status": 500}]),
            "\
supervisor agent.agentic_loop ERROR agent_error
  supervisor agent.step.1 ERROR 500
    supervisor model.inference ERROR 500
    supervisor model.inference ERROR 500
    supervisor model.inference ERROR 500
",
        ),
        (
            "the model has no time once",
            json!([{"status": 429, "times": 1, "say": "now"}]),
            "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference ERROR 429
    supervisor model.inference OK
",
        ),
        (
            "the model's answer breaks off once",
            json!([{"cut": 1, "times": 1, "say": "now"}]),
            "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference ERROR server_closed
    supervisor model.inference OK
",
        ),
        (
            "a tool raises",
            json!([{"call": {"fail": {"reason": "it must"}}}, {"say": "it did"}]),
            "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference OK
    supervisor tool.fail ERROR tool_error
      supervisor mcp.tool.fail ERROR tool_error
  supervisor agent.step.2 OK
    supervisor model.inference OK
",
        ),
        (
            "the peer's model fails",
            json!([{"delegate": {"worker": [{"status": 500}]}}, {"say": "it did"}]),
            "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor delegate.worker ERROR task_failed
      worker agent.agentic_loop ERROR task_failed
        worker agent.step.1 ERROR 500
          worker model.inference ERROR 500
          worker model.inference ERROR 500
          worker model.inference ERROR 500
    supervisor model.inference OK
  supervisor agent.step.2 OK
    supervisor model.inference OK
",
        ),
        (
            "the peer is down",
            json!([{"delegate": {"nobody": [{"say": "never"}]}}, {"say": "it was"}]),
            "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor delegate.nobody ERROR connection_refused
    supervisor model.inference OK
  supervisor agent.step.2 OK
    supervisor model.inference OK
",
        ),
    ];
    compare(&receiver, agent, &supervisor, &faults);
}

/// The user leaves while the model is asked, then the agent is killed while the model is asked.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_user_that_leaves_and_an_agent_that_is_killed() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, tools) = (workloads.model("model"), workloads.tools("tools"));
    let place = AgentPlace::of(&model, &tools);
    let mut supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
    let agent = Agent::watch(&[&supervisor.process], &[]);

    let holding = |text: &str| {
        let line = format!("holding {text}");
        model
            .process
            .wait_for_line("that it waits", |said| said == line);
    };
    let question = |text: &str| {
        let call = json!({"call": {"add": {"a": 1, "b": 2}}});
        Question::new(json!([call, {"say": text, "hold": true}]))
    };
    let leaves = ask_and_stay(&supervisor, &question("one").streamed());
    holding("one");
    drop(leaves);
    receiver.wait_for("the end of the first run", |spans| {
        ended_runs(spans, "supervisor") == 1
    });
    let _stays = ask_and_stay(&supervisor, &question("two"));
    holding("two");
    supervisor.process.kill();
    receiver.wait_for("the end of the second run", |spans| {
        ended_runs(spans, "supervisor") == 2
    });
    agent.stop();

    let run = |error: &str| {
        format!(
            "\
supervisor agent.agentic_loop ERROR {error}
  supervisor agent.step.1 OK
    supervisor model.inference OK
    supervisor tool.add OK
      supervisor mcp.tool.add OK
  supervisor agent.step.2 ERROR {error}
    supervisor model.inference ERROR {error}
"
        )
    };
    assert_eq!(
        render_names(&receiver.received().spans),
        run("client_closed") + &run("process_exit")
    );
}

/// A model API that is down, and one whose tools are: what was called never answered.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn servers_that_are_down() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, mut tools) = (workloads.model("model"), workloads.session_tools("tools"));
    let place = AgentPlace::of(&model, &tools);
    let january = workloads.kaos_agent("supervisor", AgentKind::January, &place);
    let nowhere = AgentPlace {
        model_api: format!("http://127.0.0.1:{}", free_port()),
        ..AgentPlace::of(&model, &tools)
    };
    let modelless = workloads.kaos_agent("modelless", AgentKind::January, &nowhere);
    let agent = Agent::watch(&[&january.process, &modelless.process], &[]);

    let call = json!([{"call": {"add": {"a": 1, "b": 2}}}, {"say": "done"}]);
    let question = |trace| Question::new(call.clone()).in_trace(trace);
    assert_eq!(ask(&january, &question(1)).text, "done");
    assert!(ask(&modelless, &question(2)).text.starts_with("Sorry"));
    tools.process.kill();
    assert_eq!(ask(&january, &question(3)).text, "done");
    receiver.wait_for("the ends of all runs", |spans| {
        ended_runs(spans, "supervisor") == 2 && ended_runs(spans, "modelless") == 1
    });
    agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(
        render_names(&of_trace(&spans, 1)),
        "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference OK
    supervisor tool.add OK
      supervisor mcp.tool.add OK
  supervisor agent.step.2 OK
    supervisor model.inference OK
"
    );
    assert_eq!(
        render_names(&of_trace(&spans, 2)),
        "\
modelless agent.agentic_loop ERROR agent_error
  modelless agent.step.1 ERROR connection_refused
    modelless model.inference ERROR connection_refused
"
    );
    assert_eq!(
        render_names(&of_trace(&spans, 3)),
        "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference OK
    supervisor tool.add ERROR connection_refused
  supervisor agent.step.2 OK
    supervisor model.inference OK
"
    );
}

/// Tools that are down for an agent of today, which asks for their list before it asks the model.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn tools_that_are_down() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, mut tools) = (workloads.model("model"), workloads.tools("tools"));
    let place = AgentPlace::of(&model, &tools);
    let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
    let agent = Agent::watch(&[&supervisor.process], &[]);
    let call = json!([{"call": {"add": {"a": 1, "b": 2}}}, {"say": "done"}]);
    let question = |trace| Question::new(call.clone()).in_trace(trace);
    assert_eq!(ask(&supervisor, &question(1)).text, "done");
    tools.process.kill();
    assert_eq!(ask(&supervisor, &question(2)).status, 200);
    receiver.wait_for("the ends of all runs", |spans| {
        ended_runs(spans, "supervisor") == 2
    });
    agent.stop();
    let spans = receiver.received().spans;
    assert_eq!(
        render_names(&of_trace(&spans, 2)),
        "supervisor agent.agentic_loop ERROR agent_error\n",
        "no model was asked, and no tool was called"
    );
}
