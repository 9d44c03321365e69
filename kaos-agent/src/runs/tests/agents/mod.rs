//! Runs of agents.

mod calls;
mod late;

use crate::runs::testing::script::{Outcome, run};

/// The script with an agent `P`, its lines one by one.
fn agent(script: &str) -> Vec<String> {
    outcome(script).lines
}

fn outcome(script: &str) -> Outcome {
    run(&format!(
        "service P agent=boss server=off client=off; {script}"
    ))
}

mod steps {
    use super::*;

    #[test]
    fn each_model_call_opens_one() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat,messages=2; end c; \
             call d P op=chat,messages=4; end d; end s; wait 200",
        );
        assert_eq!(
            lines,
            [
                "s T:a remote off",
                "loop T:a remote ok",
                "c T:step1 [inference]",
                "step1 T:loop ok 3-5",
                "d T:step2 [inference]",
                "step2 T:loop ok 5-7",
            ]
        );
    }

    #[test]
    fn the_server_span_stands_above_where_it_is_wanted() {
        let lines = run("service P agent=boss; serve s P op=chat; end s; wait 200").lines;
        assert_eq!(lines, ["s #s:-", "loop #s:s ok"]);
    }

    #[test]
    fn a_call_that_is_tried_again_opens_none() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c status=429; \
             call d P op=chat; end d; end s; wait 200",
        );
        assert_eq!(
            lines[2..],
            [
                "c T:step1 [inference]",
                "step1 T:loop ok 3-7",
                "d T:step1 [inference again 1]",
            ]
        );
    }

    #[test]
    fn the_last_attempt_decides() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c status=500; \
             end s notice=failed; wait 200",
        );
        assert_eq!(lines[1], "loop T:a remote agent_error");
        assert_eq!(lines[3], "step1 T:loop 500 3-5");
    }

    #[test]
    fn what_a_model_answers_may_be_an_error() {
        for (end, became) in [
            ("end c error=overloaded_error", "overloaded_error"),
            ("end c is=reset", "connection_reset"),
            ("end c is=gone", "client_closed"),
        ] {
            let script =
                format!("serve s P h=T/a op=chat; call c P op=chat; {end}; end s; wait 200");
            assert_eq!(agent(&script)[3], format!("step1 T:loop {became} 3-5"));
        }
        let cut = "serve s P h=T/a op=chat; call c P op=chat,stream; end c cut; end s; wait 200";
        assert_eq!(agent(cut)[3], "step1 T:loop stream_incomplete 3-5");
    }

    #[test]
    fn other_calls_belong_to_the_step() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P; end c; call d P op=chat; end d; \
             call e P op=embed; end e; call f P op=card; end f; end s; wait 200",
        );
        assert_eq!(
            lines[2..],
            [
                "c T:loop off",
                "d T:step1 [inference]",
                "step1 T:loop ok 5-11",
                "e T:step1 [model]",
                "f T:step1 off",
            ]
        );
    }

    #[test]
    fn what_is_done_after_the_answer_hangs_under_the_loop() {
        let lines =
            agent("serve s P h=T/a op=chat; end s; call c P op=chat ago=1; end c; wait 200");
        assert_eq!(
            lines,
            [
                "s T:a remote off",
                "loop T:a remote ok",
                "c #c:- [inference]"
            ]
        );
    }
}

mod outcomes {
    use super::*;

    #[test]
    fn how_a_run_ends() {
        for (end, became) in [
            ("", "ok"),
            ("notice=steps", "ok"),
            ("notice=failed", "agent_error"),
            ("notice=delegation", "delegation_failed"),
            ("status=422", "422"),
            ("status=500", "500"),
            ("is=gone", "client_closed"),
            ("is=exit", "process_exit"),
        ] {
            let script = format!("serve s P h=T/a op=chat; end s {end}; wait 200");
            assert_eq!(agent(&script)[1], format!("loop T:a remote {became}"));
        }
        for (end, became) in [
            ("state=completed", "ok"),
            ("state=failed", "task_failed"),
            ("state=canceled", "task_canceled"),
            ("rpc_error=-32602", "-32602"),
            ("notice=failed", "agent_error"),
        ] {
            let script = format!("serve s P h=T/a op=send; end s {end}; wait 200");
            assert_eq!(agent(&script)[1], format!("loop T:a remote {became}"));
        }
    }

