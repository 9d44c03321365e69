//! Collectors that misbehave.

use std::time::Duration;

use kaos_tests::agent::Agent;
use kaos_tests::connection::Connection;
use kaos_tests::receiver::{Behaviour, Receiver};
use kaos_tests::tree::told;
use kaos_tests::workloads::{Need, Server, Workloads, lacks};

/// Makes requests and returns what the client knows of them.
fn ask(server: &Server, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut connection = Connection::open(server);
    numbers
        .map(|number| connection.exchange("POST", &format!("/echo/{number}"), "hello"))
        .collect()
}

/// Waits until all of these were told, each once.
fn all_are_told(receiver: &Receiver, server: &str, seen: &[String]) {
    receiver.wait_for("all spans", |spans| spans.len() >= seen.len());
    assert_eq!(told(&receiver.received().spans, server, "SERVER"), seen);
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_collector_that_is_down_and_comes_back() {
    if lacks(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let other_receiver = Receiver::start();
    let other = Workloads::of(&other_receiver).python_server("other", "h11");
    let agent = Agent::watch(&[&server.process, &other.process], &[]);

    receiver.go_down();
    let mut seen = ask(&server, 0..20);
    // Another service's spans do not wait for the dead collector.
    all_are_told(&other_receiver, "other", &ask(&other, 0..3));
    receiver.come_back();
    seen.extend(ask(&server, 20..25));
    all_are_told(&receiver, "server", &seen);
    agent.stop();
    assert_eq!(
        receiver.received().spans.len(),
        seen.len(),
        "none is told twice"
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_collector_that_is_busy() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let agent = Agent::watch(&[&server.process], &[]);
    receiver.behave(Behaviour::Refuse(503));
    let seen = ask(&server, 0..20);
    receiver.wait_for_received("a refusal", |received| received.refused > 0);
    receiver.behave(Behaviour::Accept);
    all_are_told(&receiver, "server", &seen);
    agent.stop();
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_collector_that_is_slow() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let agent = Agent::watch(&[&server.process], &[]);
    receiver.behave(Behaviour::Slow(Duration::from_secs(1)));
    let seen = ask(&server, 0..100);
    all_are_told(&receiver, "server", &seen);
    agent.stop();
}
