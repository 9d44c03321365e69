//! TLS libraries in real processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use kaos_agent::capture::event::{ConnectionChange, Direction, Endpoints, Event, SocketId};
use kaos_agent::capture::front_end::FrontEnd as _;
use kaos_agent::capture::uprobes::file::executable_mappings;
use kaos_agent::capture::uprobes::inspect;
use kaos_agent::capture::uprobes::links::Attachment;
use kaos_agent::settings::CaptureSettings;
use tempfile::TempDir;

use crate::skip::{skip, why_not};
use crate::support::{DEADLINE, Python, Seen, counter, live, live_with, of_pid};

/// Lines of Python that make `context`s from a certificate in this directory, and define `pair()`,
/// which connects two ends of TLS over loopback, and `memory()`, which does it in memory.
pub fn prepare(python: &mut Python, directory: &Path) {
    let path = |name: &str| directory.join(name).display().to_string();
    let authority =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it is made");
    fs::write(path("c"), authority.cert.pem()).expect("it is writable");
    fs::write(path("k"), authority.signing_key.serialize_pem()).expect("it is writable");
    let code = format!(
        "import ssl
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain({certificate:?}, {key:?})
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.load_verify_locations({certificate:?})
def pair():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    ends = []
    def accept():
        ends.append(server.wrap_socket(listener.accept()[0], server_side=True))
    thread = threading.Thread(target=accept)
    thread.start()
    plain = socket.create_connection(listener.getsockname())
    ends.append(client.wrap_socket(plain, server_hostname='localhost'))
    thread.join()
    ends.sort(key=lambda end: end.server_side)
    return ends
def trickle(a, b, data):
    a.setblocking(False)
    rest, received, retries = memoryview(data), 0, 0
    while received < len(data):
        try:
            if rest:
                rest = rest[a.send(rest):]
                continue
        except ssl.SSLWantWriteError:
            retries += 1
        received += len(b.recv(65536))
    return retries
",
        certificate = path("c"),
        key = path("k"),
    );
    let script = path("prepare.py");
    fs::write(&script, code).expect("it is writable");
    python.run(&format!("exec(open({script:?}).read())"));
}

pub const REQUEST: &str = "GET /tls HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n";
pub const RESPONSE: &str = "HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n";

/// A request and its response over a new connection of TLS, which stays open as `a` and `b`.
pub fn exchange(python: &mut Python) {
    python.run("a, b = pair()");
    exchange_again(python);
}

pub fn exchange_again(python: &mut Python) {
    python.run(&format!("a.sendall(b'{REQUEST}'); b.recv(1000)"));
    python.run(&format!("b.sendall(b'{RESPONSE}'); a.recv(1000)"));
}

/// TLS connections that were seen.
pub fn connections(seen: &Seen) -> BTreeSet<SocketId> {
    seen.data()
        .map(|data| data.socket)
        .filter(|socket| socket.is_tls())
        .collect()
}

