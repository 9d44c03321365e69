//! What is told of it, when, and with which clock.

use crate::runs::testing::script::{run, spans};

mod what_is_not_told {
    use std::sync::Arc;

    use super::*;
    use crate::exchanges::exchange::ExchangeEvent;
    use crate::runs::testing::RequestBuilder;
    use crate::runs::{Limits, Runs};

    #[test]
    fn an_excluded_request_leaves_its_calls_to_its_parent() {
        let outcome =
            run("service P excluded=/health; serve s P url=/health h=T/a; call c P; end c; end s");
        assert_eq!(outcome.lines, ["c T:a remote"]);
        assert_eq!(outcome.counters.excluded_requests, 1);
        assert_eq!(
            spans(
                "service P excluded=/health; serve s P url=/health; call c P; end c; end s; wait 200"
            ),
            "c #s:-"
        );
    }

    #[test]
    fn spans_that_are_not_wanted_leave_theirs_to_the_nearest_that_is_told() {
        let script = |settings: &str| {
            spans(&format!(
                "{settings}; serve s P h=T/a; call c P @x; serve t Q @x; call d Q; \
                 end d; end t; end c; end s"
            ))
        };
        assert_eq!(
            script("service P; service Q"),
            "s T:a remote; c T:s; t T:c remote; d T:t"
        );
        assert_eq!(
            script("service P server=off"),
            "s T:a remote off; c T:a remote; t T:c remote; d T:t"
        );
        assert_eq!(
            script("service P client=off"),
            "s T:a remote; c T:s off; t T:s remote; d T:t"
        );
        assert_eq!(
            script("service P client=off server=off; service Q server=off"),
            "s T:a remote off; c T:a remote off; t T:a remote off; d T:a remote",
        );
    }

    #[test]
    fn an_otlp_exporter_belongs_to_no_request() {
        let outcome = run(
            "service P sdk=always; serve s P; call c P @x as=otlp; serve t Q @x; end t; end c; end s",
        );
        assert_eq!(outcome.lines, ["s #s:-", "t #c:-"]);
        assert_eq!(outcome.counters.otlp_requests, 1);
    }

    #[test]
    fn a_process_without_service() {
        let mut runs = Runs::new(Limits::default(), 1);
        let mut out = Vec::new();
        let request = RequestBuilder::get("/").client();
        let started = ExchangeEvent::Started(Arc::new(request.clone().build()));
        let ended = ExchangeEvent::Ended(Box::new(request.answered(200, 1)));
        for event in [started, ended] {
            runs.push(event, &|_| None, &mut out);
        }
        runs.finish(1, &mut out);
        assert!(out.is_empty());
        assert_eq!(runs.counters().without_service, 1);
    }

    #[test]
    fn a_failed_connect_is_a_client_span() {
        assert_eq!(spans("service P client=off; fail c P"), "c #c:- off");
    }
}

mod sampling {
    use super::*;

    #[test]
    fn a_header_decides() {
        assert_eq!(
            spans("serve s P h=T/a/01; call c P; end c; end s"),
            "s T:a remote; c T:s"
        );
        assert_eq!(
            spans("serve s P h=T/a/00; call c P; end c; end s"),
            "s T:a remote off; c T:s off"
        );
    }

    #[test]
    fn the_decision_goes_along_with_a_join() {
        let outcome = run("service P sampler=parentbased_always_off;
            call c P @x; serve s Q @x; call d Q; end d; end s; end c");
        assert_eq!(
            outcome.lines,
            ["c #c:- off", "s #c:c remote off", "d #c:s off"]
        );
        assert_eq!(outcome.counters.spans_sampled_out, 3);
        assert_eq!(outcome.counters.spans, 0);
    }

    #[test]
    fn a_sampler_of_its_own_decides_for_those_below() {
        assert_eq!(
            spans(
                "service P sampler=always_off; serve s P h=T/a/01; call c P @x; serve t Q @x; end t; end c; end s"
            ),
            "s T:a remote off; c T:s off; t T:c remote off"
        );
        assert_eq!(
            spans("service P sampler=always_on; serve s P h=T/a/00; end s"),
            "s T:a remote"
        );
    }

    #[test]
    fn what_is_not_told_decides_nothing() {
        assert_eq!(
            spans(
                "service P sampler=always_off client=off server=off;
                serve s P h=T/a; call c P @x; serve t Q @x; end t; end c; end s"
            ),
            "s T:a remote off; c T:a remote off; t T:a remote"
        );
    }
}

mod clocks {
    use super::*;

    #[test]
    fn a_step_in_mid_trace_bends_nothing() {
        assert_eq!(
            spans("clock 5; serve s P; clock 9; call c P @x; serve t Q @x; end t; end c; end s"),
            "s #s:- +5s; c #s:s +5s; t #s:c remote +5s",
        );
        assert_eq!(
            spans("clock 5; serve s P h=T/a; clock 9; serve t Q h=T/b; end t; end s; wait 200"),
            "s T:a remote +5s; t T:b remote +5s",
        );
    }

    #[test]
    fn a_trace_that_begins_later_has_the_new_one() {
        assert_eq!(
            spans("clock 5; serve s P; clock 9; serve t Q; end t; end s; wait 200"),
            "s #s:- +5s; t #t:- +9s"
        );
        assert_eq!(
            spans("clock 5; serve s P h=T/a; end s; wait 20000; clock 9; serve t P h=T/b; end t"),
            "s T:a remote +5s; t T:b remote +9s",
        );
    }
}

mod order {
    use super::*;

    fn order(script: &str) -> String {
        run(script).order.join(" ")
    }

    #[test]
    fn spans_are_handed_on_as_they_end() {
        assert_eq!(
            order("call a P @x; serve s Q @x; call c Q; end c; end s; end a"),
            "c s a"
        );
    }

    #[test]
    fn what_waits_below_follows_at_once() {
        assert_eq!(
            order("serve s Q @x; call d Q; call e Q; end e; end d; call c P @x; end s; end c"),
            "d e s c"
        );
    }
}
