//! Batches of calls of tools, outside of runs.

use crate::runs::Limits;
use crate::runs::testing::late::AfterResponses;
use crate::runs::testing::script::{run, run_with, spans};

const BATCH: &str = "op=mcp,tools/call,tool=add#1,and=mul#2,and=sub#3";

#[test]
fn each_call_that_is_served_is_told() {
    let lines = run(&format!(
        "serve s P h=T/a {BATCH}; call c P; end c; end s answers=3+1 fails=2; wait 200"
    ))
    .lines;
    assert_eq!(
        lines,
        [
            "s T:a remote",
            // Which of them it was made for is not known.
            "c T:s",
            "call.add T:s ok 1-4",
            "call.mul T:s tool_error 1-4",
            "call.sub T:s ok 1-4",
        ]
    );
}

#[test]
fn they_hang_under_what_is_told_of_those_above() {
    assert_eq!(
        spans(&format!(
            "service P server=off; serve s P h=T/a {BATCH}; end s; wait 200"
        )),
        "s T:a remote off; call.add T:a remote ok 2-3; \
         call.mul T:a remote ok 2-3; call.sub T:a remote ok 2-3"
    );
}

#[test]
fn at_both_ends() {
    assert_eq!(
        spans(
            "call c P @x op=mcp,tools/call,tool=add#1,and=mul#2; \
             serve s Q @x op=mcp,tools/call,tool=add#1,and=mul#2; end s; end c answers=1+2; wait 200"
        ),
        "c #c:-; s #c:c remote; call.add #c:s ok 2-3; call.mul #c:s ok 2-3; \
         call.add #c:c ok 1-4; call.mul #c:c ok 1-4"
    );
}

#[test]
fn without_a_cause_they_are_one_trace() {
    assert_eq!(
        spans(&format!(
            "service P agent=boss client=off; call c P {BATCH}; end c answers=1+2+3; wait 200"
        )),
        "c #c:- off; tool.add #c:- ok 2-3; tool.mul #c:- ok 2-3; tool.sub #c:- ok 2-3"
    );
}

#[test]
fn below_one_who_is_no_agent() {
    let lines = run(&format!(
        "serve s P op=embed h=T/a; call c P {BATCH}; end c answers=1+2+3; end s; wait 200"
    ))
    .lines;
    assert_eq!(lines[..2], ["s T:a remote [model]", "c T:s"]);
    assert_eq!(lines[2], "call.add T:c ok 2-3");
}

#[test]
fn what_is_over_before_its_place_is_known_is_told_then() {
    let script = format!(
        "serve s P h=T/a; call c P {BATCH}; end c answers=1+2+3; respond s; end s; wait 200"
    );
    let source = AfterResponses::of(1);
    assert_eq!(
        run_with(&script, Limits::default(), source).lines,
        [
            "s T:a remote",
            "c T:s",
            "call.add T:c ok 2-3",
            "call.mul T:c ok 2-3",
            "call.sub T:c ok 2-3",
        ]
    );
}

#[test]
fn a_call_without_an_answer_failed() {
    assert_eq!(
        spans("serve s P h=T/a op=mcp,tools/call,tool=add#1,and=mul#2; end s answers=1; wait 200"),
        "s T:a remote; call.add T:s ok 1-2; call.mul T:s no_result 1-2"
    );
    assert_eq!(
        spans("serve s P h=T/a op=mcp,tools/call,tool=add#1,and=mul#2; end s is=exit; wait 200"),
        "s T:a remote; call.add T:s process_exit 1-2; call.mul T:s process_exit 1-2"
    );
}

#[test]
fn an_sdk_in_the_process_tells_what_they_mean() {
    assert_eq!(
        spans(&format!(
            "exports P; serve s P h=T/a {BATCH}; end s; wait 200"
        )),
        ""
    );
}

#[test]
fn nothing_is_kept() {
    let outcome = run(&format!(
        "serve s P {BATCH}; call c P {BATCH}; end c; end s; wait 200"
    ));
    assert_eq!(outcome.kept, 0);
}
