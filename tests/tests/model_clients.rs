//! The published client libraries of the model APIs: what kaos-agent tells of their calls, against
//! what the clients know themselves.

use kaos_tests::agent::Agent;
use kaos_tests::received::{HistogramPoint, Span};
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Need, Server, Workloads, lacks};
use serde_json::{Value, json};

/// The libraries whose answers can be streamed.
const LIBRARIES: [&str; 4] = ["openai", "openai-responses", "anthropic", "ollama"];

/// Clients, the model that they call, and who hears of it.
struct Scene<'a> {
    receiver: &'a Receiver,
    workloads: Workloads<'a>,
    model: Server,
    agent: Agent,
}

impl Scene<'_> {
    /// Plays a test, where the machine has what it needs.
    fn play(test: impl FnOnce(Scene<'_>)) {
        if lacks(&[Need::Python]) {
            return;
        }
        let receiver = Receiver::start();
        let workloads = Workloads::of(&receiver);
        let model = workloads.model("model");
        // Its children, of which no other process's can be told apart.
        let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
        test(Scene {
            receiver: &receiver,
            workloads,
            model,
            agent,
        });
    }

    /// What a client library knows of the answers to these prompts.
    fn ask(&self, service: &str, library: &str, mode: &str, prompts: &[Value]) -> Vec<Value> {
        let url = self.model.url("");
        self.workloads.ask(service, library, &url, mode, prompts)
    }
}

/// The calls of a client, in the order in which they were made.
fn calls<'a>(spans: &'a [Span], service: &str) -> Vec<&'a Span> {
    let is_call = |span: &&Span| span.service == service && span.kind == "CLIENT";
    let mut calls: Vec<&Span> = spans.iter().filter(is_call).collect();
    calls.sort_by_key(|span| span.start);
    calls
}

/// What both the client and the span know: tokens of question and answer, and whether it failed.
fn known_to_client(answer: &Value) -> (String, bool) {
    let usage = answer["usage"].as_array().map_or(String::new(), |tokens| {
        let tokens: Vec<String> = tokens.iter().map(Value::to_string).collect();
        tokens.join(" ")
    });
    (usage, answer.get("error").is_some())
}

fn known_to_span(span: &Span) -> (String, bool) {
    let usage = ["input", "output"].map(|kind| {
        let tokens = span.attribute(&format!("gen_ai.usage.{kind}_tokens"));
        tokens.to_owned()
    });
    (usage.join(" ").trim().to_owned(), span.status == "ERROR")
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn tokens_and_errors_are_those_that_the_clients_know() {
    Scene::play(tokens_and_errors);
}

fn tokens_and_errors(scene: Scene<'_>) {
    let prompts = [
        json!([{"say": "a short answer", "usage": {"prompt": 90, "completion": 40}}]),
        json!([{"call": {"add": {"a": 2, "b": 3}}, "usage": {"prompt": 91, "completion": 41}}]),
        json!([{"status": 429}]),
        json!([{"status": 500}]),
    ];
    let mut expected = Vec::new();
    for library in LIBRARIES {
        for mode in ["tools", "stream tools"] {
            let service = format!("{library} {mode}");
            let answers = scene.ask(&service, library, mode, &prompts);
            expected.push((service, answers));
        }
    }
    let service = "openai-embeddings".to_owned();
    let answers = scene.ask(&service, &service, "", &[json!("two words")]);
    expected.push((service, answers));
    scene.receiver.wait_for("a span of each call", |spans| {
        let is_told = |(service, answers): &(String, Vec<Value>)| {
            calls(spans, service).len() >= answers.len()
        };
        expected.iter().all(is_told)
    });
    scene.agent.stop();

    let received = scene.receiver.received();
    let spans = &received.spans;
    for (service, answers) in &expected {
        let of_client: Vec<_> = answers.iter().map(known_to_client).collect();
        let calls = calls(spans, service);
        let of_spans: Vec<_> = calls.iter().map(|span| known_to_span(span)).collect();
        assert_eq!(of_spans, of_client, "{service}");
        assert!(
            calls
                .iter()
                .all(|span| span.attribute("gen_ai.request.model") == "scripted"),
            "{service}"
        );
        // Examples of how long a call took lead to such calls.
        let is_its = |point: &&HistogramPoint| {
            point.service == *service && point.name == "gen_ai.client.operation.duration"
        };
        let points = received.points.iter().filter(is_its);
        let exemplars: Vec<_> = points.flat_map(|point| &point.exemplars).collect();
        assert!(!exemplars.is_empty(), "{service}");
        for (trace_id, span_id) in exemplars {
            let is_it = |span: &Span| span.trace_id == *trace_id && span.span_id == *span_id;
            assert!(calls.iter().any(|span| is_it(span)), "{service}: {span_id}");
        }
    }
}

/// What the client's own clock says is the time on the wire and the library's work before it (it builds
/// and connects) and after it (it parses). The first is what kaos-agent tells; the second is printed.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn time_to_first_token_is_what_the_client_measures() {
    Scene::play(time_to_first_token);
}

fn time_to_first_token(scene: Scene<'_>) {
    const CALLS: usize = 21;
    const BOUND_IN_MILLISECONDS: f64 = 2.0;
    let prompts = vec![json!([{"say": "one two three", "pause": 0.02}]); CALLS];
    for library in LIBRARIES {
        let answers = scene.ask(library, library, "stream", &prompts);
        let spans = scene.receiver.wait_for("a span of each call", |spans| {
            calls(spans, library).len() >= CALLS
        });
        let told = calls(&spans, library).into_iter().map(|span| {
            let told = span.attribute("gen_ai.response.time_to_first_chunk");
            told.parse::<f64>().expect("seconds") * 1000.0
        });
        let told: Vec<f64> = told.collect();
        let [on_wire, _] = ["first_on_wire", "first"].map(|point| {
            let measured = answers.iter().map(|answer| answer[point].as_f64());
            let measured = measured.map(|measured| measured.expect("the client measures"));
            let differences = measured.zip(&told).map(|(measured, told)| measured - told);
            let mut differences: Vec<f64> = differences.collect();
            differences.sort_by(f64::total_cmp);
            let (least, most) = (differences[0], differences[CALLS - 1]);
            let median = differences[CALLS / 2];
            println!(
                "{library}: {point} is {median:.3} ms later than kaos-agent tells (median of {CALLS}; \
                 {least:.3} to {most:.3})"
            );
            median
        });
        assert!(
            on_wire.abs() < BOUND_IN_MILLISECONDS,
            "{library}: {on_wire}"
        );
    }
    scene.agent.stop();
}
