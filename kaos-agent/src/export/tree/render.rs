//! Spans to text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use owo_colors::{OwoColorize, Style as Colour};

use super::{Details, Style, TreeSpan, TreeStatus};

/// Attributes that stand in a span's line, in this order: of each group the first that the span has.
/// The status code is shown by its value alone.
const LINE_ATTRIBUTES: [&[&str]; 3] = [
    &["gen_ai.request.model"],
    &["url.full", "url.path"],
    &["error.type"],
];
const STATUS_CODE: &str = "http.response.status_code";
/// Shown together, as `tokens=12/34`.
const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Shown as `first=56ms`.
const TIME_TO_FIRST: &str = "gen_ai.response.time_to_first_chunk";

/// Spans below this are shown as `…`: no real trace is so deep, and the recursion has an end.
const MAX_DEPTH: usize = 64;

/// Renders traces, in the order of their first spans: below a line for the trace a line for each
/// span, children below their parents in the order of their starts. A span whose parent is not
/// among the spans stands at the top, marked with an arrow.
#[must_use]
pub fn render(spans: &[TreeSpan], style: Style) -> String {
    let mut traces: Vec<(&str, Vec<&TreeSpan>)> = Vec::new();
    let mut places = BTreeMap::new();
    for span in spans {
        let place = *places.entry(span.trace_id.as_str()).or_insert_with(|| {
            traces.push((&span.trace_id, Vec::new()));
            traces.len() - 1
        });
        traces[place].1.push(span);
    }
    let mut text = String::new();
    for (trace_id, members) in traces {
        Tree::new(members, style).render(trace_id, &mut text);
    }
    text
}

struct Tree<'spans> {
    style: Style,
    /// Spans at the top.
    tops: Vec<&'spans TreeSpan>,
    /// Children by their parent's id, ordered like the tops.
    children: BTreeMap<&'spans str, Vec<&'spans TreeSpan>>,
    spans: usize,
    start_nanos: u64,
    end_nanos: u64,
}

impl<'spans> Tree<'spans> {
    fn new(mut members: Vec<&'spans TreeSpan>, style: Style) -> Self {
        members.sort_by_key(|span| (span.start_nanos, &span.span_id));
        let ids: BTreeSet<&str> = members.iter().map(|span| span.span_id.as_str()).collect();
        let mut tree = Self {
            style,
            tops: Vec::new(),
            children: BTreeMap::new(),
            spans: members.len(),
            start_nanos: members
                .iter()
                .map(|span| span.start_nanos)
                .min()
                .unwrap_or(0),
            end_nanos: members.iter().map(|span| span.end_nanos).max().unwrap_or(0),
        };
        for span in members {
            // A span that names itself as its parent would never be reached from the top.
            if ids.contains(span.parent_span_id.as_str()) && span.parent_span_id != span.span_id {
                tree.children
                    .entry(&span.parent_span_id)
                    .or_default()
                    .push(span);
            } else {
                tree.tops.push(span);
            }
        }
        tree
    }

    fn render(&self, trace_id: &str, text: &mut String) {
        let count = match self.spans {
            1 => "1 span".to_owned(),
            spans => format!("{spans} spans"),
        };
        let duration = duration(self.end_nanos.saturating_sub(self.start_nanos));
        let heading = format!("trace {trace_id}");
        let heading = self.paint(&heading, Colour::new().bold());
        let _ = writeln!(text, "{heading}  {count}  {duration}");
        self.render_spans(&self.tops, "", 0, text);
        text.push('\n');
    }

    fn render_spans(&self, spans: &[&TreeSpan], indent: &str, depth: usize, text: &mut String) {
        for (index, span) in spans.iter().enumerate() {
            let is_last = index + 1 == spans.len();
            let (branch, continuation) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let _ = writeln!(text, "{indent}{branch}{}", self.line(span));
            let below = format!("{indent}{continuation}");
            let children = self
                .children
                .get(span.span_id.as_str())
                .map_or(&[][..], Vec::as_slice);
            if self.style.details == Details::All {
                let rule = if children.is_empty() { "   " } else { "│  " };
                all_attributes(span, &format!("{below}{rule}"), text);
            }
            if depth < MAX_DEPTH {
                self.render_spans(children, &below, depth + 1, text);
            } else if !children.is_empty() {
                let _ = writeln!(text, "{below}└─ …");
            }
        }
    }

