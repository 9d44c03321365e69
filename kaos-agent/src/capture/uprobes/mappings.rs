//! Executable mappings of files, as the kernel tells them.
//!
//! A software event that counts nothing (`PERF_COUNT_SW_DUMMY`) on each CPU tells every mapping that
//! may be executed, with its process, in a small ring of its own. Nothing is polled, no syscall of
//! anybody becomes slower, and CAP_PERFMON is enough. There is no tracepoint that would do: those of
//! syscalls cost every syscall of the machine, and no other knows the file.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::util::online_cpus;
use aya_obj::generated::{
    perf_event_attr, perf_event_mmap_page, perf_event_type, perf_sw_ids, perf_type_id,
};

use crate::capture::event::Pid;

/// Pages of each CPU's ring: room for some 400 mappings, five times what a large Python program
/// maps when it starts. It is emptied whenever something is in it.
const RING_PAGES: usize = 16;

/// A file that is mapped so that it can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// By which process.
    pub pid: Pid,
    /// From this address on.
    pub start: u64,
    /// Up to this one.
    pub end: u64,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    /// The file, as the process sees it.
    pub path: PathBuf,
}

/// What a ring held.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    Mapped(Mapping),
    /// So many records found no room.
    Lost(u64),
    /// Of no interest: anonymous memory.
    Other,
}

/// Watches the mappings of all processes.
pub struct MappingWatch {
    rings: Vec<Ring>,
}

impl MappingWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// CAP_PERFMON is missing, or the process is out of descriptors or locked memory.
    pub fn start() -> io::Result<Self> {
        let cpus = online_cpus().map_err(|(_, error)| error)?;
        let rings: io::Result<Vec<Ring>> = cpus.into_iter().map(Ring::open).collect();
        Ok(Self { rings: rings? })
    }

    /// Readable when there is something to take.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| ring.event.as_fd())
    }

    /// Appends what was mapped since it was asked last; returns how many mappings were lost.
    pub fn take(&mut self, mappings: &mut Vec<Mapping>) -> u64 {
        let mut lost = 0;
        for ring in &mut self.rings {
            ring.drain(|record| match parse(record) {
                Record::Mapped(mapping) => mappings.push(mapping),
                Record::Lost(records) => lost += records,
                Record::Other => {}
            });
        }
        lost
    }
}

/// One CPU's event and the memory that it writes to.
struct Ring {
    event: OwnedFd,
    memory: NonNull<u8>,
    page: usize,
    /// A record that lies around the end of the ring is put together here.
    scratch: Vec<u8>,
}

// SAFETY: the memory belongs to this ring alone, and the kernel does not care which thread reads.
unsafe impl Send for Ring {}

impl Ring {
    fn open(cpu: u32) -> io::Result<Self> {
        // SAFETY: a structure of integers, for which all bits zero is a value.
        let mut attributes: perf_event_attr = unsafe { std::mem::zeroed() };
        attributes.size = size_of::<perf_event_attr>() as u32;
        attributes.type_ = perf_type_id::PERF_TYPE_SOFTWARE as u32;
        attributes.config = perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
        attributes.set_mmap(1);
        attributes.set_mmap2(1);
        attributes.set_exclude_kernel(1);
        attributes.set_exclude_hv(1);
        // Wakes us at the first byte: a library must be probed before it is used.
        attributes.set_watermark(1);
        attributes.__bindgen_anon_2.wakeup_watermark = 1;
        let every_process = -1_i32;
        let no_group = -1_i32;
        // SAFETY: the attributes are a valid structure of the size that it says.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                every_process,
                cpu,
                no_group,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody owns.
        let event = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(io::Error::other)?;
        // SAFETY: a new mapping, placed by the kernel.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page * (1 + RING_PAGES),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("no address"))?;
        Ok(Self {
            event,
            memory,
            page,
            scratch: Vec::new(),
        })
    }

