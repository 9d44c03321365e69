//! TLS connections whose keys change while they are open.

use std::fs;
use std::path::Path;

use kaos_agent::capture::event::Event;
use tempfile::TempDir;

use crate::support::{Python, Seen, counter, live, of_pid};
use crate::tls::{connections, exchange, exchange_again, library, prepare};

/// Lines of Python that define `raw(end)`, the `SSL *` of an end, and `renegotiate(client, server)`, for
/// which the server asks, and which is done when both ends have spoken of new keys.
const RAW: &str = "
import ctypes
def raw(end):
    # Behind the head of an object and the pointer to the socket.
    return ctypes.c_void_p.from_address(id(end._sslobj) + object.__basicsize__ + 8)
def renegotiate(*ends):
    before = [end.get_channel_binding('tls-unique') for end in ends]
    assert lib.SSL_renegotiate(raw(ends[1])) == 1 and lib.SSL_do_handshake(raw(ends[1])) == 1
    def is_done():
        now = [end.get_channel_binding('tls-unique') for end in ends]
        over = all(lib.SSL_is_init_finished(raw(end)) for end in ends)
        return over and now[0] == now[1] and now[0] not in before
    for end in ends:
        end.setblocking(False)
    while not is_done():
        for end in ends:
            try:
                assert False, end.recv(1)
            except ssl.SSLWantReadError:
                pass
    for end in ends:
        end.setblocking(True)
";

fn prepare_raw(python: &mut Python, directory: &Path) {
    let script = directory.join("raw.py");
    fs::write(&script, RAW).expect("it is writable");
    let script = script.display().to_string();
    python.run(&format!("exec(open({script:?}).read())"));
    let path = library(python, "libssl.so");
    python.run(&format!("lib = ctypes.CDLL({path:?})"));
}

/// Both ends have seen what was said before and after keys were changed by `change`, as one stream
/// without a gap, and nothing else.
fn is_one_stream(versions: &str, change: impl FnOnce(&mut Python)) {
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    prepare_raw(&mut python, directory.path());
    python.run(&format!("{versions} = ssl.TLSVersion.TLSv1_2"));
    let mut live = live(of_pid(python.pid()));
    exchange(&mut python);
    change(&mut python);
    exchange_again(&mut python);
    let mut seen = Seen::default();
    let messages = |seen: &Seen| seen.data().filter(|data| data.socket.is_tls()).count();
    seen.until(&mut live, "eight messages", |seen| messages(seen) >= 8);

    let request = "GET /tls HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2);
    let response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".repeat(2);
    let mut streams: Vec<(bool, String)> = seen
        .streams()
        .into_iter()
        .filter(|((socket, _), _)| socket.is_tls())
        .map(|((_, sent), text)| (sent, text))
        .collect();
    streams.sort();
    let expected = [
        (false, &request),
        (false, &response),
        (true, &request),
        (true, &response),
    ];
    assert_eq!(
        streams,
        expected.map(|(sent, text)| (sent, text.clone())),
        "{:#?}",
        seen.events
    );
    assert_eq!(connections(&seen).len(), 2);
    let ends = |event: &Event| matches!(event, Event::Data(data) if data.end_of_stream);
    assert!(!seen.events.iter().any(ends), "{:#?}", seen.events);
    assert_eq!(counter(&live, "kernel.lost.tls_calls"), 0);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn renegotiation_in_tls_1_2() {
    is_one_stream("server.maximum_version", |python| {
        python.run("renegotiate(a, b)");
        python.run("assert a.version() == b.version() == 'TLSv1.2'");
    });
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn key_update_in_tls_1_3() {
    is_one_stream("server.minimum_version", |python| {
        python.run("assert a.version() == 'TLSv1.3'");
        // SSL_KEY_UPDATE_REQUESTED: the other end changes its key, too. Both are sent with what is
        // written next.
        python.run("assert lib.SSL_key_update(raw(a), 1) == 1");
        python.run("assert lib.SSL_get_key_update_type(raw(a)) == 1");
    });
}

/// What a client sends before the handshake is over, it may have to send again: it is left out at both
/// ends, and what comes after it is the beginning.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn early_data_is_ignored() {
    const EARLY: &str = "
import os, subprocess
def openssl(*arguments):
    return subprocess.Popen(['openssl', *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
listener = openssl('s_server', '-accept', '127.0.0.1:0', '-cert', directory + '/c', '-key',
                   directory + '/k', '-early_data', '-naccept', '2')
said = b''
while b'ACCEPT' not in said or not said.endswith(b'\\n'):
    said += listener.stdout.read1()
address = said.split(b'ACCEPT ')[1].split()[0].decode()
session = directory + '/session'
first = openssl('s_client', '-connect', address, '-sess_out', session)
while not (os.path.exists(session) and b'END SSL SESSION' in open(session, 'rb').read()):
    pass
first.communicate()
second = openssl('s_client', '-connect', address, '-sess_in', session, '-early_data',
                 directory + '/early')
said, _ = second.communicate(b'GET /late HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n')
assert b'Early data was accepted' in said, said
said, _ = listener.communicate()
assert b'GET /early' in said and b'GET /late' in said, said
";
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("it is writable");
        path.display().to_string()
    };
    file("early", "GET /early HTTP/1.1\r\nhost: x\r\n\r\n");
    let script = file("early.py", EARLY);
    let mut live = live(of_pid(python.pid()));
    let place = directory.path().display().to_string();
    python.run(&format!("directory = {place:?}"));
    python.run(&format!("exec(open({script:?}).read())"));
    let mut seen = Seen::default();
    seen.until(&mut live, "both ends of the request", |seen| {
        seen.count_text("GET /late ") >= 2
    });
    assert!(!seen.has_text("GET /early "), "{:#?}", seen.events);
    for data in seen
        .data()
        .filter(|data| data.bytes.starts_with(b"GET /late "))
    {
        assert!(data.stream_start, "{data:?}");
    }
    assert_eq!(counter(&live, "kernel.lost.tls_calls"), 0);
}
