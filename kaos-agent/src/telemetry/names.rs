//! Names of the conventions for GenAI and MCP. They have moved to a repository of their own, and the
//! crate of the conventions has only the last state before that, as deprecated.

/// `gen_ai.agent.name`
pub(super) const GEN_AI_AGENT_NAME: &str = "gen_ai.agent.name";
/// `gen_ai.client.operation.duration`
pub(super) const GEN_AI_CLIENT_OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
/// `gen_ai.client.operation.time_per_output_chunk`
pub(super) const GEN_AI_CLIENT_OPERATION_TIME_PER_OUTPUT_CHUNK: &str =
    "gen_ai.client.operation.time_per_output_chunk";
/// `gen_ai.client.operation.time_to_first_chunk`
pub(super) const GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK: &str =
    "gen_ai.client.operation.time_to_first_chunk";
/// `gen_ai.client.token.usage`
pub(super) const GEN_AI_CLIENT_TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// `gen_ai.conversation.id`
pub(super) const GEN_AI_CONVERSATION_ID: &str = "gen_ai.conversation.id";
/// `gen_ai.operation.name`
pub(super) const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// `gen_ai.provider.name`
pub(super) const GEN_AI_PROVIDER_NAME: &str = "gen_ai.provider.name";
/// `gen_ai.request.choice.count`
pub(super) const GEN_AI_REQUEST_CHOICE_COUNT: &str = "gen_ai.request.choice.count";
/// `gen_ai.request.frequency_penalty`
pub(super) const GEN_AI_REQUEST_FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
/// `gen_ai.request.max_tokens`
pub(super) const GEN_AI_REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// `gen_ai.request.model`
pub(super) const GEN_AI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// `gen_ai.request.presence_penalty`
pub(super) const GEN_AI_REQUEST_PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
/// `gen_ai.request.seed`
pub(super) const GEN_AI_REQUEST_SEED: &str = "gen_ai.request.seed";
/// `gen_ai.request.stream`
pub(super) const GEN_AI_REQUEST_STREAM: &str = "gen_ai.request.stream";
/// `gen_ai.request.temperature`
pub(super) const GEN_AI_REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
/// `gen_ai.request.top_k`
pub(super) const GEN_AI_REQUEST_TOP_K: &str = "gen_ai.request.top_k";
/// `gen_ai.request.top_p`
pub(super) const GEN_AI_REQUEST_TOP_P: &str = "gen_ai.request.top_p";
/// `gen_ai.response.finish_reasons`
pub(super) const GEN_AI_RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// `gen_ai.response.id`
pub(super) const GEN_AI_RESPONSE_ID: &str = "gen_ai.response.id";
/// `gen_ai.response.model`
pub(super) const GEN_AI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// `gen_ai.response.time_to_first_chunk`
pub(super) const GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// `gen_ai.server.request.duration`
pub(super) const GEN_AI_SERVER_REQUEST_DURATION: &str = "gen_ai.server.request.duration";
/// `gen_ai.server.time_per_output_token`
pub(super) const GEN_AI_SERVER_TIME_PER_OUTPUT_TOKEN: &str = "gen_ai.server.time_per_output_token";
/// `gen_ai.server.time_to_first_token`
pub(super) const GEN_AI_SERVER_TIME_TO_FIRST_TOKEN: &str = "gen_ai.server.time_to_first_token";
/// `gen_ai.token.type`
pub(super) const GEN_AI_TOKEN_TYPE: &str = "gen_ai.token.type";
/// `gen_ai.tool.call.id`
pub(super) const GEN_AI_TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
/// `gen_ai.tool.name`
pub(super) const GEN_AI_TOOL_NAME: &str = "gen_ai.tool.name";
/// `gen_ai.usage.cache_creation.input_tokens`
pub(super) const GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: &str =
    "gen_ai.usage.cache_creation.input_tokens";
/// `gen_ai.usage.cache_read.input_tokens`
pub(super) const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str =
    "gen_ai.usage.cache_read.input_tokens";
/// `gen_ai.usage.input_tokens`
pub(super) const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// `gen_ai.usage.output_tokens`
pub(super) const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// `gen_ai.usage.reasoning.output_tokens`
pub(super) const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: &str =
    "gen_ai.usage.reasoning.output_tokens";
/// `jsonrpc.request.id`
pub(super) const JSONRPC_REQUEST_ID: &str = "jsonrpc.request.id";
/// `mcp.client.operation.duration`
pub(super) const MCP_CLIENT_OPERATION_DURATION: &str = "mcp.client.operation.duration";
/// `mcp.client.session.duration`
pub(super) const MCP_CLIENT_SESSION_DURATION: &str = "mcp.client.session.duration";
/// `mcp.method.name`
pub(super) const MCP_METHOD_NAME: &str = "mcp.method.name";
/// `mcp.protocol.version`
pub(super) const MCP_PROTOCOL_VERSION: &str = "mcp.protocol.version";
/// `mcp.server.operation.duration`
pub(super) const MCP_SERVER_OPERATION_DURATION: &str = "mcp.server.operation.duration";
/// `mcp.server.session.duration`
pub(super) const MCP_SERVER_SESSION_DURATION: &str = "mcp.server.session.duration";
/// `mcp.session.id`
pub(super) const MCP_SESSION_ID: &str = "mcp.session.id";
