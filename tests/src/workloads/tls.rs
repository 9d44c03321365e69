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

    /// `bundled.py` in another root file system, with the TLS library of a Python there.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn bundled_client_in(
        &self,
        root: &Path,
        python: &str,
        service: &str,
        urls: &[String],
        wait: impl FnOnce(),
    ) -> Vec<String> {
        let program = [python, "-u", "/mnt/bundled.py", "ssl"];
        self.client_in(
            root,
            service,
            &program,
            &urls.join("\n"),
            wait,
            Process::succeed,
        )
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
        let program: Vec<_> = ["curl"]
            .into_iter()
            .chain(CURL_OPTIONS)
            .chain(["--config"])
            .collect();
        self.client_in(root, service, &program, &for_curl(urls), wait, told_by_curl)
    }

    /// `probed.py`, which says how many milliseconds it took each of so many libraries to be probed, that
    /// were loaded by a process or were in it when it was executed.
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

    /// `forked.py`, so many of whose children get this URL.
    #[must_use]
    pub fn forked(&self, service: &str, url: &str, children: usize) -> Process {
        let mut command = self.python(service, "forked.py");
        Process::spawn(service, command.arg(url).arg(children.to_string()))
    }

    /// A program of another root file system, whose last argument is a pipe that says this when `wait`
    /// has returned; and what `told` makes of it.
    fn client_in(
        &self,
        root: &Path,
        service: &str,
        program: &[&str],
        given: &str,
        wait: impl FnOnce(),
        told: impl FnOnce(Process) -> Vec<String>,
    ) -> Vec<String> {
        let files = TempDir::new().expect("a temporary directory");
        let pipe = NamedPipe::in_directory(files.path());
        let mut command = self.command_in(root, service, files.path());
        let client = Process::spawn(service, command.args(program).arg(pipe.path_in(GIVEN)));
        wait();
        pipe.write(given);
        told(client)
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
