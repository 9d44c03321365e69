//! News from another thread, which the reader of the ring puts among the events of the kernel.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};

use super::ring::Bell;

/// Where news are put in.
#[derive(Debug)]
pub struct NewsSender<T> {
    news: Sender<T>,
    bell: Bell,
}

impl<T> NewsSender<T> {
    /// Another end of the same way.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            news: self.news.clone(),
            bell: self.bell.try_clone()?,
        })
    }

    /// Hands news on; false where nobody listens any more.
    pub fn send(&self, news: T) -> bool {
        let is_heard = self.news.send(news).is_ok();
        self.bell.ring();
        is_heard
    }
}

/// Both ends of the way that news take. `bell` wakes the reader. Unbounded: the reader empties it ten
/// times a second, and who tells keeps the bound. The watches of the API server tell each of a bounded
/// number of objects once per change.
#[must_use]
pub fn channel<T>(bell: Bell) -> (NewsSender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (NewsSender { news: sender, bell }, receiver)
}
