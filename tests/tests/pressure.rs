//! What the agent gives up when memory is short, and settings that are read again.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use kaos_tests::agent::Agent;
use kaos_tests::connection::Connection;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::told;
use kaos_tests::workloads::{Need, Workloads, lacks};

/// A limit that any process exceeds: a new connection is not followed. Then the limit is taken away in
/// the file, and the next one is.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn new_connections_wait_for_memory() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let set_limit = |limit: &str| {
        let text = format!("# of the test\n--memory-limit {limit}\n");
        fs::write(file.path(), text).expect("it is written");
    };
    set_limit("1");
    let path = file.path().display().to_string();
    let agent = Agent::watch(&[&server.process], &["--config", &path]);
    agent.wait_for_log("new connections are not followed");
    Connection::open(&server).exchange("GET", "/echo/refused", "");

    set_limit("0");
    agent.wait_for_log("the configuration was read again: its file has changed");
    agent.wait_for_log("nothing is given up any more");
    agent.signal(libc::SIGHUP);
    agent.wait_for_log("the configuration was read again: SIGHUP asked for it");
    let seen = Connection::open(&server).exchange("GET", "/echo/followed", "");
    receiver.wait_for("the second request", |spans| !spans.is_empty());
    let stats = agent.stop();

    assert_eq!(told(&receiver.received().spans, "server", "SERVER"), [seen]);
    // Once more for each batch of records that was on its way when it was muted.
    assert!(stats["streams.refused"] >= 1 && stats["memory.short"] >= 1);
}

/// A limit that is far exceeded: what waits is given up, too, both the beginning of a request whose
/// rest does not come and a span that no collector takes, and is counted.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn what_waits_is_given_up() {
    if lacks(&[Need::Python]) {
        return;
    }
    let mut receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    fs::write(&path, "--memory-limit 0\n").expect("it is written");
    let agent = Agent::watch(&[&server.process], &["--config", &path]);
    receiver.go_down();
    Connection::open(&server).exchange("GET", "/echo/waits", "");
    let mut beginning = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    write!(beginning, "GET /echo/beginning HTTP/1.1\r\nx-long: ").expect("it reads");

    fs::write(&path, "--memory-limit 1\n").expect("it is written");
    agent.wait_for_log("messages and spans that wait are given up");
    let stats = agent.stop();
    assert_eq!(stats["protocols.buffers_exhausted"], 1);
    assert_eq!(stats["export.spans_dropped_memory"], 1);
    assert_eq!(stats["export.spans_exported"], 0);
}
