//! What agents call: tools, other agents, models that are not reached.

use super::agent;

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
    fn each_call_of_a_batch_is_the_use_of_a_tool() {
        let lines = agent(
            "serve s P h=T/a op=chat; call c P op=chat; end c asks=add#1+mul#2+sub#3; \
             call t P op=mcp,tools/call,tool=add,and=mul#x,and=sub#y; end t fails=y; end s; wait 200",
        );
        assert_eq!(
            lines[4..],
            [
                "t T:tool.add [mcp.tool.add#1]",
                "tool.add T:step1 #1 ok 5-6",
                "tool.mul T:step1 #2 ok 5-6",
                "tool.sub T:step1 #3 tool_error 5-6",
            ]
        );
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
