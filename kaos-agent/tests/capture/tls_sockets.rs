//! Which socket carries a TLS connection, where a client opens several at once.

use std::net::IpAddr;

use kaos_agent::capture::event::{Data, Direction, Endpoints};
use tempfile::TempDir;

use crate::support::{Python, Seen, live, of_pid};
use crate::tls::prepare;

/// Lines of Python: servers of TLS on both of the machine's own addresses, on one port, and an event
/// loop in which a name has both.
const BOTH_FAMILIES: &str = "
import asyncio
async def answer(reader, writer):
    try:
        while await reader.readuntil(b'\\r\\n\\r\\n'):
            writer.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n')
    except asyncio.IncompleteReadError:
        writer.close()
async def both():
    four = await asyncio.start_server(answer, '127.0.0.1', 0, ssl=server)
    port = four.sockets[0].getsockname()[1]
    return four, port
async def names(host, port, **_):
    kind = socket.SOCK_STREAM
    return [(socket.AF_INET6, kind, 6, '', ('::1', port, 0, 0)), (socket.AF_INET, kind, 6, '', ('127.0.0.1', port))]
async def ask(reader, writer, path):
    writer.write(b'GET ' + path + b' HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n')
    return await reader.readuntil(b'\\r\\n\\r\\n')
";

fn prepare_both(python: &mut Python, directory: &std::path::Path) {
    prepare(python, directory);
    let script = directory.join("both.py");
    std::fs::write(&script, BOTH_FAMILIES).expect("it is writable");
    python.run(&format!(
        "exec(open({:?}).read())",
        script.display().to_string()
    ));
}

/// Who a client's request of this path went to.
fn asked(seen: &Seen, path: &str) -> Option<IpAddr> {
    let start = format!("GET {path} ");
    let is_it = |data: &&Data| {
        data.direction == Direction::Sent && data.bytes.starts_with(start.as_bytes())
    };
    match seen.data().find(is_it).expect("it was seen").endpoints {
        Endpoints::Tcp { remote, .. } => Some(remote.ip()),
        _ => None,
    }
}

/// The address that is tried first does not answer, so that the next is tried at the same time, and
/// has the connection.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_client_that_connects_to_two_addresses_at_once() {
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare_both(&mut python, directory.path());
    let mut live = live(of_pid(python.pid()));
    let script = directory.path().join("race.py");
    std::fs::write(
        &script,
        "
async def race():
    loop = asyncio.get_running_loop()
    loop.getaddrinfo = names
    four, port = await both()
    # Its queue is full: who connects now waits.
    six = socket.socket(socket.AF_INET6)
    six.bind(('::1', port))
    six.listen(0)
    full = [socket.socket(socket.AF_INET6) for _ in range(4)]
    for one in full:
        one.setblocking(False)
        one.connect_ex(('::1', port))
    reader, writer = await asyncio.open_connection(
        'localhost', port, ssl=client, happy_eyeballs_delay=0.05)
    await ask(reader, writer, b'/race')
    await ask(reader, writer, b'/again')
asyncio.run(asyncio.wait_for(race(), 60))
",
    )
    .expect("it is writable");
    python.run(&format!(
        "exec(open({:?}).read())",
        script.display().to_string()
    ));
    let mut seen = Seen::default();
    seen.until(&mut live, "both requests", |seen| {
        seen.has_text("GET /again ")
    });
    let four: IpAddr = [127, 0, 0, 1].into();
    assert_eq!(asked(&seen, "/race"), Some(four));
    assert_eq!(asked(&seen, "/again"), Some(four));
}

/// Two connections of TLS in one thread, to either address: what is sent on one of them, with all at
/// once, is never said to be on the other.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn connections_that_are_opened_at_once_are_not_mixed_up() {
    const ROUNDS: usize = 16;
    let directory = TempDir::new().expect("a directory");
    let mut python = Python::start();
    prepare_both(&mut python, directory.path());
    let mut live = live(of_pid(python.pid()));
    let script = directory.path().join("mix.py");
    std::fs::write(
        &script,
        format!(
            "
async def mix():
    four, port = await both()
    six = await asyncio.start_server(answer, '::1', port, ssl=server)
    for round in range({ROUNDS}):
        opened = [asyncio.open_connection(host, port, ssl=client, server_hostname='localhost')
                  for host in ('127.0.0.1', '::1')]
        opened = await asyncio.gather(*opened)
        # Of one length, so that lengths tell nothing.
        paths = [b'/four/%02d' % round, b'/six6/%02d' % round]
        for _ in range(2):
            await asyncio.gather(*[ask(*one, path) for one, path in zip(opened, paths)])
asyncio.run(asyncio.wait_for(mix(), 60))
"
        ),
    )
    .expect("it is writable");
    python.run(&format!(
        "exec(open({:?}).read())",
        script.display().to_string()
    ));
    let mut seen = Seen::default();
    let last = format!("GET /six6/{:02} ", ROUNDS - 1);
    seen.until(&mut live, "all requests", |seen| seen.has_text(&last));
    let mut known = 0;
    for round in 0..ROUNDS {
        for (kind, address) in [("four", "127.0.0.1"), ("six6", "::1")] {
            if let Some(remote) = asked(&seen, &format!("/{kind}/{round:02}")) {
                let wrong = "wrong, and so never tried again";
                assert_eq!(remote.to_string(), address, "{wrong}: round {round}");
                known += 1;
            }
        }
    }
    println!(
        "the socket of {known} of {} connections is known",
        2 * ROUNDS
    );
    // All, mostly: two wait at once only where the machine is busy.
    assert!(known >= ROUNDS, "{known}");
}
