//! Two ends of a connection in two network namespaces of one node, as in pods: they meet without
//! headers, through a virtual address too, where they name different destinations. TLS in a container with
//! files of its own. And a pid namespace that is not the initial one, as in a node that is a container.

use std::process::Command;

use kaos_tests::agent::Agent;
use kaos_tests::process::{Process, child_of};
use kaos_tests::receiver::Receiver;
use kaos_tests::tree::render;
use kaos_tests::workloads::{Certificate, Need, Workloads, lacks, skip};
use tempfile::TempDir;

/// What a Service would have: nobody listens there.
const VIRTUAL: &str = "10.96.0.10";
const SERVER_PORT: &str = "8000";

/// Two namespaces that are joined by a pair of interfaces.
struct Namespaces {
    client: String,
    server: String,
}

impl Namespaces {
    fn make() -> Self {
        // Names of interfaces have at most 15 bytes, and are gone with their namespace.
        let id = std::process::id();
        let both = Self {
            client: format!("kaos-c-{id}"),
            server: format!("kaos-s-{id}"),
        };
        let (near, far) = (format!("kc{id}"), format!("ks{id}"));
        ip(&["netns", "add", &both.client]);
        ip(&["netns", "add", &both.server]);
        ip(&[
            "link",
            "add",
            &near,
            "netns",
            &both.client,
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            &both.server,
        ]);
        for (namespace, interface, address) in [
            (&both.client, &near, "10.231.7.1/24"),
            (&both.server, &far, "10.231.7.2/24"),
        ] {
            ip(&["-n", namespace, "address", "add", address, "dev", interface]);
            ip(&["-n", namespace, "link", "set", interface, "up"]);
        }
        ip(&[
            "-n",
            &both.client,
            "route",
            "add",
            "default",
            "via",
            "10.231.7.2",
        ]);
        both
    }

    /// Translates the virtual address, as a node does for a Service; false where the kernel cannot.
    fn translate(&self) -> bool {
        let destination = format!("10.231.7.2:{SERVER_PORT}");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.client, "iptables", "-t", "nat"])
            .args(["-A", "OUTPUT", "-d", VIRTUAL, "-p", "tcp", "--dport", "80"])
            .args(["-j", "DNAT", "--to-destination", &destination]);
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments:?}"
    );
}

/// A client in one namespace asks a server in another twice on one connection, without headers. No
/// parents are in the headers, so only the sockets tell that the spans belong together.
fn ends_meet(address: impl Fn(&Namespaces) -> Option<String>) {
    let needs = ["ip", "curl", "python3", "iptables"].map(Need::Program);
    if lacks(&needs) {
        return;
    }
    let namespaces = Namespaces::make();
    let Some(address) = address(&namespaces) else {
        return skip("this kernel does not translate addresses");
    };
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
    let mut command = workloads.command("server", "ip");
    command
        .args(["netns", "exec", &namespaces.server, "python3", "-u", "-m"])
        .args(["http.server", SERVER_PORT, "--bind", "0.0.0.0"])
        .args(["--protocol", "HTTP/1.1", "--directory", "/proc/self/ns"]);
    let server = Process::spawn("server", &mut command);
    server.wait_for_line("that it listens", |line| line.starts_with("Serving HTTP"));

    let (first, second) = (
        format!("http://{address}/"),
        format!("http://{address}/none"),
    );
    let mut command = workloads.command("client", "ip");
    command
        .args(["netns", "exec", &namespaces.client, "curl", "--silent"])
        .args(["--max-time", "60", "--output", "/dev/null", &first])
        .args(["--output", "/dev/null", &second]);
    Process::spawn("client", &mut command).succeed();
    receiver.wait_for("four spans", |spans| spans.len() >= 4);
    let stats = agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(
        render(&spans),
        "client CLIENT GET / 200\n  \
           server SERVER GET / 200\n\
         client CLIENT GET /none 404 error=404\n  \
           server SERVER GET /none 404\n"
    );
    assert_eq!(stats["runs.joined"], 2);
    let host = address.split(':').next();
    for span in spans.iter().filter(|span| span.kind == "CLIENT") {
        assert_eq!(Some(span.attribute("server.address")), host);
    }
}

#[test]
#[ignore = "kernel: network namespaces, needs root"]
fn across_network_namespaces() {
    ends_meet(|_| Some(format!("10.231.7.2:{SERVER_PORT}")));
}

#[test]
#[ignore = "kernel: network namespaces, needs root"]
fn through_a_virtual_address() {
    ends_meet(|namespaces| namespaces.translate().then(|| VIRTUAL.to_owned()));
}

