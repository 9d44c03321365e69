//! What waits, for how long, and what there may be of it.

use crate::runs::testing::script::spans;

mod meanings_that_come_later {
    use super::*;

    #[test]
    fn a_served_request_waits_with_all_below_it() {
        let script = "serve s P h=T/a later; call c P; end c; wait 1000; understood s; end s";
        assert_eq!(spans(script), "s T:a remote; c T:s");
    }

    #[test]
    fn a_call_waits_for_its_place_but_not_for_its_cause() {
        let script = "serve s P; call c P later; end s; understood c; end c; wait 200";
        assert_eq!(spans(script), "s #s:-; c #s:s");
    }

    #[test]
    fn a_context_in_a_message_goes_before_the_one_in_the_header() {
        for (script, expected) in [
            (
                "serve s P h=T/a later; understood s m=U/b; end s; wait 200",
                "s U:b remote [tools/call add]",
            ),
            (
                "serve s P later; understood s m=U/b; end s; wait 200",
                "s U:b remote [tools/call add]",
            ),
            (
                "serve s P h=T/a later; understood s m=U/b/xx; end s; wait 200",
                "s T:a remote [tools/call add]",
            ),
            (
                "service P sdk=always; call c P h=T/a later; understood c m=U/b; end c",
                "c U:b [tools/call add]",
            ),
            (
                "serve s P h=U/b; call c P later; understood c m=U/b; end c; end s; wait 200",
                "s U:b remote; c U:s [tools/call add]",
            ),
        ] {
            assert_eq!(spans(script), expected, "{script}");
        }
    }

    #[test]
    fn both_ends_meet_whoever_is_understood_first() {
        for (first, second) in [("c", "s"), ("s", "c")] {
            let script = format!(
                "call c P @x later; serve s Q @x later; understood {first}; understood {second}; \
                 end s; end c"
            );
            assert_eq!(spans(&script), "c #c:-; s #c:c remote");
        }
    }
}

mod causes_that_come_later {
    use crate::runs::testing::late::AfterResponses;
    use crate::runs::testing::script::{Outcome, run_with};
    use crate::runs::{CAUSE_WAIT, Limits};

    fn run_later(script: &str) -> Outcome {
        run_with(script, Limits::default(), AfterResponses::of(1))
    }

    #[test]
    fn a_call_waits_for_the_response() {
        let script = "serve s P; serve t P; call c P; end c; respond t; end t; end s";
        assert_eq!(run_later(script).lines, ["s #s:-", "t #t:-", "c #t:t"]);
    }

    #[test]
    fn a_response_before_the_call_is_understood_counts() {
        let script = "serve s P; call c P later; respond s; understood c; end c; end s";
        assert_eq!(run_later(script).lines, ["s #s:-", "c #s:s"]);
    }

    #[test]
    fn what_is_below_waits_too() {
        let script = "serve s P h=T/a; call c P @x; serve t Q @x; end t; end c; respond s; end s";
        let outcome = run_later(script);
        assert_eq!(outcome.lines, ["s T:a remote", "c T:s", "t T:c remote"]);
    }

    #[test]
    fn responses_of_other_processes_change_nothing() {
        let outcome = run_later("serve s P; serve t Q; call c P; respond t; end c; end s; end t");
        assert_eq!(outcome.lines, ["s #s:-", "t #t:-", "c #c:-"]);
        assert_eq!(outcome.counters.causes_given_up, 1);
    }

    #[test]
    fn a_call_waits_for_a_while_only() {
        let wait = CAUSE_WAIT / crate::runs::testing::MILLISECOND;
        let script = format!("serve s P; call c P; end c; wait {wait}; respond s; end s");
        let outcome = run_later(&script);
        assert_eq!(outcome.lines, ["s #s:-", "c #c:-"]);
        assert_eq!(outcome.counters.causes_given_up, 1);
    }

    #[test]
    fn only_so_many_calls_wait() {
        let limits = Limits {
            waiting: 2,
            ..Limits::default()
        };
        let script = "serve s P; call c P; call d P; call e P; respond s; \
            end c; end d; end e; end s; wait 100";
        let outcome = run_with(script, limits, AfterResponses::of(1));
        assert_eq!(outcome.lines, ["s #s:-", "c #c:-", "d #s:s", "e #s:s"]);
        assert_eq!(outcome.counters.causes_given_up, 1);
    }
}

mod bounds {
    use super::*;
    use crate::runs::Limits;
    use crate::runs::cause::OneInFlight;
    use crate::runs::testing::script::{Outcome, run_with};

    fn run_small(exchanges: usize, waiting: usize, script: &str) -> Outcome {
        let limits = Limits { exchanges, waiting };
        run_with(script, limits, OneInFlight::default())
    }

    #[test]
    fn what_is_over_goes_first() {
        let outcome = run_small(2, 9, "call c P; call d P; end d; call e P; end e; end c");
        assert_eq!(outcome.lines, ["c #c:-", "d #d:-", "e #e:-"]);
        assert_eq!(outcome.counters.exchanges_evicted, 0);
    }

    #[test]
    fn then_what_goes_on_for_longest() {
        let outcome = run_small(2, 9, "call c P; call d P; call e P; end e; end d; end c");
        assert_eq!(outcome.lines, ["d #d:-", "e #e:-"]);
        assert_eq!(outcome.counters.exchanges_evicted, 1);
    }

    #[test]
    fn what_only_waits_for_its_parent_is_not_lost() {
        let outcome = run_small(2, 9, "serve s P; end s; serve t P; end t; call c P; end c");
        assert_eq!(outcome.lines, ["s #s:-", "t #t:-", "c #c:-"]);
        assert_eq!(outcome.counters.exchanges_evicted, 0);
        assert_eq!(outcome.counters.joins_given_up, 1);
        let with_header = "serve s P h=T/a; end s; call c P; end c";
        assert_eq!(
            run_small(1, 9, with_header).lines,
            ["s T:a remote", "c #c:-"]
        );
    }

    #[test]
    fn what_hangs_under_an_evicted_one_keeps_its_parent() {
        let outcome = run_small(2, 9, "serve s P; call c P; call d Q; end c; end d; end s");
        assert_eq!(outcome.lines, ["c #s:s", "d #d:-"]);
        assert_eq!(outcome.counters.exchanges_evicted, 1);
    }

    #[test]
    fn a_call_whose_request_was_evicted_is_of_unknown_cause() {
        let outcome = run_small(1, 9, "serve s P; call c P; end c; end s");
        assert_eq!(outcome.lines, ["c #c:-"]);
        assert_eq!(outcome.counters.causes_unknown, 1);
    }

    #[test]
    fn only_so_many_servers_wait_for_their_clients() {
        let script = "serve s P @x; serve t Q @y; call c R @x; call d R @y; \
            end s; end t; end c; end d";
        let outcome = run_small(9, 1, script);
        assert_eq!(
            outcome.lines,
            ["s #s:-", "t #d:d remote", "c #c:-", "d #d:-"]
        );
        assert_eq!(outcome.counters.joins_given_up, 1);
    }

    #[test]
    fn two_servers_of_one_name_are_not_both_joined() {
        let script = "serve s P @x; serve t Q @x; call c R @x; end s; end t; end c";
        assert_eq!(spans(script), "s #s:-; t #c:c remote; c #c:-");
    }
}
