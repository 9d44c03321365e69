//! Processes with an SDK inside: what is left to it, and where the rest hangs.

use crate::runs::testing::script::{run, spans};

/// What `P` serves while this happens, and the spans of it.
fn in_request(statements: &str) -> String {
    spans(&format!("serve s P h=T/a; {statements}; end s"))
}

#[test]
fn what_its_headers_show_is_left_to_it() {
    let outcome = run("serve s P h=T/a; call c P h=T/sdk; end c; end s");
    assert!(outcome.lines.is_empty(), "{:?}", outcome.lines);
    assert_eq!(outcome.counters.left_to_sdk, 2);
    assert_eq!(spans("call c P h=T/sdk; end c"), "");
}

#[test]
fn what_its_headers_do_not_show_is_told() {
    // Under the nearest span that exists for certain: the SDK's own for `s` names no header.
    assert_eq!(
        in_request("call c P h=T/sdk; end c; call d P @x; serve t Q @x; end t; end d"),
        "d T:a remote; t T:d remote"
    );
    assert_eq!(
        spans("exports P; serve s P; call c P; end c; end s"),
        "c #s:-"
    );
}

#[test]
fn an_export_shows_that_there_is_one() {
    for export in ["exports P", "call e P as=otlp; end e"] {
        assert_eq!(
            spans(&format!(
                "{export}; serve s P h=T/a; call c P; end c; end s"
            )),
            "c T:a remote"
        );
    }
    let other = "call e Q as=otlp; end e; serve s P h=T/a; end s";
    assert_eq!(spans(other), "s T:a remote");
}

#[test]
fn what_is_served_is_left_to_it_even_if_that_is_known_late() {
    assert_eq!(in_request("exports P; call c P; end c"), "c T:a remote");
    // A parent is never taken away.
    assert_eq!(
        in_request("wait 200; call c P; end c; exports P; call d P; end d"),
        "s T:a remote; c T:s; d T:s"
    );
}

#[test]
fn calls_in_traces_of_their_own_show_that_it_makes_no_server_spans() {
    let first = "serve r P h=U/b; call q P h=V/sdk; end q; end r";
    assert_eq!(
        spans(&format!("{first}; serve s P h=T/a; call c P; end c; end s")),
        "r U:b remote; s T:a remote; c T:s"
    );
    // Two calls of one request in two traces show it too, and in one trace the opposite.
    for (second, told) in [("W/x", "s T:a remote"), ("V/x", "")] {
        let first = format!("serve r P; call p P h=V/p; end p; call q P h={second}; end q; end r");
        assert_eq!(spans(&format!("{first}; serve s P h=T/a; end s")), told);
    }
}

#[test]
fn several_calls_of_one_span_are_told_but_the_first() {
    assert_eq!(
        in_request(
            "call c P h=T/sdk; end c; call d P @x h=T/sdk; serve t Q @x h=T/sdk; end t; end d"
        ),
        "d T:sdk; t T:sdk remote"
    );
}

#[test]
fn a_header_that_is_forwarded_late_shows_nothing() {
    let late = "serve s P h=T/a; end s; call c P h=T/a; end c; serve t P h=U/b; end t";
    assert_eq!(spans(late), "s T:a remote; c T:a; t U:b remote");
}

#[test]
fn failed_connects_are_left_to_one_that_makes_spans_for_calls() {
    assert_eq!(in_request("exports P; fail c P"), "c T:a remote");
    assert_eq!(in_request("call d P h=T/sdk; end d; fail c P"), "");
}

#[test]
fn settings_override() {
    let script =
        |mode| format!("exports P; service P sdk={mode}; serve s P h=T/a; call c P; end c; end s");
    assert_eq!(spans(&script("always")), "s T:a remote; c T:s");
    assert_eq!(spans(&script("never")), "");
    // Where there is none, nothing is left to it.
    assert_eq!(spans("service P sdk=never; serve s P; end s"), "s #s:-");
}

#[test]
fn a_process_that_is_gone_is_forgotten() {
    assert_eq!(spans("exports P; exit P; serve s P; end s"), "s #s:-");
}

#[test]
fn spans_that_it_exports_to_nobody_are_nobodys_parents() {
    let told = |statements: &str| {
        spans(&format!(
            "service P sdk=unexported; serve s P h=T/a; {statements}; end s"
        ))
    };
    // Nor on the other side, where that is on this node.
    assert_eq!(
        told("call c P @x h=T/sdk; serve t Q @x h=T/sdk; end t; end c"),
        "s T:a remote; c T:s; t T:c remote"
    );
    assert_eq!(
        told("call e P as=otlp; end e; call c P; end c"),
        "s T:a remote; c T:s"
    );
}

mod what_a_process_was_started_with {
    use super::*;

    /// What is told of `P`, which was started with automatic instrumentation, and its counters.
    fn started(script: &str) -> (String, u64) {
        let outcome = run(&format!("service P sdk=instrumented; {script}"));
        (outcome.lines.join("; "), outcome.counters.sdks_not_shown)
    }

    /// A request, and after so many milliseconds another that makes a call.
    fn after(ms: u64, first: &str) -> String {
        format!("serve r P {first}; end r; wait {ms}; serve s P h=T/a; call c P; end c; end s")
    }

    #[test]
    fn leaves_what_it_serves_to_the_sdk_from_the_first_request_on() {
        assert_eq!(
            started("serve s P h=T/a; call c P; end c; end s"),
            ("c T:a remote".to_owned(), 0)
        );
        let own = "call c P h=U/sdk; end c; serve s P h=T/a; end s";
        assert_eq!(started(own), (String::new(), 0));
        let overridden = "service P sdk=always; serve s P h=T/a; end s";
        assert_eq!(started(overridden), ("s T:a remote".to_owned(), 0));
        // Its calls may show that it makes no spans for what it serves, as ever.
        let absent = "serve r P h=U/b; call q P h=V/sdk; end q; end r; serve s P h=T/a; end s";
        assert_eq!(started(absent), ("s T:a remote".to_owned(), 0));
    }

    #[test]
    fn counts_no_longer_where_no_span_is_exported() {
        let all = ("s T:a remote; c T:s".to_owned(), 1);
        let rest = ("c T:a remote".to_owned(), 0);
        assert_eq!(started(&after(14_000, "h=U/b")), rest);
        assert_eq!(started(&after(16_000, "h=U/b")), all);
        assert_eq!(started(&after(16_000, "")), all);
        // It counts again for good when one is.
        let again = format!("{}; exports P; serve t P h=V/c; end t", after(16_000, ""));
        assert_eq!(started(&again), all);
        let twice = format!("{}; {}", after(16_000, ""), "serve t P h=V/c; end t");
        assert_eq!(started(&twice).1, 1);
    }

    #[test]
    fn counts_as_long_as_none_is_expected_or_would_be_seen() {
        let rest = ("c T:a remote".to_owned(), 0);
        let shown = format!("exports P; {}", after(60_000, ""));
        assert_eq!(started(&shown), rest);
        let shown = "call p P h=W/sdk; end p";
        assert_eq!(started(&format!("{shown}; {}", after(60_000, ""))), rest);
        assert_eq!(started(&after(60_000, "h=U/b/00")), rest);
        let seldom = format!("service P sampler=always_off; {}", after(60_000, ""));
        assert_eq!(started(&seldom).1, 0);
        let excluded = format!(
            "service P excluded=/health; {}",
            after(60_000, "url=/health")
        );
        assert_eq!(started(&excluded), rest);
        let encrypted = format!("service P tls=on; {}", after(60_000, ""));
        assert_eq!(started(&encrypted), rest);
    }
}
