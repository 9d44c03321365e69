//! What the beginning of an agent's answer tells.

/// What the text of an agent's answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// `Sorry, I encountered an error`: it failed.
    Failed,
    /// `[Delegation failed`: a delegation of it failed.
    DelegationFailed,
    /// `Reached maximum reasoning steps (N)`
    MaxSteps,
}

/// Texts begin like this.
const BEGINNINGS: [(&str, Notice); 3] = [
    ("Sorry, I encountered an error", Notice::Failed),
    ("[Delegation failed", Notice::DelegationFailed),
    ("Reached maximum reasoning steps (", Notice::MaxSteps),
];

/// More than any of [`BEGINNINGS`].
const KEPT: usize = 48;

impl Notice {
    /// Of a text, or of its beginning.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::of_bytes(text.as_bytes())
    }

    fn of_bytes(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii_start();
        let is_beginning = |(beginning, _): &&(&str, _)| text.starts_with(beginning.as_bytes());
        BEGINNINGS
            .iter()
            .find(is_beginning)
            .map(|(_, notice)| *notice)
    }
}

/// Finds the notice in a text that comes in pieces: at the beginning of all, where agents stream
/// word by word, or of an event, where others stream what they do before.
#[derive(Debug, Default)]
pub struct NoticeFinder {
    text: Vec<u8>,
    event: Vec<u8>,
    found: Option<Notice>,
}

impl NoticeFinder {
    /// The next bytes of the text.
    pub fn push(&mut self, bytes: &[u8]) {
        for kept in [&mut self.text, &mut self.event] {
            // White space at the beginning must not fill it.
            let bytes = if kept.is_empty() {
                bytes.trim_ascii_start()
            } else {
                bytes
            };
            let room = KEPT - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// An event ends; the text may go on in the next.
    pub fn end_event(&mut self) {
        if self.found.is_none() {
            self.found = Notice::of_bytes(&self.event);
        }
        self.event.clear();
    }

    /// The notice.
    pub fn finish(mut self) -> Option<Notice> {
        self.end_event();
        Notice::of_bytes(&self.text).or(self.found)
    }
}