    #[test]
    fn a_process_that_dies_leaves_what_there_was() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1; \
             call t P op=mcp,tools/call,tool=add; end s is=exit; end t is=exit; exit P; wait 200",
        );
        assert_eq!(
            lines[1..],
            [
                "loop T:a remote process_exit",
                "c T:step1 [inference]",
                "step1 T:loop ok 3-6",
                "t T:tool.add [mcp.tool.add#1]",
                "tool.add T:step1 #1 process_exit 5-7",
            ]
        );
    }

    #[test]
    fn steps_are_told_when_they_end() {
        let order = outcome(
            "serve s P h=T/a op=chat; wait 200; call c P op=chat; end c; \
             call d P op=chat,messages=3; end d; wait 7200000; end s",
        )
        .order;
        assert_eq!(order, ["c", "step1", "d", "s", "step2", "loop"]);
    }
}

mod who_is_an_agent {
    use super::*;

    #[test]
    fn a_server_of_models_passes_requests_on() {
        let lines = run(
            "service P server=off client=off; serve s P h=T/a op=chat; \
             call c P op=chat,model=x; end c status=500; call d P op=chat,model=x; end d status=500; \
             call e P op=chat,model=y; end e; end s; wait 200",
        )
        .lines;
        assert_eq!(
            lines,
            [
                "s T:a remote [model]",
                "c T:s [model]",
                "d T:s [model again 1]",
                "e T:s [model]",
            ]
        );
    }

    #[test]
    fn who_calls_tools_is_one() {
        let script = "serve s P h=T/a op=chat; call c P op=chat; end c; \
            call t P op=mcp,tools/call,tool=add; end t; call d P op=chat,messages=2; end d; end s;";
        let lines = run(&format!(
            "{script} wait 200; {}",
            script.replace("h=T/a", "h=U/b")
        ))
        .lines;
        assert_eq!(
            lines[..8],
            [
                "s T:a remote",
                "c T:step1 [inference]",
                "t T:tool.add [mcp.tool.add]",
                "loop T:s ok",
                "step1 T:loop ok 2-6",
                "tool.add T:step1 ok 4-5",
                "d T:step2 [inference]",
                "step2 T:loop ok 6-8",
            ]
        );
        // Now it is known.
        assert_eq!(lines[9], "loop U:s ok");
    }

    #[test]
    fn who_asks_more_than_it_was_asked_is_one() {
        for call in ["op=chat,messages=2", "op=chat,tools"] {
            let lines = run(&format!(
                "serve s P h=T/a op=chat; call c P {call}; end c; end s; wait 200"
            ))
            .lines;
            assert_eq!(lines[1], "c T:step1 [inference]");
        }
    }

    #[test]
    fn a_client_is_none() {
        let lines =
            run("call c P op=chat; end c; call t P op=mcp,tools/call,tool=add; end t").lines;
        assert_eq!(lines, ["c #c:- [model]", "t #t:- [tools/call add]"]);
    }

    #[test]
    fn a_tool_server_serves_calls() {
        let lines = run(
            "service Q server=off client=off; serve t Q h=T/a op=mcp,tools/call,tool=add; \
             call c Q op=chat; end c; end t; serve l Q h=T/a op=mcp,tools/list; end l; wait 200",
        )
        .lines;
        assert_eq!(
            lines,
            [
                "t T:a remote [tools/call add]",
                "c T:t [model]",
                "l T:a remote off"
            ]
        );
    }

    #[test]
    fn calls_of_unknown_cause_stand_by_themselves() {
        let lines = agent(
            "serve r P h=T/a op=chat; serve s P h=U/b op=chat; call c P op=chat; end c; \
             call t P op=mcp,tools/call,tool=add; end t; end r; end s; wait 200",
        );
        assert_eq!(
            lines[4..],
            [
                "c #c:- [inference]",
                "t #+2:tool.add [mcp.tool.add]",
                "tool.add #+2:- ok 6-7",
            ]
        );
    }

    #[test]
    fn a_fresh_header_is_that_of_an_sdk() {
        let lines =
            agent("serve s P h=T/a op=chat; call c P h=T/b op=chat; end c; end s; wait 200");
        assert!(lines.is_empty(), "{lines:?}");
    }

    #[test]
    fn an_sdk_that_shows_itself_later_leaves_what_was_told() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c; exports P; \
             call d P op=chat,messages=2; end d; end s; wait 200",
        );
        assert_eq!(
            lines,
            [
                "loop T:a remote ok",
                "c T:step1 [inference]",
                "step1 T:loop ok 3-8",
                "d T:a remote off",
            ]
        );
    }
}