/// Both ends saw both messages, on connections whose sockets are known and are each other's ends.
fn both_ends_are_seen(settings: CaptureSettings) {
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    let mut live = live_with(of_pid(python.pid()), settings);
    let mut seen = Seen::default();
    // The interpreter is probed too, for other reasons.
    live.read(1024, &mut seen.events);
    let before = counter(&live, "uprobes.probed_files");
    // The library is loaded while we watch.
    prepare(&mut python, directory.path());
    let start = Instant::now();
    while counter(&live, "uprobes.probed_files") == before {
        live.read(1024, &mut seen.events);
        assert!(start.elapsed() < DEADLINE, "it is not probed");
        live.wait();
    }
    exchange(&mut python);
    seen.until(&mut live, "four messages", |seen| {
        seen.data().filter(|data| data.socket.is_tls()).count() >= 4
    });
    let of = |direction, start: &str| {
        let mut found = seen
            .data()
            .filter(|data| data.direction == direction && data.bytes.starts_with(start.as_bytes()));
        let data = found.next().expect("it was seen").clone();
        assert_eq!(found.next(), None);
        data
    };
    let sent = of(Direction::Sent, "GET /tls");
    let received = of(Direction::Received, "GET /tls");
    assert_eq!(sent.bytes, received.bytes);
    // The ends agree on a byte's position, and on who is connected with whom.
    assert_eq!(sent.position, received.position);
    assert!(sent.stream_start && received.stream_start);
    let (
        Endpoints::Tcp { local, remote, .. },
        Endpoints::Tcp {
            local: there,
            remote: here,
            ..
        },
    ) = (sent.endpoints, received.endpoints)
    else {
        panic!("the sockets are not known: {sent:?} {received:?}");
    };
    assert_eq!((local, remote), (here, there));
    let answered = of(Direction::Sent, "HTTP/1.1 200");
    assert_eq!(answered.socket, received.socket);
    assert_eq!(counter(&live, "uprobes.refused"), 0);
    assert_eq!(counter(&live, "kernel.lost.tls_calls"), 0);
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_library_that_is_loaded_later_is_seen_at_both_ends() {
    both_ends_are_seen(CaptureSettings::default());
}

/// As on kernels that have no better way.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn perf_events_do_as_well() {
    both_ends_are_seen(CaptureSettings {
        uprobes: Some(Attachment::PerfEvents),
        ..CaptureSettings::default()
    });
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn each_connection_is_its_own_though_addresses_are_used_again() {
    const CONNECTIONS: usize = 8;
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    let mut live = live(of_pid(python.pid()));
    for _ in 0..CONNECTIONS {
        exchange(&mut python);
        python.run("a.close(); b.close(); del a, b");
    }
    let mut seen = Seen::default();
    let closed = |seen: &Seen| {
        let closed = seen.events.iter().filter(|event| {
            matches!(event, Event::Connection(connection)
                if connection.change == ConnectionChange::Closed && connection.socket.is_tls())
        });
        closed.count()
    };
    seen.until(&mut live, "their ends", |seen| {
        closed(seen) >= 2 * CONNECTIONS
    });
    assert_eq!(connections(&seen).len(), 2 * CONNECTIONS);
    for data in seen.data().filter(|data| data.socket.is_tls()) {
        assert!(data.stream_start, "{data:?}");
    }
}

/// What was open before goes on, at a position that is not known.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn connections_that_were_open_before_go_on() {
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    exchange(&mut python);
    let mut live = live(of_pid(python.pid()));
    exchange_again(&mut python);
    let mut seen = Seen::default();
    seen.until(&mut live, "four messages", |seen| {
        seen.data().filter(|data| data.socket.is_tls()).count() >= 4
    });
    for data in seen.data().filter(|data| data.socket.is_tls()) {
        assert!(!data.stream_start, "{data:?}");
    }
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn large_messages_have_head_and_tail_and_a_gap_of_known_size() {
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    let settings = CaptureSettings {
        head_bytes: 20_000,
        tail_bytes: 1_000,
        ..CaptureSettings::default()
    };
    let mut live = live_with(of_pid(python.pid()), settings);
    python.run("a, b = pair()");
    python.run("big = b'POST /' + b'x' * 49_990 + b'tail'");
    python.run("reader = threading.Thread(target=lambda: [b.recv(16384) for _ in range(4)])");
    python.run("reader.start(); a.sendall(big); reader.join()");
    let mut seen = Seen::default();
    seen.until(&mut live, "the tail", |seen| {
        seen.data()
            .any(|data| data.direction == Direction::Sent && data.bytes.ends_with(b"tail"))
    });
    let sent: Vec<(usize, u64)> = seen
        .data()
        .filter(|data| data.socket.is_tls() && data.direction == Direction::Sent)
        .map(|data| (data.bytes.len(), data.skipped))
        .collect();
    assert_eq!(sent, [(16_384, 0), (3_616, 0), (0, 29_000), (1_000, 0)]);
}

/// A write that finds no room is made again, and counts once.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn retried_writes_count_once() {
    const BYTES: u64 = 20_000_000;
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    // Nobody reads meanwhile: it must fit into the ring.
    let settings = CaptureSettings {
        head_bytes: 1_000,
        tail_bytes: 100,
        ..CaptureSettings::default()
    };
    let mut live = live_with(of_pid(python.pid()), settings);
    python.run("a, b = pair()");
    python.run(&format!(
        "big = b'POST /' + b'x' * {} + b'tail'",
        BYTES - 10
    ));
    let retries = python.run("print(trickle(a, b, big))").remove(0);
    assert_ne!(retries, "0");
    let mut seen = Seen::default();
    let moved = |seen: &Seen, direction| -> u64 {
        seen.data()
            .filter(|data| data.socket.is_tls() && data.direction == direction)
            .map(|data| data.bytes.len() as u64 + data.skipped)
            .sum()
    };
    seen.until(&mut live, "all bytes", |seen| {
        moved(seen, Direction::Received) >= BYTES
    });
    assert_eq!(moved(&seen, Direction::Sent), BYTES);
    assert_eq!(moved(&seen, Direction::Received), BYTES);
    assert_eq!(connections(&seen).len(), 2);
}

/// The bytes at every probed place of a process's own copy of the library, which nobody else on this
/// machine can be probing.
fn probed_code(python: &Python, copy: &Path) -> Vec<u8> {
    let memory = File::open(format!("/proc/{}/mem", python.pid())).expect("we are root");
    let mappings = executable_mappings(python.pid());
    let mapping = mappings.iter().find(|mapping| mapping.path == copy);
    let mapping = mapping.expect("it is loaded");
    let files = inspect(python.pid());
    let file = files.iter().find(|file| file.path == copy);
    let sites = &file.expect("it has sites").sites;
    // The offset in the file of what is mapped there: the third column of the mapping.
    let maps = fs::read_to_string(format!("/proc/{}/maps", python.pid())).expect("it runs");
    let line = maps
        .lines()
        .find(|line| line.starts_with(&format!("{:x}-", mapping.start)));
    let line = line.expect("it is still mapped");
    let offset = line.split_ascii_whitespace().nth(2).expect("it has one");
    let offset = u64::from_str_radix(offset, 16).expect("it is a number");
    sites
        .iter()
        .map(|site| {
            let mut byte = [0];
            memory
                .read_exact_at(&mut byte, mapping.start + site.offset - offset)
                .expect("it is mapped");
            byte[0]
        })
        .collect()
}

