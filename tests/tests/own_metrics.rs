//! What a running agent says of itself.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use kaos_tests::agent::Agent;
use kaos_tests::connection::Connection;
use kaos_tests::process::free_port;
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Need, Workloads, lacks};

/// The values of `/metrics` by their names.
fn metrics(address: &str) -> BTreeMap<String, f64> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text.lines()
        .filter_map(|line| line.strip_prefix("kaos_agent_")?.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

/// How full everything is: tables of the kernel with their limits, probes, and spans that wait.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn levels_of_tables_probes_and_queues() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("server", "h11");
    let address = format!("127.0.0.1:{}", free_port());
    let options = ["--listen", &address, "--max-connections", "1000"];
    let agent = Agent::watch(&[&server.process], &options);
    let mut connection = Connection::open(&server);
    let is_known = |metrics: &BTreeMap<String, f64>| metrics["kernel_connections"] >= 1.0;
    // Counted now and then: until it was, more is told.
    let found = (0..)
        .map(|number| {
            connection.exchange("GET", &format!("/echo/{number}"), "");
            std::thread::sleep(std::time::Duration::from_millis(200));
            metrics(&address)
        })
        .take(300)
        .find(is_known)
        .expect("a connection is counted");
    // The agent itself, which is never captured, and the server.
    assert!(found["kernel_processes"] >= 2.0, "{found:?}");
    assert!(found["kernel_connections"] < found["kernel_connections_limit"]);
    assert_eq!(found["kernel_connections_limit"], 1000.0);
    assert_eq!(found["kernel_tls_connections"], 0.0);
    assert!(found["kernel_programs_at_work"] >= 10.0, "{found:?}");
    // The interpreter's, or a library's.
    assert!(found["uprobes_files_probed"] >= 1.0, "{found:?}");
    let told = found["export_spans_accepted_total"];
    assert!(found["export_spans_waiting"] <= told, "{found:?}");
    agent.stop();
}
