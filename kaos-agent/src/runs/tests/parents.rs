//! Who hangs under whom.

use crate::runs::testing::script::{run, spans};

mod served_and_called {
    use super::*;

    #[test]
    fn a_served_request_hangs_under_the_span_that_its_header_names() {
        assert_eq!(spans("serve s P h=T/a; end s"), "s T:a remote");
        assert_eq!(spans("serve s P h=T/a ts=v=1; end s"), "s T:a remote {v=1}");
    }

    #[test]
    fn a_served_request_without_header_begins_a_trace() {
        assert_eq!(spans("serve s P; end s"), "s #s:-");
        assert_eq!(spans("serve s P ts=v=1; end s"), "s #s:-");
    }

    #[test]
    fn an_invalid_header_is_none() {
        let outcome = run("serve s P h=T/a/zz; end s");
        assert_eq!(outcome.lines, ["s #s:-"]);
        assert_eq!(outcome.counters.invalid_traceparents, 1);
    }

    #[test]
    fn a_call_belongs_to_the_only_request_in_flight() {
        assert_eq!(
            spans("serve s P h=T/a ts=v=1; call c P; end c; end s"),
            "s T:a remote {v=1}; c T:s {v=1}"
        );
        assert_eq!(
            spans("serve s P; call c P; call d P; end d; end c; end s"),
            "s #s:-; c #s:s; d #s:s",
        );
    }

    #[test]
    fn a_call_may_outlive_its_request() {
        assert_eq!(
            spans("serve s P; call c P; end s; wait 200; end c"),
            "s #s:-; c #s:s"
        );
    }

    #[test]
    fn a_retried_call_is_a_span_of_its_own() {
        assert_eq!(
            spans(
                "service P sdk=always; serve s P h=T/a; call c P h=T/b; end c; call d P h=T/b; end d; end s"
            ),
            "s T:a remote; c T:b; d T:b"
        );
    }

    #[test]
    fn a_call_without_request_begins_a_trace() {
        let outcome = run("serve s P; end s; call c P; end c");
        assert_eq!(outcome.lines, ["s #s:-", "c #c:-"]);
        assert_eq!(outcome.counters.calls_without_request, 1);
        assert_eq!(outcome.counters.causes_unknown, 0);
    }

    #[test]
    fn a_call_of_one_of_two_requests_is_of_unknown_cause() {
        let outcome = run("serve s P; serve t P; call c P; end c; end s; end t; wait 200");
        assert_eq!(outcome.lines, ["s #s:-", "t #t:-", "c #c:-"]);
        assert_eq!(outcome.counters.causes_unknown, 1);
    }

    #[test]
    fn a_call_that_the_process_also_makes_on_its_own_is_of_unknown_cause() {
        const POLLED: &str = "url=http://c/polled";
        let poll = |name: &str| format!("call {name} P {POLLED}; end {name}; ");
        let serve = "serve s P; call c P url=http://c/other; end c; ";
        let script = [
            &poll("a"),
            &poll("b"),
            &poll("d"),
            serve,
            &poll("e"),
            "end s",
        ]
        .concat();
        let outcome = run(&script);
        assert_eq!(outcome.lines[3..], ["s #s:-", "c #s:s", "e #e:-"]);
        assert_eq!(outcome.counters.causes_unknown, 1);
        assert_eq!(outcome.counters.calls_without_request, 3);
        // Twice is not enough to say so, and neither is what another process does.
        let other = format!("call d Q {POLLED}; end d; ");
        let script = [
            &poll("a"),
            &poll("b"),
            &other,
            "serve s P; ",
            &poll("e"),
            "end s",
        ]
        .concat();
        let outcome = run(&script);
        assert_eq!(outcome.lines[3..], ["s #s:-", "e #s:s"]);
        assert_eq!(outcome.counters.causes_unknown, 0);
    }

    #[test]
    fn requests_of_other_processes_never_count() {
        assert_eq!(
            spans("serve s P; serve t Q; call c P; end c; end s; end t"),
            "s #s:-; t #t:-; c #s:s"
        );
        let child = run("serve s P; call c C; end c; end s");
        assert_eq!(child.lines, ["s #s:-", "c #c:-"]);
        assert_eq!(child.counters.calls_without_request, 1);
    }

    #[test]
    fn what_counts_is_what_was_in_flight_when_the_call_began() {
        let head_was_slow = "serve s P; serve t P; wait 9; end s; call c P ago=5; end c; end t";
        assert_eq!(run(head_was_slow).counters.causes_unknown, 1);
        let came_later = "serve s P; wait 9; serve t P; call c P ago=5; end c; end s; end t";
        assert_eq!(spans(came_later), "s #s:-; t #t:-; c #s:s");
        let had_ended = "serve s P; wait 9; end s; serve t P; call c P; end c; end t";
        assert_eq!(spans(had_ended), "s #s:-; t #t:-; c #t:t");
    }

