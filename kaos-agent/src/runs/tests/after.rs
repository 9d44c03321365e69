//! Calls that were caused by a request which was over when they were made.

use crate::runs::Limits;
use crate::runs::testing::late::LeftRunning;
use crate::runs::testing::script::{Outcome, run_with};

fn outcome(script: &str) -> Outcome {
    run_with(script, Limits::default(), LeftRunning::default())
}

fn lines(script: &str) -> Vec<String> {
    outcome(script).lines
}

#[test]
fn they_begin_traces_with_a_link_to_the_request() {
    let outcome = outcome("serve s P h=T/a; end s; call c P; end c");
    assert_eq!(outcome.lines, ["s T:a remote", "c #c:- after T:s"]);
    let counters = outcome.counters;
    assert_eq!(counters.calls_after_request, 1);
    assert_eq!(
        (counters.causes_unknown, counters.calls_without_request),
        (0, 0)
    );
    assert_eq!(outcome.kept, 0);
}

#[test]
fn attempts_to_connect_too() {
    assert_eq!(
        lines("serve s P; end s; fail c P"),
        ["s #s:-", "c #c:- after #s:s"]
    );
}

#[test]
fn what_the_call_caused_is_below_it() {
    assert_eq!(
        lines("serve s P; end s; call c P @x; serve t Q @x; end t; end c"),
        ["s #s:-", "c #c:- after #s:s", "t #c:c remote"]
    );
}

#[test]
fn the_link_waits_for_the_place_of_the_request() {
    // Its client end, in another process, may be told yet.
    assert_eq!(
        lines("serve s P @x; end s; call c P; end c; call b Q @x; end b"),
        ["s #b:b remote", "c #c:- after #b:s", "b #b:-"]
    );
}

#[test]
fn a_request_that_is_not_told_is_stood_for_by_what_is_above_it() {
    for settings in ["server=off", "excluded=/"] {
        let script = format!(
            "service P {settings}; serve s P h=T/a; end s; service P excluded=^$; call c P; end c"
        );
        let lines = lines(&script);
        assert_eq!(lines.last().map(String::as_str), Some("c #c:- after T:a"));
    }
    // Or by nothing.
    assert_eq!(
        lines("service P server=off; serve s P; end s; wait 200; call c P; end c"),
        ["s #s:- off", "c #c:-"]
    );
}

#[test]
fn nothing_is_linked_to_what_was_not_sampled() {
    assert_eq!(
        lines("serve s P h=T/a/00; end s; call c P; end c"),
        ["s T:a remote off", "c #c:-"]
    );
    assert_eq!(
        lines("service P server=off; serve s P h=T/a/00; end s; call c P; end c"),
        ["s T:a remote off", "c #c:-"]
    );
}

#[test]
fn the_run_of_an_agent_stands_for_its_request_and_gets_no_more_children() {
    let script = "service P agent=boss server=off client=off; serve s P h=T/a op=chat; end s; \
                  call c P op=chat; end c asks=add#1; call t P op=mcp,tools/call,tool=add; end t";
    assert_eq!(
        lines(script),
        [
            "s T:a remote off",
            "loop T:a remote ok",
            "c #c:- after T:loop [inference]",
            "t #+1:tool.add [mcp.tool.add]",
            "tool.add #+1:- after T:loop ok 6-7"
        ]
    );
}

#[test]
fn the_span_of_the_request_goes_before_its_run() {
    let script = "service P agent=boss; serve s P op=chat; end s; call c P op=chat; end c";
    assert_eq!(
        lines(script),
        ["s #s:-", "loop #s:s ok", "c #c:- after #s:s [inference]"]
    );
}

#[test]
fn a_request_is_linked_to_for_a_minute() {
    // Its span is forgotten after ten seconds.
    let script = |wait| format!("serve s P; end s; wait 200; wait {wait}; call c P; end c");
    assert_eq!(lines(&script(59_000)), ["s #s:-", "c #c:- after #s:s"]);
    assert_eq!(lines(&script(11_000)), ["s #s:-", "c #c:- after #s:s"]);
}

#[test]
fn a_header_that_was_forwarded_names_the_parent_beside_the_link() {
    let outcome = outcome("serve s P h=T/a; end s; call c P h=T/a; end c");
    assert_eq!(outcome.lines, ["s T:a remote", "c T:a after T:s"]);
    assert_eq!(outcome.counters.calls_after_request, 1);
    assert_eq!(outcome.kept, 0);
    // Where the span of the request is no span of ours, too.
    assert_eq!(
        lines("service P server=off; serve s P h=T/a; end s; call c P h=T/a; end c"),
        ["s T:a remote off", "c T:a after T:a"]
    );
    // One of several that are in flight came with it, or the one that is over did.
    let script = "serve s P h=T/a; end s; serve t P h=T/b; serve u P h=T/b; call c P h=T/b; end c; \
                  end t; end u";
    assert!(lines(script).contains(&"c T:b after T:s".to_owned()));
}

#[test]
fn what_the_call_that_forwarded_it_caused_is_below_the_call() {
    let script = "serve s P h=T/a; end s; call c P @x h=T/a; serve t Q @x h=T/a; end t; end c";
    assert_eq!(
        lines(script),
        ["s T:a remote", "c T:a after T:s", "t T:c remote"]
    );
}

#[test]
fn the_link_of_one_that_forwarded_waits_for_the_place_of_the_request() {
    // The request has its place when its client end does not come.
    let script = "serve s P @x h=T/a; end s; call c P h=T/a; end c; wait 200";
    assert_eq!(lines(script), ["s T:a remote", "c T:a after T:s"]);
}
