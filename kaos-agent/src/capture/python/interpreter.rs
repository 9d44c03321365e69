//! Which interpreter a process has, and where in its memory.

use std::path::{Path, PathBuf};

use super::finder::{CONTEXT_TYPE, COPY_CURRENT};
use super::layout::ContextType;
use super::memory::{Memory as _, ProcessMemory};
use crate::capture::event::Pid;
use crate::capture::uprobes::file;
use crate::capture::uprobes::image::Image;
use crate::capture::uprobes::mappings::Mapping;

/// Exported since 3.11: its version.
const VERSION: &str = "Py_Version";
/// Exported: all that it knows.
const RUNTIME: &str = "_PyRuntime";

/// An interpreter in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The file that has it, as the process sees it.
    pub path: PathBuf,
    /// `3.11.2`, as far as it says.
    pub version: Option<String>,
    /// Its type of contexts.
    pub context_type: ContextType,
    /// Whether each thread runs in a context from its beginning on, as since 3.14.
    pub threads_have_contexts: bool,
    /// Address and length of its `_PyRuntime`.
    pub runtime: Option<(u64, u64)>,
}

/// What a process has mapped, as far as it matters here.
#[derive(Debug, Default)]
pub struct Mapped {
    mappings: Vec<Mapping>,
}

impl Mapped {
    /// Looks at a process; empty where it is gone.
    #[must_use]
    pub fn of(pid: Pid) -> Self {
        Self {
            mappings: file::executable_mappings(pid),
        }
    }

    /// Whether it has a file whose path has this in it.
    #[must_use]
    pub fn has(&self, part: &str) -> bool {
        self.mappings
            .iter()
            .any(|mapping| mapping.path.to_string_lossy().contains(part))
    }

    /// The interpreter in a file.
    ///
    /// # Errors
    /// Why it cannot be used, for a person.
    pub fn interpreter(&self, pid: Pid, path: &Path) -> Result<Interpreter, String> {
        let mapping = self
            .mappings
            .iter()
            .find(|mapping| mapping.path == path)
            .ok_or("the interpreter is not mapped any more")?;
        let opened = file::open(mapping).map_err(|error| format!("{error}"))?;
        let names = [CONTEXT_TYPE, COPY_CURRENT, VERSION, RUNTIME];
        let image = Image::read(&opened.file, &names).map_err(|error| format!("{error}"))?;
        let start = image.code_start().ok_or("the interpreter has no code")?;
        let moved = mapping.start.wrapping_sub(start);
        let address_of = |name| Some(image.function(name)?.address.wrapping_add(moved));
        let address = address_of(CONTEXT_TYPE).ok_or("it exports no PyContext_Type")?;
        let memory = ProcessMemory(pid);
        memory
            .check(address)
            .map_err(|error| format!("its memory cannot be read: {error}"))?;
        let context_type = ContextType::read(&memory, address)
            .ok_or_else(|| super::layout::NotFound::Type.to_string())?;
        let version = address_of(VERSION).and_then(|address| memory.word(address));
        Ok(Interpreter {
            threads_have_contexts: version.is_some_and(|hex| hex & 0xffff_ffff >= 0x030e_0000),
            runtime: image
                .function(RUNTIME)
                .map(|runtime| (runtime.address.wrapping_add(moved), runtime.size)),
            path: path.to_owned(),
            version: version.map(version_text),
            context_type,
        })
    }

    /// Path of the file that has code at an address, and the address's offset in it.
    #[must_use]
    pub fn file_at(&self, address: u64) -> Option<&Mapping> {
        self.mappings
            .iter()
            .find(|mapping| (mapping.start..mapping.end).contains(&address))
    }
}

/// `Py_Version` is `PY_VERSION_HEX`: a byte each for major, minor and micro, then the level.
fn version_text(hex: u64) -> String {
    format!(
        "{}.{}.{}",
        hex >> 24 & 0xff,
        hex >> 16 & 0xff,
        hex >> 8 & 0xff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version_text(0x030b_02f0), "3.11.2");
    }
}
