//! OTLP/JSON, one request per line: the format of the OpenTelemetry Collector's file exporter and
//! receiver. It holds spans; metrics depend on when they are read and go out over OTLP alone.

use std::io::{self, Write};

use super::request;
use super::stream::{ServiceSpan, SpanWriter};

/// Writes one OTLP/JSON request per line.
#[derive(Debug)]
pub struct JsonLines<W> {
    stream: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to this stream.
    pub fn new(stream: W) -> Self {
        Self { stream }
    }
}

impl<W: Write + Send> SpanWriter for JsonLines<W> {
    fn write(&mut self, spans: Vec<ServiceSpan>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&request::of_spans(spans))?;
        line.push(b'\n');
        self.stream.write_all(&line)?;
        self.stream.flush()
    }
}
