//! Secrets in a process's environment.

use super::mask::MASK;
use super::patterns::Finder;
use super::scanner::Scanner;

/// Masks the secrets in one variable: header lists (`OTEL_EXPORTER_OTLP_HEADERS` and its like)
/// and variables whose name announces a secret lose all values; what the scanner finds goes from
/// any other.
pub fn redact(name: &str, value: &mut String) {
    let mut bytes = std::mem::take(value).into_bytes();
    if name.ends_with("_HEADERS") {
        mask_header_values(&mut bytes);
    } else if announces_secret(name) {
        bytes.fill(MASK);
    } else {
        Scanner::default().redact(&mut bytes);
    }
    // A character is masked whole or not at all, so this is UTF-8 as before.
    *value = String::from_utf8_lossy(&bytes).into_owned();
}

fn announces_secret(name: &str) -> bool {
    let mut finder = Finder::default();
    let mut is_secret = false;
    for byte in name.bytes() {
        is_secret |= finder.next(byte).is_some_and(|meaning| meaning.json);
    }
    is_secret
}

/// `name=value,name=value`: keeps names, so that the recording still parses.
fn mask_header_values(list: &mut [u8]) {
    let mut in_value = false;
    for byte in list {
        match *byte {
            b',' => in_value = false,
            b'=' if !in_value => in_value = true,
            _ if in_value => *byte = MASK,
            _ => {}
        }
    }
}
