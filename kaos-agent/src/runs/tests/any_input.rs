//! Whatever happens.

use proptest::prelude::*;

use crate::runs::Limits;
use crate::runs::cause::OneInFlight;
use crate::runs::testing::script::{run, run_with};

/// A script of `count` exchanges at most: starts and ends in any order, few names of
/// connections, spans and processes, so that they meet.
fn script(count: usize) -> impl Strategy<Value = String> {
    script_of(
        (
            "serve|call",
            "[PQ]",
            "( @[xyz])?",
            "( h=[TU]/[ab])?",
            "",
            "",
        ),
        count,
    )
}

/// The same with an agent and a process that may be one, which do what agents do.
fn agent_script(count: usize) -> impl Strategy<Value = String> {
    let operation = "( op=(chat|chat,messages=2|chat,role=task-delegation|send|card|\
        mcp,initialize|mcp,tools/list,session=S|mcp,stream,session=S|mcp,delete,session=S|\
        mcp,tools/call,tool=add|mcp,tools/call,tool=add,session=S))?";
    let end = "( status=500| is=exit| is=gone| asks=add#1| session=S| notice=failed)?";
    let exchange = (
        "serve|call",
        "[PQ]",
        "( @[xyz])?",
        "( h=[TU]/[ab])?",
        operation,
        end,
    );
    script_of(exchange, count).prop_map(|script| format!("service P agent=boss; {script}"))
}

fn script_of(
    exchange: (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    ),
    count: usize,
) -> impl Strategy<Value = String> {
    let exchanges = prop::collection::vec(exchange, count);
    let ends = Just((0..count * 2).collect::<Vec<_>>()).prop_shuffle();
    (exchanges, ends).prop_map(move |(exchanges, order)| {
        let mut began = vec![false; count];
        let mut statements = Vec::new();
        for turn in order {
            let number = turn % count;
            let (kind, process, connection, header, operation, end) = &exchanges[number];
            statements.push(if began[number] {
                format!("end e{number}{end}")
            } else {
                format!("{kind} e{number} {process}{connection}{header}{operation}")
            });
            began[number] = true;
        }
        statements.join("; ")
    })
}

proptest! {
    #[test]
    fn each_exchange_is_told_once(script in script(12)) {
        let outcome = run(&script);
        let mut order = outcome.order;
        order.sort();
        order.dedup();
        prop_assert_eq!(order.len() as u64 + outcome.counters.left_to_sdk, 12);
    }

    #[test]
    fn the_same_input_gives_the_same_output(script in script(12)) {
        let (first, second) = (run(&script), run(&script));
        prop_assert_eq!(first.lines, second.lines);
        prop_assert_eq!(first.order, second.order);
    }

    #[test]
    fn what_is_not_evicted_is_told(script in script(12), exchanges in 1..6usize, waiting in 0..3usize) {
        let limits = Limits { exchanges, waiting };
        let outcome = run_with(&script, limits, OneInFlight::default());
        let told = outcome.order.len() as u64;
        let not_told = outcome.counters.exchanges_evicted + outcome.counters.left_to_sdk;
        prop_assert!(told <= 12 && told + not_told >= 12);
    }

    #[test]
    fn every_parent_is_in_the_same_trace(script in script(12)) {
        let lines = run(&script).lines;
        let place = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        for line in &lines {
            let place_of_line = place(line).expect("a place");
            let (trace, parent) = place_of_line.split_once(':').expect("a parent");
            let above = lines.iter().find(|line| line.starts_with(&format!("{parent} ")));
            if let Some(above) = above.and_then(|above| place(above)) {
                prop_assert_eq!(above.split(':').next(), Some(trace));
            }
        }
    }

    #[test]
    fn agents_are_told_whole(script in agent_script(16)) {
        let outcome = run(&script);
        let exchanges = outcome.order.iter().filter(|name| name.starts_with('e'));
        let told = exchanges.count() as u64;
        prop_assert_eq!(told + outcome.counters.left_to_sdk, 16);
        for line in &outcome.lines {
            // What is above a span is told too: made spans have their names only then.
            prop_assert!(!line.contains(":+"), "{}", line);
        }
        prop_assert_eq!(outcome.kept, 0);
    }

    #[test]
    fn agents_are_told_alike(script in agent_script(16)) {
        let (first, second) = (run(&script), run(&script));
        prop_assert_eq!(first.lines, second.lines);
        prop_assert_eq!(first.order, second.order);
    }

    #[test]
    fn agents_are_survived_in_little_memory(
        script in agent_script(16), exchanges in 1..6usize, waiting in 0..3usize
    ) {
        let limits = Limits { exchanges, waiting };
        prop_assert_eq!(run_with(&script, limits, OneInFlight::default()).kept, 0);
    }
}
