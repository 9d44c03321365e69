//! The instruments that the agent exports. Names, units and boundaries are those of the semantic
//! conventions; `kaos.*` are KAOS's own, in milliseconds with the SDKs' default boundaries.

use opentelemetry_semantic_conventions::metric;

use super::names;

/// One instrument.
#[derive(Debug)]
pub struct Instrument {
    /// Name.
    pub name: &'static str,
    /// Unit, as in UCUM.
    pub unit: &'static str,
    /// What it tells.
    pub description: &'static str,
    /// How values are put together.
    pub kind: InstrumentKind,
}

/// How values are put together.
#[derive(Debug, Clone, Copy)]
pub enum InstrumentKind {
    /// They are added.
    Counter,
    /// They are counted in buckets with these explicit boundaries.
    Histogram(&'static [f64]),
}

impl Instrument {
    const fn seconds(
        name: &'static str,
        description: &'static str,
        boundaries: &'static [f64],
    ) -> Self {
        Self {
            name,
            unit: "s",
            description,
            kind: InstrumentKind::Histogram(boundaries),
        }
    }

    const fn milliseconds(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            unit: "ms",
            description,
            kind: InstrumentKind::Histogram(DEFAULT_BOUNDARIES),
        }
    }

    const fn count(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            unit: "1",
            description,
            kind: InstrumentKind::Counter,
        }
    }
}

/// The SDKs' default.
const DEFAULT_BOUNDARIES: &[f64] = &[
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
];

const HTTP_BOUNDARIES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

const GEN_AI_BOUNDARIES: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

const TOKEN_BOUNDARIES: &[f64] = &[
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

const FIRST_TOKEN_BOUNDARIES: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

const OUTPUT_TOKEN_BOUNDARIES: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];

const MCP_BOUNDARIES: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// `http.server.request.duration`
pub static HTTP_SERVER: Instrument = Instrument::seconds(
    metric::HTTP_SERVER_REQUEST_DURATION,
    "Duration of HTTP server requests.",
    HTTP_BOUNDARIES,
);

/// `http.client.request.duration`
pub static HTTP_CLIENT: Instrument = Instrument::seconds(
    metric::HTTP_CLIENT_REQUEST_DURATION,
    "Duration of HTTP client requests.",
    HTTP_BOUNDARIES,
);

/// `gen_ai.client.operation.duration`
pub static MODEL_CLIENT: Instrument = Instrument::seconds(
    names::GEN_AI_CLIENT_OPERATION_DURATION,
    "GenAI operation duration.",
    GEN_AI_BOUNDARIES,
);

/// `gen_ai.client.operation.time_to_first_chunk`
pub static FIRST_CHUNK: Instrument = Instrument::seconds(
    names::GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK,
    "Time to receive the first chunk of a streamed answer.",
    GEN_AI_BOUNDARIES,
);

/// `gen_ai.client.operation.time_per_output_chunk`
pub static OUTPUT_CHUNK: Instrument = Instrument::seconds(
    names::GEN_AI_CLIENT_OPERATION_TIME_PER_OUTPUT_CHUNK,
    "Time per chunk of a streamed answer after the first.",
    GEN_AI_BOUNDARIES,
);

/// `gen_ai.client.token.usage`
pub static TOKENS: Instrument = Instrument {
    name: names::GEN_AI_CLIENT_TOKEN_USAGE,
    unit: "{token}",
    description: "Number of input and output tokens used.",
    kind: InstrumentKind::Histogram(TOKEN_BOUNDARIES),
};

/// `gen_ai.server.request.duration`
pub static MODEL_SERVER: Instrument = Instrument::seconds(
    names::GEN_AI_SERVER_REQUEST_DURATION,
    "Generative AI server request duration such as time-to-last byte or last output token.",
    GEN_AI_BOUNDARIES,
);

/// `gen_ai.server.time_to_first_token`
pub static FIRST_TOKEN: Instrument = Instrument::seconds(
    names::GEN_AI_SERVER_TIME_TO_FIRST_TOKEN,
    "Time to generate first token for successful responses.",
    FIRST_TOKEN_BOUNDARIES,
);

/// `gen_ai.server.time_per_output_token`
pub static OUTPUT_TOKEN: Instrument = Instrument::seconds(
    names::GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN,
    "Time per output token generated after the first token for successful responses.",
    OUTPUT_TOKEN_BOUNDARIES,
);

/// `mcp.client.operation.duration`
pub static MCP_CLIENT: Instrument = Instrument::seconds(
    names::MCP_CLIENT_OPERATION_DURATION,
    "Duration of the MCP request or notification as observed by the sender.",
    MCP_BOUNDARIES,
);

/// `mcp.server.operation.duration`
pub static MCP_SERVER: Instrument = Instrument::seconds(
    names::MCP_SERVER_OPERATION_DURATION,
    "Duration of the MCP request or notification as observed by the receiver.",
    MCP_BOUNDARIES,
);

/// `mcp.client.session.duration`
pub static MCP_CLIENT_SESSION: Instrument = Instrument::seconds(
    names::MCP_CLIENT_SESSION_DURATION,
    "Duration of the MCP session as observed on the MCP client.",
    MCP_BOUNDARIES,
);

/// `mcp.server.session.duration`
pub static MCP_SERVER_SESSION: Instrument = Instrument::seconds(
    names::MCP_SERVER_SESSION_DURATION,
    "Duration of the MCP session as observed on the MCP server.",
    MCP_BOUNDARIES,
);

/// A counter of KAOS and the durations that belong to it.
#[derive(Debug)]
pub struct Counted {
    /// How many.
    pub count: Instrument,
    /// How long each took.
    pub duration: Instrument,
}

/// `kaos.requests`, `kaos.request.duration`
pub static REQUESTS: Counted = Counted {
    count: Instrument::count("kaos.requests", "Requests that an agent was given."),
    duration: Instrument::milliseconds(
        "kaos.request.duration",
        "Duration of the requests that an agent was given.",
    ),
};

/// `kaos.model.calls`, `kaos.model.duration`
pub static MODEL_CALLS: Counted = Counted {
    count: Instrument::count("kaos.model.calls", "Calls of models by an agent."),
    duration: Instrument::milliseconds(
        "kaos.model.duration",
        "Duration of the calls of models by an agent.",
    ),
};

/// `kaos.tool.calls`, `kaos.tool.duration`
pub static TOOL_CALLS: Counted = Counted {
    count: Instrument::count("kaos.tool.calls", "Calls of tools by an agent."),
    duration: Instrument::milliseconds(
        "kaos.tool.duration",
        "Duration of the calls of tools by an agent.",
    ),
};

/// `kaos.delegations`, `kaos.delegation.duration`
pub static DELEGATIONS: Counted = Counted {
    count: Instrument::count("kaos.delegations", "Work that an agent gave to another."),
    duration: Instrument::milliseconds(
        "kaos.delegation.duration",
        "Duration of the work that an agent gave to another.",
    ),
};
