//! Each client asks the same, and must be told of exactly as it tells itself, with the server's
//! spans below its own.

use std::fs;

use kaos_tests::agent::Agent;
use kaos_tests::process::Process;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::{render, told};
use kaos_tests::workloads::{Need, Server, Workloads, lacks};
use tempfile::NamedTempFile;

/// A watched server and an agent that watches all our children, those that start later too.
struct Scene {
    receiver: Receiver,
}

impl Scene {
    fn server_and_agent(&self) -> (Server, Agent) {
        let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
        (
            Workloads::of(&self.receiver).python_server("server", "h11"),
            agent,
        )
    }

    /// What was told in the end; `count` spans are waited for.
    fn end(&self, agent: Agent, count: usize) -> Vec<kaos_tests::received::Span> {
        self.receiver
            .wait_for("all spans", |spans| spans.len() >= count);
        agent.stop();
        self.receiver.received().spans
    }
}

/// Lets the client get several paths. What is told must be what it says.
fn is_told(need: Need, get: impl Fn(&Workloads<'_>, &[String]) -> Process) {
    if lacks(&[need, Need::Python]) {
        return;
    }
    let scene = Scene {
        receiver: Receiver::start(),
    };
    let (server, agent) = scene.server_and_agent();

    let paths = ["/echo/1", "/status/404/2", "/stream/3"];
    let urls = paths.map(|path| server.url(path));
    let seen = get(&Workloads::of(&scene.receiver), &urls).succeed();
    let spans = scene.end(agent, 2 * seen.len());

    assert_eq!(told(&spans, "client", "CLIENT"), seen);
    assert_eq!(told(&spans, "server", "SERVER"), seen);
    assert_eq!(
        render(&spans),
        "client CLIENT GET /echo/1 200\n  \
           server SERVER GET /echo/1 200\n\
         client CLIENT GET /status/404/2 404 error=404\n  \
           server SERVER GET /status/404/2 404\n\
         client CLIENT GET /stream/3 200\n  \
           server SERVER GET /stream/3 200\n"
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn httpx() {
    is_told(Need::Python, |workloads, urls| {
        workloads.python_client("client", "httpx", urls)
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn aiohttp() {
    is_told(Need::Python, |workloads, urls| {
        workloads.python_client("client", "aiohttp", urls)
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn node() {
    is_told(Need::Program("node"), |workloads, urls| {
        workloads.node_client("client", urls)
    });
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn go() {
    is_told(Need::Go, |workloads, urls| {
        workloads.go_client("client", urls)
    });
}

/// Runs curl with arguments for one path, and expects this tree.
fn curl_is_told(arguments: &[&str], path: &str, tree: &str) {
    if lacks(&[Need::Program("curl"), Need::Python]) {
        return;
    }
    let scene = Scene {
        receiver: Receiver::start(),
    };
    let (server, agent) = scene.server_and_agent();
    let seen = Workloads::of(&scene.receiver).curl("client", arguments, &[server.url(path)]);
    let spans = scene.end(agent, 2);
    assert_eq!(told(&spans, "client", "CLIENT"), seen);
    assert_eq!(told(&spans, "server", "SERVER"), seen);
    assert_eq!(render(&spans), tree);
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn curl_that_expects_100_continue() {
    let body = NamedTempFile::new().expect("a temporary file");
    fs::write(body.path(), vec![b'x'; 100_000]).expect("it is writable");
    let data = format!("@{}", body.path().display());
    curl_is_told(
        &["--header", "expect: 100-continue", "--data-binary", &data],
        "/echo/1",
        "client CLIENT POST /echo/1 200\n  server SERVER POST /echo/1 200\n",
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn curl_with_http_1_0() {
    curl_is_told(
        &["--http1.0"],
        "/stream/1",
        "client CLIENT GET /stream/1 200\n  server SERVER GET /stream/1 200\n",
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn curl_that_asks_for_the_head() {
    curl_is_told(
        &["--head"],
        "/echo/1",
        "client CLIENT HEAD /echo/1 200\n  server SERVER HEAD /echo/1 200\n",
    );
}

/// A body that is larger than what is captured of it, both ways.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn curl_with_a_large_body() {
    let body = NamedTempFile::new().expect("a temporary file");
    fs::write(body.path(), vec![b'x'; 5_000_000]).expect("it is writable");
    let data = format!("@{}", body.path().display());
    curl_is_told(
        &["--data-binary", &data],
        "/echo/1",
        "client CLIENT POST /echo/1 200\n  server SERVER POST /echo/1 200\n",
    );
}

/// Nobody listens: there is no request to tell of, but a call that failed.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_refused_connection() {
    if lacks(&[Need::Program("curl")]) {
        return;
    }
    let receiver = Receiver::start();
    let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
    let mut command = Workloads::of(&receiver).command("client", "curl");
    let url = format!("http://127.0.0.1:{}/", kaos_tests::process::free_port());
    let (status, _) = Process::spawn("curl", command.args(["--silent", &url])).finish();
    assert_eq!(status.code(), Some(7), "curl could not connect");
    receiver.wait_for("the failed call", |spans| !spans.is_empty());
    agent.stop();
    assert_eq!(
        render(&receiver.received().spans),
        "client CLIENT connect error=connection_refused\n"
    );
}
