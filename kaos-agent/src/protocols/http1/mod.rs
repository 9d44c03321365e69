//! HTTP/1.0 and HTTP/1.1 as a bystander sees it (RFC 9112): both directions of a connection,
//! cut anywhere, with bytes missing.

mod chunked;
pub mod connection;
mod framing;
mod half;
mod head;
mod head_buffer;
mod heads;
mod held;
mod loss;
mod message;