/// Where the running interpreter finds this library.
pub fn library(python: &mut Python, name: &str) -> String {
    let code = format!(
        "import ssl, _ssl; print([line.split()[-1] for line in open('/proc/self/maps') if '{name}' in line][0])"
    );
    python.run(&code).remove(0)
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn nothing_is_left_in_a_process_when_tracing_ends() {
    /// What a breakpoint looks like in memory.
    const BREAKPOINT: u8 = if cfg!(target_arch = "x86_64") {
        0xcc
    } else {
        0x00
    };
    let directory = TempDir::new().expect("a directory");
    let shared = library(&mut Python::start(), "libssl.so");
    let copy = directory.path().join("libssl.so.3");
    fs::copy(&shared, &copy).expect("it is copied");
    let mut python = Python::start_with("LD_LIBRARY_PATH", directory.path());
    assert_eq!(Path::new(&library(&mut python, "libssl.so")), copy);

    let before = probed_code(&python, &copy);
    assert!(!before.contains(&BREAKPOINT), "{before:x?}");
    let live = live(of_pid(python.pid()));
    let during = probed_code(&python, &copy);
    assert_eq!(during, vec![BREAKPOINT; before.len()]);
    drop(live);
    assert_eq!(probed_code(&python, &copy), before);
}

/// A library of the right names that lies: it costs itself what it asks for, and others nothing.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_library_that_lies_harms_nobody() {
    if let Some(reason) = why_not("cc") {
        return skip(&reason);
    }
    let directory = TempDir::new().expect("a directory");
    let source = directory.path().join("liar.c");
    fs::write(
        &source,
        r#"
        #include <stddef.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #define N __attribute__((noipa))
        N void *SSL_new(void *context) { return context; }
        N void SSL_free(void *ssl) { asm volatile("" :: "r"(ssl)); }
        N int SSL_read(void *ssl, void *buffer, int length) { return length; }
        N int SSL_write(void *ssl, void *buffer, int length) { return length; }
        N int SSL_read_ex(void *s, void *b, size_t l, size_t *moved) { return 1; }
        N int SSL_write_ex(void *s, void *b, size_t l, size_t *moved) { return 1; }
        int main(void) {
            getchar();
            size_t huge = (size_t)1 << 62;
            // Four pages, of which one in turn is not there.
            char request[] = "GET / HTTP/1.1\r\n";
            int rights = PROT_READ | PROT_WRITE;
            char *pages = mmap(0, 16384, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(pages, 'x', 16384);
            for (int round = 0; round < 1000; round++) {
                void *wild = (void *)(0xdead000000000000ul + round);
                SSL_new(wild);
                SSL_read(wild, wild, 0x7fffffff);
                SSL_write(0, wild, 0x7fffffff);
                SSL_write(wild, (void *)-1, 0x7fffffff);
                SSL_read(wild, 0, -1);
                SSL_read_ex(wild, wild, ~0ul, wild);
                SSL_write_ex(wild, wild, ~0ul, &huge);
                mprotect(pages, 16384, rights);
                mprotect(pages + round % 4 * 4096, 4096, PROT_NONE);
                char *sane = (char *)wild + 1000000;
                SSL_new(sane);
                SSL_write(sane, request, 16);
                SSL_write(sane, pages, 16384);
                SSL_free(sane);
                SSL_free(wild);
            }
            puts("unharmed");
            return 0;
        }
        "#,
    )
    .expect("it is writable");
    let program = directory.path().join("liar");
    let built = Command::new("cc")
        .args(["-O1", "-w", "-rdynamic", "-o"])
        .args([&program, &source])
        .status();
    assert!(built.expect("it starts").success());
    let mut liar = crate::support::Liar::start(&program);
    let mut python = Python::start();
    prepare(&mut python, directory.path());
    let mut selectors = of_pid(python.pid());
    selectors.pids.push(liar.pid());
    let mut live = live(selectors);
    assert_eq!(liar.run(), "unharmed");
    exchange(&mut python);
    let mut seen = Seen::default();
    seen.until(&mut live, "the honest one's messages", |seen| {
        seen.data()
            .filter(|data| data.pid == python.pid() && data.socket.is_tls())
            .count()
            >= 4
    });
    assert!(counter(&live, "kernel.tls_operations") > 1_000);
    assert!(counter(&live, "kernel.skipped.unreadable_bytes") > 16_384_000);
    // Nobody read meanwhile: what was not there took no room in the ring, which has half as much.
    assert_eq!(counter(&live, "kernel.lost.ring_full"), 0);
    assert_eq!(counter(&live, "capture.unreadable_records"), 0);
}
