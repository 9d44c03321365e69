//! Clients with a TLS library of their own.

use super::{NamedPipe, Workloads};
use crate::process::Process;

impl Workloads<'_> {
    /// `bundled.py`, which gets the URLs with the TLS library of `package`, when `wait` has returned:
    /// nobody else has that library.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn bundled_client(
        &self,
        service: &str,
        package: &str,
        urls: &[String],
        wait: impl FnOnce(),
    ) -> Vec<String> {
        let pipe = NamedPipe::new();
        let mut command = self.python(service, "bundled.py");
        let client = Process::spawn(service, command.arg(package).arg(pipe.path()));
        wait();
        pipe.write(&urls.join("\n"));
        client.succeed()
    }
}
