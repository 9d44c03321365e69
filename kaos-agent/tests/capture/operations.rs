//! What is told of socket operations.

use kaos_agent::capture::event::{Direction, Endpoints};
use kaos_agent::settings::CaptureSettings;

use crate::support::{Python, Seen, counter, live, live_with, of_pid};
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn every_syscall_that_moves_bytes_is_seen_at_both_ends() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.connect();
    for (send, receive) in [
        ("a.send(b'GET /send ')", "b.recv(100)"),
        ("a.sendall(b'sendto ')", "b.recv_into(bytearray(100))"),
        (
            "os.write(a.fileno(), b'write ')",
            "os.read(b.fileno(), 100)",
        ),
        (
            "os.writev(a.fileno(), [b'wri', b'', b'tev '])",
            "os.readv(b.fileno(), [bytearray(2), bytearray(98)])",
        ),
        (
            "a.sendmsg([b'send', b'msg '])",
            "b.recvmsg_into([bytearray(3), bytearray(90)])",
        ),
        (
            "a.send(b'peeked ')",
            "b.recv(100, socket.MSG_PEEK); b.recv(100)",
        ),
        (
            "f = os.memfd_create('x'); os.write(f, b'0123456789'); os.sendfile(a.fileno(), f, 0, 10)",
            "b.recv(100)",
        ),
        ("a.send(b' last')", "b.recv(100)"),
    ] {
        python.run(send);
        python.run(receive);
    }
    seen.until(&mut live, "last operation", |seen| {
        seen.count_text("last") == 2
    });
    let streams: Vec<_> = seen.streams().into_values().collect();
    let expected = "GET /send sendto write writev sendmsg peeked ";
    // What sendfile sends has no buffer in the sender; the receiver's is read.
    assert_eq!(
        streams,
        [
            format!("{expected}########## last"),
            format!("{expected}0123456789 last")
        ]
    );
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn both_ends_agree_on_positions_and_addresses() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.connect();
    python
        .run("a.send(b'GET / one'); b.recv(100); b.send(b'HTTP/1.1 two'); a.recv(5); a.recv(100)");
    python.run("a.send(b'three'); b.recv(100)");
    seen.until(&mut live, "third message", |seen| {
        seen.count_text("three") == 2
    });
    let ends: Vec<_> = seen
        .data()
        .map(|data| {
            let Endpoints::Tcp { local, remote, .. } = data.endpoints else {
                panic!("it is TCP");
            };
            let (from, to) = match data.direction {
                Direction::Sent => (local, remote),
                Direction::Received => (remote, local),
            };
            (
                data.direction,
                from,
                to,
                data.position,
                data.bytes.len(),
                data.stream_start,
            )
        })
        .collect();
    let (_, client, server, request, ..) = ends[0];
    let (_, _, _, response, ..) = ends[2];
    use Direction::{Received, Sent};
    assert_eq!(
        ends,
        [
            (Sent, client, server, request, 9, true),
            (Received, client, server, request, 9, true),
            (Sent, server, client, response, 12, true),
            (Received, server, client, response, 5, true),
            (Received, server, client, response + 5, 7, false),
            (Sent, client, server, request + 9, 5, false),
            (Received, client, server, request + 9, 5, false),
        ]
    );
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn large_messages_have_head_and_tail_and_a_gap_of_known_size() {
    let mut python = Python::start();
    let settings = CaptureSettings {
        head_bytes: 40_000,
        tail_bytes: 10_000,
        ..CaptureSettings::default()
    };
    let mut live = live_with(of_pid(python.pid()), settings);
    let mut seen = Seen::default();
    python.connect();
    python.run("a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20); b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)");
    python.run("data = b'POST /' + b'h' * 39994 + b'm' * 150000 + b't' * 10000");
    python.run("print(os.writev(a.fileno(), [data[:7], data[7:100000], data[100000:]]))");
    python.run("n = 0");
    python.run("exec('while n < 200000: n += len(b.recv(65536))')");
    seen.until(&mut live, "the whole message at both ends", |seen| {
        seen.streams()
            .values()
            .filter(|stream| stream.len() == 200_000)
            .count()
            == 2
    });
    let sent = seen
        .streams()
        .into_iter()
        .find_map(|((_, sent), stream)| sent.then_some(stream))
        .expect("something was sent");
    let expected = format!(
        "POST /{}{}{}",
        "h".repeat(39_994),
        "#".repeat(150_000),
        "t".repeat(10_000)
    );
    assert!(
        sent == expected,
        "head, gap and tail are not as they should be"
    );
    // The receiver, which read piece by piece, passed over some, too.
    assert!(counter(&live, "kernel.skipped.over_budget_bytes") > 150_000);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn unix_sockets_and_ipv6_are_seen() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.run("a, b = socket.socketpair(); a.send(b'GET /unix'); b.recv(100)");
    python.run("l = socket.socket(socket.AF_INET6); l.bind(('::', 0)); l.listen()");
    python.run("a = socket.create_connection(('::1', l.getsockname()[1])); b, _ = l.accept(); a.send(b'GET /six'); b.recv(100)");
    python.run("a = socket.create_connection(('127.0.0.1', l.getsockname()[1])); b, _ = l.accept(); a.send(b'GET /mapped'); b.recv(100)");
    seen.until(&mut live, "mapped request", |seen| {
        seen.count_text("GET /mapped") == 2
    });
    let ends: Vec<Endpoints> = seen.data().map(|data| data.endpoints).collect();
    let [
        Endpoints::Unix {
            local: a,
            remote: b,
        },
        Endpoints::Unix {
            local: c,
            remote: d,
        },
        Endpoints::Tcp { local: client6, .. },
        Endpoints::Tcp { remote: peer6, .. },
        Endpoints::Tcp { local: client4, .. },
        Endpoints::Tcp { remote: peer4, .. },
    ] = ends[..]
    else {
        panic!("{ends:?}");
    };
    assert_eq!((a, b), (d, c));
    assert_eq!(client6, peer6);
    assert_eq!(client4, peer4);
    assert!(client6.is_ipv6() && client4.is_ipv4());
}
