//! What can be typed. What it means is checked in `checked`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kaos_ebpf::settings::defaults;

use super::quantity::{parse_bytes, parse_duration};
use crate::identity::service::BesideSdk;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something failed while running
  2  the arguments make no sense
  3  this machine cannot be observed (permission, kernel, BTF): see `kaos-agent doctor`

Environment:
  LOG_LEVEL  TRACE, DEBUG, INFO (default), WARNING or ERROR; logs go to standard error
  NO_COLOR   no colours in trees";

const DOCTOR_EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  degraded: the agent works, but tells less or costs more
  2  the agent cannot work here, or the arguments make no sense";

/// Watches AI agents from the kernel and tells through OpenTelemetry what they did
#[derive(Debug, Parser)]
#[command(name = "kaos-agent", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Observe processes of this machine and export spans and metrics
    #[command(after_help = EXIT_CODES)]
    Run(RunArguments),
    /// Observe processes and write what was seen to a file, secrets masked
    #[command(after_help = EXIT_CODES)]
    Record(RecordArguments),
    /// Turn a recording into spans; needs no privileges
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArguments),
    /// Tell if the agent can work here, and if not, why and what to do
    #[command(after_help = DOCTOR_EXIT_CODES)]
    Doctor(DoctorArguments),
    /// Tell what the agent makes of a process: traced or not, what runs in it, its settings
    #[command(after_help = EXIT_CODES)]
    Explain(ExplainArguments),
    /// Print the version
    Version,
}

impl Command {
    /// The level that is asked for on the command line.
    pub fn log_level(&self) -> Option<&str> {
        match self {
            Self::Run(run) => run.log.log_level.as_deref(),
            Self::Record(record) => record.log.log_level.as_deref(),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub selection: SelectionArguments,
    #[command(flatten)]
    pub output: OutputArguments,
    #[command(flatten)]
    pub capture: CaptureArguments,
    #[command(flatten)]
    pub stats: StatsArguments,
    #[command(flatten)]
    pub health: HealthArguments,
    #[command(flatten)]
    pub log: LogArguments,
}

#[derive(Debug, Args)]
pub struct RecordArguments {
    /// File to write; it must not exist yet
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub file: PathBuf,
    /// Mask all bodies, not only the secrets in them
    #[arg(long, conflicts_with = "keep_compressed")]
    pub no_bodies: bool,
    /// Keep compressed bodies, with whatever secrets they hold
    #[arg(long)]
    pub keep_compressed: bool,
    #[command(flatten)]
    pub selection: SelectionArguments,
    #[command(flatten)]
    pub capture: CaptureArguments,
    #[command(flatten)]
    pub stats: StatsArguments,
    #[command(flatten)]
    pub health: HealthArguments,
    #[command(flatten)]
    pub log: LogArguments,
}

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Recording to read
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub output: OutputArguments,
    /// Connections that are followed at once
    #[arg(long, value_name = "N", default_value_t = defaults::CONNECTIONS,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    #[command(flatten)]
    pub stats: StatsArguments,
}

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Endpoint to try to reach
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The process, by its number as the host sees it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which processes
#[derive(Debug, Args)]
#[command(next_help_heading = "Which processes (repeatable, together with their children)")]
pub struct SelectionArguments {
    /// A process by its number
    #[arg(long = "pid", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Processes whose executable matches; `**` crosses directories, and a pattern without `/` is
    /// compared with the file name
    #[arg(long = "exe", value_name = "GLOB")]
    pub executables: Vec<String>,
    /// Processes that listen on this TCP port
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Processes in this cgroup or below, e.g. /sys/fs/cgroup/system.slice/docker-….scope
    #[arg(long = "cgroup", value_name = "PATH")]
    pub cgroups: Vec<PathBuf>,
    /// Pods of this node with the label kaos.tools/telemetry=enabled
    #[arg(long)]
    pub kubernetes: bool,
    /// Name of this node
    #[arg(long, value_name = "NAME", env = "NODE_NAME", requires = "kubernetes")]
    pub node_name: Option<String>,
    /// Of those pods also the containers that prepare them
    #[arg(long, requires = "kubernetes")]
    pub init_containers: bool,
    /// Watch the Services of the cluster, to tell whom a call to one of their addresses reached
    #[arg(long, requires = "kubernetes")]
    pub resolve_services: bool,
    /// All processes of this machine
    #[arg(long)]
    pub all: bool,
}

/// Where to
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// Form of the output
    #[arg(long, value_enum, default_value_t = OutputArgument::Otlp)]
    pub output: OutputArgument,
    /// Which processes get HTTP spans
    #[arg(long, value_enum, default_value_t = HttpSpansArgument::All)]
    pub http_spans: HttpSpansArgument,
    /// Endpoint for processes whose environment names none
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Protocol of that endpoint
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<ProtocolArgument>,
    /// What is told of processes with an OpenTelemetry SDK inside: `complement` (what the SDK does
    /// not tell; the default), `always` (all) or `never` (nothing); for one service with its name
    /// before it. Repeatable
    #[arg(long, value_name = "[SERVICE=]MODE", value_parser = parse_beside_sdk)]
    pub beside_sdk: Vec<(Option<String>, BesideSdk)>,
}

