//! What the commands ask of the pipeline, checked and with every default filled in.
//!
//! The command line (`cli`) makes these; nothing below it looks at arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobMatcher;
use kaos_ebpf::settings::defaults;

use crate::capture::uprobes::links::Attachment;
use crate::identity::service::{BesideSdk, Protocol};

/// Observe this machine.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// Which processes.
    pub selection: Selection,
    /// How the kernel side is set up.
    pub capture: CaptureSettings,
    /// What becomes of what was seen.
    pub target: LiveTarget,
    /// Print all counters at exit and on SIGUSR1, in this format.
    pub stats: Option<StatsFormat>,
    /// Resident memory, in bytes, near which load is shed; 0 for none, `None` for the container's.
    pub memory_limit: Option<u64>,
    /// Where to serve `/healthz`, `/readyz` and `/metrics`.
    pub listen: Option<SocketAddr>,
}

/// How settings are read again.
pub struct Reload {
    /// The files that they stand in.
    pub files: Vec<PathBuf>,
    /// Reads them and applies what it can; what the pipeline has to apply is returned: the memory
    /// limit. An error says why nothing was applied.
    pub read: Box<dyn FnMut() -> Result<Option<u64>, String> + Send>,
}

/// What becomes of what was seen.
#[derive(Debug, Clone)]
pub enum LiveTarget {
    /// Spans.
    Spans(OutputSettings),
    /// A recording, for [`ReplaySettings`].
    Recording(RecordingSettings),
}

/// Run a recording through the pipeline.
#[derive(Debug, Clone)]
pub struct ReplaySettings {
    /// The recording.
    pub file: PathBuf,
    /// Where the spans go.
    pub output: OutputSettings,
    /// Connections that are followed at once.
    pub max_connections: u32,
    /// Print all counters at the end, in this format.
    pub stats: Option<StatsFormat>,
}

/// Which processes are observed. Children are included, and so are processes that start later.
#[derive(Debug, Clone)]
pub enum Selection {
    /// All of this machine, except the agent itself.
    All,
    /// Those that match at least one selector.
    Matching(Selectors),
}

/// Selectors of processes; at least one is given.
#[derive(Debug, Clone, Default)]
pub struct Selectors {
    /// Processes by number.
    pub pids: Vec<u32>,
    /// Processes whose executable's path matches.
    pub executables: Vec<GlobMatcher>,
    /// Processes that listen on one of these TCP ports.
    pub ports: Vec<u16>,
    /// Processes in these cgroups or below: absolute paths in the cgroup file system.
    pub cgroups: Vec<PathBuf>,
    /// Pods of a node that are labelled for it, as the API server tells.
    pub pods: Option<PodSelection>,
}

/// Which pods are observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSelection {
    /// Those of this node.
    pub node_name: String,
    /// Containers that prepare a pod, too.
    pub init_containers: bool,
    /// The cluster's Services are watched, so that calls to them can be told by their names.
    pub resolve_services: bool,
}

/// How the kernel side is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Size of the ring buffer: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Bytes that are captured from the beginning of each message.
    pub head_bytes: u32,
    /// Bytes that are captured from the end of each socket operation that the head did not reach.
    pub tail_bytes: u32,
    /// How long data may wait in the ring, at most, before it is read.
    pub poll_interval: Duration,
    /// Connections that are followed at once, in the kernel and in the pipeline.
    pub max_connections: u32,
    /// How programs are attached to functions of processes; `None` for the best that the kernel has.
    pub uprobes: Option<Attachment>,
    /// Whether Python processes are looked into for what caused a call.
    pub contexts: bool,
}

/// Largest ring buffer: more could only delay the news that the reader is too slow.
pub const MAX_RING_BYTES: u32 = 1 << 30;
/// Reading ten times a second costs nothing and delays no trace that a person waits for.
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_millis(100);
impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            ring_bytes: defaults::RING_BYTES,
            head_bytes: defaults::HEAD_BYTES,
            tail_bytes: defaults::TAIL_BYTES,
            poll_interval: DEFAULT_POLL_INTERVAL,
            max_connections: defaults::CONNECTIONS,
            uprobes: None,
            contexts: true,
        }
    }
}

/// Where spans go, and which HTTP spans there are.
#[derive(Debug, Clone)]
pub struct OutputSettings {
    /// Form and destination.
    pub output: Output,
    /// Which processes get HTTP spans.
    pub http_spans: HttpSpans,
    /// Endpoint for services whose own environment names none.
    pub otlp_endpoint: Option<String>,
    /// Protocol of that endpoint.
    pub otlp_protocol: Option<Protocol>,
    /// What is told of processes with an OpenTelemetry SDK inside.
    pub beside_sdk: BesideSdkSettings,
}

/// What is told of processes with an OpenTelemetry SDK inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BesideSdkSettings {
    /// Of all services that are not named.
    pub of_others: BesideSdk,
    /// By the name of the service; the last one counts.
    pub by_service: Vec<(String, BesideSdk)>,
}

impl BesideSdkSettings {
    /// That of a service.
    #[must_use]
    pub fn of(&self, service: &str) -> BesideSdk {
        let mut named = self.by_service.iter().rev();
        let own = named.find(|(name, _)| name == service);
        own.map_or(self.of_others, |(_, mode)| *mode)
    }
}

/// Form and destination of the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// OTLP, to each service's own destination.
    Otlp,
    /// A readable trace tree on standard output.
    Tree,
    /// One OTLP/JSON request per line on standard output.
    Json,
}

/// Which processes get HTTP spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpSpans {
    /// Those with KAOS settings follow them, all others get both kinds.
    All,
    /// Only those whose settings ask for them (`OTEL_INCLUDE_HTTP_SERVER`, `…_CLIENT`).
    Configured,
}

/// Form of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsFormat {
    /// `name value` lines.
    Text,
    /// One JSON object on a line.
    Json,
}

/// A recording to be written.
#[derive(Debug, Clone)]
pub struct RecordingSettings {
    /// The file; it must not exist yet.
    pub file: PathBuf,
    /// Which contents are kept.
    pub contents: RecordedContents,
}

/// Which message contents a recording keeps. Secrets are masked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedContents {
    /// Bodies in which secrets can be found: compressed ones are masked whole.
    Redactable,
    /// Compressed bodies too, with whatever secrets they hold.
    WithCompressed,
    /// No bodies: all are masked whole.
    HeadsOnly,
}