    #[test]
    fn a_failed_connect_has_the_cause_of_a_call() {
        assert_eq!(spans("serve s P; fail c P; end s"), "s #s:-; c #s:s");
        assert_eq!(
            spans("serve s P; wait 9; serve t P; end t; fail c P 5; end s; wait 200"),
            "s #s:-; t #t:-; c #s:s",
        );
        assert_eq!(spans("fail c P"), "c #c:-");
    }
}

mod sdk_in_the_process {
    use super::*;

    #[test]
    fn a_fresh_header_names_the_parent() {
        assert_eq!(
            spans("serve s P h=T/a; service P sdk=always; call c P h=T/sdk; end c; end s"),
            "s T:a remote; c T:sdk"
        );
    }

    #[test]
    fn a_fresh_header_decides_for_the_server_too() {
        assert_eq!(
            spans("call c P @x h=T/sdk; serve s Q @x h=T/sdk; end s; end c"),
            "s T:sdk remote"
        );
    }

    #[test]
    fn a_fresh_header_decides_with_several_in_flight() {
        let outcome = run(
            "serve s P; service P sdk=always; serve t P; call c P h=T/sdk; end c; end s; end t",
        );
        assert_eq!(outcome.lines[2], "c T:sdk");
        assert_eq!(outcome.counters.causes_unknown, 0);
    }
}

mod blind_forwarding {
    use super::*;

    #[test]
    fn a_forwarded_header_means_the_request_that_it_came_with() {
        assert_eq!(
            spans("serve s P h=T/a; serve t P h=T/b; call c P h=T/b; end c; end t; end s"),
            "s T:a remote; t T:b remote; c T:t",
        );
    }

    #[test]
    fn the_same_span_id_of_another_trace_is_fresh() {
        assert_eq!(
            spans("service P sdk=always; serve s P h=T/a; call c P h=U/a; end c; end s"),
            "s T:a remote; c U:a"
        );
    }

    #[test]
    fn over_two_hops_each_request_hangs_under_its_caller() {
        let script = "serve s P h=T/a;
            call c P @x h=T/a; serve t Q @x h=T/a;
            call d Q @y h=T/a; serve u R @y h=T/a;
            end u; end d; end t; end c; end s";
        assert_eq!(
            spans(script),
            "s T:a remote; c T:s; t T:c remote; d T:t; u T:d remote"
        );
    }

    #[test]
    fn over_two_hops_with_all_ends_reversed() {
        let script = "serve s P h=T/a;
            serve t Q @x h=T/a; call c P @x h=T/a;
            serve u R @y h=T/a; call d Q @y h=T/a;
            end u; end d; end t; end c; end s";
        assert_eq!(
            spans(script),
            "s T:a remote; t T:c remote; c T:s; u T:d remote; d T:t"
        );
    }

    #[test]
    fn a_header_that_several_came_with_leaves_the_call_in_the_trace() {
        let script = "serve s P h=T/a; serve t P h=T/a;
            call c P @x h=T/a; serve u Q @x h=T/a; end u; end c; end s; end t";
        let outcome = run(script);
        assert_eq!(outcome.lines[2..], ["c T:a", "u T:c remote"]);
        assert_eq!(outcome.counters.causes_unknown, 1);
    }

    #[test]
    fn a_header_of_a_request_that_is_over_goes_before_the_one_in_flight() {
        let outcome = run(
            "serve s P h=T/a; end s; serve t P h=U/b; call c P @x h=T/a; serve u Q @x h=T/a;
            end u; end c; end t",
        );
        assert_eq!(
            outcome.lines,
            ["s T:a remote", "t U:b remote", "c T:a", "u T:c remote"]
        );
        assert_eq!(outcome.counters.causes_unknown, 0);
    }

    #[test]
    fn a_header_from_another_process_is_not_forwarded() {
        assert_eq!(
            spans("service Q sdk=always; serve s P h=T/a; call c Q h=T/a; end c; end s"),
            "s T:a remote; c T:a"
        );
    }
}

mod both_ends_on_this_node {
    use super::*;
    use crate::runs::{JOIN_WAIT, testing::MILLISECOND};

    #[test]
    fn a_served_request_hangs_under_its_call() {
        let outcome = run("call c P @x; serve s Q @x; end s; end c");
        assert_eq!(outcome.lines, ["c #c:-", "s #c:c remote"]);
        assert_eq!(outcome.counters.joined, 1);
    }

