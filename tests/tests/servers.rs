//! Each server is asked the same and must be told of exactly so.

use kaos_tests::agent::Agent;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::{render, told};
use kaos_tests::workloads::{Need, Server, Workloads, lacks};

/// Asks the server for several paths on one kept connection. What is told must be what curl saw.
fn is_told(need: Need, start: impl Fn(&Workloads<'_>) -> Server) {
    if lacks(&[need, Need::Program("curl")]) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let server = start(&workloads);
    let agent = Agent::watch(&[&server.process], &[]);

    let paths = ["/echo/1", "/status/404/2", "/status/500/3", "/stream/4"];
    let urls = paths.map(|path| server.url(path));
    let seen = workloads.curl("not watched", &[], &urls);
    receiver.wait_for("a span for each request", |spans| spans.len() >= seen.len());
    agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(told(&spans, "server", "SERVER"), seen);
    assert_eq!(
        render(&spans),
        "server SERVER GET /echo/1 200\n\
         server SERVER GET /status/404/2 404\n\
         server SERVER GET /status/500/3 500 error=500\n\
         server SERVER GET /stream/4 200\n"
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn uvicorn_with_h11() {
    is_told(Need::Python, |workloads| {
        workloads.python_server("server", "h11")
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn uvicorn_with_uvloop_and_httptools() {
    is_told(Need::Python, |workloads| {
        workloads.python_server("server", "httptools")
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn aiohttp() {
    is_told(Need::Python, |workloads| {
        workloads.python_server("server", "aiohttp")
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn node() {
    is_told(Need::Program("node"), |workloads| {
        workloads.node_server("server")
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn go() {
    is_told(Need::Go, |workloads| workloads.go_server("server"));
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn nginx() {
    kaos_tests::nginx::is_told(None);
}
