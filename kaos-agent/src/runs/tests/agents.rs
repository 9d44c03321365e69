//! Runs of agents.

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

mod tools {
    use super::*;

    const ASKED: &str = "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1";

    #[test]
    fn a_session_for_one_call_is_the_use_of_the_tool() {
        let lines = agent(&format!(
            "service P client=on; {ASKED}; call i P op=mcp,initialize; end i session=S; \
             call n P op=mcp,notifications/initialized,session=S; end n; \
             call g P op=mcp,stream,session=S; call t P op=mcp,tools/call,tool=add,session=S; end t; \
             call x P op=mcp,delete,session=S; end x; end g; \
             call d P op=chat,messages=3,results=1; end d; end s; wait 200"
        ));
        assert_eq!(
            lines[2..],
            [
                "c T:step1 [inference]",
                "step1 T:loop ok 4-16",
                "i T:tool.add",
                "tool.add T:step1 #1 ok 6-14",
                "n T:tool.add",
                "g T:tool.add",
                "t T:tool.add [mcp.tool.add#1]",
                "x T:tool.add",
                "d T:step2 [inference]",
                "step2 T:loop ok 16-18",
            ]
        );
    }

    #[test]
    fn a_request_without_session_is_one_by_itself() {
        let lines = agent(&format!(
            "service P tools=http://10.0.0.9:80/mcp; {ASKED}; \
             call t P op=mcp,tools/call,tool=add to=10.0.0.9:80; end t; end s; wait 200"
        ));
        assert_eq!(
            lines[4..],
            [
                "t T:tool.add [mcp.tool.add#1@calc]",
                "tool.add T:step1 #1 ok 6-7",
            ]
        );
    }

    #[test]
    fn a_session_without_call_is_plumbing() {
        let lines = agent(
            "service P client=on; serve s P h=T/a op=chat; call i P op=mcp,initialize; \
             end i session=S; call l P op=mcp,tools/list,session=S; end l; \
             call c P op=chat; end c; end s; wait 200",
        );
        assert_eq!(
            lines[2..],
            [
                "i T:loop",
                "l T:loop",
                "c T:step1 [inference]",
                "step1 T:loop ok 8-10",
            ]
        );
    }

    #[test]
    fn a_session_that_lasts_longer_is_plumbing_too() {
        let lines = agent(&format!(
            "serve r P h=T/a op=chat; call i P op=mcp,initialize; end i session=S; end r; wait 200; \
             {ASKED}; call t P op=mcp,tools/call,tool=add,session=S; end t; \
             call u P op=mcp,tools/call,tool=add,session=S; end u; end s; wait 200"
        ));
        assert_eq!(
            lines[6..],
            [
                "step1 T:loop ok 208-214",
                "t T:tool.add [mcp.tool.add#1]",
                "tool.add T:step1 #1 ok 210-211",
                "u T:tool.add [mcp.tool.add]",
                "tool.add T:step1 ok 212-213",
            ]
        );
    }

    #[test]
    fn parallel_calls_have_sessions_of_their_own() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1+mul#2; \
             call i P op=mcp,initialize; call j P op=mcp,initialize; \
             end i session=S; end j session=R; \
             call u P op=mcp,tools/call,tool=mul,session=R; \
             call t P op=mcp,tools/call,tool=add,session=S; end t; end u tool_error; end s; wait 200",
        );
        let tools: Vec<_> = lines.iter().filter(|line| line.contains("tool.")).collect();
        assert_eq!(
            tools,
            [
                "i T:tool.add off",
                "tool.add T:step1 #1 ok 5-11",
                "j T:tool.mul off",
                "tool.mul T:step1 #2 tool_error 6-12",
                "u T:tool.mul [mcp.tool.mul#2]",
                "t T:tool.add [mcp.tool.add#1]",
            ]
        );
    }

    #[test]
    fn failures_behind_200() {
        for (end, became) in [
            ("tool_error", "tool_error"),
            ("rpc_error=-32601", "-32601"),
            ("status=503", "503"),
        ] {
            let lines = agent(&format!(
                "{ASKED}; call t P op=mcp,tools/call,tool=add; end t {end}; end s; wait 200"
            ));
            assert_eq!(lines[5], format!("tool.add T:step1 #1 {became} 5-6"));
            assert_eq!(lines[3], "step1 T:loop ok 3-7");
        }
    }

    #[test]
    fn a_tool_whose_server_is_not_reached() {
        let lines = agent(&format!(
            "service P tools=http://10.0.0.9:80/mcp; {ASKED}; fail f P 1 to=10.0.0.9:80; \
             fail g P to=10.0.0.9:80; call d P op=chat,messages=3,results=1!; end d; end s; wait 200"
        ));
        assert_eq!(
            lines[4..],
            [
                "f T:step1 off",
                "g T:step1 off",
                "d T:step2 [inference]",
                "tool.add T:step1 #1 connection_refused 5-7",
                "step2 T:loop ok 8-10",
            ]
        );
    }

    #[test]
    fn a_tool_whose_session_is_not_opened() {
        let lines = agent(&format!(
            "{ASKED}; call i P op=mcp,initialize; end i status=500; \
             call d P op=chat,messages=3; end d; end s; wait 200"
        ));
        assert!(
            lines.contains(&"tool.add T:step1 #1 500 5-6".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn a_tool_in_the_process_is_an_event() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1+now#2; \
             call t P op=mcp,tools/call,tool=add; end t; \
             call d P op=chat,messages=4,results=1+2!; end d; end s; wait 200",
        );
        assert_eq!(lines[3], "step1 T:loop ok 3-7 local=now!");
    }

    #[test]
    fn names_with_the_server_before_them() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c asks=calc_add#1; \
             call t P op=mcp,tools/call,tool=add; end t; end s; wait 200",
        );
        assert_eq!(lines[5], "tool.add T:step1 #1 ok 5-6");
    }

    #[test]
    fn an_answer_that_comes_late_names_its_calls() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat,stream; \
             call t P op=mcp,tools/call,tool=add; end c asks=add#1; end t; end s; wait 200",
        );
        assert_eq!(lines[5], "tool.add T:step1 #1 ok 4-6");
    }
}

