//! Runs of which some calls are known only when the request is responded to, or later still.

use crate::runs::Limits;
use crate::runs::testing::late::AfterResponses;
use crate::runs::testing::script::{Outcome, run_with};

/// Of two steps: the calls of the model carry nothing, so that they are known late.
const RUN: &str = "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1";
const SECOND: &str = "call d P op=chat,messages=3; end d";
const TREE: [&str; 8] = [
    "s T:a remote off",
    "loop T:a remote ok",
    "c T:step1 [inference]",
    "t T:tool.add [mcp.tool.add#1]",
    "d T:step2 [inference]",
    "step1 T:loop ok 3-7",
    "tool.add T:step1 #1 ok 5-6",
    "step2 T:loop ok 7-10",
];

fn outcome(responses: usize, script: &str) -> Outcome {
    let limits = Limits::default();
    let source = AfterResponses::of(responses);
    let script = format!("service P agent=boss server=off client=off; {script}");
    run_with(&script, limits, source)
}

fn agent(responses: usize, script: &str) -> Vec<String> {
    outcome(responses, script).lines
}

fn assert_has(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.contains(&(*line).to_owned()), "{line}: {lines:#?}");
    }
}

#[test]
fn all_at_the_response() {
    let script = format!(
        "{RUN}; call t P op=mcp,tools/call,tool=add; end t; {SECOND}; respond s; end s; wait 200"
    );
    assert_eq!(agent(1, &script), TREE);
}

#[test]
fn what_carries_the_header_waits_for_what_does_not() {
    let script = format!(
        "{RUN}; call t P h=T/a op=mcp,tools/call,tool=add; end t; {SECOND}; respond s; end s; wait 200"
    );
    assert_eq!(agent(1, &script), TREE);
}

#[test]
fn delegations_too() {
    let lines = agent(
        1,
        "serve s P h=T/a op=chat; call c P op=chat; end c delegates=helper; \
         call d P @x h=T/a op=chat,role=task-delegation; serve t Q @x h=T/a op=send; end t; end d; \
         call e P op=chat,messages=3; end e; respond s; end s; wait 200",
    );
    let delegation: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("d ") || line.starts_with("t "))
        .collect();
    assert_eq!(delegation, ["d T:step1 [delegate.helper]", "t T:d remote"]);
}

#[test]
fn others_that_wait_hold_up_no_longer_than_the_response() {
    let outcome = outcome(
        2,
        "serve r P h=U/b op=chat; call x P op=chat; serve s P h=T/a op=chat; wait 200; \
         call t P h=T/a op=mcp,tools/call,tool=add; end t; respond s; end s; end r; end x",
    );
    assert_eq!(
        outcome.order,
        ["t", "s", "tool.add", "loop", "r", "loop", "x"]
    );
}

#[test]
fn a_tool_that_is_known_after_the_run_stands_in_its_step() {
    let with_header = RUN.replace("call c P", "call c P h=T/a");
    let script = format!(
        "serve r P h=U/b op=chat; {with_header}; call t P op=mcp,tools/call,tool=add; end t; \
         call d P h=T/a op=chat,messages=3; end d; respond s; end s; respond r; end r; wait 200"
    );
    let lines = agent(2, &script);
    assert_has(
        &lines,
        &[
            "t T:tool.add [mcp.tool.add#1]",
            "tool.add T:step1 #1 ok 6-7",
            "step1 T:loop ok 4-8",
            "step2 T:loop ok 8-11",
        ],
    );
}

#[test]
fn all_of_a_run_that_is_known_after_it() {
    let script = format!(
        "serve r P h=U/b op=chat; {RUN}; call t P op=mcp,tools/call,tool=add; end t; {SECOND}; \
         respond s; end s; respond r; end r; wait 10000"
    );
    let lines = agent(2, &script);
    assert_has(
        &lines,
        &[
            "loop T:a remote ok",
            "c T:step1 [inference]",
            "t T:tool.add [mcp.tool.add#1]",
            "d T:step2 [inference]",
            "step1 T:loop ok 4-8",
            "tool.add T:step1 #1 ok 6-7",
            "step2 T:loop ok 8-11",
        ],
    );
}

