//! Beside the real OpenTelemetry SDK and its instrumentations: what both tell together.

use std::collections::BTreeSet;

use kaos_tests::agent::{Agent, Stats};
use kaos_tests::received::Span;
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Need, Variable, Workloads, lacks};

/// SDKs that make spans, and export metrics alone.
const METRICS_ONLY: Variable = ("OTEL_TRACES_EXPORTER", "none");

/// SDKs that make no spans, and export metrics; and ones that export both. Nothing else in their
/// environment says so.
const NO_SPANS: Variable = ("EXPORTS", "metrics");
const BOTH: Variable = ("EXPORTS", "traces,metrics");

/// Exports of metrics, one each second, after which their connection has long told what it can.
const MANY_EXPORTS: usize = 4;

/// What the SDKs in `asker` and `shop` tell by themselves, with each span's parent.
const BY_SDK: [&str; 4] = [
    "asker CLIENT POST",
    "shop CLIENT POST < shop CLIENT chat scripted",
    "shop CLIENT chat scripted < shop SERVER POST /chat",
    "shop SERVER POST /chat < asker CLIENT POST",
];

/// What the agent tells where it tells everything.
const ALL_BY_AGENT: [&str; 6] = [
    "asker CLIENT POST",
    "model SERVER GET < shop CLIENT GET",
    "model SERVER chat scripted < shop CLIENT chat scripted",
    "shop CLIENT GET < shop SERVER POST",
    "shop CLIENT chat scripted < shop SERVER POST",
    "shop SERVER POST < asker CLIENT POST",
];

/// A client with an SDK asks a server with an SDK, which asks a model's server without one twice,
/// and of the second time no SDK knows. Returns what the SDKs told, what the agent told, each span
/// with its parent, and the agent's counters. `count` spans are waited for.
fn told(
    arguments: &[&str],
    variables: &[Variable],
    count: usize,
) -> (Vec<String>, Vec<String>, Stats) {
    told_of(1, arguments, variables, count)
}

/// The same where the client asks so often at once.
fn told_of(
    asked: usize,
    arguments: &[&str],
    variables: &[Variable],
    count: usize,
) -> (Vec<String>, Vec<String>, Stats) {
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let own_pid = std::process::id().to_string();
    let agent = Agent::start(&[&["--pid", &own_pid], arguments].concat());
    let model = workloads.model("model");
    let shop = workloads.server_with_sdk("shop", &model, variables);
    if variables.contains(&METRICS_ONLY) || variables.contains(&NO_SPANS) {
        wait_for_metrics(&receiver);
    }
    let asker = workloads.client_with_sdk("asker", &shop.url("/chat"), asked, variables);
    asker.succeed();
    receiver.wait_for("all spans", |spans| spans.len() >= count);
    // It delivers what it still has.
    let stats = agent.stop();

    let (by_sdk, by_agent) = lines(&receiver.received().spans);
    (by_sdk, by_agent, stats)
}

/// Waits until the SDK of `shop` has exported metrics for a while.
fn wait_for_metrics(receiver: &Receiver) {
    receiver.wait_for_received("metrics of shop's SDK", |received| {
        let points = received.points.iter();
        let of_sdk = points.filter(|point| point.name == "sdk.started" && point.service == "shop");
        of_sdk.count() >= MANY_EXPORTS
    });
}

/// What the SDKs told and what the agent told, each span with its parent; without the spans that an SDK
/// makes within a request.
fn lines(spans: &[Span]) -> (Vec<String>, Vec<String>) {
    let describe = |span: &Span| format!("{} {} {}", span.service, span.kind, span.name);
    let lines = |by_agent: bool| {
        let told = spans
            .iter()
            .filter(|span| is_by_agent(span) == by_agent && span.kind != "INTERNAL");
        let mut lines: Vec<_> = told
            .map(|span| {
                if span.parent_id.is_empty() {
                    return describe(span);
                }
                let is_parent = |other: &&Span| {
                    other.span_id == span.parent_id && other.trace_id == span.trace_id
                };
                let parent = spans.iter().find(is_parent);
                let parent = parent.map_or("nobody".to_owned(), describe);
                format!("{} < {parent}", describe(span))
            })
            .collect();
        lines.sort();
        lines
    };
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "each span is told once");
    (lines(false), lines(true))
}

