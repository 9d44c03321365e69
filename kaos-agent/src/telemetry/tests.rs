//! Whole signals, as text.

use std::fmt::Write;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use insta::assert_snapshot;
use opentelemetry::trace::{SpanContext, Status, TraceState};
use opentelemetry::{KeyValue, SpanId, TraceFlags, TraceId, Value};

use super::*;
use crate::exchanges::exchange::{
    Actor, Body, ConnectFailure, Exchange, ExchangeId, Outcome, Response, Role,
};
use crate::runs::span::Parent;
use crate::runs::testing::{MILLISECOND, RequestBuilder, service};

fn finished(subject: Subject) -> FinishedSpan {
    FinishedSpan {
        service: Arc::new(service("calculator")),
        context: SpanContext::new(
            TraceId::from(0x1111),
            SpanId::from(0x22),
            TraceFlags::SAMPLED,
            false,
            TraceState::from_key_value([("vendor", "value")]).expect("a tracestate"),
        ),
        parent: Some(Parent {
            span_id: SpanId::from(0x33),
            remote: true,
        }),
        clock: WallOffset(1_000_000_000_000_000_000),
        exported: true,
        part: Part::Http,
        subject,
    }
}

fn signals(finished: FinishedSpan) -> String {
    let mut out = Vec::new();
    Telemetry::new().push(finished, &mut out);
    out.iter().map(text).collect()
}

fn signals_of(exchange: Exchange) -> String {
    signals(finished(Subject::Exchange(Arc::new(exchange))))
}

fn text(signal: &Signal) -> String {
    let mut text = String::new();
    match signal {
        Signal::Span { service, span } => {
            let context = &span.span_context;
            let nanos =
                |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("after").as_nanos();
            let status = match &span.status {
                Status::Unset => "unset".to_owned(),
                Status::Ok => "ok".to_owned(),
                Status::Error { description } => format!("error: {description}"),
            };
            let remote = if span.parent_span_is_remote {
                " remote"
            } else {
                ""
            };
            let lines = [
                format!(
                    "span {} {:?} of {}",
                    span.name, span.span_kind, service.name
                ),
                format!("  scope {}", span.instrumentation_scope.name()),
                format!(
                    "  trace {} {:02x}",
                    context.trace_id(),
                    context.trace_flags()
                ),
                format!("  tracestate {}", context.trace_state().header()),
                format!("  id {}", context.span_id()),
                format!("  parent {}{remote}", span.parent_span_id),
                format!(
                    "  from {} to {}",
                    nanos(span.start_time),
                    nanos(span.end_time)
                ),
                format!("  status {status}"),
            ];
            text += &lines.join("\n");
            text += "\n";
            write_attributes(&span.attributes, &mut text);
        }
        Signal::Measurement {
            service,
            instrument,
            value,
            attributes,
        } => {
            let Instrument { name, unit, .. } = instrument;
            writeln!(text, "{name} {value} {unit} of {}", service.name).expect("a string");
            write_attributes(attributes, &mut text);
        }
    }
    text
}

fn write_attributes(attributes: &[KeyValue], text: &mut String) {
    for KeyValue { key, value, .. } in attributes {
        match value {
            Value::I64(number) => writeln!(text, "  {key}: {number}"),
            Value::String(value) => writeln!(text, "  {key}: \"{value}\""),
            other => panic!("{other:?}"),
        }
        .expect("a string");
    }
}

fn body(wire_bytes: u64) -> Body {
    Body {
        wire_bytes,
        ..Body::default()
    }
}

#[test]
fn served() {
    let request = RequestBuilder::new("POST", "/v1/chat/completions?api-version=1&key=secret")
        .server()
        .header("host", "agent-x:8000")
        .header("user-agent", "python-httpx/0.28.1")
        .at(5);
    let exchange = request.answered(200, 5 + 70 * MILLISECOND);
    assert_snapshot!(signals_of(Exchange {
        request_body: body(120),
        response: exchange.response.map(|response| Response {
            body: body(3_400),
            ..response
        }),
        ..exchange
    }));
}

