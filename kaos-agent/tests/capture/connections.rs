//! What is told of the life of connections.

use kaos_agent::capture::event::{ConnectionChange, Direction};
use kaos_agent::capture::front_end::FrontEnd as _;

use crate::support::{Python, Seen, counter, live, of_pid};
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn the_fin_is_no_byte_and_ends_are_told() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.connect();
    // The last bytes and the FIN are read at once.
    python.run("a.sendall(b'GET / end'); a.shutdown(socket.SHUT_WR)");
    python.run("b.recv(9); b.recv(1); b.sendall(b'HTTP/1.1 200'); b.close(); a.recv(100); a.recv(1); a.close()");
    seen.until(&mut live, "two ends of streams", |seen| {
        seen.data().filter(|data| data.end_of_stream).count() == 2
    });
    // Here the client learns of the end before it ends its own half.
    python.connect();
    python.run("a.sendall(b'GET / end'); b.recv(9); b.close()");
    seen.until(&mut live, "end of the other side", |seen| {
        seen.changes().contains(&ConnectionChange::PeerFinished)
    });
    // Both ends agree, although one of them read the FIN with the last bytes.
    let positions = |text: &str, direction: Direction| -> Vec<u64> {
        seen.data()
            .filter(|data| data.bytes == text.as_bytes() && data.direction == direction)
            .map(|data| data.position)
            .collect()
    };
    for text in ["GET / end", "HTTP/1.1 200"] {
        assert_eq!(
            positions(text, Direction::Sent),
            positions(text, Direction::Received),
            "{text}"
        );
    }
    let changes = seen.changes();
    assert!(changes[0].is_connecting(), "{changes:?}");
    // Three ends were closed; that of the client which only ended its sending half counts when it
    // is closed, after it has read the answer.
    let closes = changes
        .iter()
        .filter(|change| **change == ConnectionChange::Closed);
    assert_eq!(closes.count(), 3, "{changes:?}");
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn failed_connects_and_resets_have_their_reason() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python
        .run("l = socket.socket(); l.bind(('127.0.0.1', 0)); port = l.getsockname()[1]; l.close()");
    python.run("s = socket.socket(); print(s.connect_ex(('127.0.0.1', port)))");
    python.run("s = socket.socket(); s.setblocking(False); s.connect_ex(('127.0.0.1', port))");
    python.run("s6 = socket.socket(socket.AF_INET6); s6.connect_ex(('::1', port))");
    let refused = ConnectionChange::ConnectFailed {
        errno: libc::ECONNREFUSED,
    };
    seen.until(&mut live, "three refusals", |seen| {
        seen.changes()
            .iter()
            .filter(|change| **change == refused)
            .count()
            == 3
    });
    python.connect();
    python.run("a.sendall(b'GET /'); b.recv(1); b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); b.close()");
    seen.until(&mut live, "reset", |seen| {
        seen.changes().contains(&ConnectionChange::Broken {
            errno: libc::ECONNRESET,
        })
    });
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn what_is_not_http_is_muted_and_late_attach_goes_on_in_the_middle() {
    let mut python = Python::start();
    python.connect();
    python.run("a.send(b'GET /early HTTP/1.1'); b.recv(100)");
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.run("a.send(b'late'); b.recv(100)");
    python.run("c = socket.create_connection(l.getsockname()); d, _ = l.accept(); c.send(b'*1 redis'); d.recv(100); c.send(b'GET /x'); d.recv(100)");
    python.run("a.send(b'GET /end'); b.recv(100)");
    seen.until(&mut live, "the end", |seen| {
        seen.count_text("GET /end") == 2
    });
    assert_eq!(
        seen.streams().into_values().collect::<Vec<_>>(),
        ["lateGET /end", "lateGET /end"]
    );
    assert!(seen.data().all(|data| !data.stream_start));
    assert_eq!(counter(&live, "kernel.muted.other"), 2);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn http2_is_captured_on_its_way_to_a_collector_and_nowhere_else() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.connect();
    let listen = "m = socket.create_server(('127.0.0.1', 0)); print(m.getsockname()[1])";
    let port = python.run(listen)[0].parse().expect("a port");
    live.capture_http2_to(port);
    // The client sees the server's settings first; the server's end of the connection stays muted.
    python.run("c = socket.create_connection(m.getsockname()); d, _ = m.accept(); d.send(b'\\0\\0\\0\\4settings'); c.recv(100)");
    python.run("c.send(b'PRI * HTTP/2.0 first'); d.recv(100); c.send(b' second'); d.recv(100)");
    python.run("c = socket.create_connection(m.getsockname()); d, _ = m.accept(); c.send(b'\\x16\\3\\1 secret'); d.recv(100)");
    python.run("c = socket.create_connection(l.getsockname()); d, _ = l.accept(); c.send(b'PRI * HTTP/2.0 other'); d.recv(100)");
    python.run("c = socket.create_connection(l.getsockname()); c.send(b'GET /end')");
    seen.until(&mut live, "the end", |seen| seen.has_text("GET /end"));
    let streams: Vec<_> = seen.streams().into_values().collect();
    assert_eq!(
        streams,
        [
            "\0\0\0\u{4}settings",
            "PRI * HTTP/2.0 first second",
            "GET /end"
        ]
    );
    assert_eq!(counter(&live, "kernel.muted.http2"), 2);
    assert_eq!(counter(&live, "kernel.muted.tls"), 2);
}

/// Of a muted socket nothing is looked at any more, until it is connected to somebody else.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_muted_socket_that_is_connected_again_is_seen() {
    let mut python = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    python.run("l = socket.create_server(('127.0.0.1', 0))");
    python.run("c = socket.create_connection(l.getsockname()); d, _ = l.accept()");
    // Often enough that it is given up what it carries.
    python.run("_ = [(c.send(b'*1 redis'), d.recv(100)) for _ in range(100)]");
    python.run("import ctypes; unspecified = bytes(16)");
    python.run("assert ctypes.CDLL(None).connect(c.fileno(), unspecified, 16) == 0");
    python.run("c.connect(l.getsockname()); d, _ = l.accept()");
    python.run("_ = c.send(b'GET /again'), d.recv(100)");
    seen.until(&mut live, "both ends of what came after", |seen| {
        seen.count_text("GET /again") == 2
    });
    assert!(!seen.has_text("redis"), "{:#?}", seen.events);
    assert_eq!(counter(&live, "kernel.muted.other"), 2);
}
