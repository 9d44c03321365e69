//! The same over TLS and in plain text: what is told must be the same.

use std::collections::BTreeMap;

use kaos_tests::agent::{Agent, Stats};
use kaos_tests::process::Process;
use kaos_tests::received::Span;
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::{render, told};
use kaos_tests::workloads::{
    Certificate, Need, Server, Workloads, lacks, openssl_1_1_root, python, root_of_built_pythons,
};
use serde_json::json;

/// What one run told.
struct Told {
    spans: Vec<Span>,
    stats: Stats,
}

/// Lets a client get several paths from a server, while all our children are watched.
fn run(
    workloads: Workloads<'_>,
    receiver: &Receiver,
    library: &str,
    start: &impl Fn(&Workloads<'_>) -> Server,
    get: &impl Fn(&Workloads<'_>, &Agent, &[String]) -> Vec<String>,
) -> Told {
    // Processes that start while the agent runs: their libraries are found as they are mapped.
    let agent = Agent::start_verbose(&["--pid", &std::process::id().to_string()]);
    let server = start(&workloads);
    agent.wait_until_probed(library);
    let paths = ["/echo/1", "/status/404/2", "/stream/3"];
    let urls = paths.map(|path| server.url(path));
    let seen = get(&workloads, &agent, &urls);
    receiver.wait_for("all spans", |spans| spans.len() >= 2 * seen.len());
    let stats = agent.stop();
    let spans = receiver.received().spans;
    assert_eq!(told(&spans, "client", "CLIENT"), seen);
    assert_eq!(told(&spans, "server", "SERVER"), seen);
    Told { spans, stats }
}

/// Attributes of each span, but for what must differ: ports, times and the scheme.
fn comparable(spans: &[Span]) -> Vec<(String, BTreeMap<String, String>)> {
    let mut all: Vec<_> = spans
        .iter()
        .map(|span| {
            let attributes = span.attributes.iter().filter_map(|(name, value)| {
                let differs = [".port", "url.scheme", ".time_to_first_chunk"];
                if differs.iter().any(|end| name.ends_with(end)) {
                    return None;
                }
                let value = value.split("://127.0.0.1:").last().unwrap_or(value);
                let value = value.split_once('/').map_or(value, |(_, path)| path);
                Some((name.clone(), value.to_owned()))
            });
            let name = format!("{} {} {}", span.service, span.kind, span.name);
            (name, attributes.collect())
        })
        .collect();
    all.sort();
    all
}

/// Runs both, in plain text and over TLS. The server has its TLS library in a file of this name.
fn are_told_alike(
    needs: &[Need],
    library: &str,
    start: impl Fn(&Workloads<'_>) -> Server,
    get: impl Fn(&Workloads<'_>, &Agent, &[String]) -> Vec<String>,
) {
    if lacks(needs) {
        return;
    }
    let receiver = Receiver::start();
    let plain = run(Workloads::of(&receiver), &receiver, library, &start, &get);
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let encrypted = run(workloads, &receiver, library, &start, &get);

    assert_eq!(render(&encrypted.spans), render(&plain.spans));
    assert_eq!(comparable(&encrypted.spans), comparable(&plain.spans));
    let schemes: Vec<&str> = encrypted
        .spans
        .iter()
        .map(|span| span.attribute("url.scheme"))
        .collect();
    assert_eq!(schemes, vec!["https"; schemes.len()]);
    assert!(encrypted.stats["kernel.tls_operations"] >= 12);
    assert_eq!(plain.stats["kernel.tls_operations"], 0);
    assert_eq!(encrypted.stats["kernel.lost.tls_calls"], 0);
}

fn python_client(
    library: &'static str,
) -> impl Fn(&Workloads<'_>, &Agent, &[String]) -> Vec<String> {
    move |workloads, _, urls| workloads.python_client("client", library, urls).succeed()
}

fn python_server(kind: &'static str) -> impl Fn(&Workloads<'_>) -> Server {
    move |workloads| workloads.python_server("server", kind)
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn httpx_and_uvicorn() {
    are_told_alike(
        &[Need::Python],
        "libssl",
        python_server("h11"),
        python_client("httpx"),
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn requests_and_uvicorn_on_uvloop() {
    are_told_alike(
        &[Need::Python],
        "libssl",
        python_server("httptools"),
        python_client("requests"),
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn aiohttp_and_aiohttp() {
    are_told_alike(
        &[Need::Python],
        "libssl",
        python_server("aiohttp"),
        python_client("aiohttp"),
    );
}

/// Node has OpenSSL inside of its executable.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn node_and_node() {
    are_told_alike(
        &[Need::Program("node")],
        "/node",
        |workloads| workloads.node_server("server"),
        |workloads, _, urls| workloads.node_client("client", urls).succeed(),
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn curl_and_node() {
    are_told_alike(
        &[Need::Program("node"), Need::Program("curl")],
        "/node",
        |workloads| workloads.node_server("server"),
        |workloads, agent, urls| {
            workloads.curl_after("client", urls, || agent.wait_until_probed("libssl"))
        },
    );
}

/// A client on the TLS library that a package brings, in a file with this in its path.
fn bundled_is_told(package: &str, library: &str) {
    are_told_alike(
        &[Need::Python],
        "libssl",
        python_server("h11"),
        |workloads, agent, urls| {
            workloads.bundled_client("client", package, urls, || agent.wait_until_probed(library))
        },
    );
}

/// A wheel that brings a libssl under a name of its own.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_library_that_a_package_brings() {
    bundled_is_told("psycopg", "psycopg_binary.libs/libssl");
}

/// A wheel with OpenSSL inside of its module, which exports none of it but has kept the names.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_library_inside_of_a_module() {
    bundled_is_told("cryptography", "cryptography/hazmat/bindings/_rust");
}

/// A wheel with BoringSSL inside of its module, which exports none of it but has kept the names.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn boringssl_inside_of_a_module() {
    bundled_is_told("curl_cffi", "curl_cffi/_wrapper");
}

/// The same by a client in another root file system, with a library of this path there.
fn are_told_of_a_root(
    library: &str,
    get: impl Fn(&Workloads<'_>, &[String], &dyn Fn()) -> Vec<String>,
) {
    are_told_alike(
        &[Need::Python, Need::Program("unshare")],
        "libssl",
        python_server("h11"),
        |workloads, agent, urls| get(workloads, urls, &|| agent.wait_until_probed(library)),
    );
}

/// Debian 11's curl and Python 3.9, in a root file system of their own.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn openssl_1_1() {
    if lacks(&[Need::OpenSsl11]) {
        return;
    }
    let root = openssl_1_1_root().expect("it is there");
    are_told_of_a_root("libssl.so.1.1", |workloads, urls, wait| {
        workloads.curl_in(&root, "client", urls, wait)
    });
    are_told_of_a_root("libssl.so.1.1", |workloads, urls, wait| {
        workloads.bundled_client_in(&root, "python3", "client", urls, wait)
    });
}

/// OpenSSL for musl, as Alpine has it, in a Python for musl.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn openssl_on_musl() {
    if lacks(&[Need::BuiltPythons]) {
        return;
    }
    let root = root_of_built_pythons().expect("it is there");
    let python = "/opt/python-3.13-musl/bin/python3";
    are_told_of_a_root("/opt/musl/lib/libssl", |workloads, urls, wait| {
        workloads.bundled_client_in(&root, python, "client", urls, wait)
    });
}

/// Opens so many connections to a port, and then asks on each, as pools do that are filled before.
const OPENED_BEFORE: &str = "
import socket, ssl, sys
context = ssl._create_unverified_context()
port, count = int(sys.argv[1]), int(sys.argv[2])
opened = [context.wrap_socket(socket.create_connection(('127.0.0.1', port))) for _ in range(count)]
for number, connection in enumerate(opened):
    request = f'GET /echo/opened-{number} HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n'
    connection.sendall(request.encode())
    while connection.recv(1000):
        pass
";

/// Which socket carries a connection is known of each that asks when no other does: what was received
/// before, and by whom, is over.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sockets_of_connections_that_come_one_after_the_other_are_known() {
    const CONNECTIONS: usize = 64;
    const OPENED: usize = 16;
    if lacks(&[Need::Python, Need::Program("curl")]) {
        return;
    }
    let certificate = Certificate::new();
    for kind in ["h11", "httptools", "aiohttp"] {
        let receiver = Receiver::start();
        let workloads = Workloads::of(&receiver).over(&certificate);
        let server = workloads.python_server("server", kind);
        let agent = Agent::watch(&[&server.process], &[]);
        let mut client = workloads.command("client", python());
        client.args(["-c", OPENED_BEFORE]);
        client.args([server.port.to_string(), OPENED.to_string()]);
        let _ = Process::spawn("client", &mut client).succeed();
        for number in 0..CONNECTIONS {
            // The request is more than one record.
            let body = "x".repeat(20_000 * (number % 2));
            let url = server.url(&format!("/echo/{number}"));
            let _ = workloads.curl("client", &["--request", "POST", "--data", &body], &[url]);
        }
        receiver.wait_for("all requests", |spans| spans.len() >= CONNECTIONS + OPENED);
        agent.stop();
        let spans = receiver.received().spans;
        let unknown = spans
            .iter()
            .filter(|span| span.attribute("client.address").is_empty());
        let unknown: Vec<&str> = unknown.map(|span| span.attribute("url.path")).collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{kind}");
    }
}

/// What a LiteLLM proxy and the model behind it tell of a plain and a streamed question.
fn asked_through_litellm(receiver: &Receiver, workloads: Workloads<'_>) -> Vec<Span> {
    let model = workloads.model("model");
    let litellm = workloads.litellm("litellm", &model);
    let agent = Agent::watch(&[&litellm.process, &model.process], &[]);
    let prompt = json!([{"say": "three short words", "usage": {"prompt": 90, "completion": 40}}]);
    for mode in ["", "stream"] {
        let url = litellm.url("");
        let prompts = std::slice::from_ref(&prompt);
        let answers = workloads.ask("not watched", "openai", &url, mode, prompts);
        assert_eq!(answers[0]["usage"], json!([90, 40]), "{answers:?}");
    }
    receiver.wait_for("six spans", |spans| spans.len() >= 6);
    agent.stop();
    receiver.received().spans
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn litellm_before_a_model_over_https() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let plain = asked_through_litellm(&receiver, Workloads::of(&receiver));
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let encrypted = asked_through_litellm(&receiver, workloads);

    assert_eq!(render(&encrypted), render(&plain), "{encrypted:?}");
    assert_eq!(comparable(&encrypted), comparable(&plain));
    let scheme = |span: &Span| {
        let scheme = span.attribute("url.scheme").to_owned();
        (format!("{} {}", span.service, span.kind), scheme)
    };
    let mut schemes: Vec<_> = encrypted.iter().map(scheme).collect();
    schemes.sort();
    schemes.dedup();
    let expected = [
        ("litellm CLIENT", "https"),
        ("litellm SERVER", "http"),
        ("model SERVER", "https"),
    ];
    let expected = expected.map(|(who, scheme)| (who.to_owned(), scheme.to_owned()));
    assert_eq!(schemes, expected);
}

/// nginx encrypts what it serves, and what it asks its upstream.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn nginx() {
    kaos_tests::nginx::is_told(Some(&Certificate::new()));
}

/// A probe hits in every process that uses its file.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn others_that_use_the_same_library_are_not_seen() {
    if lacks(&[Need::Program("curl"), Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let server = workloads.python_server("server", "h11");
    let other = workloads.python_server("other", "h11");
    let agent = Agent::watch(&[&server.process], &[]);
    let _ = workloads.curl("client", &[], &[other.url("/echo/1")]);
    let _ = workloads.curl("client", &[], &[server.url("/echo/2")]);
    receiver.wait_for("a span", |spans| !spans.is_empty());
    agent.stop();
    assert_eq!(
        render(&receiver.received().spans),
        "server SERVER GET /echo/2 200\n"
    );
}
