//! The processes that are measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::sink::Sink;
use super::tls::Tls;
use super::upstream::Upstream;
use crate::process::{Process, free_port};
use crate::workloads::{directory, python};

/// Calls that the FastAPI workload makes for each request.
pub const CALLS: u64 = 3;
/// Ends of exchanges in the process of the FastAPI workload for each request that it serves.
pub const ENDS_PER_REQUEST: u64 = 1 + CALLS;

/// How long spans wait for others at most, a fifth of the SDKs' default: a window of a benchmark
/// waits for its own.
pub const DELAY: Duration = Duration::from_secs(1);

/// A server and where it listens.
pub struct Server {
    /// The process, which is a single one.
    pub process: Process,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// What it speaks, if not plain text.
    pub tls: Option<Arc<Tls>>,
    /// Files that it needs for as long as it runs.
    _files: Option<TempDir>,
}

/// The FastAPI workload by itself.
pub fn fastapi(sink: &Sink, upstream: &Upstream) -> Server {
    start_fastapi(sink, upstream, None, &[])
}

/// The FastAPI workload by itself, over TLS on both sides.
pub fn fastapi_over_tls(sink: &Sink, upstream: &Upstream, tls: &Arc<Tls>) -> Server {
    start_fastapi(sink, upstream, Some(Arc::clone(tls)), &[])
}

/// The FastAPI workload with the OpenTelemetry SDK and its instrumentations in its process.
pub fn fastapi_with_sdk(sink: &Sink, upstream: &Upstream) -> Server {
    start_fastapi(sink, upstream, None, &["sdk"])
}

fn start_fastapi(
    sink: &Sink,
    upstream: &Upstream,
    tls: Option<Arc<Tls>>,
    arguments: &[&str],
) -> Server {
    let port = free_port();
    let mut command = Command::new(python());
    if let Some(tls) = &tls {
        tls.certificate.hand_to(&mut command);
    }
    export_to(sink, DELAY, &mut command)
        .arg(directory().join("python/fan_out.py"))
        .args([port.to_string(), upstream.url(), CALLS.to_string()])
        .args(arguments);
    let process = Process::spawn("fan_out.py", &mut command);
    process.wait_for_line("that it listens", |line| line.contains("running on http"));
    Server {
        process,
        port,
        tls,
        _files: None,
    }
}

/// nginx, which answers every request with three bytes. Its spans wait so long for others at most.
pub fn nginx(sink: &Sink, delay: Duration) -> Server {
    let port = free_port();
    let files = TempDir::new().expect("a temporary directory");
    let template = fs::read_to_string(directory().join("nginx_flood.conf")).expect("it is there");
    let settings = template
        .replace("{port}", &port.to_string())
        .replace("{directory}", &files.path().to_string_lossy());
    let settings_file = files.path().join("nginx.conf");
    fs::write(&settings_file, settings).expect("it is writable");
    let mut command = Command::new(Path::new("/usr/sbin/nginx"));
    export_to(sink, delay, &mut command)
        .arg("-c")
        .arg(settings_file);
    let process = Process::spawn("nginx", &mut command);
    // The last that it says in a single process; it listens by then.
    process.wait_for_line("that it listens", |line| line.contains("getrlimit"));
    Server {
        process,
        port,
        tls: None,
        _files: Some(files),
    }
}

fn export_to<'a>(sink: &Sink, delay: Duration, command: &'a mut Command) -> &'a mut Command {
    command
        .env("OTEL_SERVICE_NAME", "bench")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_BSP_SCHEDULE_DELAY", delay.as_millis().to_string())
}
