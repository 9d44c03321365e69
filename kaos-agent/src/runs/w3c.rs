//! W3C trace context, level 2: `traceparent` and `tracestate` of a request.
//!
//! Whatever is wrong with a header, it is ignored: a request is never refused for it.

use http::HeaderMap;
use opentelemetry::trace::TraceState;
use opentelemetry::{SpanId, TraceFlags, TraceId};

use crate::exchanges::rpc::mcp::McpMessage;

/// The flag that says that the trace id's last 56 bits are random (section 3.2.3.2).
pub const RANDOM_TRACE_ID: TraceFlags = TraceFlags::new(0x02);

/// The flags that version `00` defines; the other bits are not carried on.
const KNOWN_FLAGS: TraceFlags = TraceFlags::new(0x03);

/// Length of a `traceparent` of version `00`, and of the part that every version has.
const TRACEPARENT_LENGTH: usize = 55;

/// Members that a `tracestate` may have (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Bytes that a key, and a value, of a member may have (section 3.3.1.3).
const MAX_MEMBER_PART: usize = 256;

/// The context that a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the sender calls the parent.
    pub span_id: SpanId,
    /// The sampled and the random flag.
    pub flags: TraceFlags,
    /// The vendors' entries.
    pub state: TraceState,
}

/// What the headers of a request say of its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// There is no `traceparent`.
    Absent,
    /// There is one, or there are several, but none that may be used.
    Invalid,
    /// There is a valid one.
    Valid(Carried),
}

impl Header {
    /// Reads `traceparent` and, beside a valid one, `tracestate`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all("traceparent").iter();
        let (first, second) = (fields.next(), fields.next());
        match (first, second) {
            (None, _) => Self::Absent,
            (Some(_), Some(_)) => Self::Invalid,
            (Some(field), None) => match parse_traceparent(field.as_bytes()) {
                None => Self::Invalid,
                Some((trace_id, span_id, flags)) => Self::Valid(Carried {
                    trace_id,
                    span_id,
                    flags,
                    state: parse_tracestate(&mut fields_of(headers)).unwrap_or_default(),
                }),
            },
        }
    }

    /// Reads what a message of MCP has of both in its `_meta`.
    #[must_use]
    pub fn of_message(message: &McpMessage) -> Self {
        let Some(traceparent) = &message.traceparent else {
            return Self::Absent;
        };
        let Some((trace_id, span_id, flags)) = parse_traceparent(traceparent.as_bytes()) else {
            return Self::Invalid;
        };
        let mut state = message.tracestate.as_deref().into_iter().map(Some);
        Self::Valid(Carried {
            trace_id,
            span_id,
            flags,
            state: parse_tracestate(&mut state).unwrap_or_default(),
        })
    }
}

/// The `tracestate` fields, as far as they are text.
fn fields_of(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let fields = headers.get_all("tracestate").into_iter();
    fields.map(|field| field.to_str().ok())
}

/// Section 3.2; of versions after `00` the first four fields.
fn parse_traceparent(field: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = field.split_at_checked(TRACEPARENT_LENGTH)?;
    let known = std::str::from_utf8(known).ok()?;
    let mut fields = known.split('-');
    let version = lower_hex(fields.next()?, 2)?;
    let trace_id = lower_hex(fields.next()?, 32)?;
    let span_id = lower_hex(fields.next()?, 16)?;
    let flags = lower_hex(fields.next()?, 2)?;
    let well_formed = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    if !well_formed || fields.next().is_some() || trace_id == 0 || span_id == 0 {
        return None;
    }
    Some((
        TraceId::from(trace_id),
        SpanId::from(u64::try_from(span_id).ok()?),
        TraceFlags::new(u8::try_from(flags).ok()?) & KNOWN_FLAGS,
    ))
}

/// Exactly `digits` hexadecimal digits, lower case only.
fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_lower_hex))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

/// Section 3.3; several headers are one list. `None` where anything in it is wrong: half of a
/// list may mean something else than the whole.
fn parse_tracestate(fields: &mut dyn Iterator<Item = Option<&str>>) -> Option<TraceState> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for field in fields {
        for member in field?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let repeated = members.iter().any(|(earlier, _)| *earlier == key);
            if repeated || !is_key(key) || !is_value(value) || members.len() == MAX_MEMBERS {
                return None;
            }
            members.push((key, value));
        }
    }
    TraceState::from_key_value(members).ok()
}

/// Section 3.3.1.3.1
fn is_key(key: &str) -> bool {
    let begins = key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let goes_on =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    begins && key.len() <= MAX_MEMBER_PART && key.bytes().all(goes_on)
}

