//! Reading the memory of a process. It may lie, change while it is read, or be gone.

use std::io;

use crate::capture::event::Pid;
use crate::capture::uprobes::data::Data;

/// Most bytes of one read: whatever is looked at is smaller.
const MOST_BYTES: usize = 4096;

/// Memory of some process.
pub trait Memory {
    /// Reads so many bytes at an address; `None` where not all of them are there.
    fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>>;

    /// Reads a word.
    fn word(&self, address: u64) -> Option<u64> {
        let bytes = self.bytes(address, 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Reads so many words from an address on.
    fn words(&self, address: u64, count: usize) -> Option<Vec<u64>> {
        let bytes = self.bytes(address, count * 8)?;
        let words = bytes.chunks_exact(8);
        Some(
            words
                .filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)))
                .collect(),
        )
    }

    /// Whether a text with a zero behind it is at an address.
    fn has_text(&self, address: u64, text: &str) -> bool {
        let found = self.bytes(address, text.len() + 1);
        found.is_some_and(|found| found.strip_suffix(&[0]) == Some(text.as_bytes()))
    }
}

/// Memory of a running process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessMemory(pub Pid);

impl Memory for ProcessMemory {
    fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        if length > MOST_BYTES {
            return None;
        }
        let pid = libc::pid_t::try_from(self.0).ok()?;
        let mut bytes = vec![0; length];
        let local = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: length,
        };
        let remote = libc::iovec {
            iov_base: address as *mut libc::c_void,
            iov_len: length,
        };
        // SAFETY: the local part is ours and so long; the kernel checks the remote one.
        let read =
            unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        (usize::try_from(read) == Ok(length)).then_some(bytes)
    }
}

/// What a process finds in its memory when a file is loaded.
impl Memory for Data<'_> {
    fn bytes(&self, address: u64, length: usize) -> Option<Vec<u8>> {
        Data::bytes(self, address, length)
    }
}

impl ProcessMemory {
    /// Whether we may read it at all.
    ///
    /// # Errors
    /// We may not, or the process is gone.
    pub fn check(self, address: u64) -> io::Result<()> {
        match self.bytes(address, 8) {
            Some(_) => Ok(()),
            None => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read() {
        let words = [1_u64, u64::from_ne_bytes(*b"python\0\0"), 3];
        let memory = ProcessMemory(std::process::id());
        let address = words.as_ptr() as u64;
        assert_eq!(memory.words(address, 3), Some(words.to_vec()));
        assert!(memory.has_text(address + 8, "python"));
        assert!(!memory.has_text(address + 8, "pyth"));
        assert!(memory.check(address).is_ok());
    }

    #[test]
    fn wild_addresses_are_nothing() {
        let memory = ProcessMemory(std::process::id());
        for address in [0, 8, u64::MAX, 1 << 63] {
            assert_eq!(memory.word(address), None);
            assert!(memory.check(address).is_err());
        }
        assert_eq!(memory.bytes(0, usize::MAX), None);
        assert_eq!(ProcessMemory(u32::MAX).word(0), None);
    }
}
