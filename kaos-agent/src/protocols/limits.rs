//! Bounds of stage 3, and what it counts.

/// Bounds of this stage. Those that are no settings are constants beside what they bound.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a message head. Servers accept 8 to 80 KiB (nginx 32, Node 16, h11 and Go more).
    pub head_bytes: usize,
    /// Requests of one connection that wait for their response. Clients that pipeline at all
    /// send few (curl at most 5, load generators up to 64).
    pub pipelined_requests: usize,
    /// Bytes that both directions of a connection must have carried, since a start line was seen
    /// in either, before it is taken for something else than HTTP: as many as a head may have.
    pub search_bytes: u64,
    /// Bytes of responses that were read before the request that they answer was told to be sent
    /// (two threads of a client), per connection.
    pub held_bytes: usize,
    /// Decoded bytes of one body; of one that is coded several times 1 MiB. Completions are kilobytes, tool results seldom megabytes.
    pub decoded_bytes: u64,
    /// Decoded bytes per encoded byte, after the first MiB. Text compresses 3 to 20 fold, tables
    /// of zeros 1000 fold.
    pub decoded_ratio: u64,
    /// Bodies that are decoded at a time. A decoder takes 50 KiB (gzip, deflate), or 64 KiB of
    /// coded bytes and a window of at most 8 MiB (zstd) or 16 MiB (br), of which only as much is
    /// touched as was decoded.
    pub decoders: usize,
    /// Bytes of one server-sent event. Events of models are below 1 KiB, of tools some 100 KiB.
    pub event_bytes: usize,
    /// Bytes of incomplete heads and events, and of held responses, over all connections.
    pub buffered_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            pipelined_requests: 64,
            search_bytes: 64 << 10,
            held_bytes: 64 << 10,
            decoded_bytes: 32 << 20,
            decoded_ratio: 200,
            decoders: 128,
            event_bytes: 256 << 10,
            buffered_bytes: 16 << 20,
        }
    }
}

crate::counters! {
    /// What stage 3 saw and lost, and the problems that it met.
    pub struct ProtocolCounters: "protocols" {
        /// Requests seen.
        requests,
        /// Final responses seen.
        responses,
        /// Connections ignored because they carry TLS.
        tls,
        /// Connections that carry HTTP/2: of those to collectors the paths are read, others are
        /// ignored.
        http2,
        /// Connections ignored because they carry something else.
        not_http,
        /// Connections ignored after their protocol changed (101, CONNECT).
        upgraded,
        /// Connections ignored because they carry the agent's own exports.
        own_exports,
        /// Connections given up: requests were pipelined without end, or were pipelined when
        /// bytes were lost, so that nobody knows which response answers which request.
        given_up,
        /// Bytes in which a start line was searched and not found.
        searched_bytes,
        /// Gaps in a body whose end is known all the same.
        gaps_in_bodies,
        /// Times the boundaries of messages were lost in one direction of a connection.
        framing_lost,
        /// Responses whose request was not seen.
        unpaired_responses,
        /// Requests whose response was not seen.
        unpaired_requests,
        /// Responses that were read before their request was told to be sent.
        held_responses,
        /// Heads that the connection's end cut.
        cut_heads,
        /// Heads that are longer than the limit, or have too many fields.
        oversized_heads,
        /// Start lines or heads that make no sense in the middle of a connection.
        bad_heads,
        /// Field lines that make no sense and were left out.
        bad_fields,
        /// Field lines folded over several lines.
        folded_fields,
        /// Messages with a bad content-length, or with several that differ.
        bad_lengths,
        /// Messages with both content-length and transfer-encoding: the latter wins.
        conflicting_framing,
        /// Messages with transfer codings that RFC 9112 section 6.1 forbids.
        bad_transfer_codings,
        /// Chunks or trailers of chunked coding that make no sense.
        bad_chunks,
        /// Bodies with a coding that is not known.
        unknown_codings,
        /// Bodies whose decoding ended at a gap.
        undecoded_after_gap,
        /// Bodies whose coded bytes make no sense.
        bad_coded_bodies,
        /// Bodies that decode to more than the limits.
        oversized_bodies,
        /// Bodies that were not decoded because too many others were.
        decoders_exhausted,
        /// Server-sent events that are longer than the limit.
        cut_events,
        /// Messages given up because all connections together buffered too much, or memory is short.
        buffers_exhausted,
    }
}