/// Section 3.3.1.3.2; spaces around it are gone already.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    !value.is_empty() && value.len() <= MAX_MEMBER_PART && value.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
                (http::HeaderName::from_static(name), value)
            })
            .collect()
    }

    /// `trace span flags`, or what else became of it.
    fn parsed(traceparent: &str) -> String {
        match Header::of(&headers(&[("traceparent", traceparent)])) {
            Header::Absent => "absent".to_owned(),
            Header::Invalid => "invalid".to_owned(),
            Header::Valid(carried) => format!(
                "{} {} {:02x}",
                carried.trace_id, carried.span_id, carried.flags
            ),
        }
    }

    #[test]
    fn valid_ones() {
        for (version, rest, flags) in [
            ("00", "-01", "01"),
            ("00", "-00", "00"),
            ("00", "-03", "03"),
            ("00", "-ff", "03"),
            ("00", "-02", "02"),
            ("01", "-01", "01"),
            ("cc", "-01-what-the-future-brings", "01"),
            ("fe", "-01-", "01"),
        ] {
            let field = format!("{version}-{TRACE}-{SPAN}{rest}");
            assert_eq!(parsed(&field), format!("{TRACE} {SPAN} {flags}"), "{field}");
        }
    }

    #[test]
    fn invalid_ones() {
        for field in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("FE-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01x"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-011"),
            format!("01-{TRACE}-{SPAN}-011"),
            format!("01-{TRACE}-{SPAN}-01.more"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("00-{}-{SPAN}-01", "+".repeat(32)),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{TRACE}a-{}-01", &SPAN[1..]),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            assert_eq!(parsed(&field), "invalid", "{field}");
        }
        assert_eq!(Header::of(&HeaderMap::new()), Header::Absent);
    }

    #[test]
    fn two_headers_are_invalid_even_if_equal() {
        let field = format!("00-{TRACE}-{SPAN}-01");
        let twice = headers(&[("traceparent", &field), ("traceparent", &field)]);
        assert_eq!(Header::of(&twice), Header::Invalid);
    }

    /// The `tracestate` that is carried on.
    fn state(fields: &[&str]) -> String {
        let traceparent = format!("00-{TRACE}-{SPAN}-01");
        let mut all = vec![("traceparent", traceparent.as_str())];
        all.extend(fields.iter().map(|field| ("tracestate", *field)));
        match Header::of(&headers(&all)) {
            Header::Valid(carried) => carried.state.header(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tracestate_is_carried() {
        assert_eq!(state(&[]), "");
        assert_eq!(state(&[""]), "");
        assert_eq!(state(&["a=1"]), "a=1");
        assert_eq!(state(&["a=1,b=2"]), "a=1,b=2");
        assert_eq!(state(&["a=1", "b=2"]), "a=1,b=2");
        assert_eq!(state(&[" a=1 ,\t, b=x y ,"]), "a=1,b=x y");
        assert_eq!(state(&["t1@sys=v", "0n=1"]), "t1@sys=v,0n=1");
    }

    #[test]
    fn a_bad_tracestate_is_dropped_whole() {
        for bad in [
            "a", "=1", "a=", "A=1", "a=1,a=2", "a=1=2", "a=b\tc", "é=1", "a =1", "_a=1",
        ] {
            assert_eq!(state(&["good=1", bad]), "", "{bad}");
        }
        let long = "x".repeat(257);
        assert_eq!(state(&[&format!("a={long}")]), "");
        assert_eq!(state(&[&format!("{long}=1")]), "");
    }

    #[test]
    fn at_most_32_members() {
        let members = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("k{n}={n}")).collect();
            members.join(",")
        };
        assert_eq!(state(&[&members(32)]), members(32));
        assert_eq!(state(&[&members(33)]), "");
        assert_eq!(state(&[&members(20), "a=1", &members(3)]), "");
    }

    #[test]
    fn no_tracestate_without_traceparent() {
        let alone = headers(&[("tracestate", "a=1")]);
        assert_eq!(Header::of(&alone), Header::Absent);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            parent in proptest::collection::vec(32u8..=255, 0..70),
            state in proptest::collection::vec(32u8..=255, 0..70),
        ) {
            let mut headers = HeaderMap::new();
            for (name, bytes) in [("traceparent", parent), ("tracestate", state)] {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.append(name, value);
                }
            }
            let _ = Header::of(&headers);
        }

        #[test]
        fn what_is_well_formed_comes_back(
            trace in 1u128.., span in 1u64.., flags in 0u8.., version in 0u8..0xff,
        ) {
            let field = format!("{version:02x}-{trace:032x}-{span:016x}-{flags:02x}");
            let expected = format!("{trace:032x} {span:016x} {:02x}", flags & 3);
            prop_assert_eq!(parsed(&field), expected);
        }

        #[test]
        fn one_wrong_byte_is_never_taken_for_right(
            position in 0usize..55, byte in "[^0-9a-f-]",
        ) {
            let mut field = format!("00-{TRACE}-{SPAN}-01");
            field.replace_range(position..=position, &byte);
            prop_assume!(HeaderValue::from_str(&field).is_ok());
            prop_assert_eq!(parsed(&field), "invalid");
        }
    }
}