#[test]
fn called() {
    let request = RequestBuilder::get("/search?q=x&sig=secret")
        .client()
        .tls()
        .header("host", "user:password@api.example.com")
        .header("user-agent", "curl");
    assert_snapshot!(signals_of(request.answered(503, 1_500 * MILLISECOND)));
}

#[test]
fn served_without_host_by_http_1_0() {
    let request = RequestBuilder::get("/").server().http10();
    assert_snapshot!(signals_of(request.answered(404, 1)));
}

#[test]
fn called_without_host() {
    let request = RequestBuilder::get("/a").client().served_at("[fd00::1]:80");
    assert_snapshot!(signals_of(request.answered(200, 1)));
}

#[test]
fn called_over_a_unix_socket() {
    let request = RequestBuilder::get("/info")
        .client()
        .unix(3, 4)
        .header("host", "docker");
    assert_snapshot!(signals_of(request.unanswered(Outcome::ServerClosed, 1)));
}

#[test]
fn called_through_a_proxy() {
    let request = RequestBuilder::new("CONNECT", "api.example.com:443")
        .client()
        .header("host", "api.example.com:443");
    let exchange = request.answered(200, 1);
    assert_snapshot!(signals_of(Exchange {
        outcome: Outcome::Upgraded,
        ..exchange
    }));
}

#[test]
fn a_method_of_ones_own() {
    let request = RequestBuilder::new("get", "*").server().header("host", "h");
    assert_snapshot!(signals_of(request.answered(200, 1)));
}

#[test]
fn not_connected() {
    let failure = ConnectFailure {
        id: ExchangeId(1),
        actor: Actor {
            pid: 1,
            tid: 1,
            label: crate::capture::event::Label::Unknown,
        },
        endpoints: RequestBuilder::get("/").client().build().endpoints,
        at: 0,
        failed_at: 3 * MILLISECOND,
        errno: libc::ECONNREFUSED,
    };
    assert_snapshot!(signals(finished(Subject::ConnectFailure(failure))));
}

#[test]
fn what_is_not_exported_is_measured() {
    let exchange = RequestBuilder::get("/").server().answered(200, MILLISECOND);
    let unsampled = FinishedSpan {
        exported: false,
        ..finished(Subject::Exchange(Arc::new(exchange)))
    };
    assert_snapshot!(signals(unsampled));
}

#[test]
fn what_nobody_saw_end_is_not_measured() {
    for outcome in [Outcome::Unobserved, Outcome::Unfinished] {
        let exchange = RequestBuilder::get("/").unanswered(outcome, 1);
        let signals = signals_of(exchange);
        assert!(signals.starts_with("span GET Server"), "{signals}");
    }
}

#[test]
fn an_end_before_the_beginning_is_not_told() {
    let request = RequestBuilder::get("/").at(9 * MILLISECOND);
    let signals = signals_of(request.answered(200, 8 * MILLISECOND));
    let from_to = "from 1000000000009000000 to 1000000000009000000";
    assert!(signals.contains(from_to), "{signals}");
    assert!(signals.contains("duration 0 s"), "{signals}");
}

#[test]
fn a_root_has_no_parent() {
    let exchange = RequestBuilder::get("/").answered(200, 1);
    let mut out = Vec::new();
    let root = FinishedSpan {
        parent: None,
        ..finished(Subject::Exchange(Arc::new(exchange)))
    };
    Telemetry::new().push(root, &mut out);
    let Some(Signal::Span { span, .. }) = out.pop() else {
        panic!("no span");
    };
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert!(!span.parent_span_is_remote);
}

#[test]
fn counters_count() {
    let long = format!("/{}", "x".repeat(5_000));
    let mut telemetry = Telemetry::new();
    for role in [Role::Client, Role::Server] {
        let request = RequestBuilder::get(&long);
        let request = match role {
            Role::Client => request.client(),
            Role::Server => request.server(),
        };
        let exchange = Arc::new(request.answered(200, 1));
        telemetry.push(finished(Subject::Exchange(exchange)), &mut Vec::new());
    }
    let expected = TelemetryCounters {
        spans: 2,
        measurements: 2,
        values_cut: 3,
    };
    assert_eq!(*telemetry.counters(), expected);
}
