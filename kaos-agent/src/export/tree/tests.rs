//! How trees look, and when they are printed.

use super::*;

const MS: u64 = 1_000_000;

fn span(
    trace: u8,
    id: &str,
    parent: &str,
    service: &str,
    kind: &'static str,
    at: (u64, u64),
) -> TreeSpan {
    TreeSpan {
        trace_id: format!("{trace:032x}"),
        span_id: id.to_owned(),
        parent_span_id: parent.to_owned(),
        links: vec![],
        service: service.to_owned(),
        kind,
        name: "POST".to_owned(),
        start_nanos: at.0 * MS,
        end_nanos: at.1 * MS,
        status: TreeStatus::Ok,
        attributes: vec![
            ("url.path".to_owned(), format!("/{id}")),
            ("http.response.status_code".to_owned(), "200".to_owned()),
        ],
    }
}

fn conversation() -> Vec<TreeSpan> {
    let mut failed = span(1, "d", "a", "agent", "CLIENT", (200, 201));
    failed.status = TreeStatus::Error("connection refused".to_owned());
    failed.attributes = vec![
        ("url.full".to_owned(), "http://mcp/\u{1b}[2J".to_owned()),
        ("error.type".to_owned(), "connection_refused".to_owned()),
    ];
    vec![
        span(1, "c", "b", "litellm", "SERVER", (20, 120)),
        failed,
        span(1, "b", "a", "agent", "CLIENT", (10, 130)),
        span(1, "a", "", "agent", "SERVER", (0, 1250)),
        span(2, "e", "f", "agent", "SERVER", (50, 51)),
    ]
}

const PLAIN: Style = Style {
    colours: false,
    details: Details::Line,
};

#[test]
fn trees_read_well() {
    insta::assert_snapshot!(render(&conversation(), PLAIN), @r"
    trace 00000000000000000000000000000001  4 spans  1.25s
    └─ agent SERVER POST 200 OK 1.25s +0µs url.path=/a
       ├─ agent CLIENT POST 200 OK 120.0ms +10.0ms url.path=/b
       │  └─ litellm SERVER POST 200 OK 100.0ms +20.0ms url.path=/c
       └─ agent CLIENT POST ERROR 1.0ms +200.0ms url.full=http://mcp/\u{1b}[2J error.type=connection_refused connection refused

    trace 00000000000000000000000000000002  1 span  1.0ms
    └─ ↑ agent SERVER POST 200 OK 1.0ms +0µs url.path=/e
    ");
}

#[test]
fn model_calls_tell_their_tokens() {
    let mut call = span(1, "a", "", "agent", "CLIENT", (0, 100));
    call.name = "model.inference".to_owned();
    for (key, value) in [
        ("gen_ai.usage.input_tokens", "120"),
        ("gen_ai.usage.output_tokens", "34"),
        ("gen_ai.response.time_to_first_chunk", "0.0563"),
        ("gen_ai.request.model", "gpt"),
    ] {
        call.attributes.push((key.to_owned(), value.to_owned()));
    }
    insta::assert_snapshot!(render(&[call], PLAIN), @r"
    trace 00000000000000000000000000000001  1 span  100.0ms
    └─ agent CLIENT model.inference 200 OK 100.0ms +0µs tokens=120/34 first=56.3ms gen_ai.request.model=gpt url.path=/a
    ");
}

#[test]
fn links_say_which_span_of_which_trace() {
    let mut call = span(1, "a", "", "agent", "CLIENT", (0, 100));
    call.links = vec![(format!("{:032x}", 2), "e".to_owned())];
    insta::assert_snapshot!(render(&[call], PLAIN), @r"
    trace 00000000000000000000000000000001  1 span  100.0ms
    └─ agent CLIENT POST 200 OK 100.0ms +0µs url.path=/a link=00000000000000000000000000000002/e
    ");
}

#[test]
fn all_attributes_stand_below_their_span() {
    let style = Style {
        details: Details::All,
        ..PLAIN
    };
    insta::assert_snapshot!(render(&conversation()[2..4], style), @r"
    trace 00000000000000000000000000000001  2 spans  1.25s
    └─ agent SERVER POST 200 OK 1.25s +0µs
       │    http.response.status_code = 200
       │    url.path = /a
       └─ agent CLIENT POST 200 OK 120.0ms +10.0ms
               http.response.status_code = 200
               url.path = /b
    ");
}

#[test]
fn colours_only_where_wanted() {
    let coloured = render(
        &conversation(),
        Style {
            colours: true,
            ..PLAIN
        },
    );
    assert!(coloured.contains("\u{1b}[36magent\u{1b}[0m"));
    assert!(!render(&conversation(), PLAIN).contains('\u{1b}'));
}

#[test]
fn the_order_of_spans_makes_no_difference_within_a_trace() {
    let mut reversed = conversation()[..4].to_vec();
    reversed.reverse();
    assert_eq!(
        render(&reversed, PLAIN),
        render(&conversation()[..4], PLAIN)
    );
}

/// What is printed at each of these times, in milliseconds.
fn printed(spans: &[TreeSpan], ticks: &[u64]) -> Vec<usize> {
    let mut printer = TreePrinter::new(Vec::new(), PLAIN);
    spans
        .iter()
        .for_each(|span| printer.push(span.clone()).unwrap());
    let traces = |printer: &TreePrinter<Vec<u8>>| {
        String::from_utf8_lossy(&printer.output)
            .matches("trace ")
            .count()
    };
    let mut counts = Vec::new();
    for tick in ticks {
        printer.tick(tick * MS).unwrap();
        counts.push(traces(&printer));
    }
    printer.finish().unwrap();
    counts.push(traces(&printer));
    counts
}

#[test]
fn complete_traces_are_printed_soon_and_others_later() {
    assert_eq!(
        printed(&conversation(), &[1300, 1549, 1550, 5050, 5051]),
        [0, 0, 1, 1, 2, 2]
    );
    assert_eq!(printed(&conversation(), &[0]), [0, 2]);
}

#[test]
fn the_oldest_trace_gives_way() {
    let many: Vec<_> = (0..=MAX_WAITING_SPANS)
        .map(|number| {
            span(
                u8::from(number > 0),
                &number.to_string(),
                "",
                "agent",
                "SERVER",
                (0, 1),
            )
        })
        .collect();
    assert_eq!(printed(&many, &[0]), [1, 2]);
}

#[test]
fn endless_chains_end() {
    let chain: Vec<_> = (1..2000_u64)
        .map(|number| {
            let parent = (number - 1).to_string();
            span(
                1,
                &number.to_string(),
                &parent,
                "agent",
                "SERVER",
                (number, number),
            )
        })
        .collect();
    assert!(render(&chain, PLAIN).trim_end().ends_with("└─ …"));
}
