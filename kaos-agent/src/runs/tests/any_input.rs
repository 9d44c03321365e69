//! Whatever happens.

use proptest::prelude::*;

use crate::runs::Limits;
use crate::runs::cause::OneInFlight;
use crate::runs::testing::script::{run, run_with};

/// A script of `count` exchanges at most: starts and ends in any order, few names of
/// connections, spans and processes, so that they meet.
fn script(count: usize) -> impl Strategy<Value = String> {
    let exchange = ("serve|call", "[PQ]", "( @[xyz])?", "( h=[TU]/[ab])?");
    let exchanges = prop::collection::vec(exchange, count);
    let ends = Just((0..count * 2).collect::<Vec<_>>()).prop_shuffle();
    (exchanges, ends).prop_map(move |(exchanges, order)| {
        let mut began = vec![false; count];
        let mut statements = Vec::new();
        for turn in order {
            let number = turn % count;
            let (kind, process, connection, header) = &exchanges[number];
            statements.push(if began[number] {
                format!("end e{number}")
            } else {
                format!("{kind} e{number} {process}{connection}{header}")
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
}