mod delegations {
    use super::*;

    #[test]
    fn by_role_by_address_and_by_protocol() {
        for (call, target) in [
            (
                "op=chat,role=task-delegation to=10.0.0.7:8000",
                "10.0.0.7:8000",
            ),
            ("op=chat to=10.0.0.8:8000", "worker"),
            ("op=send to=10.0.0.8:8000", "worker"),
        ] {
            let lines = agent(&format!(
                "service P peer=http://10.0.0.8:8000/card; serve s P h=T/a op=chat; \
                 call c P op=chat; end c; call d P @x {call}; serve t Q @x op=send; end t; \
                 end d; end s; wait 200"
            ));
            assert_eq!(lines[4], format!("d T:step1 [delegate.{target}]"));
            assert_eq!(lines[5..], ["t T:d remote", "loop T:t ok"]);
        }
    }

    #[test]
    fn the_model_knows_the_name() {
        for asks in ["delegates=helper", "asks=delegate_to_helper#1"] {
            let lines = agent(&format!(
                "serve s P h=T/a op=chat; call c P op=chat; end c {asks}; \
                 call d P op=chat,role=task-delegation; end d; end s; wait 200"
            ));
            assert_eq!(lines[4], "d T:step1 [delegate.helper]");
        }
    }

    #[test]
    fn who_shows_a_card_is_an_agent() {
        let lines = agent(
            "serve s P h=T/a op=chat; call k P op=card to=10.0.0.8:8000; end k; \
             call c P op=chat; end c; call d P op=chat to=10.0.0.8:8000; end d; end s; wait 200",
        );
        assert_eq!(lines[2], "k T:loop off");
        assert_eq!(lines[5], "d T:step1 [delegate.10.0.0.8:8000]");
    }

    #[test]
    fn a_peer_that_is_down() {
        let lines = agent(
            "service P peer=http://10.0.0.8:8000; serve s P h=T/a op=chat; call c P op=chat; end c; \
             fail d P to=10.0.0.8:8000; end s; wait 200",
        );
        assert_eq!(lines[4], "d T:step1 [delegate.worker]");
    }

    #[test]
    fn a_forwarded_header_changes_nothing() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c; \
             call d P @x h=T/a op=chat,role=task-delegation; serve t Q @x h=T/a op=send; \
             end t; end d; end s; wait 200",
        );
        assert_eq!(lines[4], "d T:step1 [delegate.10.0.0.2:8000]");
        assert_eq!(lines[5], "t T:d remote");
    }
}

mod models_that_are_not_reached {
    use super::*;

    #[test]
    fn a_connect_to_the_model_is_a_call_of_it() {
        let lines = agent(
            "service P model=http://10.0.0.9:80; serve s P h=T/a op=chat; fail c P to=10.0.0.9:80; \
             fail d P to=10.0.0.9:80; end s notice=failed; wait 200",
        );
        assert_eq!(
            lines[1..],
            [
                "loop T:a remote agent_error",
                "c T:step1 [inference]",
                "step1 T:loop connection_refused 4-6",
                "d T:step1 [inference again 1]",
            ]
        );
    }

    #[test]
    fn where_the_model_was_before() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat to=10.0.0.9:80; end c; \
             fail d P to=10.0.0.9:80; fail e P to=10.0.0.7:80; end s; wait 200",
        );
        assert_eq!(
            lines[4..],
            [
                "d T:step2 [inference]",
                "step2 T:loop connection_refused 5-7",
                "e T:step2 off"
            ]
        );
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
