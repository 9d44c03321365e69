//! Clients with a TLS library of their own.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{CURL_OPTIONS, NamedPipe, Workloads, directory, for_curl, told_by_curl};
use crate::process::Process;

/// Where a process in another root file system finds what it is given.
const GIVEN: &str = "/srv";

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
        let files = TempDir::new().expect("a temporary directory");
        let pipe = NamedPipe::in_directory(files.path());
        let mut command = self.python(service, "bundled.py");
        let client = Process::spawn(service, command.arg(package).arg(pipe.path()));
        wait();
        pipe.write(&urls.join("\n"));
        client.succeed()
    }

    /// `bundled.py` in another root file system, with its Python's own TLS library.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn bundled_client_in(
        &self,
        root: &Path,
        service: &str,
        urls: &[String],
        wait: impl FnOnce(),
    ) -> Vec<String> {
        let files = TempDir::new().expect("a temporary directory");
        let pipe = NamedPipe::in_directory(files.path());
        let mut command = self.command_in(root, service, files.path());
        command.args(["python3", "-u", "/mnt/bundled.py", "ssl"]);
        let client = Process::spawn(service, command.arg(pipe.path_in(GIVEN)));
        wait();
        pipe.write(&urls.join("\n"));
        client.succeed()
    }

    /// The curl of another root file system, which gets the URLs when `wait` has returned.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn curl_in(
        &self,
        root: &Path,
        service: &str,
        urls: &[String],
        wait: impl FnOnce(),
    ) -> Vec<String> {
        let files = TempDir::new().expect("a temporary directory");
        let pipe = NamedPipe::in_directory(files.path());
        let mut command = self.command_in(root, service, files.path());
        command.arg("curl").args(CURL_OPTIONS);
        let curl = Process::spawn(service, command.arg("--config").arg(pipe.path_in(GIVEN)));
        wait();
        pipe.write(&for_curl(urls));
        told_by_curl(curl)
    }

    /// `probed.py`, which says how many milliseconds it took each of so many libraries to be probed.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn probed(&self, times: usize) -> Vec<String> {
        let files = TempDir::new().expect("a temporary directory");
        let mut command = self.python("probed", "probed.py");
        command.arg(files.path()).arg(times.to_string());
        Process::spawn("probed", &mut command).succeed()
    }

    /// A command that becomes the program that is its next argument, in another root file system, where
    /// the workloads are at `/mnt` and these files, with the certificate, at [`GIVEN`].
    fn command_in(&self, root: &Path, service: &str, files: &Path) -> Command {
        const ENTER: &str = r#"root=$0
            mount --bind "$1" "$root/mnt"
            mount --bind "$2" "$root/srv"
            shift 2
            exec chroot "$root" "$@""#;
        let mut command = self.command(service, "unshare");
        command.args(["--mount", "sh", "-ec", ENTER]);
        command.args([root, &directory().join("python"), files]);
        if let Some(certificate) = self.certificate {
            let name = Path::new("certificate.pem");
            fs::copy(certificate.certificate(), files.join(name)).expect("it is writable");
            for trusted in ["CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
                let path = Path::new(GIVEN).join(name);
                command.env(trusted, AsRef::<OsStr>::as_ref(&path));
            }
        }
        command
    }
}
