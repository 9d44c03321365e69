//! What kaos-agent tells of agents from outside, against what their own OpenTelemetry SDK tells of
//! the same runs from inside.

use kaos_tests::agent::Agent;
use kaos_tests::chat::{Question, ask};
use kaos_tests::process::Process;
use kaos_tests::received::Span;
use kaos_tests::receiver::Receiver;
use kaos_tests::story;
use kaos_tests::workloads::{AgentKind, AgentPlace, Need, Server, Workloads, lacks};
use serde_json::{Value, json};

const AGENTS: [&str; 2] = ["supervisor", "worker"];

/// Everything that agents do: tools, also in parallel, also failing; delegation; a model that
/// reports cached tokens, one that fails, one that fails once.
fn questions() -> Vec<Question> {
    let task = json!([{"call": {"add": {"a": 3, "b": 4}}}, {"say": "the worker has done it"}]);
    let work = json!([
        {"call": {"add": {"a": 1, "b": 2}}, "usage": {"prompt": 30, "completion": 7}},
        {"call": {"add": {"a": 1, "b": 2}, "fail": {"reason": "it must"}}},
        {"delegate": {"worker": task}},
        {"say": "all is done", "usage": {"prompt": 412, "completion": 57, "cached": 128}},
    ]);
    let failing_once = json!([
        {"status": 429, "times": 1, "call": {"add": {"a": 1, "b": 2}}},
        {"say": "at last"},
    ]);
    let failing_peer = json!([{"delegate": {"worker": [{"status": 500}]}}, {"say": "it cannot"}]);
    let endless: Value = (0..6)
        .map(|n| json!({"call": {"add": {"a": n, "b": 2}}}))
        .collect();
    vec![
        Question::new(work.clone()),
        Question::new(work).streamed(),
        Question::new(failing_once),
        Question::new(json!([{"status": 500}])),
        Question::new(failing_peer),
        Question::new(endless),
    ]
}

struct Agents {
    supervisor: Server,
    worker: Server,
}

impl Agents {
    /// `off`: whether their SDK is off.
    fn start(workloads: &Workloads<'_>, model: &Server, tools: &Server, off: &str) -> Self {
        let place = || AgentPlace::of(model, tools).with("OTEL_SDK_DISABLED", off);
        let worker = workloads.kaos_agent("worker", AgentKind::Current, &place());
        let place = place().with_peer("worker", worker.url(""));
        let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
        Self { supervisor, worker }
    }

    fn answer(&self, questions: &[Question]) {
        for question in questions {
            assert_eq!(ask(&self.supervisor, question).status, 200);
        }
    }

    fn processes(&self) -> [&Process; 2] {
        [&self.supervisor.process, &self.worker.process]
    }
}

/// What was asked of the supervisor, and is told as over.
fn runs(spans: &[Span], name: &str) -> usize {
    spans
        .iter()
        .filter(|span| span.service == "supervisor" && span.name == name)
        .count()
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn the_same_as_from_inside() {
    if lacks(&[Need::Python, Need::Program("curl")]) {
        return;
    }
    let questions = questions();
    let (inside, outside) = (Receiver::start(), Receiver::start());

    let workloads = Workloads::of_kaos(&inside);
    let (model, tools) = (workloads.model("model"), workloads.tools("tools"));
    let agents = Agents::start(&workloads, &model, &tools, "false");
    agents.answer(&questions);
    inside.wait_for("what the SDK tells", |spans| {
        runs(spans, "server-run") == questions.len()
    });
    drop(agents);

    // A model of its own, since it counts how often it has failed.
    let workloads = Workloads::of_kaos(&outside);
    let model = workloads.model("model");
    let agents = Agents::start(&workloads, &model, &tools, "true");
    let agent = Agent::watch(&agents.processes(), &[]);
    agents.answer(&questions);
    outside.wait_for("what kaos-agent tells", |spans| {
        runs(spans, "agent.agentic_loop") == questions.len()
    });
    agent.stop();

    // KAOS counts a delegation as a success whose peer answers that it failed. We do not.
    let of_sdk = story::tell(&inside.received().spans, &AGENTS).replace(
        "delegate worker: ok\n    worker runs: failed",
        "delegate worker: failed\n    worker runs: failed",
    );
    assert_eq!(story::tell(&outside.received().spans, &AGENTS), of_sdk);
}
