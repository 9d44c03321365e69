//! URLs as they may be exported: without what is secret.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::capture::redact::mask_tokens;
use crate::runs::url::RequestUrl;

/// What stands in the place of a secret.
const REDACTED: &str = "REDACTED";

/// Query parameters that are secret: those of the semantic conventions for `url.full` and those
/// that model providers and identity providers use. In lower case, `-` as `_`: the conventions
/// compare exactly, but a secret in another spelling is still a secret.
const SECRET_PARAMETERS: &[&str] = &[
    "auth",
    "authorization",
    "awsaccesskeyid",
    "code",
    "jwt",
    "key",
    "pwd",
    "sig",
];

/// Ends of the names of query parameters that are secret: `access_token`, `X-Amz-Credential`,
/// `X-Goog-Signature`, `client_secret`, …
const SECRET_ENDINGS: &[&str] = &[
    "access_key",
    "api_key",
    "apikey",
    "credential",
    "passwd",
    "password",
    "secret",
    "signature",
    "token",
];

/// The URL with user, password and secret parameters redacted, and what else looks like a secret
/// masked.
#[must_use]
pub fn full(url: &RequestUrl<'_>) -> String {
    let authority = url.authority.unwrap_or_default();
    let authority = match authority.rsplit_once('@') {
        None => Cow::Borrowed(authority),
        Some((user, host)) if user.contains(':') => format!("{REDACTED}:{REDACTED}@{host}").into(),
        Some((_, host)) => format!("{REDACTED}@{host}").into(),
    };
    let query = url.query.map(query);
    let redacted = RequestUrl {
        authority: Some(&authority),
        query: query.as_deref(),
        ..*url
    };
    masked(redacted.to_string().into()).into_owned()
}

/// A path with what looks like a secret masked.
#[must_use]
pub fn path(path: &str) -> Cow<'_, str> {
    mask_tokens(path)
}

fn masked(text: Cow<'_, str>) -> Cow<'_, str> {
    match mask_tokens(&text) {
        Cow::Owned(masked) => masked.into(),
        Cow::Borrowed(_) => text,
    }
}

/// A query with its secret parameters redacted, and what else looks like a secret masked.
#[must_use]
pub fn query(query: &str) -> Cow<'_, str> {
    let parameters = || query.split_inclusive(['&', ';']);
    if !parameters().any(is_secret) {
        return mask_tokens(query);
    }
    let mut redacted = String::with_capacity(query.len());
    for parameter in parameters() {
        match parameter.split_once('=') {
            Some((name, value)) if is_secret(parameter) => {
                let separator = value.find(['&', ';']).map_or("", |at| &value[at..]);
                redacted.extend([name, "=", REDACTED, separator]);
            }
            _ => redacted.push_str(parameter),
        }
    }
    masked(redacted.into())
}

fn is_secret(parameter: &str) -> bool {
    let Some((name, _)) = parameter.split_once('=') else {
        return false;
    };
    let name = percent_decode_str(name).decode_utf8_lossy();
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_PARAMETERS.contains(&name.as_str())
        || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runs::testing::RequestBuilder;

    #[test]
    fn secret_parameters() {
        for (given, exported) in [
            ("", ""),
            ("a=b&c", "a=b&c"),
            ("key=x", "key=REDACTED"),
            ("a=b&sig=x&c=d", "a=b&sig=REDACTED&c=d"),
            ("sig=", "sig=REDACTED"),
            ("sig", "sig"),
            ("sig=x=y&z", "sig=REDACTED&z"),
            ("a=b;token=x;c", "a=b;token=REDACTED;c"),
            ("API-Key=x", "API-Key=REDACTED"),
            ("api%5Fkey=x", "api%5Fkey=REDACTED"),
            ("keyword=x&monkey=y&tokens=z", "keyword=x&monkey=y&tokens=z"),
            (
                "X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3&AWSAccessKeyId=4",
                "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED\
                 &X-Amz-Security-Token=REDACTED&AWSAccessKeyId=REDACTED",
            ),
            (
                "X-Goog-Signature=1&Signature=2&access_token=3&client_secret=4&apikey=5",
                "X-Goog-Signature=REDACTED&Signature=REDACTED&access_token=REDACTED\
                 &client_secret=REDACTED&apikey=REDACTED",
            ),
        ] {
            assert_eq!(query(given), exported);
        }
    }

    #[test]
    fn secrets_by_their_shape() {
        assert_eq!(query("x=sk-abc&api_key=a"), "x=sk-***&api_key=REDACTED");
        assert_eq!(path("/bot/sk-abc"), "/bot/sk-***");
        let request = RequestBuilder::get("http://h/bot/sk-abc?x=ghp_abc").build();
        assert_eq!(
            full(&RequestUrl::of(&request)),
            "http://h/bot/sk-***?x=ghp_***"
        );
    }

    #[test]
    fn users_and_passwords() {
        for (target, exported) in [
            ("http://u:p@h/", "http://REDACTED:REDACTED@h/"),
            ("http://u@h/", "http://REDACTED@h/"),
            (
                "http://u:p@q@h:1/a?key=k",
                "http://REDACTED:REDACTED@h:1/a?key=REDACTED",
            ),
            ("http://h/@a", "http://h/@a"),
        ] {
            let request = RequestBuilder::get(target).build();
            assert_eq!(full(&RequestUrl::of(&request)), exported);
        }
        let in_host = RequestBuilder::get("/").header("host", "u:p@h").build();
        assert_eq!(
            full(&RequestUrl::of(&in_host)),
            "http://REDACTED:REDACTED@h/"
        );
    }

    proptest! {
        #[test]
        fn a_secret_never_gets_through(
            before in "[a-z=&;%?]*", name in "(api_key|X-Amz-Signature|tOKen|sig)", after in "[a-z=&;%?]*",
        ) {
            let target = format!("/path?{before}&{name}=HUSH&{after}");
            let request = RequestBuilder::get(&target).header("host", "me:HUSH@h").build();
            prop_assert!(!full(&RequestUrl::of(&request)).contains("HUSH"));
        }

        #[test]
        fn what_is_not_secret_stays(given in "([a-z]{1,3}=[a-z]{0,3}[&;]?)*") {
            // Names of secrets, and how a JSON Web Token begins.
            let secret = ["key", "pwd", "sig", "jwt", "eyj"];
            prop_assume!(!secret.iter().any(|secret| given.contains(secret)));
            prop_assert_eq!(query(&given), given.as_str());
        }
    }
}
