//! How long a body is (RFC 9112 section 6.3).

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::super::limits::ProtocolCounters;
use super::super::part::HttpVersion;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
    /// Where the sender closes.
    UntilClose,
    /// Nobody can know.
    Unknown,
}

/// What the method of a request means for the body of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: its response has no body, whatever its fields say.
    Head,
    /// CONNECT: a successful response makes the connection a tunnel.
    Connect,
    /// Any other method.
    Other,
}

impl Asked {
    /// By method.
    pub fn by(method: &str) -> Self {
        match method {
            "HEAD" => Self::Head,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// Framing of a request's body.
pub fn of_request(
    version: HttpVersion,
    headers: &HeaderMap,
    counters: &mut ProtocolCounters,
) -> Framing {
    match declared(version, headers, counters) {
        Declared::Nothing => Framing::Length(0),
        Declared::Length(length) => Framing::Length(length),
        Declared::Chunked => Framing::Chunked,
        Declared::OtherCoding | Declared::BadLength => Framing::Unknown,
    }
}

/// Framing of a final response's body that does not turn the connection into a tunnel.
pub fn of_response(
    asked: Asked,
    status: u16,
    version: HttpVersion,
    headers: &HeaderMap,
    counters: &mut ProtocolCounters,
) -> Framing {
    if asked == Asked::Head || matches!(status, 204 | 304) {
        return Framing::Length(0);
    }
    match declared(version, headers, counters) {
        Declared::Nothing | Declared::OtherCoding => Framing::UntilClose,
        Declared::Length(length) => Framing::Length(length),
        Declared::Chunked => Framing::Chunked,
        Declared::BadLength => Framing::Unknown,
    }
}

/// Whether the body has transfer codings beside chunked, which nobody undoes here.
pub fn is_transfer_coded(headers: &HeaderMap) -> bool {
    transfer_codings(headers).any(|coding| !coding.eq_ignore_ascii_case("chunked"))
}

/// What the fields declare.
enum Declared {
    Nothing,
    Length(u64),
    BadLength,
    Chunked,
    /// A transfer coding that does not end in chunked.
    OtherCoding,
}

fn declared(
    version: HttpVersion,
    headers: &HeaderMap,
    counters: &mut ProtocolCounters,
) -> Declared {
    if let Some(last) = transfer_codings(headers).last() {
        if headers.contains_key(CONTENT_LENGTH) {
            counters.conflicting_framing += 1;
        }
        let is_chunked = last.eq_ignore_ascii_case("chunked");
        if !is_chunked || version == HttpVersion::Http10 {
            counters.bad_transfer_codings += 1;
        }
        return if is_chunked {
            Declared::Chunked
        } else {
            Declared::OtherCoding
        };
    }
    match content_length(headers) {
        Ok(None) => Declared::Nothing,
        Ok(Some(length)) => Declared::Length(length),
        Err(BadLength) => {
            counters.bad_lengths += 1;
            Declared::BadLength
        }
    }
}

/// Transfer codings in order; `identity`, which older senders write, is none.
fn transfer_codings(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        // What is not ASCII is no coding that anybody knows.
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

struct BadLength;

/// The length; the same one several times is fine, as several fields or in a list.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, BadLength> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for item in value.to_str().map_err(|_| BadLength)?.split(',') {
            let item = item.trim();
            // `parse` would take a plus sign.
            if item.is_empty() || !item.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BadLength);
            }
            let item = item.parse().map_err(|_| BadLength)?;
            if length.is_some_and(|length| length != item) {
                return Err(BadLength);
            }
            length = Some(item);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    const LENGTH: &str = "content-length";
    const CODING: &str = "transfer-encoding";

    #[test]
    fn bodies_end_as_rfc_9112_says() {
        use Framing::{Chunked, Length, Unknown, UntilClose};
        for (fields, request, response) in [
            (vec![], Length(0), UntilClose),
            (vec![(LENGTH, "12")], Length(12), Length(12)),
            (vec![(LENGTH, "0")], Length(0), Length(0)),
            (vec![(LENGTH, "7, 7"), (LENGTH, "7")], Length(7), Length(7)),
            (vec![(LENGTH, "7"), (LENGTH, "8")], Unknown, Unknown),
            (vec![(LENGTH, "+7")], Unknown, Unknown),
            (vec![(LENGTH, "")], Unknown, Unknown),
            (vec![(LENGTH, "-1")], Unknown, Unknown),
            (vec![(LENGTH, "99999999999999999999")], Unknown, Unknown),
            (vec![(CODING, "chunked")], Chunked, Chunked),
            (vec![(CODING, "CHUNKED"), (LENGTH, "7")], Chunked, Chunked),
            (vec![(CODING, "gzip, chunked")], Chunked, Chunked),
            (
                vec![(CODING, "gzip"), (CODING, " chunked ")],
                Chunked,
                Chunked,
            ),
            (vec![(CODING, "gzip")], Unknown, UntilClose),
            (vec![(CODING, "chunked, gzip")], Unknown, UntilClose),
            (
                vec![(CODING, "xchunked"), (LENGTH, "7")],
                Unknown,
                UntilClose,
            ),
            (
                vec![(CODING, "identity"), (LENGTH, "7")],
                Length(7),
                Length(7),
            ),
        ] {
            let map = headers(&fields);
            let mut counters = ProtocolCounters::default();
            let version = HttpVersion::Http11;
            assert_eq!(
                of_request(version, &map, &mut counters),
                request,
                "{fields:?}"
            );
            let framing = of_response(Asked::Other, 200, version, &map, &mut counters);
            assert_eq!(framing, response, "{fields:?}");
        }
    }

    #[test]
    fn some_responses_have_no_body() {
        let map = headers(&[(LENGTH, "12")]);
        let framing = |method, status| {
            let mut counters = ProtocolCounters::default();
            of_response(
                Asked::by(method),
                status,
                HttpVersion::Http11,
                &map,
                &mut counters,
            )
        };
        assert_eq!(framing("GET", 200), Framing::Length(12));
        assert_eq!(framing("HEAD", 200), Framing::Length(0));
        assert_eq!(framing("GET", 204), Framing::Length(0));
        assert_eq!(framing("GET", 304), Framing::Length(0));
        assert_eq!(framing("CONNECT", 407), Framing::Length(12));
    }

    #[test]
    fn problems_are_counted() {
        let count = |version, fields: &[_]| {
            let mut counters = ProtocolCounters::default();
            of_request(version, &headers(fields), &mut counters);
            [
                counters.bad_lengths,
                counters.conflicting_framing,
                counters.bad_transfer_codings,
            ]
        };
        let (v10, v11) = (HttpVersion::Http10, HttpVersion::Http11);
        assert_eq!(count(v11, &[(LENGTH, "x")]), [1, 0, 0]);
        assert_eq!(count(v11, &[(LENGTH, "1"), (CODING, "chunked")]), [0, 1, 0]);
        assert_eq!(count(v11, &[(CODING, "gzip")]), [0, 0, 1]);
        assert_eq!(count(v10, &[(CODING, "chunked")]), [0, 0, 1]);
        assert_eq!(count(v11, &[(LENGTH, "1"), (LENGTH, "1")]), [0, 0, 0]);
    }
}
