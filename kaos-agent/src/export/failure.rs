//! What a failed attempt means: try again or give up.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#failures>

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Longest reason that is told.
const MAX_REASON_BYTES: usize = 300;

/// Why an attempt failed. The reasons come from this program and its libraries; texts of the
/// collector are left out, since they may repeat what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Worth another attempt.
    Retryable {
        /// The collector said how long to wait.
        after: Option<Duration>,
        reason: String,
    },
    /// The same request will fail again.
    Permanent { reason: String },
}

impl Failure {
    /// No answer: the connection failed or time was up.
    pub(super) fn no_answer(error: &(dyn Error + 'static)) -> Self {
        Self::Retryable {
            after: None,
            reason: with_causes(error),
        }
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::Retryable {
            after: None,
            reason: format!("no answer within {} ms", limit.as_millis()),
        }
    }

    /// Of a status that is not 2xx.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let reason = format!("HTTP status {}", status.as_u16());
        match status.as_u16() {
            429 | 502 | 503 | 504 => Self::Retryable {
                after: retry_after(headers, now),
                reason,
            },
            _ => Self::Permanent { reason },
        }
    }

    /// Of a gRPC status that is not OK.
    pub(super) fn of_grpc(status: &Status) -> Self {
        // With a source it is no answer: the library made it of an error of the connection.
        if let Some(source) = status.source() {
            return Self::no_answer(source);
        }
        let reason = format!("gRPC status {:?}", status.code());
        let after = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Self::Retryable { after, reason },
            // Only where the collector says that it will recover.
            Code::ResourceExhausted if after.is_some() => Self::Retryable { after, reason },
            _ => Self::Permanent { reason },
        }
    }
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Many errors repeat their cause in their own text.
        let message = error.to_string();
        if !text.ends_with(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn of_http(status: u16, retry_after: Option<&str>) -> Option<Option<Duration>> {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, value.parse().expect("a header value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        match Failure::of_http(status, &headers, NOW) {
            Failure::Retryable { after, .. } => Some(after),
            Failure::Permanent { .. } => None,
        }
    }

    #[test]
    fn http_statuses() {
        for status in [429, 502, 503, 504] {
            assert_eq!(of_http(status, None), Some(None), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 408, 413, 500, 501] {
            assert_eq!(of_http(status, Some("1")), None, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let seconds = |number| Some(Some(Duration::from_secs(number)));
        assert_eq!(of_http(429, Some("7")), seconds(7));
        assert_eq!(
            of_http(503, Some("Thu, 01 Jan 1970 00:01:00 GMT")),
            seconds(60)
        );
        assert_eq!(of_http(503, Some("soon")), Some(None));
        assert_eq!(of_http(503, Some("-1")), Some(None));
    }

    fn of_grpc(status: &Status) -> Option<Option<Duration>> {
        match Failure::of_grpc(status) {
            Failure::Retryable { after, .. } => Some(after),
            Failure::Permanent { .. } => None,
        }
    }

    #[test]
    fn grpc_codes() {
        let with_delay = |code| {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(3)));
            Status::with_error_details(code, "busy", details)
        };
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            assert_eq!(of_grpc(&Status::new(code, "")), Some(None), "{code:?}");
            assert_eq!(
                of_grpc(&with_delay(code)),
                Some(Some(Duration::from_secs(3)))
            );
        }
        for code in [
            Code::Unknown,
            Code::InvalidArgument,
            Code::NotFound,
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::Internal,
            Code::Unauthenticated,
            Code::ResourceExhausted,
        ] {
            assert_eq!(of_grpc(&Status::new(code, "")), None, "{code:?}");
        }
        let exhausted = with_delay(Code::ResourceExhausted);
        assert_eq!(of_grpc(&exhausted), Some(Some(Duration::from_secs(3))));
    }

    #[test]
    fn reasons_do_not_repeat_the_collector() {
        let status = Status::new(Code::Unauthenticated, "bad token s3cret");
        let Failure::Permanent { reason } = Failure::of_grpc(&status) else {
            panic!("must not be retried");
        };
        assert_eq!(reason, "gRPC status Unauthenticated");
    }
}