    #[test]
    fn the_ends_may_come_in_either_order() {
        assert_eq!(
            spans("serve s Q @x; call c P @x; end s; end c"),
            "s #c:c remote; c #c:-"
        );
        assert_eq!(
            spans("serve s Q @x; end s; call c P @x; end c"),
            "s #c:c remote; c #c:-"
        );
    }

    #[test]
    fn a_server_waits_for_its_client_for_a_while() {
        let wait = JOIN_WAIT / MILLISECOND;
        let in_time = format!("serve s Q @x; wait {}; call c P @x; end s; end c", wait - 3);
        assert_eq!(spans(&in_time), "s #c:c remote; c #c:-");
        let too_late = format!("serve s Q @x; wait {wait}; call c P @x; end s; end c");
        assert_eq!(spans(&too_late), "s #s:-; c #c:-");
    }

    #[test]
    fn what_is_below_a_waiting_server_waits_with_it() {
        let script = "serve s Q @x; call d Q; end d; fail e Q; end s; call c P @x; end c";
        assert_eq!(spans(script), "s #c:c remote; d #c:s; e #c:s; c #c:-");
        assert_eq!(
            spans("serve s Q @x; call d Q; end d; end s; wait 100"),
            "s #s:-; d #s:s"
        );
    }

    #[test]
    fn a_server_may_read_after_its_client_gave_up() {
        assert_eq!(
            spans("call c P @x; end c; wait 9000; serve s Q @x; end s"),
            "c #c:-; s #c:c remote"
        );
        assert_eq!(
            spans("call c P @x; end c; wait 10000; serve s Q @x; end s"),
            "c #c:-; s #s:-"
        );
    }

    #[test]
    fn several_calls_that_forward_one_header_have_their_own_servers() {
        let script = "serve s P h=T/a; call c P @x h=T/a; call d P @y h=T/a;
            serve t Q @x h=T/a; serve u R @y h=T/a; end u; end t; end d; end c; end s";
        assert_eq!(
            spans(script),
            "s T:a remote; c T:s; d T:s; t T:c remote; u T:d remote"
        );
    }

    #[test]
    fn several_calls_of_one_span_of_an_sdk_have_it_as_their_parent_and_their_servers() {
        let script = "service P sdk=always; serve s P h=T/a;
            call c P @x h=T/b; call d P @y h=T/b; serve t Q @x h=T/b; serve u R @y h=T/b;
            end u; end t; end d; end c; end s";
        assert_eq!(
            spans(script),
            "s T:a remote; c T:b; d T:b; t T:b remote; u T:b remote"
        );
    }

    #[test]
    fn each_attempt_of_a_client_that_retries_has_its_own_server() {
        // The first one is given up before its server is done.
        let on_other_connections = "serve s P; call c P @x; serve t Q @x; end c;
            call d P @y; serve u Q @y; end u; end d; end t; end s";
        assert_eq!(
            spans(on_other_connections),
            "s #s:-; c #s:s; t #s:c remote; d #s:s; u #s:d remote"
        );
        let with_one_header = "serve s P h=T/a; call c P @x h=T/a; serve t Q @x h=T/a; end c;
            call d P @y h=T/a; serve u Q @y h=T/a; end u; end d; end t; end s";
        assert_eq!(
            spans(with_one_header),
            "s T:a remote; c T:s; t T:c remote; d T:s; u T:d remote"
        );
    }

    #[test]
    fn of_two_addresses_the_one_that_answers_has_the_server() {
        let script = "serve s P; fail c P; call d P @x; serve t Q @x; end t; end d; end s";
        assert_eq!(spans(script), "s #s:-; c #s:s; d #s:s; t #s:d remote");
    }

    #[test]
    fn a_process_that_calls_itself() {
        let in_order = "serve s P; call c P @x; serve t P @x; end t; end c; end s";
        assert_eq!(spans(in_order), "s #s:-; c #s:s; t #s:c remote");
        let reversed = "serve s P; serve t P @x; call c P @x; end t; end c; end s";
        assert_eq!(spans(reversed), "s #s:-; t #s:c remote; c #s:s");
        let forwarding = "serve s P h=T/a; serve t P @x h=T/a; call c P @x h=T/a; end t; end c";
        assert_eq!(spans(forwarding), "t T:c remote; c T:s");
    }

    #[test]
    fn a_circle_is_cut() {
        let circle =
            "serve s P @x; serve t Q @y; call c P @y; call d Q @x; end s; end t; end c; end d";
        let outcome = run(circle);
        assert_eq!(
            outcome.lines,
            ["s #s:-", "t #s:c remote", "c #s:s", "d #s:t"]
        );
    }
}
