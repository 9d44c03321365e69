//! `causes.py` with interpreters other than the environment's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, Workloads, directory, python};
use crate::process::free_port;

impl Workloads<'_> {
    /// `causes.py` with an interpreter that may be another one than the environment's: an executable,
    /// which may be one of [`built_pythons`], or a directory with a root file system that has one.
    #[must_use]
    pub fn causes(&self, service: &str, python: &Path, kind: &str, backend: &str) -> Server {
        /// Becomes the interpreter, which sees the workloads in a mount of its own.
        const ENTER: &str = r#"root=$0
            mount --bind "$1" "$root/mnt"
            shift
            exec chroot "$root" "$@""#;
        let port = free_port();
        let scripts = directory().join("python");
        let mut command = if let Some((root, interpreter)) = root_of(python) {
            let mut command = self.command(service, "unshare");
            command.args(["--mount", "sh", "-ec", ENTER]);
            command.args([root, scripts, interpreter]);
            command.args(["-u", "/mnt/causes.py"]);
            command
        } else {
            let mut command = self.command(service, python);
            command.arg("-u").arg(scripts.join("causes.py"));
            if !has_packages(python) {
                command.env("PYTHONPATH", packages());
            }
            command
        };
        command.args([kind, &port.to_string(), backend]);
        Server::start(service, port, &mut command, "listening")
    }
}

/// Interpreters with `causes.py`'s packages that can be used here: those of pyenv, each in an environment
/// that `cargo xtask setup` makes, and the distribution's, which is stripped and linked statically.
#[must_use]
pub fn other_interpreters() -> Vec<PathBuf> {
    let named = env::var_os("KAOS_CAUSALITY_PYTHON").unwrap_or_default();
    let distribution = PathBuf::from("/usr/bin/python3");
    env::split_paths(&named)
        .chain([distribution])
        .filter(|python| has_packages(python) || takes_packages(python))
        .collect()
}

/// Whether an interpreter is that of an environment.
fn has_packages(python: &Path) -> bool {
    let environment = python.ancestors().nth(2);
    environment.is_some_and(|environment| environment.join("pyvenv.cfg").exists())
}

/// Whether it can use the packages of our own: those with native parts are for one version.
fn takes_packages(python: &Path) -> bool {
    let imports = Command::new(python)
        .args(["-c", "import uvicorn, uvloop, httptools, starlette"])
        .env("PYTHONPATH", packages())
        .output();
    imports.is_ok_and(|output| output.status.success())
}

/// Root file systems with interpreters of other versions, and the packages that `causes.py` needs.
#[must_use]
pub fn python_roots() -> Vec<PathBuf> {
    let named = env::var_os("KAOS_PYTHON_ROOTS").unwrap_or_default();
    env::split_paths(&named)
        .filter(|root| !root.as_os_str().is_empty())
        .collect()
}

/// Interpreters that were built from source, each as a path into the root file system that it needs:
/// one without the global lock, one for musl.
#[must_use]
pub fn built_pythons() -> Vec<PathBuf> {
    let Some(root) = root_of_built_pythons() else {
        return Vec::new();
    };
    ["3.13t", "3.13-musl"]
        .map(|name| root.join(format!("opt/python-{name}/bin/python3")))
        .into()
}

/// The root file system that has them.
#[must_use]
pub fn root_of_built_pythons() -> Option<PathBuf> {
    env::var_os("KAOS_BUILT_PYTHONS").map(PathBuf::from)
}

/// The root file system of an interpreter that needs one, and its path there.
fn root_of(python: &Path) -> Option<(PathBuf, PathBuf)> {
    if python.is_dir() {
        return Some((python.to_owned(), PathBuf::from("python3")));
    }
    let root = root_of_built_pythons()?;
    let inside = python.strip_prefix(&root).ok()?;
    let inside = Path::new("/").join(inside);
    Some((root, inside))
}

/// A root file system with a Python and a curl that use OpenSSL 1.1.
#[must_use]
pub fn openssl_1_1_root() -> Option<PathBuf> {
    env::var_os("KAOS_OPENSSL_1_1_ROOT").map(PathBuf::from)
}

/// The packages of our environment, for other interpreters of the same version.
///
/// # Panics
/// There is none, or it does not run.
fn packages() -> PathBuf {
    let output = Command::new(python())
        .args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ])
        .output()
        .expect("the interpreter starts");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
