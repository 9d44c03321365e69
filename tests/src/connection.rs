//! A connection that the test itself holds open, to decide when what is sent on it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::DEADLINE;
use crate::workloads::Server;

/// One kept connection to a server.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Panics
    /// The server does not accept it.
    #[must_use]
    pub fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("the server listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("the deadline is not zero");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request and reads its response. Returns "METHOD PATH STATUS BYTES".
    ///
    /// # Panics
    /// As [`send`](Self::send) and [`receive`](Self::receive).
    pub fn exchange(&mut self, method: &str, path: &str, body: &str) -> String {
        self.send(method, path, body);
        format!("{method} {path} {}", self.receive())
    }

    /// Sends a request.
    ///
    /// # Panics
    /// The connection is broken.
    pub fn send(&mut self, method: &str, path: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the connection holds");
    }

    /// Reads a response with a `content-length`. Returns "STATUS BYTES".
    ///
    /// # Panics
    /// There is none.
    pub fn receive(&mut self) -> String {
        let mut status = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a response comes");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(start) = line.strip_prefix("http/1.1 ") {
                status = start.chars().take(3).collect();
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the body comes");
        format!("{status} {length}")
    }

    /// Reads until the server has closed the connection, in whatever way.
    pub fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        let _closed_or_reset = self.stream.read_to_end(&mut rest);
    }
}
