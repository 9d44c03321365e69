//! Named pipes.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

/// A named pipe, through which a process is told what to do when it is time.
pub struct NamedPipe {
    files: TempDir,
}

impl NamedPipe {
    /// A new one.
    pub fn new() -> Self {
        let files = TempDir::new().expect("a temporary directory");
        let pipe = Self { files };
        let name = CString::new(pipe.path().as_os_str().as_bytes());
        let name = name.expect("it has no zero byte");
        // SAFETY: a plain system call with a name that ends.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0, "a named pipe can be made");
        pipe
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.files.path().join("pipe")
    }

    /// Lets the process read this, as soon as it opens the pipe.
    pub fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("somebody reads it");
    }
}