#[test]
fn a_call_of_the_model_that_is_known_after_the_next_belongs_to_the_step_of_its_time() {
    let lines = agent(
        2,
        "serve r P h=U/b op=chat; serve s P h=T/a op=chat; call c P h=T/a op=chat; end c; \
         call d P op=chat,messages=2; end d; call e P h=T/a op=chat,messages=3; end e; \
         respond s; end s; respond r; end r; wait 200",
    );
    assert_has(
        &lines,
        &[
            "c T:step1 [inference]",
            "d T:step1 [inference]",
            "e T:step2 [inference]",
            "step1 T:loop ok 4-8",
            "step2 T:loop ok 8-11",
        ],
    );
}

#[test]
fn a_process_that_is_killed_leaves_its_only_run_whole() {
    for end in [
        "end s is=exit; end d is=exit",
        "end d is=exit; end s is=exit",
    ] {
        let lines = agent(
            1,
            &format!(
                "{RUN}; call t P h=T/a op=mcp,tools/call,tool=add; end t; \
                 call d P op=chat,messages=3; {end}; exit P; wait 200"
            ),
        );
        let tree: Vec<_> = lines.iter().map(|line| line.split(" 7-").next()).collect();
        assert_eq!(
            tree[1..].iter().flatten().collect::<Vec<_>>(),
            [
                &"loop T:a remote process_exit",
                &"c T:step1 [inference]",
                &"t T:tool.add [mcp.tool.add#1]",
                &"d T:step2 [inference]",
                &"step1 T:loop ok 3-7",
                &"tool.add T:step1 #1 ok 5-6",
                &"step2 T:loop process_exit",
            ]
        );
    }
}

#[test]
fn a_call_that_is_understood_at_the_end_belongs_to_the_only_run_too() {
    let lines = agent(
        1,
        "serve s P h=T/a op=chat; call c P later; end s is=exit; understood c; end c is=exit; exit P",
    );
    assert_eq!(
        lines,
        [
            "s T:a remote off",
            "loop T:a remote process_exit",
            "c T:loop off"
        ]
    );
}

#[test]
fn a_process_that_is_killed_with_several_runs_leaves_calls_alone() {
    let lines = agent(
        1,
        "serve r P h=U/b op=chat; serve s P h=T/a op=chat; call c P op=chat; \
         end r is=exit; end s is=exit; end c is=exit; exit P; wait 200",
    );
    assert!(
        lines.contains(&"c #c:- [inference]".to_owned()),
        "{lines:#?}"
    );
}

#[test]
fn who_waits_for_others_waits_for_a_while_only() {
    let wait = crate::runs::CAUSE_WAIT / crate::runs::testing::MILLISECOND;
    let outcome = outcome(
        1,
        &format!(
            "{RUN}; call t P h=T/a op=mcp,tools/call,tool=add; end t; wait {wait}; respond s; end s"
        ),
    );
    assert_eq!(outcome.counters.causes_given_up, 1);
    assert!(
        outcome.lines.contains(&"tool.add T:loop ok 5-6".to_owned()),
        "{:#?}",
        outcome.lines
    );
}

/// An agent that is called again by the one to whom it delegates, in the same trace.
#[test]
fn what_several_came_with_belongs_to_the_one_that_is_known() {
    let lines = agent(
        1,
        "serve s P h=T/a op=chat; serve r P h=T/a op=chat; \
         call c P op=chat; end c asks=add#1; call t P h=T/a op=mcp,tools/call,tool=add; end t; \
         respond r; end r; end s; wait 200",
    );
    assert_has(
        &lines,
        &[
            "c T:step1 [inference]",
            "t T:tool.add [mcp.tool.add#1]",
            "tool.add T:step1 #1 ok 6-7",
        ],
    );
}

#[test]
fn or_to_the_span_that_it_names_where_nobody_says() {
    let lines = agent(
        9,
        "serve s P h=T/a op=chat; serve r P h=T/a op=chat; call t P h=T/a op=card; end t; \
         respond r; end r; end s; wait 200",
    );
    assert!(lines.contains(&"t T:a off".to_owned()), "{lines:#?}");
}
