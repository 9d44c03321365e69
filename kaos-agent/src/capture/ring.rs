//! Waiting for the ring buffer.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Sleeps until a timer ends, the kernel says that the ring fills up, or somebody rings.
///
/// Edge-triggered on purpose: records do not wake the reader, the programs do when a share of the
/// ring is full. A level-triggered wait would return as soon as one record is there.
pub struct Waiter {
    epoll: OwnedFd,
    bell: OwnedFd,
}

/// Ends a [`Waiter`]'s sleep from another thread.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// Another one for the same sleeper.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Rings.
    pub fn ring(&self) {
        // SAFETY: eight bytes are there. It can fail only when the counter is full, and then the
        // waiter is awake already.
        unsafe {
            libc::write(
                self.0.as_raw_fd(),
                (&raw const ONE).cast(),
                size_of::<u64>(),
            )
        };
    }
}

static ONE: u64 = 1;

impl Waiter {
    /// Waits for the ring behind this descriptor.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(ring: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: plain system calls; the results are checked and owned.
        let (epoll, bell) = unsafe {
            (
                owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
                owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?,
            )
        };
        let waiter = Self { epoll, bell };
        waiter.watch(ring)?;
        waiter.watch(&waiter.bell)?;
        Ok(waiter)
    }

    /// Ends the sleep also when this descriptor becomes readable.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn watch(&self, descriptor: &impl AsRawFd) -> io::Result<()> {
        let mut interest = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET) as u32,
            u64: 0,
        };
        // SAFETY: both descriptors are open and `interest` is a valid place.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                descriptor.as_raw_fd(),
                &raw mut interest,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// A bell for this waiter.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn bell(&self) -> io::Result<Bell> {
        self.bell.try_clone().map(Bell)
    }

    /// Sleeps for at most `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        // SAFETY: there is room for two events. Interrupted or not: the caller looks at the ring.
        unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 2, milliseconds) };
    }
}

/// # Safety
/// `descriptor` is negative or a new descriptor that nobody owns.
unsafe fn owned(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says that nobody owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
