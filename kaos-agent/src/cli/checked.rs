//! Arguments to settings: everything that can be wrong with arguments is found here.

use std::path::Path;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use kaos_ebpf::settings::defaults::MOST_BUDGET_BYTES;

use super::arguments::{
    CaptureArguments, HttpSpansArgument, OutputArgument, OutputArguments, ProtocolArgument,
    RecordArguments, ReplayArguments, RunArguments, SelectionArguments, StatsArgument,
    StatsArguments,
};
use super::exit::UsageError;
use super::quantity::format_bytes;
use crate::identity::service::{BesideSdk, Protocol};
use crate::settings::{
    BesideSdkSettings, CaptureSettings, HttpSpans, LiveSettings, LiveTarget, MAX_RING_BYTES,
    Output, OutputSettings, PodSelection, RecordedContents, RecordingSettings, ReplaySettings,
    Selection, Selectors, StatsFormat,
};

const POLL_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10);

impl RunArguments {
    pub fn check(self) -> Result<LiveSettings, UsageError> {
        Ok(LiveSettings {
            selection: self.selection.check()?,
            capture: self.capture.check()?,
            target: LiveTarget::Spans(self.output.check()?),
            stats: self.stats.check(),
            memory_limit: self.health.memory_limit,
            listen: self.health.listen,
        })
    }
}

impl RecordArguments {
    pub fn check(self) -> Result<LiveSettings, UsageError> {
        let contents = match (self.no_bodies, self.keep_compressed) {
            (true, _) => RecordedContents::HeadsOnly,
            (false, true) => RecordedContents::WithCompressed,
            (false, false) => RecordedContents::Redactable,
        };
        Ok(LiveSettings {
            selection: self.selection.check()?,
            capture: self.capture.check()?,
            target: LiveTarget::Recording(RecordingSettings {
                file: self.file,
                contents,
            }),
            stats: self.stats.check(),
            memory_limit: self.health.memory_limit,
            listen: self.health.listen,
        })
    }
}

impl ReplayArguments {
    pub fn check(self) -> Result<ReplaySettings, UsageError> {
        Ok(ReplaySettings {
            file: self.file,
            output: self.output.check()?,
            max_connections: self.max_connections,
            stats: self.stats.check(),
        })
    }
}

impl SelectionArguments {
    fn check(self) -> Result<Selection, UsageError> {
        for pid in &self.pids {
            check_pid(*pid)?;
        }
        for path in &self.cgroups {
            check_cgroup(path)?;
        }
        self.of_running()
    }

    /// What an agent observes that was started with these, whose processes and cgroups may be gone.
    pub fn of_running(self) -> Result<Selection, UsageError> {
        let is_any_given = !(self.pids.is_empty()
            && self.executables.is_empty()
            && self.ports.is_empty()
            && self.cgroups.is_empty()
            && !self.kubernetes);
        match (self.all, is_any_given) {
            (true, true) => Err(UsageError::new(
                "--all",
                "selects every process already",
                "leave out --all, or --pid, --exe, --port, --cgroup and --kubernetes",
            )),
            (true, false) => Ok(Selection::All),
            (false, false) => Err(UsageError::new(
                "no process is selected",
                "there is no default",
                "give --pid N, --exe GLOB, --port N or --cgroup PATH (each may be repeated), \
                 --kubernetes or --all",
            )),
            (false, true) => Ok(Selection::Matching(Selectors {
                pids: self.pids,
                executables: self
                    .executables
                    .iter()
                    .map(|pattern| check_pattern(pattern))
                    .collect::<Result<_, _>>()?,
                ports: self.ports,
                cgroups: self.cgroups,
                pods: match self.kubernetes {
                    true => Some(PodSelection {
                        node_name: check_node_name(self.node_name)?,
                        init_containers: self.init_containers,
                        resolve_services: self.resolve_services,
                    }),
                    false => None,
                },
            })),
        }
    }
}

fn check_node_name(node_name: Option<String>) -> Result<String, UsageError> {
    let given = node_name.filter(|name| !name.is_empty());
    given.ok_or_else(|| {
        UsageError::new(
            "--kubernetes",
            "the name of this node is not known",
            "give --node-name NAME, or set NODE_NAME from the field spec.nodeName of the agent's pod",
        )
    })
}

fn check_pid(pid: u32) -> Result<(), UsageError> {
    if Path::new("/proc").join(pid.to_string()).exists() {
        return Ok(());
    }
    Err(UsageError::new(
        &format!("--pid {pid}"),
        "there is no such process",
        "give the number of a running process as the host sees it, or use --exe or --port",
    ))
}

fn check_pattern(pattern: &str) -> Result<GlobMatcher, UsageError> {
    let whole_path = match pattern.contains('/') {
        true => pattern.to_owned(),
        false => format!("**/{pattern}"),
    };
    GlobBuilder::new(&whole_path)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| {
            UsageError::new(
                &format!("--exe {pattern}"),
                &error.kind().to_string(),
                "write a pattern such as python3* or /opt/**",
            )
        })
}

