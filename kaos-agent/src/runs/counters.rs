//! Counters of stage 5.

crate::counters! {
    /// What stage 5 saw, decided, and gave up.
    pub struct RunCounters: "runs" {
        /// Requests seen, of either end.
        requests,
        /// Connections that were not made.
        connect_failures,
        /// Of those two, how many belong to processes without a service.
        without_service,
        /// Requests of OTLP exporters in the processes: not told.
        otlp_requests,
        /// Served requests with an excluded URL: not told.
        excluded_requests,
        /// Exchanges whose span the service does not want (`OTEL_INCLUDE_HTTP_*`).
        spans_not_wanted,
        /// Exchanges that are left to an SDK in the process.
        left_to_sdk,
        /// Processes that were started with automatic instrumentation and exported no spans: they are
        /// told as if there were no SDK.
        sdks_not_shown,
        /// Spans that a sampler did not keep.
        spans_sampled_out,
        /// Spans that were handed on.
        spans,
        /// Requests with a `traceparent` that is not valid.
        invalid_traceparents,
        /// Served requests whose client end is on this node too.
        joined,
        /// Served requests that could not wait for their client end, as too many did.
        joins_given_up,
        /// Calls that no request caused: none was being served.
        calls_without_request,
        /// Calls that were caused by a request which was over by then: linked to it.
        calls_after_request,
        /// Calls of unknown cause: several requests were being served, or one, and the process makes such
        /// calls on its own, too.
        causes_unknown,
        /// Calls whose cause did not become known in time.
        causes_given_up,
        /// Exchanges that were forgotten before their end, as there were too many.
        exchanges_evicted,
        /// MCP sessions that were over, each end by itself.
        mcp_sessions,
        /// MCP sessions that were forgotten before their end, as there were too many.
        mcp_sessions_evicted,
    }
}