    fn line(&self, span: &TreeSpan) -> String {
        let arrow = if self.is_child_of_unknown(span) {
            "↑ "
        } else {
            ""
        };
        let mut parts = vec![
            arrow.to_owned() + &self.paint(&span.service, Colour::new().cyan()),
            self.paint(span.kind, Colour::new().dimmed()),
            self.paint(&span.name, Colour::new().bold()),
        ];
        parts.extend(attribute(span, STATUS_CODE).map(printable));
        match &span.status {
            TreeStatus::Unset => {}
            TreeStatus::Ok => parts.push(self.paint("OK", Colour::new().green())),
            TreeStatus::Error(_) => parts.push(self.paint("ERROR", Colour::new().red().bold())),
        }
        let took = duration(span.end_nanos.saturating_sub(span.start_nanos));
        let offset = duration(span.start_nanos.saturating_sub(self.start_nanos));
        parts.push(self.paint(&took, Colour::new().yellow()));
        parts.push(self.paint(&format!("+{offset}"), Colour::new().dimmed()));
        if self.style.details == Details::Line {
            parts.extend(model_numbers(span).map(|text| self.paint(&text, Colour::new().green())));
            let named = LINE_ATTRIBUTES.iter().filter_map(|group| {
                group
                    .iter()
                    .find_map(|key| Some((key, attribute(span, key)?)))
            });
            parts.extend(
                named.map(|(key, value)| {
                    self.paint(&format!("{key}={value}"), Colour::new().dimmed())
                }),
            );
        }
        let linked = span.links.iter().map(|(trace_id, span_id)| {
            self.paint(
                &format!("link={trace_id}/{span_id}"),
                Colour::new().dimmed(),
            )
        });
        parts.extend(linked);
        if let TreeStatus::Error(message) = &span.status {
            parts.push(self.paint(message, Colour::new().red()));
        }
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// The text with nothing in it that a terminal would obey, in this colour.
    fn paint(&self, text: &str, colour: Colour) -> String {
        let text = printable(text);
        if self.style.colours && !text.is_empty() {
            text.style(colour).to_string()
        } else {
            text
        }
    }

    fn is_child_of_unknown(&self, span: &TreeSpan) -> bool {
        !span.parent_span_id.is_empty() && !self.children.contains_key(span.parent_span_id.as_str())
    }
}

/// What a model call took and gave: tokens in and out, and the time to the first of them.
fn model_numbers(span: &TreeSpan) -> impl Iterator<Item = String> {
    let tokens = match (
        attribute(span, INPUT_TOKENS),
        attribute(span, OUTPUT_TOKENS),
    ) {
        (None, None) => None,
        (input, output) => Some(format!(
            "tokens={}/{}",
            input.unwrap_or("?"),
            output.unwrap_or("?")
        )),
    };
    let first = attribute(span, TIME_TO_FIRST)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds.parse().ok()?).ok())
        .and_then(|time| u64::try_from(time.as_nanos()).ok())
        .map(|nanos| format!("first={}", duration(nanos)));
    tokens.into_iter().chain(first)
}

fn attribute<'span>(span: &'span TreeSpan, wanted: &str) -> Option<&'span str> {
    span.attributes
        .iter()
        .find(|(key, _)| key == wanted)
        .map(|(_, value)| value.as_str())
}

fn all_attributes(span: &TreeSpan, indent: &str, text: &mut String) {
    let mut sorted: Vec<_> = span.attributes.iter().collect();
    sorted.sort();
    for (key, value) in sorted {
        let _ = writeln!(text, "{indent}  {} = {}", printable(key), printable(value));
    }
}

/// Control characters come from the traffic and would move the cursor or recolour the terminal.
fn printable(text: &str) -> String {
    let is_harmful = |c: char| c.is_control();
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if is_harmful(c) {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// Three digits or so, in the unit that fits.
fn duration(nanos: u64) -> String {
    let micros = nanos / 1_000;
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros / 100 % 10),
        _ => format!("{}.{:02}s", micros / 1_000_000, micros / 10_000 % 100),
    }
}
