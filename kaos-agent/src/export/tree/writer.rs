//! Trees as an output of the exporter.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{TreePrinter, TreeSpan};
use crate::export::request::ServiceSpan;
use crate::export::stream::SpanWriter;

impl<W: Write + Send> SpanWriter for TreePrinter<W> {
    fn write(&mut self, spans: Vec<ServiceSpan>) -> io::Result<()> {
        spans
            .iter()
            .try_for_each(|it| self.push(TreeSpan::new(&it.service.name, &it.span)))
    }

    fn idle(&mut self) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.tick(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    fn finish(&mut self) -> io::Result<()> {
        Self::finish(self)
    }
}
