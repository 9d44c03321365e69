//! Runs of agents that go on at once: each is told whole, and nothing of one in another.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use kaos_tests::agent::Agent;
use kaos_tests::chat::{Answer, Question, ask};
use kaos_tests::process::free_port;
use kaos_tests::received::{Span, by_trace, ended_runs};
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::render_names;
use kaos_tests::workloads::{AgentKind, AgentPlace, Need, Server, Workloads, lacks};
use serde_json::json;

const NEEDS: [Need; 2] = [Need::Python, Need::Program("curl")];

/// Runs that go on at once.
const RUNS: usize = 32;

/// Asks all questions at once.
fn ask_all(
    asked: &Server,
    question: impl Fn(usize) -> Question + Sync,
    check: impl Fn(usize, &Answer) + Sync,
) {
    thread::scope(|scope| {
        for run in 0..RUNS {
            let (question, check) = (&question, &check);
            scope.spawn(move || check(run, &ask(asked, &question(run))));
        }
    });
}

/// Each run has a tool of its own, and its model counts tokens as no other's does.
fn question(run: usize) -> Question {
    let tool = format!("run_{run}");
    Question::new(json!([
        {"call": {tool: {}}, "usage": {"prompt": 1000 + run, "completion": 1}},
        {"say": format!("answer {run}"), "usage": {"prompt": 2000 + run, "completion": 1}},
    ]))
}

/// What is told of a run: its tree, and what its model calls counted, in their order.
fn told(mut spans: Vec<Span>) -> String {
    let tree = render_names(&spans);
    spans.retain(|span| span.name == "model.inference");
    spans.sort_by_key(|span| span.start);
    let counted: Vec<_> = spans
        .iter()
        .map(|span| span.attribute("gen_ai.usage.input_tokens"))
        .collect();
    format!("{tree}{counted:?}\n")
}

fn expected(run: usize) -> String {
    format!(
        "\
supervisor agent.agentic_loop OK
  supervisor agent.step.1 OK
    supervisor model.inference OK
    supervisor tool.run_{run} OK
      supervisor mcp.tool.run_{run} OK
  supervisor agent.step.2 OK
    supervisor model.inference OK
{:?}
",
        [format!("{}", 1000 + run), format!("{}", 2000 + run)]
    )
}

/// How many of these go on at once, at most.
fn at_once(loops: &[&Span]) -> usize {
    let going_on = |at: u64| {
        loops
            .iter()
            .filter(|span| (span.start..=span.end).contains(&at))
            .count()
    };
    loops
        .iter()
        .map(|span| going_on(span.start))
        .max()
        .unwrap_or(0)
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn many_runs_in_one_process() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, tools) = (
        workloads.model("model"),
        workloads.named_tools("tools", RUNS),
    );
    let place = AgentPlace::of(&model, &tools);
    let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
    let agent = Agent::watch(&[&supervisor.process], &[]);
    let with_type_or_not = |run| match run % 2 {
        0 => question(run),
        _ => question(run).without_content_type(),
    };
    ask_all(&supervisor, with_type_or_not, |run, answer| {
        assert_eq!(answer.text, format!("answer {run}"));
    });
    receiver.wait_for("the ends of all runs", |spans| {
        ended_runs(spans, "supervisor") == RUNS
    });
    agent.stop();

    let spans = receiver.received().spans;
    let loops: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name == "agent.agentic_loop")
        .collect();
    let at_once = at_once(&loops);
    println!("{at_once} runs went on at once");
    assert!(at_once >= RUNS / 2, "{at_once} runs went on at once");
    let told: BTreeSet<String> = by_trace(spans).into_values().map(told).collect();
    assert_eq!(told, (0..RUNS).map(expected).collect());
}

/// Connections that were never made carry nothing but what ran when they were tried.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn many_runs_in_one_process_whose_model_is_down() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, tools) = (workloads.model("model"), workloads.tools("tools"));
    let nowhere = AgentPlace {
        model_api: format!("http://127.0.0.1:{}", free_port()),
        ..AgentPlace::of(&model, &tools)
    };
    let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &nowhere);
    let agent = Agent::watch(&[&supervisor.process], &[]);
    let in_trace = |run| question(run).in_trace(1 + run as u128);
    ask_all(&supervisor, in_trace, |_, answer| {
        assert_eq!(answer.status, 200, "a failure is an answer");
    });
    receiver.wait_for("the ends of all runs", |spans| {
        ended_runs(spans, "supervisor") == RUNS
    });
    agent.stop();

    let told: BTreeMap<String, String> = by_trace(receiver.received().spans)
        .into_iter()
        .map(|(trace, spans)| (trace, render_names(&spans)))
        .collect();
    let expected = "\
supervisor agent.agentic_loop ERROR agent_error
  supervisor agent.step.1 ERROR connection_refused
    supervisor model.inference ERROR connection_refused
    supervisor model.inference ERROR connection_refused
    supervisor model.inference ERROR connection_refused
";
    let expected = (1..=RUNS).map(|trace| (format!("{trace:032x}"), expected.to_owned()));
    assert_eq!(told, expected.collect());
}

/// The first gives work to the second, which gives work to the first while that waits, all with the
/// `traceparent` that the user sent, which both only pass on.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn two_agents_that_delegate_to_each_other() {
    if lacks(&NEEDS) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of_kaos(&receiver);
    let (model, tools) = (workloads.model("model"), workloads.tools("tools"));
    let (of_first, of_second) = (free_port(), free_port());
    let start = |name, port, peer, peer_port: u16| {
        let url = format!("http://127.0.0.1:{peer_port}");
        let place = AgentPlace::of(&model, &tools).at(port).with_peer(peer, url);
        workloads.kaos_agent(name, AgentKind::Current, &place)
    };
    let first = start("first", of_first, "second", of_second);
    let second = start("second", of_second, "first", of_first);
    let agent = Agent::watch(&[&first.process, &second.process], &[]);

    let back = json!([{"call": {"add": {"a": 1, "b": 2}}}, {"say": "three"}]);
    let there = json!([{"delegate": {"first": back}}, {"say": "it says three"}]);
    let work = json!([{"delegate": {"second": there}}, {"say": "done"}]);
    assert_eq!(ask(&first, &Question::new(work).in_trace(1)).text, "done");
    receiver.wait_for("the ends of all runs", |spans| {
        (ended_runs(spans, "first"), ended_runs(spans, "second")) == (2, 1)
    });
    agent.stop();

    assert_eq!(
        render_names(&receiver.received().spans),
        "\
first agent.agentic_loop OK
  first agent.step.1 OK
    first delegate.second OK
      second agent.agentic_loop OK
        second agent.step.1 OK
          second delegate.first OK
            first agent.agentic_loop OK
              first agent.step.1 OK
                first model.inference OK
                first tool.add OK
                  first mcp.tool.add OK
              first agent.step.2 OK
                first model.inference OK
          second model.inference OK
        second agent.step.2 OK
          second model.inference OK
    first model.inference OK
  first agent.step.2 OK
    first model.inference OK
"
    );
}
