//! Spans as a tree of text that a test asserts on: what differs from run to run is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::received::Span;

/// Renders spans as a tree, one line each, children below their parent.
///
/// A line is `SERVICE KIND METHOD PATH STATUS`, and ` error=TYPE` where it failed; a span that is
/// not of HTTP has its name in place of method and path. Siblings stand in the order of these
/// lines, not of time, since calls in parallel have no order of their own.
#[must_use]
pub fn render(spans: &[Span]) -> String {
    render_with(spans, http_line)
}

/// Renders spans as a tree of `SERVICE NAME STATUS` lines, with ` error.type` behind where they
/// failed: for spans that mean more than an HTTP request. The order is that of [`render`].
#[must_use]
pub fn render_names(spans: &[Span]) -> String {
    render_with(spans, |span| {
        let line = format!("{} {} {}", span.service, span.name, span.status);
        match span.attribute("error.type") {
            "" => line,
            error => format!("{line} {error}"),
        }
    })
}

fn render_with(spans: &[Span], render_line: fn(&Span) -> String) -> String {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        // A parent that nobody told us of (a client's own traceparent) makes a root here.
        let parent = span.parent_id.as_str();
        let parent = if known.contains(parent) { parent } else { "" };
        children.entry(parent).or_default().push(span);
    }
    let mut text = String::new();
    render_children("", 0, &children, render_line, &mut text);
    text
}

/// Renders the spans of one service only.
#[must_use]
pub fn render_service(spans: &[Span], service: &str) -> String {
    let of_service: Vec<Span> = spans
        .iter()
        .filter(|span| span.service == service)
        .cloned()
        .collect();
    render(&of_service)
}

/// Spans of one kind of one service as "METHOD PATH STATUS BYTES" lines, the bytes being those of
/// the response's body, in the order in which they began: what a client knows of its requests.
#[must_use]
pub fn told(spans: &[Span], service: &str, kind: &str) -> Vec<String> {
    let mut told: Vec<&Span> = spans
        .iter()
        .filter(|span| span.service == service && span.kind == kind)
        .collect();
    told.sort_by_key(|span| span.start);
    told.into_iter()
        .map(|span| {
            let method = span.attribute("http.request.method");
            let status = span.attribute("http.response.status_code");
            let bytes = Some(span.attribute("http.response.body.size"));
            // The attribute is left out where there is no body.
            let bytes = bytes.filter(|bytes| !bytes.is_empty()).unwrap_or("0");
            format!("{method} {} {status} {bytes}", path(span))
        })
        .collect()
}

fn render_children(
    parent: &str,
    depth: usize,
    children: &BTreeMap<&str, Vec<&Span>>,
    render_line: fn(&Span) -> String,
    text: &mut String,
) {
    let Some(spans) = children.get(parent) else {
        return;
    };
    let mut lines: Vec<(String, &Span)> = spans
        .iter()
        .map(|span| (render_line(span), *span))
        .collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    for (line, span) in lines {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&line);
        text.push('\n');
        render_children(&span.span_id, depth + 1, children, render_line, text);
    }
}

fn http_line(span: &Span) -> String {
    let method = span.attribute("http.request.method");
    let what = if method.is_empty() {
        span.name.clone()
    } else {
        format!("{method} {}", path(span))
    };
    let mut words = vec![span.service.as_str(), span.kind, &what];
    let status = span.attribute("http.response.status_code");
    words.extend(Some(status).filter(|status| !status.is_empty()));
    let mut line = words.join(" ");
    let error = span.attribute("error.type");
    if !error.is_empty() {
        line.push_str(" error=");
        line.push_str(error);
    }
    line
}

/// Path of a server's span, or of the URL that a client's has.
fn path(span: &Span) -> &str {
    let path = span.attribute("url.path");
    if !path.is_empty() {
        return path;
    }
    let full = span.attribute("url.full");
    let authority = full.split_once("://").map_or(full, |(_, rest)| rest);
    let path = authority.find('/').map_or("/", |at| &authority[at..]);
    path.split('?').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, service: &str, kind: &'static str, rest: &[&str]) -> Span {
        let attributes = rest
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Span {
            service: service.into(),
            resource: BTreeMap::new(),
            scope: String::new(),
            trace_id: "t".into(),
            span_id: id.into(),
            parent_id: parent.into(),
            links: vec![],
            name: "connect".into(),
            kind,
            start: 0,
            end: 0,
            status: "UNSET",
            message: String::new(),
            attributes,
        }
    }

    #[test]
    fn children_stand_below_their_parents() {
        let spans = [
            span(
                "c",
                "b",
                "model",
                "SERVER",
                &["http.request.method=POST", "url.path=/v1"],
            ),
            span(
                "b",
                "a",
                "agent",
                "CLIENT",
                &["http.request.method=POST", "url.full=http://h:1/v1?x=/y"],
            ),
            span(
                "d",
                "a",
                "agent",
                "CLIENT",
                &["error.type=connection_refused"],
            ),
            span(
                "a",
                "elsewhere",
                "agent",
                "SERVER",
                &[
                    "http.request.method=GET",
                    "url.path=/",
                    "http.response.status_code=200",
                ],
            ),
        ];
        assert_eq!(
            render(&spans),
            "agent SERVER GET / 200\n  agent CLIENT POST /v1\n    model SERVER POST /v1\n  agent CLIENT connect error=connection_refused\n"
        );
        assert_eq!(render_service(&spans, "model"), "model SERVER POST /v1\n");
        assert_eq!(
            render_names(&spans[2..]),
            "agent connect UNSET\n  agent connect UNSET connection_refused\n"
        );
    }
}
