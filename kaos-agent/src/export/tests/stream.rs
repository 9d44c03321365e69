//! Spans as text.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::Link;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::runtime::Handle;

use super::metrics::measure;
use super::{exported, send};
use crate::export::exporter::{Exporter, Target, WhenFull};
use crate::export::json::JsonLines;
use crate::export::testing::{named_service, span};
use crate::telemetry::Signal;

#[derive(Clone, Default)]
struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn json_lines_parse_back() {
    let buffer = SharedBuffer::default();
    let target = Target::Stream(Box::new(JsonLines::new(buffer.clone())));
    let mut exporter = Exporter::start(target, WhenFull::Wait, Handle::current()).unwrap();
    let service = named_service("shop");
    let names: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    send(
        &mut exporter,
        &service,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    measure(&mut exporter, &service, 1.0, "/a");
    let counters = exporter.flush_and_stop(Duration::from_secs(60)).await;
    assert_eq!(counters, exported(600));

    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        found.push(spans.len());
    }
    assert_eq!(found, [512, 88]);
    assert!(
        text.contains(r#""traceId":"0102030405060708090a0b0c0d0e0f10""#),
        "ids are hex"
    );
    assert!(
        text.contains(r#""startTimeUnixNano":"1700000000000000000""#),
        "64 bits are strings"
    );
}

#[tokio::test]
async fn links_are_told() {
    let buffer = SharedBuffer::default();
    let target = Target::Stream(Box::new(JsonLines::new(buffer.clone())));
    let mut exporter = Exporter::start(target, WhenFull::Wait, Handle::current()).unwrap();
    let mut linked = span("linked");
    let request = linked.span_context.clone();
    linked.links.links = vec![Link::new(request, Vec::new(), 0)];
    exporter.send(Signal::Span {
        service: named_service("shop"),
        span: Box::new(linked),
    });
    exporter.flush_and_stop(Duration::from_secs(60)).await;

    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
    let link = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["links"][0];
    assert_eq!(link["traceId"], "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(link["spanId"], "1112131415161718");
    // Sampled, and of this process.
    assert_eq!(link["flags"], 0x101);
}

#[tokio::test]
async fn a_stream_that_cannot_be_written_is_counted() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let target = Target::Stream(Box::new(JsonLines::new(Closed)));
    let mut exporter = Exporter::start(target, WhenFull::Wait, Handle::current()).unwrap();
    let names = vec!["x"; 600];
    send(&mut exporter, &named_service("shop"), &names);
    let counters = exporter.flush_and_stop(Duration::from_secs(60)).await;
    assert_eq!(counters.spans_accepted, 600);
    assert_eq!(counters.spans_dropped_refused, 600);
}
