//! The URL that a request asked for, put together again from its parts on the wire.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::HOST;

use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{Request, Role};

/// Parts of the URL of a request (RFC 9112, section 3.3), as they were sent: nothing is decoded,
/// and nothing is redacted, so this is not for export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestUrl<'a> {
    /// `http` or `https`
    pub scheme: &'static str,
    /// `host`, `host:port`, perhaps with `user:password@` before it. Not there where a client of
    /// HTTP/1.0 sends no `Host`.
    pub authority: Option<&'a str>,
    /// The path; `*` for a request about the server as a whole, empty for CONNECT.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
}

impl<'a> RequestUrl<'a> {
    /// URL of this request.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        let scheme = if request.tls { "https" } else { "http" };
        if request.method == "CONNECT" {
            return Self {
                scheme,
                authority: Some(request.target.as_str()),
                path: "",
                query: None,
            };
        }
        if let Some((named, rest)) = absolute(&request.target) {
            // Any other scheme would be a value without bound, and means nothing over HTTP.
            let mut known = ["http", "https"].into_iter();
            let scheme = known
                .find(|known| named.eq_ignore_ascii_case(known))
                .unwrap_or(scheme);
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            return Self::from_origin(scheme, Some(authority), rest);
        }
        Self::from_origin(scheme, host(&request.headers), &request.target)
    }

    fn from_origin(scheme: &'static str, authority: Option<&'a str>, target: &'a str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Self {
            scheme,
            authority,
            path: if path.is_empty() { "/" } else { path },
            query,
        }
    }

    /// Host and port of the authority, without brackets and without user and password. The port
    /// is the scheme's own where none is given.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&'a str, Option<u16>)> {
        let authority = self.authority?;
        let after_user = authority
            .rsplit_once('@')
            .map_or(authority, |(_, rest)| rest);
        let (host, port) = match after_user.strip_prefix('[') {
            Some(ipv6) => {
                let (host, rest) = ipv6.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match after_user.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (after_user, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok(),
            None => Some(if self.scheme == "https" { 443 } else { 80 }),
        };
        (!host.is_empty()).then_some((host, port))
    }
}

impl std::fmt::Display for RequestUrl<'_> {
    /// The whole URL, as exclusions want to see it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}://", self.scheme)?;
        formatter.write_str(self.authority.unwrap_or_default())?;
        match self.path {
            "" | "*" => {}
            path if path.starts_with('/') => formatter.write_str(path)?,
            // No valid form; it must not look like a part of the host.
            path => write!(formatter, "/{path}")?,
        }
        match self.query {
            Some(query) => write!(formatter, "?{query}"),
            None => Ok(()),
        }
    }
}

/// Name and port of the server: as the client calls it, or else the address of its end.
#[must_use]
pub fn server_of(request: &Request) -> Option<(String, Option<u16>)> {
    let named = RequestUrl::of(request).host_and_port();
    let named = named.map(|(host, port)| (host.to_owned(), port));
    let unnamed = || server_end(request).map(|end| (end.ip().to_string(), Some(end.port())));
    named.or_else(unnamed)
}

/// Address of the server's end.
#[must_use]
pub fn server_end(request: &Request) -> Option<SocketAddr> {
    match (request.endpoints, request.role) {
        (Endpoints::Tcp { local, .. }, Role::Server) => Some(local),
        (Endpoints::Tcp { remote, .. }, Role::Client) => Some(remote),
        (Endpoints::Unix { .. } | Endpoints::Unknown, _) => None,
    }
}

/// Scheme and rest of a target in absolute form.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.bytes().all(is_scheme).then_some((scheme, rest))
}

fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runs::testing::RequestBuilder;

    fn url(target: &str, host: Option<&str>) -> String {
        let mut request = RequestBuilder::get(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        RequestUrl::of(&request.build()).to_string()
    }

    #[test]
    fn targets_of_all_forms() {
        for (target, host, expected) in [
            ("/a/b?c=d", Some("h:8000"), "http://h:8000/a/b?c=d"),
            ("/a", None, "http:///a"),
            ("/?", Some("h"), "http://h/?"),
            ("/a?b?c", Some("h"), "http://h/a?b?c"),
            ("//a", Some("h"), "http://h//a"),
            ("/go?to=http://x/", Some("h"), "http://h/go?to=http://x/"),
            ("*", Some("h"), "http://h"),
            ("http://u:p@h:1/a?b", Some("proxy"), "http://u:p@h:1/a?b"),
            ("https://h", None, "https://h/"),
            ("HTTP://h/", None, "http://h/"),
            ("gopher://u:p@h/a", Some("x"), "http://u:p@h/a"),
            ("a?b=c://d", Some("h"), "http://h/a?b=c://d"),
            ("http://h?a=b", None, "http://h/?a=b"),
        ] {
            assert_eq!(url(target, host), expected);
        }
    }

    #[test]
    fn connect_names_an_authority() {
        let connect = RequestBuilder::new("CONNECT", "h:443")
            .header("host", "h")
            .build();
        let url = RequestUrl::of(&connect);
        assert_eq!((url.authority, url.path), (Some("h:443"), ""));
    }

    #[test]
    fn hosts_and_ports() {
        for (authority, expected) in [
            ("h", Some(("h", Some(80)))),
            ("h:8000", Some(("h", Some(8000)))),
            ("u:p@h:1", Some(("h", Some(1)))),
            ("a@b@h", Some(("h", Some(80)))),
            ("[::1]:8000", Some(("::1", Some(8000)))),
            ("[::1]", Some(("::1", Some(80)))),
            ("[::1", None),
            ("h:no", Some(("h", None))),
            ("h:99999", Some(("h", None))),
            (":80", None),
        ] {
            let request = RequestBuilder::get("/").header("host", authority).build();
            assert_eq!(RequestUrl::of(&request).host_and_port(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_target_is_survived(target in ".*", host in "[ -~]*") {
            let request = RequestBuilder::get(&target).header("host", &host).build();
            let url = RequestUrl::of(&request);
            let _ = (url.to_string(), url.host_and_port());
        }
    }
}