/// Serves this directory over TLS, on a port, with a certificate and its key.
const SERVE_TLS: &str = "
import http.server, ssl, sys
port, certificate, key = sys.argv[1:]
server = http.server.HTTPServer(('0.0.0.0', int(port)), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('listening', flush=True)
server.serve_forever()
";

/// Enters a root file system as a container has one, layers of files in each other, on an empty directory. A
/// TLS library is in the uppermost.
const ENTER_LAYERS: &str = r#"
mount -t tmpfs none "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
mount -t proc proc "$0/root/proc"
mkdir -p "$0/root/opt/own"
cp /usr/lib/*/libssl.so.3 "$0/root/opt/own"
exec chroot "$0/root" env LD_LIBRARY_PATH=/opt/own "$@"
"#;

/// A server in a container, with namespaces for its network, its processes and its files, and a client in
/// another network: what both encrypt is read, and their ends meet without headers.
#[test]
#[ignore = "kernel: namespaces, needs root"]
fn over_tls_in_a_container_with_files_of_its_own() {
    let needs = ["ip", "unshare", "chroot", "curl", "python3"].map(Need::Program);
    if lacks(&needs) {
        return;
    }
    let namespaces = Namespaces::make();
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let certificate = Certificate::new();
    let agent = Agent::start_verbose(&["--pid", &std::process::id().to_string()]);

    let directory = TempDir::new().expect("a directory");
    let mut command = workloads.command("server", "ip");
    command
        .args(["netns", "exec", &namespaces.server, "unshare", "--mount"])
        .args(["--pid", "--fork", "--kill-child", "sh", "-ec", ENTER_LAYERS])
        .arg(directory.path())
        .args(["python3", "-u", "-c", SERVE_TLS, SERVER_PORT])
        .args([certificate.certificate(), certificate.key()]);
    let server = Process::spawn("server", &mut command);
    server.wait_for_line("that it listens", |line| line == "listening");
    agent.wait_until_probed("/opt/own/libssl.so.3");
    // The library of the client is probed as long as somebody uses it.
    let mut command = workloads.command("user", "python3");
    let user = "import signal, ssl; print('loaded', flush=True); signal.pause()";
    let user = Process::spawn("user", command.args(["-c", user]));
    user.wait_for_line("that it uses TLS", |line| line == "loaded");
    agent.wait_until_probed("-linux-gnu/libssl.so.3");

    let at = format!("localhost:{SERVER_PORT}:10.231.7.2");
    let mut command = workloads.command("client", "ip");
    command
        .args(["netns", "exec", &namespaces.client, "curl", "--silent"])
        .args(["--max-time", "60", "--resolve", &at, "--cacert"])
        .arg(certificate.certificate())
        .args(["--output", "/dev/null"])
        .arg(format!("https://localhost:{SERVER_PORT}/none"));
    Process::spawn("client", &mut command).succeed();
    receiver.wait_for("two spans", |spans| spans.len() >= 2);
    let stats = agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(
        render(&spans),
        "client CLIENT GET /none 404 error=404\n  server SERVER GET /none 404\n"
    );
    let of_server = spans.iter().find(|span| span.kind == "SERVER");
    let of_server = of_server.expect("it is in the tree");
    assert_eq!(of_server.attribute("url.scheme"), "https");
    assert_eq!(of_server.attribute("client.address"), "10.231.7.1");
    assert_eq!(stats["runs.joined"], 1);
}

/// In a node of kind "the host's" pid namespace is that of the node's container, and the kernel's own
/// numbers are others. What was started before the agent is known from `/proc` alone.
#[test]
#[ignore = "kernel: pid namespaces, needs root"]
fn in_a_pid_namespace_that_is_not_the_initial_one() {
    let needs = ["unshare", "nsenter", "curl", "python3"].map(Need::Program);
    if lacks(&needs) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let mut command = workloads.command("server", "unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .args([
            "python3",
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
        ])
        .args(["--directory", "/proc/self/ns"]);
    let server = Process::spawn("server", &mut command);
    let line = server.wait_for_line("where it listens", |line| line.starts_with("Serving HTTP"));
    let port = line.split(' ').nth(5).expect("a port");

    let first_of_namespace = ["--pid", "1"];
    let inside = child_of(server.pid());
    let agent = Agent::start_in_pid_namespace_of(inside, &first_of_namespace);
    // From outside, which the agent cannot see.
    let mut command = workloads.command("client", "curl");
    command
        .args(["--silent", "--max-time", "60", "--output", "/dev/null"])
        .arg(format!("http://127.0.0.1:{port}/"));
    Process::spawn("client", &mut command).succeed();
    // And from inside, where it is not selected.
    let mut command = workloads.command("client", "nsenter");
    command
        .args(["--target", &inside.to_string(), "--pid", "--mount"])
        .args([
            "curl",
            "--silent",
            "--max-time",
            "60",
            "--output",
            "/dev/null",
        ])
        .arg(format!("http://127.0.0.1:{port}/none"));
    Process::spawn("client", &mut command).succeed();
    receiver.wait_for("two spans", |spans| spans.len() >= 2);
    agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(
        render(&spans),
        "server SERVER GET / 200\nserver SERVER GET /none 404\n"
    );
}
