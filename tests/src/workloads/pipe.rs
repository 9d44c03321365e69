//! Named pipes.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A named pipe, through which a process is told what to do when it is time.
pub struct NamedPipe {
    path: PathBuf,
}

impl NamedPipe {
    /// Its name in the directory.
    const NAME: &'static str = "pipe";

    /// A new one in a directory that is empty, and there for as long as it.
    pub fn in_directory(directory: &Path) -> Self {
        let path = directory.join(Self::NAME);
        let name = CString::new(path.as_os_str().as_bytes());
        let name = name.expect("it has no zero byte");
        // SAFETY: a plain system call with a name that ends.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0, "a named pipe can be made");
        Self { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path for those who see its directory at another place.
    pub fn path_in(&self, directory: &str) -> PathBuf {
        Path::new(directory).join(Self::NAME)
    }

    /// Lets the process read this, as soon as it opens the pipe.
    pub fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("somebody reads it");
    }
}
