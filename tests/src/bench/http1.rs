//! As much of HTTP/1.1 as a load generator and the server behind it need: messages with a
//! `content-length` or without a body. A real client would cost as much as what is measured.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of one connection that were read and not yet consumed.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Reads one message and drops it; false at the end of the stream.
    ///
    /// # Errors
    /// The connection breaks, also in the middle of a message.
    pub async fn next_message(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<bool> {
        loop {
            if let Some(length) = message_length(&self.bytes) {
                self.bytes.drain(..length);
                return Ok(true);
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return if self.bytes.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

/// Length of the message that the bytes begin with, once it is whole.
fn message_length(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let head = bytes.windows(END.len()).position(|window| window == END)? + END.len();
    let length = head + content_length(&bytes[..head]);
    (bytes.len() >= length).then_some(length)
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then_some(value)
        })
        .and_then(|value| str::from_utf8(value).ok()?.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart() {
        let mut stream: &[u8] =
            b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let mut incoming = Incoming::default();
        assert!(incoming.next_message(&mut stream).await.expect("whole"));
        assert!(incoming.next_message(&mut stream).await.expect("whole"));
        assert!(!incoming.next_message(&mut stream).await.expect("the end"));
    }

    #[tokio::test]
    async fn a_cut_message_is_an_error() {
        let mut stream: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        let error = Incoming::default().next_message(&mut stream).await;
        assert_eq!(
            error.expect_err("it is cut").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