fn parse_beside_sdk(text: &str) -> Result<(Option<String>, BesideSdk), String> {
    // A service's name may have anything in it.
    let (service, mode) = match text.rsplit_once('=') {
        Some((service, mode)) => (Some(service.to_owned()), mode),
        None => (None, text),
    };
    let mode = match mode {
        "complement" => BesideSdk::Complement,
        "always" => BesideSdk::Always,
        "never" => BesideSdk::Never,
        _ => return Err("write complement, always, never, or SERVICE=always".to_owned()),
    };
    Ok((service, mode))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OutputArgument {
    /// OTLP to where each process's own settings point
    Otlp,
    /// Trace trees for people, on standard output
    Tree,
    /// One OTLP/JSON request per line, on standard output
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum HttpSpansArgument {
    /// All, except those whose own KAOS settings say otherwise
    All,
    /// Those whose environment asks for them (OTEL_INCLUDE_HTTP_SERVER, OTEL_INCLUDE_HTTP_CLIENT)
    Configured,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProtocolArgument {
    #[value(name = "grpc")]
    Grpc,
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    #[value(name = "http/json")]
    HttpJson,
}

/// Kernel side
#[derive(Debug, Args)]
#[command(next_help_heading = "Capture")]
pub struct CaptureArguments {
    /// Size of the ring buffer between kernel and agent: a power of two [default: 8MiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, hide_default_value = true,
          default_value_t = u64::from(defaults::RING_BYTES))]
    pub ring_bytes: u64,
    /// Bytes captured from the beginning of each socket operation, at most 1MiB [default: 64KiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, hide_default_value = true,
          default_value_t = u64::from(defaults::HEAD_BYTES))]
    pub head_bytes: u64,
    /// Bytes captured from the end of larger ones, at most 1MiB [default: 16KiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, hide_default_value = true,
          default_value_t = u64::from(defaults::TAIL_BYTES))]
    pub tail_bytes: u64,
    /// How long events may wait before they are read, from 1ms to 10s [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, hide_default_value = true,
          default_value = "100ms")]
    pub poll_interval: Duration,
    /// Connections that are followed at once
    #[arg(long, value_name = "N", default_value_t = defaults::CONNECTIONS,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Do not look into Python processes for what caused a call: with several requests at once, only
    /// a traceparent tells
    #[arg(long)]
    pub no_contexts: bool,
}

/// The agent about itself
#[derive(Debug, Args)]
#[command(next_help_heading = "Counters")]
pub struct StatsArguments {
    /// Print what was seen and lost, at exit and on SIGUSR1, to standard error
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "text")]
    pub stats: Option<StatsArgument>,
}

/// What others may ask the agent
#[derive(Debug, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthArguments {
    /// Serve /healthz, /readyz and /metrics there, e.g. 0.0.0.0:9464
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Resident memory near which load is shed: from 70 % of it new connections are not followed,
    /// from 80 % messages that wait are given up, from 90 % spans that wait; 0: never [default: the
    /// limit of the container]
    #[arg(long, value_name = "BYTES", env = "MEMORY_LIMIT", value_parser = parse_bytes,
          hide_env_values = true)]
    pub memory_limit: Option<u64>,
}

/// How it is set up
#[derive(Debug, Args)]
#[command(next_help_heading = "Set-up")]
pub struct LogArguments {
    /// File with further options, one per line as they are typed here; `#` begins a comment. On
    /// SIGHUP, or when it changes, it is read again, and --log-level and --memory-limit are applied
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// TRACE, DEBUG, INFO, WARNING or ERROR [default: LOG_LEVEL, or INFO]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StatsArgument {
    /// A line per counter
    Text,
    /// One JSON object on a line
    Json,
}

#[cfg(test)]
mod tests {
    use crate::settings::DEFAULT_POLL_INTERVAL;
    use clap::CommandFactory;

    use super::*;

    /// Commands of the agent in the documentation: lines of their own, without comments and without
    /// what is before them, and code in sentences and tables.
    fn documented() -> Vec<String> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = vec![root.join("README.md"), root.join("charts/kaos/README.md")];
        let docs = std::fs::read_dir(root.join("docs")).expect("there is documentation");
        files.extend(docs.map(|entry| entry.expect("a file").path()));
        let mut commands = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(file).expect("it can be read");
            let lines = text.lines().filter_map(|line| line.split(" # ").next());
            let code = text.split('`').skip(1).step_by(2);
            commands.extend(lines.chain(code).filter_map(|command| {
                let command = command.trim().replace('\'', "");
                let command = command
                    .trim_start_matches("sudo ")
                    .trim_start_matches("target/release/");
                command
                    .starts_with("kaos-agent ")
                    .then(|| command.to_owned())
            }));
        }
        commands
    }

    #[test]
    fn the_agent_takes_what_the_documentation_says() {
        let commands = documented();
        assert!(commands.len() >= 12, "{commands:?}");
        for command in commands {
            // Help and the version are errors that go to standard output.
            let parsed = Arguments::try_parse_from(command.split_whitespace());
            let is_refused = parsed.is_err_and(|error| error.use_stderr());
            assert!(!is_refused, "{command}");
        }
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        assert_eq!(parse_duration("100ms"), Ok(DEFAULT_POLL_INTERVAL));
    }
}
