//! nginx, whose clients and upstreams are told alike over TLS and in plain text.

use crate::agent::Agent;
use crate::receiver::Receiver;
use crate::tree::{render, told};
use crate::workloads::{Certificate, Need, Workloads, lacks};

/// Asks an nginx for a file, for something that is not there, and for something that its upstream
/// has, in plain text or over TLS on both sides. What is told must be what curl saw.
///
/// nginx sends files by `sendfile`, whose bytes nobody can see, and speaks HTTP/1.0 to upstreams.
///
/// # Panics
/// It is not told so.
pub fn is_told(certificate: Option<&Certificate>) {
    if lacks(&[Need::Program("nginx"), Need::Program("curl"), Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = match certificate {
        Some(certificate) => Workloads::of(&receiver).over(certificate),
        None => Workloads::of(&receiver),
    };
    let upstream = workloads.python_server("upstream", "h11");
    let file = vec![b'x'; 300_000];
    let nginx = workloads.nginx("nginx", &upstream, &[("file-1", &file)]);
    let agent = Agent::watch(&[&nginx.process, &upstream.process], &[]);

    let paths = ["/file-1", "/status/404/2", "/proxy/stream/3"];
    let urls = paths.map(|path| nginx.url(path));
    let seen = workloads.curl("not watched", &[], &urls);
    receiver.wait_for("five spans", |spans| spans.len() >= 5);
    agent.stop();

    let spans = receiver.received().spans;
    assert_eq!(told(&spans, "nginx", "SERVER"), seen);
    assert_eq!(
        render(&spans),
        "nginx SERVER GET /file-1 200\n\
         nginx SERVER GET /proxy/stream/3 200\n  \
           nginx CLIENT GET /stream/3 200\n    \
             upstream SERVER GET /stream/3 200\n\
         nginx SERVER GET /status/404/2 404\n"
    );
}