fn is_by_agent(span: &Span) -> bool {
    span.resource["telemetry.sdk.name"] == "kaos-agent"
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn what_the_sdks_do_not_tell_is_told_below_their_spans() {
    if lacks(&[Need::Python]) {
        return;
    }
    let (by_sdk, by_agent, stats) = told(&[], &[], 7);
    assert_eq!(by_sdk, BY_SDK);
    assert_eq!(
        by_agent,
        [
            "model SERVER GET < shop CLIENT GET",
            "model SERVER chat scripted < shop CLIENT POST",
            "shop CLIENT GET < asker CLIENT POST",
        ]
    );
    // The call of `asker`, what `shop` served, and its call of the model.
    assert_eq!(stats["runs.left_to_sdk"], 3);
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn all_or_nothing_by_option() {
    if lacks(&[Need::Python]) {
        return;
    }
    let options = ["--beside-sdk", "never", "--beside-sdk", "shop=always"];
    let (by_sdk, by_agent, _) = told(&options, &[], 9);
    assert_eq!(by_sdk, BY_SDK);
    assert_eq!(
        by_agent,
        [
            "model SERVER GET < shop CLIENT GET",
            "model SERVER chat scripted < shop CLIENT POST",
            "shop CLIENT GET < shop SERVER POST",
            "shop CLIENT chat scripted < shop CLIENT POST",
            "shop SERVER POST < asker CLIENT POST",
        ]
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn with_many_requests_in_flight_nothing_is_told_twice_and_all_have_parents() {
    if lacks(&[Need::Python]) {
        return;
    }
    const ASKED: usize = 24;
    let (by_sdk, by_agent, stats) = told_of(ASKED, &[], &[], 7 * ASKED);
    let each = |lines: &[&str]| -> Vec<String> {
        let repeated = lines
            .iter()
            .flat_map(|line| vec![(*line).to_owned(); ASKED]);
        repeated.collect()
    };
    assert_eq!(by_sdk, each(&BY_SDK));
    assert_eq!(
        by_agent,
        each(&[
            "model SERVER GET < shop CLIENT GET",
            "model SERVER chat scripted < shop CLIENT POST",
            "shop CLIENT GET < asker CLIENT POST",
        ])
    );
    assert_eq!(stats["runs.left_to_sdk"], 3 * ASKED as u64);
}

/// With this variable in their environment SDKs tell nothing, and so the agent tells all.
fn all_is_told_by_the_agent(variable: Variable) {
    if lacks(&[Need::Python]) {
        return;
    }
    let (by_sdk, by_agent, stats) = told(&[], &[variable], 6);
    assert!(by_sdk.is_empty(), "{by_sdk:?}");
    assert_eq!(by_agent, ALL_BY_AGENT);
    assert_eq!(stats["runs.left_to_sdk"], 0);
}

/// Their gRPC connections are none of spans, and the spans that their headers name have no receiver.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sdks_that_export_metrics_alone_leave_all_spans_to_the_agent() {
    all_is_told_by_the_agent(METRICS_ONLY);
}

/// What goes over a gRPC connection its requests say.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sdks_without_spans_leave_them_all_to_the_agent() {
    all_is_told_by_the_agent(NO_SPANS);
}

/// gRPC's library for Python uses one connection for both.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn spans_are_noticed_among_metrics() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let own_pid = std::process::id().to_string();
    let agent = Agent::start(&["--pid", &own_pid]);
    let model = workloads.model("model");
    let shop = workloads.server_with_sdk("shop", &model, &[BOTH]);
    wait_for_metrics(&receiver);
    let url = shop.url("/price");
    let ask = || {
        let caller = workloads.python_client("caller", "aiohttp", std::slice::from_ref(&url));
        caller.succeed();
    };
    // The first is told by both, as no call shows an SDK.
    ask();
    agent.wait_for_log("has an OpenTelemetry SDK inside: it exports spans");
    ask();
    receiver.wait_for("all spans", |spans| spans.len() >= 9);
    agent.stop();
    let (by_sdk, by_agent) = lines(&receiver.received().spans);
    assert_eq!(by_sdk, ["shop SERVER GET /price", "shop SERVER GET /price"]);
    assert_eq!(
        by_agent,
        [
            "caller CLIENT GET",
            "caller CLIENT GET",
            "model SERVER GET < shop CLIENT GET",
            "model SERVER GET < shop CLIENT GET",
            "shop CLIENT GET < caller CLIENT GET",
            "shop CLIENT GET < shop SERVER GET",
            "shop SERVER GET < caller CLIENT GET",
        ]
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sdks_that_are_switched_off_count_for_nothing() {
    all_is_told_by_the_agent(("OTEL_SDK_DISABLED", "true"));
}

/// It shows in its exports alone, and they come after its first requests.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn automatic_instrumentation_is_known_before_it_exports() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let own_pid = std::process::id().to_string();
    let agent = Agent::start(&["--pid", &own_pid]);
    let model = workloads.model("model");
    let shop = workloads.instrumented_server("shop", &model);
    let url = shop.url("/price");
    // One without an SDK, and one with.
    let caller = workloads.python_client("caller", "aiohttp", std::slice::from_ref(&url));
    caller.succeed();
    workloads.client_with_sdk("asker", &url, 1, &[]).succeed();
    agent.wait_for_log("has an OpenTelemetry SDK inside: it was started with automatic");
    receiver.wait_for("all spans", |spans| {
        let (by_sdk, by_agent) = lines(spans);
        by_sdk.len() >= 3 && by_agent.len() >= 5
    });
    let stats = agent.stop();
    let (by_sdk, by_agent) = lines(&receiver.received().spans);
    assert_eq!(
        by_sdk,
        [
            "asker CLIENT POST",
            "shop SERVER GET /price",
            "shop SERVER POST /price < asker CLIENT POST",
        ]
    );
    assert_eq!(
        by_agent,
        [
            "caller CLIENT GET",
            "model SERVER GET < shop CLIENT GET",
            "model SERVER GET < shop CLIENT GET",
            "shop CLIENT GET < asker CLIENT POST",
            // The SDK's own span for it is in a trace of its own: no header named another.
            "shop CLIENT GET < caller CLIENT GET",
        ]
    );
    assert_eq!(stats["runs.left_to_sdk"], 3);
    assert_eq!(stats["runs.sdks_not_shown"], 0);
}