fn check_cgroup(path: &Path) -> Result<(), UsageError> {
    if path.is_absolute() && path.join("cgroup.procs").exists() {
        return Ok(());
    }
    Err(UsageError::new(
        &format!("--cgroup {}", path.display()),
        "this is no cgroup",
        "give the absolute path of a directory in the cgroup v2 file system",
    ))
}

impl CaptureArguments {
    fn check(self) -> Result<CaptureSettings, UsageError> {
        if !POLL_INTERVALS.contains(&self.poll_interval) {
            return Err(UsageError::new(
                "--poll-interval",
                "it is too short or too long",
                "give a time from 1ms to 10s",
            ));
        }
        Ok(CaptureSettings {
            ring_bytes: check_ring_bytes(self.ring_bytes)?,
            head_bytes: check_chunk_bytes("--head-bytes", self.head_bytes)?,
            tail_bytes: check_chunk_bytes("--tail-bytes", self.tail_bytes)?,
            poll_interval: self.poll_interval,
            max_connections: self.max_connections,
            uprobes: None,
            contexts: !self.no_contexts,
        })
    }
}

/// The kernel takes only powers of two that are whole pages (`bpf(2)`, `BPF_MAP_TYPE_RINGBUF`).
fn check_ring_bytes(bytes: u64) -> Result<u32, UsageError> {
    let argument = format!("--ring-bytes {}", format_bytes(bytes));
    let smallest = page_bytes();
    let valid = u32::try_from(bytes)
        .ok()
        .filter(|size| *size <= MAX_RING_BYTES);
    let (why, remedy) = match valid {
        None => {
            let largest = format_bytes(u64::from(MAX_RING_BYTES));
            (
                "it is too large".to_owned(),
                format!("give at most {largest}"),
            )
        }
        Some(_) if bytes < smallest => (
            "it is smaller than a page".to_owned(),
            format!("give at least {smallest}"),
        ),
        Some(size) if !size.is_power_of_two() => {
            let above = bytes.next_power_of_two();
            let remedy = format!(
                "give {} or {}",
                format_bytes(above / 2),
                format_bytes(above)
            );
            ("it is not a power of two".to_owned(), remedy)
        }
        Some(size) => return Ok(size),
    };
    Err(UsageError::new(&argument, &why, &remedy))
}

fn check_chunk_bytes(flag: &str, bytes: u64) -> Result<u32, UsageError> {
    match u32::try_from(bytes) {
        Ok(size) if size <= MOST_BUDGET_BYTES => Ok(size),
        _ => Err(UsageError::new(
            &format!("{flag} {}", format_bytes(bytes)),
            "it is too large",
            &format!(
                "give at most {}",
                format_bytes(u64::from(MOST_BUDGET_BYTES))
            ),
        )),
    }
}

fn page_bytes() -> u64 {
    // SAFETY: sysconf only looks a number up.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // It never fails for the page size; 4096 is right on nearly every machine.
    u64::try_from(size).unwrap_or(4096)
}

impl OutputArguments {
    pub fn check(self) -> Result<OutputSettings, UsageError> {
        if let Some(endpoint) = &self.otlp_endpoint {
            check_endpoint(endpoint)?;
        }
        Ok(OutputSettings {
            output: match self.output {
                OutputArgument::Otlp => Output::Otlp,
                OutputArgument::Tree => Output::Tree,
                OutputArgument::Json => Output::Json,
            },
            http_spans: match self.http_spans {
                HttpSpansArgument::All => HttpSpans::All,
                HttpSpansArgument::Configured => HttpSpans::Configured,
            },
            otlp_endpoint: self.otlp_endpoint,
            otlp_protocol: self.otlp_protocol.map(|protocol| match protocol {
                ProtocolArgument::Grpc => Protocol::Grpc,
                ProtocolArgument::HttpProtobuf => Protocol::HttpProtobuf,
                ProtocolArgument::HttpJson => Protocol::HttpJson,
            }),
            beside_sdk: beside_sdk(self.beside_sdk),
        })
    }
}

/// Of several without a name the last counts.
fn beside_sdk(given: Vec<(Option<String>, BesideSdk)>) -> BesideSdkSettings {
    let mut settings = BesideSdkSettings::default();
    for (service, mode) in given {
        match service {
            Some(service) => settings.by_service.push((service, mode)),
            None => settings.of_others = mode,
        }
    }
    settings
}

fn check_endpoint(endpoint: &str) -> Result<(), UsageError> {
    let uri = endpoint.parse::<http::Uri>().ok();
    let is_valid = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_valid {
        return Ok(());
    }
    Err(UsageError::new(
        // The value itself may hold a password.
        "--otlp-endpoint",
        "it is no URL",
        "write it as http://HOST:4317 (gRPC) or http://HOST:4318 (HTTP)",
    ))
}

impl StatsArguments {
    fn check(&self) -> Option<StatsFormat> {
        self.stats.map(|format| match format {
            StatsArgument::Text => StatsFormat::Text,
            StatsArgument::Json => StatsFormat::Json,
        })
    }
}

#[cfg(test)]
#[path = "checked_tests.rs"]
mod tests;