    /// Hands each whole record to `take`, in order, and gives its room back.
    fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let control = self.memory.cast::<perf_event_mmap_page>().as_ptr();
        // SAFETY: the first page of the mapping; the kernel writes `data_head`, we `data_tail`, and
        // both are aligned words.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*control).data_head),
                AtomicU64::from_ptr(&raw mut (*control).data_tail),
            )
        };
        let size = self.page * RING_PAGES;
        // SAFETY: the pages behind the first; the kernel does not write what lies between tail and
        // head.
        let data = unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.page), size) };
        let end = head.load(Ordering::Acquire);
        let mut position = tail.load(Ordering::Relaxed);
        while position < end {
            let start = position as usize % size;
            // Records are multiples of eight bytes, so their first eight never lie around the end.
            let length = match data[start..].first_chunk::<HEADER>() {
                Some(header) => usize::from(u16::from_ne_bytes([header[6], header[7]])),
                None => 0,
            };
            if length < HEADER || length as u64 > end - position {
                // Not what the kernel writes; nothing behind it can be read either.
                position = end;
                break;
            }
            match data.get(start..start + length) {
                Some(record) => take(record),
                None => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(&data[start..]);
                    self.scratch
                        .extend_from_slice(&data[..start + length - size]);
                    take(&self.scratch);
                }
            }
            position += length as u64;
        }
        tail.store(position, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped with this length by `open`, and used by nobody else.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.page * (1 + RING_PAGES)) };
    }
}

/// linux/perf_event.h.
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
/// `struct perf_event_header`: type, misc, size.
const HEADER: usize = 8;

/// Reads a record: `PERF_RECORD_MMAP2` is header, pid, tid, addr, len, pgoff, maj, min, ino,
/// ino_generation, prot, flags, filename.
fn parse(record: &[u8]) -> Record {
    let word = |at: usize| Some(u32::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let read = || match word(0)? {
        kind if kind == perf_event_type::PERF_RECORD_MMAP2 as u32 => {
            let inode = long(48)?;
            if inode == 0 {
                return None;
            }
            let start = long(16)?;
            Some(Record::Mapped(Mapping {
                pid: word(8)?,
                start,
                end: start.checked_add(long(24)?)?,
                device: (word(40)?, word(44)?),
                path: PathBuf::from(OsStr::from_bytes(
                    record.get(72..)?.split(|byte| *byte == 0).next()?,
                )),
            }))
        }
        // struct { header; id; lost; }
        kind if kind == perf_event_type::PERF_RECORD_LOST as u32 => Some(Record::Lost(long(16)?)),
        _ => None,
    };
    read().unwrap_or(Record::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mmap2(inode: u64) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend_from_slice(&10_u32.to_ne_bytes());
        record.extend_from_slice(&[0, 0, 80, 0]);
        record.extend_from_slice(&7_u32.to_ne_bytes());
        record.extend_from_slice(&8_u32.to_ne_bytes());
        for long in [0x1000_u64, 0x2000, 0] {
            record.extend_from_slice(&long.to_ne_bytes());
        }
        record.extend_from_slice(&254_u32.to_ne_bytes());
        record.extend_from_slice(&1_u32.to_ne_bytes());
        record.extend_from_slice(&inode.to_ne_bytes());
        record.extend_from_slice(&[0; 16]);
        record.extend_from_slice(b"/lib/a\0\0");
        record
    }

    #[test]
    fn mappings_of_files_are_read() {
        let expected = Mapping {
            pid: 7,
            start: 0x1000,
            end: 0x3000,
            device: (254, 1),
            path: PathBuf::from("/lib/a"),
        };
        assert_eq!(parse(&mmap2(9)), Record::Mapped(expected));
        assert_eq!(parse(&mmap2(0)), Record::Other);
        let whole = mmap2(9);
        for length in 0..72 {
            assert_eq!(parse(&whole[..length]), Record::Other, "{length}");
        }
    }

    #[test]
    fn losses_are_read() {
        let mut record = vec![2, 0, 0, 0, 0, 0, 24, 0];
        record.extend_from_slice(&1_u64.to_ne_bytes());
        record.extend_from_slice(&5_u64.to_ne_bytes());
        assert_eq!(parse(&record), Record::Lost(5));
    }
}
