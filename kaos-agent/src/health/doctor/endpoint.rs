//! Can the OTLP endpoint be reached?

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Check;

/// Longer than any connection within a cluster takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

const NAME: &str = "OTLP endpoint";

/// Tries a TCP connection to the endpoint.
#[must_use]
pub fn check_endpoint(endpoint: Option<&str>) -> Check {
    let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
        return Check::ok(NAME, "none given: each process's own environment decides");
    };
    let Some((host, port)) = host_and_port(endpoint) else {
        return Check::fail(
            NAME,
            "it is no URL",
            "write it as http://HOST:4317 (gRPC) or http://HOST:4318 (HTTP)",
        );
    };
    match connect(&host, port) {
        Ok(()) => Check::ok(NAME, format!("{host}:{port} accepts connections")),
        Err(error) => Check::warn(
            NAME,
            format!("{host}:{port}: {error}"),
            "start the collector there, or name another endpoint (--otlp-endpoint, \
             OTEL_EXPORTER_OTLP_ENDPOINT)",
        ),
    }
}

fn connect(host: &str, port: u16) -> std::io::Result<()> {
    let mut last_error = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| std::io::Error::other("the name has no address")))
}

/// Host and port of the URL; a user name and password in it are left out.
fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let uri = endpoint.parse::<http::Uri>().ok()?;
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        // gRPC endpoints may be written without a scheme.
        Some("http") | None => 80,
        Some(_) => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16().unwrap_or(default_port)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn endpoints() {
        let parsed = |text| host_and_port(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(
            parsed("http://user:pass@host:4317/x").as_deref(),
            Some("host 4317")
        );
        assert_eq!(parsed("https://[::1]").as_deref(), Some("::1 443"));
        assert_eq!(parsed("localhost:4317").as_deref(), Some("localhost 4317"));
        assert_eq!(parsed("ftp://host"), None);
        assert_eq!(parsed("no url"), None);
    }

    #[test]
    fn connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        assert_eq!(check_endpoint(Some(&endpoint)).verdict, Verdict::Ok);
        drop(listener);
        assert_eq!(check_endpoint(Some(&endpoint)).verdict, Verdict::Warn);
        assert_eq!(check_endpoint(None).verdict, Verdict::Ok);
        assert_eq!(check_endpoint(Some("%")).verdict, Verdict::Fail);
    }
}
