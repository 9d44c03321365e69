//! Lengths of TLS records (RFC 8446, RFC 5246).

/// Bytes of a record's header: type, version, length.
pub const RECORD_HEADER: u32 = 5;

/// Records of one operation that are looked at, and of a connection that are remembered: the end of a
/// handshake may come with the first request, or before it.
pub const MOST_RECORDS: usize = 3;

/// Type of a record that carries the application's bytes; in TLS 1.3 also the end of a handshake.
const APPLICATION_DATA: u8 = 23;
/// Type of a record that means nothing in TLS 1.3 but that clients send, right before the end of their
/// handshake (RFC 8446, appendix D.4).
const CHANGE_CIPHER_SPEC: u8 = 20;
/// Most plain text in one record.
const MOST_PLAIN: u32 = 1 << 14;

/// What encryption adds to the plain text of a record.
const OVERHEADS: [u32; 3] = [
    17, // TLS 1.3: the type, 16 bytes of authentication
    24, // TLS 1.2, GCM and CCM: 8 bytes of nonce, 16 of authentication
    16, // TLS 1.2, ChaCha20-Poly1305: authentication alone
];

/// Length of what follows a record's header, if that is application data; else 0.
#[inline(always)]
#[must_use]
pub fn record_length(header: [u8; RECORD_HEADER as usize]) -> u32 {
    if header[0] == APPLICATION_DATA && header[1] == 3 {
        (header[3] as u32) << 8 | header[4] as u32
    } else {
        0
    }
}

/// Whether the record after one with this header ends a handshake, and so is nobody's plain text.
#[inline(always)]
#[must_use]
pub fn ends_handshake_next(header: [u8; RECORD_HEADER as usize]) -> bool {
    header[0] == CHANGE_CIPHER_SPEC
}

/// Notes the length of another record, if it is one, after those before it; the last few are kept.
#[inline(always)]
pub fn note(lengths: &mut [u32; MOST_RECORDS], length: u32) {
    if length != 0 {
        let [_, second, third] = *lengths;
        *lengths = [second, third, length];
    }
}

/// Where the record after the one at `offset` begins; `None` where that is no record of TLS.
#[inline(always)]
#[must_use]
pub fn next_record(header: [u8; RECORD_HEADER as usize], offset: u32) -> Option<u32> {
    let [kind, major, _, high, low] = header;
    if !(20..=23).contains(&kind) || major != 3 {
        return None;
    }
    Some(offset + RECORD_HEADER + ((high as u32) << 8 | low as u32))
}

/// Whether a record of this length may carry the beginning of `plain` bytes that were moved by one
/// call. Ciphers that fill up to blocks (CBC) are never said to.
#[inline(always)]
#[must_use]
pub fn carries(record: u32, plain: u32) -> bool {
    let plain = if plain > MOST_PLAIN {
        MOST_PLAIN
    } else {
        plain
    };
    let [tls13, gcm, chacha] = OVERHEADS;
    plain > 0 && (record == plain + tls13 || record == plain + gcm || record == plain + chacha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_each_other() {
        assert_eq!(record_length([23, 3, 3, 1, 2]), 258);
        assert_eq!(record_length([22, 3, 3, 1, 2]), 0);
        assert_eq!(next_record([20, 3, 3, 0, 1], 10), Some(16));
        assert_eq!(next_record([22, 3, 1, 1, 0], 0), Some(261));
        assert_eq!(next_record(*b"HTTP/", 0), None);
    }

    #[test]
    fn the_end_of_a_handshake_is_told_by_what_is_before_it() {
        assert!(ends_handshake_next([20, 3, 3, 0, 1]));
        assert!(!ends_handshake_next([23, 3, 3, 0, 53]));
    }

    #[test]
    fn the_last_lengths_are_kept() {
        let mut lengths = [0; MOST_RECORDS];
        for length in [53, 0, 200, 300] {
            note(&mut lengths, length);
        }
        assert_eq!(lengths, [53, 200, 300]);
        note(&mut lengths, 400);
        assert_eq!(lengths, [200, 300, 400]);
    }

    #[test]
    fn lengths_tell_what_a_record_carries() {
        assert!(carries(100 + 17, 100) && carries(100 + 24, 100) && carries(100 + 16, 100));
        assert!(!carries(100, 100) && !carries(100 + 18, 100) && !carries(17, 0));
        assert!(carries((1 << 14) + 17, 1 << 20));
    }
}
