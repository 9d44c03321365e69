//! What a connection carries, by the first bytes of a direction.

/// Bytes that [`sniff`] looks at.
pub const SNIFFED_BYTES: usize = 8;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// HTTP/1.
    Http1,
    /// HTTP/2, by its connection preface (RFC 9113 section 3.4).
    Http2,
    /// TLS, by its record header (RFC 8446 section 5.1).
    Tls,
    /// None of those.
    Other,
}

/// The first eight bytes of the start lines that are recognised: methods of RFC 9110 and RFC 5789
/// with their space, and the version of a response.
const START_LINES: [(&[u8], Carries); 11] = [
    (b"GET ", Carries::Http1),
    (b"POST ", Carries::Http1),
    (b"HTTP/1.", Carries::Http1),
    (b"PUT ", Carries::Http1),
    (b"DELETE ", Carries::Http1),
    (b"HEAD ", Carries::Http1),
    (b"OPTIONS ", Carries::Http1),
    (b"PATCH ", Carries::Http1),
    (b"CONNECT ", Carries::Http1),
    (b"TRACE ", Carries::Http1),
    (b"PRI * HT", Carries::Http2),
];

const fn word(bytes: &[u8]) -> (u64, u64) {
    let mut value = 0;
    let mut mask = 0;
    let mut index = 0;
    while index < bytes.len() {
        value |= (bytes[index] as u64) << (8 * index);
        mask |= 0xff << (8 * index);
        index += 1;
    }
    (value, mask)
}

/// The same as words, so that the object holds no pointers.
const WORDS: [(u64, u64, Carries); START_LINES.len()] = {
    let mut words = [(0, 0, Carries::Other); START_LINES.len()];
    let mut index = 0;
    while index < words.len() {
        let (value, mask) = word(START_LINES[index].0);
        words[index] = (value, mask, START_LINES[index].1);
        index += 1;
    }
    words
};

/// Tells what a direction carries whose first `length` bytes are in `first` (the first byte is the
/// lowest; bytes beyond `length` are ignored). Bytes that could still become HTTP/1 count as such.
#[inline(always)]
#[must_use]
pub fn sniff(first: u64, length: u32) -> Carries {
    let known = if length >= 8 {
        u64::MAX
    } else {
        (1_u64 << (8 * length)) - 1
    };
    let mut index = 0;
    while index < WORDS.len() {
        let (value, mask, carries) = WORDS[index];
        if (first ^ value) & mask & known == 0 {
            return carries;
        }
        index += 1;
    }
    // RFC 9112 section 2.2: a recipient ignores empty lines before a request line.
    let byte = first as u8;
    if byte == b'\r' || byte == b'\n' {
        return Carries::Http1;
    }
    // A handshake record of TLS 1.x: type 22, version 3.x.
    if first & known & 0xffff == 0x0316 & known {
        return Carries::Tls;
    }
    Carries::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carries(bytes: &[u8]) -> Carries {
        let mut first = [0; SNIFFED_BYTES];
        let length = bytes.len().min(SNIFFED_BYTES);
        first[..length].copy_from_slice(&bytes[..length]);
        sniff(u64::from_le_bytes(first), length as u32)
    }

    #[test]
    fn start_lines_are_http1() {
        for line in [
            "GET / HTTP/1.1",
            "POST /v1",
            "HTTP/1.1 200 OK",
            "HTTP/1.0",
            "OPTIONS * ",
            "PATCH /x",
            "\r\nGET /",
        ] {
            assert_eq!(carries(line.as_bytes()), Carries::Http1, "{line}");
        }
    }

    #[test]
    fn a_cut_start_line_may_still_become_http1() {
        for line in ["G", "PO", "H", "HTTP", "D", "P"] {
            assert_eq!(carries(line.as_bytes()), Carries::Http1, "{line}");
        }
    }

    #[test]
    fn others_are_told_apart() {
        assert_eq!(carries(b"PRI * HTTP/2.0\r\n"), Carries::Http2);
        assert_eq!(carries(&[0x16, 3, 1, 0, 200]), Carries::Tls);
        assert_eq!(carries(&[0x16, 2, 1, 0, 200]), Carries::Other);
        assert_eq!(carries(b"*1\r\n$4\r\nPING"), Carries::Other);
        assert_eq!(carries(b"get / HTTP/1.1"), Carries::Other);
        assert_eq!(carries(b"\0\0\0\x08"), Carries::Other);
        assert_eq!(carries(b"HTTP/2"), Carries::Other);
    }
}
