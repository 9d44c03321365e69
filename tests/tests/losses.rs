//! What can go missing: what was before the agent came, what did not fit into the ring, what a
//! killed process was about.

use kaos_tests::agent::Agent;
use kaos_tests::connection::Connection;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::{render, told};
use kaos_tests::workloads::{Need, Workloads, lacks};

/// The agent comes when a connection is open and a request is being served: nothing is told of
/// what it did not see whole, and everything of what comes after.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn late_attach_to_an_open_connection() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let mut idle = Connection::open(&server);
    idle.exchange("GET", "/echo/before-1", "");
    let mut busy = Connection::open(&server);
    busy.send("GET", "/wait/before-2", "");
    server
        .process
        .wait_for_line("that it waits", |line| line == "waiting before-2");

    let agent = Agent::watch(&[&server.process], &[]);
    let first = idle.exchange("POST", "/echo/after-1", "hello");
    let release = idle.exchange("GET", "/release/before-2", "");
    assert_eq!(busy.receive(), "200 8");
    let second = busy.exchange("POST", "/echo/after-2", "hello again");
    receiver.wait_for("three spans", |spans| spans.len() >= 3);
    agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(told(&spans, "server", "SERVER"), [first, release, second]);
}

/// A ring that is far too small for what happens while nobody reads it: what is lost is counted,
/// what is told is true all the same, and later requests on the same connection are told again.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_ring_that_is_too_small() {
    const REQUESTS: usize = 200;
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "httptools");
    let mut connection = Connection::open(&server);
    let agent = Agent::watch(&[&server.process], &["--ring-bytes", "8192"]);

    // Each answer has a length of its own, so a response that is given to the wrong request shows.
    let mut ask = |number: usize| {
        connection.exchange("POST", &format!("/echo/{number}"), &"x".repeat(number))
    };
    let first = ask(1);
    receiver.wait_for("the first", |spans| {
        told(spans, "server", "SERVER").contains(&first)
    });
    agent.signal(libc::SIGSTOP);
    let flood: Vec<String> = (2..REQUESTS).map(&mut ask).collect();
    agent.signal(libc::SIGCONT);
    // A later span shows that the ring was read, and so has room again.
    receiver.wait_for("one of the flood", |spans| spans.len() > 1);
    // Shows where messages begin again; nobody can know whether its response answers it or one of
    // those that were lost.
    let after = ask(REQUESTS);
    let last = ask(REQUESTS + 1);
    receiver.wait_for("the last", |spans| {
        told(spans, "server", "SERVER").contains(&last)
    });
    let stats = agent.stop();

    let mut spans = receiver.received().spans;
    // A request whose response was lost is told without one.
    spans.retain(|span| !span.attribute("http.response.status_code").is_empty());
    let whole = told(&spans, "server", "SERVER");
    let seen: Vec<String> = [vec![first], flood, vec![after, last]].concat();
    for line in &whole {
        assert!(seen.contains(line), "told, but it was not so: {line}");
    }
    let lost = stats["kernel.lost.ring_full"];
    let missing = (seen.len() - whole.len()) as u64;
    assert!(missing > 0, "nothing is missing, the test shows nothing");
    assert!(
        lost >= missing,
        "{missing} requests are missing, but {lost} records were lost"
    );
}

/// A process that is killed in mid-request.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_server_that_is_killed() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let mut server = Workloads::of(&receiver).python_server("server", "h11");
    let agent = Agent::watch(&[&server.process], &[]);
    let mut connection = Connection::open(&server);
    let before = connection.exchange("GET", "/echo/1", "");
    connection.send("GET", "/wait/2", "");
    server
        .process
        .wait_for_line("that it waits", |line| line == "waiting 2");
    server.process.kill();
    connection.wait_for_close();

    receiver.wait_for("both spans", |spans| spans.len() >= 2);
    agent.stop();
    assert_eq!(before, "GET /echo/1 200 0");
    assert_eq!(
        render(&receiver.received().spans),
        "server SERVER GET /echo/1 200\nserver SERVER GET /wait/2 error=process_exit\n"
    );
}
