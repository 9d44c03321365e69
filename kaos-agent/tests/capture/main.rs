//! The kernel hooks on real sockets. These tests need root and a kernel from 6.3 on.

mod connections;
mod limits;
mod operations;
mod pods;
mod privileges;
mod selection;
#[path = "../../../tests/src/skip.rs"]
mod skip;
mod support;
mod tls;
mod tls_changes;
mod tls_sockets;
