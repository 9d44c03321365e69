//! What was measured, as JSON.

use serde::Serialize;

/// All results. The keys are what others read: they do not change.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Cost of the agent beside a FastAPI service, against no telemetry and against the SDK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Overheads>,
    /// What it takes without loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// Speed of the pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// What it costs to understand bodies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub semantics: Vec<Semantics>,
    /// What it costs to know the causes of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causality: Option<Causality>,
    /// Time to the first span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
}

/// The benchmark `overhead`, with or without `--tls`.
#[derive(Debug, Default, Serialize)]
pub struct Overheads {
    /// In plain text.
    #[serde(flatten)]
    pub plain: Option<Overhead>,
    /// Over TLS, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<OverheadTls>,
}

/// Medians of the benchmark `overhead`.
#[derive(Debug, Serialize)]
pub struct Overhead {
    /// Without telemetry.
    pub bare: Variant,
    /// With the agent.
    pub agent: AgentVariant,
    /// With the SDK in the process.
    pub sdk: Variant,
}

/// Medians of the benchmark `overhead --tls`.
#[derive(Debug, Serialize)]
pub struct OverheadTls {
    /// Without telemetry, over TLS.
    pub bare: Variant,
    /// With the agent, over TLS.
    pub agent: Variant,
    /// What the agent adds over TLS, as in [`AgentVariant`].
    pub added_cpu_us_per_exchange: f64,
    /// What it adds to the same service in plain text, in the same run.
    pub plain_added_cpu_us_per_exchange: f64,
    /// What TLS costs it on top of the plain cost.
    pub on_top_cpu_us_per_exchange: f64,
    /// The same by the accounts of the agent's process and of its programs in the kernel, without the
    /// traps that lead to uprobes.
    pub on_top_by_account_us_per_exchange: f64,
    /// Times that a uprobe was hit, per end.
    pub traps_per_exchange: f64,
}

/// Medians of one variant.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// CPU time of the service (and of the agent) per end of an exchange, µs.
    pub cpu_us_per_exchange: f64,
    /// Requests per second, flat out.
    pub rps: f64,
    /// Median latency at the fixed rate, µs.
    pub p50_us: f64,
    /// 99th percentile of it, µs.
    pub p99_us: f64,
}

/// Medians of the agent's variant.
#[derive(Debug, Serialize)]
pub struct AgentVariant {
    /// As in every variant.
    #[serde(flatten)]
    pub variant: Variant,
    /// CPU time beyond the bare variant's per end of an exchange that was seen, µs: the agent's
    /// own, and that of its hooks, which run in the time of the service.
    pub added_cpu_us_per_exchange: f64,
    /// What of that is in the agent's process.
    pub added_in_agent_us_per_exchange: f64,
    /// What of that is in its programs in the kernel.
    pub added_in_hooks_us_per_exchange: f64,
    /// Requests per second, as a share of the bare variant's.
    pub rps_ratio: f64,
    /// Resident memory of the agent, 10⁶ bytes.
    pub rss_mb: f64,
}

/// Results of the benchmark `flood`.
#[derive(Debug, Serialize)]
pub struct Flood {
    /// Requests per second of the fastest step in which nothing was lost; 0 where each lost some.
    pub max_lossless_rps: f64,
    /// Exchanges lost in that step (or in the first, where each lost some).
    pub lost: u64,
    /// Exchanges seen in it.
    pub seen: u64,
}

/// Results of the benchmark `semantics` for one dialect.
#[derive(Debug, Serialize)]
pub struct Semantics {
    /// Which.
    pub dialect: &'static str,
    /// CPU time per exchange of 4 KiB beyond that of reading its HTTP, µs.
    pub added_us_per_exchange: f64,
    /// Bodies per second of CPU time, HTTP included, 10⁶ bytes.
    pub mb_per_s: f64,
}

/// Results of the benchmark `replay`.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// Payload of chats per second of CPU time, 10⁶ bytes.
    pub mb_per_s: f64,
    /// Small exchanges per second of CPU time.
    pub exchanges_per_s: f64,
}

/// Medians of the benchmark `causality`. CPU time is that of service and agent together, µs.
#[derive(Debug, Serialize)]
pub struct Causality {
    /// Without an agent.
    pub bare_cpu_us_per_request: f64,
    /// With an agent that does not look into Python.
    pub without_contexts_cpu_us_per_request: f64,
    /// With one that does.
    pub with_contexts_cpu_us_per_request: f64,
    /// The difference of these two, window by window.
    pub added_us_per_request: f64,
    /// What of that is in the agent's process.
    pub added_in_agent_us_per_request: f64,
    /// What of that is in the agent's programs in the kernel.
    pub added_in_hooks_us_per_request: f64,
    /// Times that a uprobe was hit: what the trap itself costs is in neither.
    pub traps_per_request: f64,
    /// What one copy of a context costs.
    pub copies: Copies,
    /// Calls that were told as their request's.
    pub right: usize,
    /// Calls that were told without a cause.
    pub unknown: usize,
    /// Calls that were told as another request's.
    pub wrong: usize,
}

/// What a copy of a context costs, medians, ns of CPU time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Copies {
    /// Without an agent.
    pub bare_ns: f64,
    /// In a process that is not traced, with the interpreter of one that is: the probe alone.
    pub beside_ns: f64,
    /// In one that is followed.
    pub followed_ns: f64,
}

/// Results of the benchmark `start`.
#[derive(Debug, Serialize)]
pub struct Start {
    /// From the start of the agent's process to the arrival of its first span, ms.
    pub first_span_ms: f64,
}
