//! What the programs count, per CPU.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Index into the map of counters.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All of them, with the names under which they are shown.
            pub const ALL: &'static [(Counter, &'static str)] = &[$((Counter::$variant, $name),)*];
        }
    };
}

counters! {
    /// Socket operations of selected processes.
    Operations = "kernel.operations",
    /// Bytes that those moved.
    Bytes = "kernel.bytes",
    /// Bytes of them that went into the ring.
    CapturedBytes = "kernel.captured_bytes",
    /// Records that went into the ring.
    Records = "kernel.records",
    /// Records lost because the ring was full.
    RingFull = "kernel.lost.ring_full",
    /// Payload bytes in those.
    RingFullBytes = "kernel.lost.ring_full_bytes",
    /// Bytes passed over because a message exceeded its budget.
    OverBudgetBytes = "kernel.skipped.over_budget_bytes",
    /// Bytes passed over because the operation has no buffer that can be read (`sendfile`,
    /// `splice`, io_uring, 32-bit processes).
    NoBufferBytes = "kernel.skipped.no_buffer_bytes",
    /// Bytes passed over because reading user memory failed.
    UnreadableBytes = "kernel.skipped.unreadable_bytes",
    /// Connections muted because they carry TLS.
    MutedTls = "kernel.muted.tls",
    /// Connections muted because they carry HTTP/2.
    MutedHttp2 = "kernel.muted.http2",
    /// Connections muted because they carry something else.
    MutedOther = "kernel.muted.other",
    /// Reads and writes of TLS connections.
    TlsOperations = "kernel.tls_operations",
    /// TLS calls whose return was not seen: their thread ended in them, or they nest (TLS inside of
    /// TLS, of which the inner connection is seen).
    TlsCallsLost = "kernel.lost.tls_calls",
    /// Connections that could not be entered into their map.
    ConnectionMapFull = "kernel.lost.connection_map_full",
    /// Processes that could not be entered into their map, and so are not captured.
    ProcessMapFull = "kernel.lost.process_map_full",
    /// Python contexts that were made in processes that are followed.
    Contexts = "kernel.contexts",
    /// Pointers of Python processes that led to no context: their operations have no label.
    NoContext = "kernel.contexts_not_found",
    /// Cgroups that could not be entered into their map, and so are not captured.
    CgroupMapFull = "kernel.lost.cgroup_map_full",
}
