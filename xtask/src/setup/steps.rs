//! The table of steps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::go::Programs;
use super::interpreters;
use super::machine::{Machine, llvm_major};
use super::packages;
use super::root::{self, Words, quietly};
use crate::{command, paths};

/// One thing that must be there.
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// How it is seen and brought.
    pub how: How,
}

/// How something that must be there is seen and brought. `missing` says what of it is missing on the
/// machine now; nothing when it is in place.
pub enum How {
    /// By command lines that are run as root. They get what is missing.
    Root {
        missing: fn(&Machine) -> Vec<String>,
        bring: fn(&Machine, &[String]) -> Result<Vec<Words>>,
    },
    /// By the user who runs us.
    User {
        missing: fn(&Machine) -> Vec<String>,
        bring: fn(&Machine) -> Result<()>,
    },
    /// By the user, from a Go module.
    Go(Programs),
}

impl Step {
    /// What of it is missing on the machine now.
    pub fn missing(&self, machine: &Machine) -> Vec<String> {
        match &self.how {
            How::Root { missing, .. } | How::User { missing, .. } => missing(machine),
            How::Go(programs) => programs.missing(&machine.cache),
        }
    }

    /// Brings what is missing.
    ///
    /// # Errors
    /// What it needs is not to be had.
    pub fn bring(&self, machine: &Machine, missing: &[String]) -> Result<()> {
        match &self.how {
            How::Root { bring, .. } => root::run(&bring(machine, missing)?),
            How::User { bring, .. } => bring(machine),
            How::Go(programs) => programs.build(machine),
        }
    }
}

/// All steps, in an order in which each has what it needs.
pub const STEPS: &[Step] = &[
    Step {
        name: "system packages",
        what: "compilers, LLVM, workloads, load generator",
        how: How::Root {
            missing: packages::missing,
            bring: packages::install,
        },
    },
    Step {
        name: "rust components",
        what: "sources of core for the eBPF target, rustfmt, clippy",
        how: How::User {
            missing: missing_components,
            bring: add_components,
        },
    },
    Step {
        name: "aarch64",
        what: "the compiler's libraries for the other architecture, which lint checks",
        how: How::User {
            missing: |_| missing_unless(other_target(), AARCH64),
            bring: add_target,
        },
    },
    Step {
        name: "bpf-linker",
        what: "links the eBPF programs",
        how: How::User {
            missing: |machine| {
                missing_unless(
                    bpf_linker(&machine.rustc),
                    &format!("bpf-linker {LINKER_VERSION}"),
                )
            },
            bring: build_bpf_linker,
        },
    },
    Step {
        name: "python environment",
        what: "KAOS's agent server, LiteLLM, FastMCP and other pinned workloads",
        how: How::User {
            missing: |_| missing_unless(python(), REQUIREMENTS),
            bring: create_python_environment,
        },
    },
    interpreters::STEP,
    Step {
        name: "go workload",
        what: "server and client on Go's net/http",
        how: How::User {
            missing: |_| missing_unless(go_workload(), GO_SOURCES),
            bring: build_go_workload,
        },
    },
    Step {
        name: "tracefs",
        what: "the kernel's tracing directory, mounted",
        how: How::Root {
            missing: missing_tracefs,
            bring: |_, _| {
                let line = ["mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing"];
                Ok(vec![line.map(str::to_owned).to_vec()])
            },
        },
    },
];

/// The other architecture that everything builds for.
pub const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// The first that reads the bitcode of LLVM 22 and builds against Debian's packages of it.
const LINKER_VERSION: &str = "0.13.0";
/// Pinned versions of everything in the Python environment.
const REQUIREMENTS: &str = "tests/workloads/requirements.txt";
/// Those of the directory `mcp-1` in it, for the workloads of the MCP SDK's first major version.
const MCP_1_REQUIREMENTS: &str = "tests/workloads/requirements-mcp-1.txt";
/// Sources of the Go workload.
const GO_SOURCES: &str = "tests/workloads/go";
/// Written into an environment when it is complete, so an interrupted one is made again.
pub const COMPLETE: &str = "complete";

/// The bpf-linker to use: ours, or one in `PATH` if it has the right version.
///
/// # Errors
/// No home directory.
pub fn bpf_linker(rustc: &str) -> Result<Option<PathBuf>> {
    let ours = linker_root(&paths::cache()?, rustc)?.join("bin/bpf-linker");
    if ours.exists() {
        return Ok(Some(ours));
    }
    Ok(paths::find_command("bpf-linker").filter(|found| {
        command::output(Command::new(found).arg("--version"))
            .is_ok_and(|version| version.split_whitespace().nth(1) == Some(LINKER_VERSION))
    }))
}

/// The Python interpreter of the workloads' environment, where that is complete.
///
/// # Errors
/// No home directory, or the list of requirements cannot be read.
pub fn python() -> Result<Option<PathBuf>> {
    let environment = python_environment()?;
    let complete = environment.join(COMPLETE).exists();
    Ok(complete.then(|| environment.join("bin/python")))
}

/// The built Go workload, where it is there.
///
/// # Errors
/// No home directory, or the sources cannot be read.
pub fn go_workload() -> Result<Option<PathBuf>> {
    Ok(Some(go_binary()?).filter(|path| path.exists()))
}

fn missing_unless(found: Result<Option<PathBuf>>, name: &str) -> Vec<String> {
    match found {
        Ok(Some(_)) => Vec::new(),
        Ok(None) => vec![name.to_owned()],
        Err(error) => vec![format!("{name} ({error:#})")],
    }
}

fn missing_components(_: &Machine) -> Vec<String> {
    let sources = command::output(Command::new("rustc").args(["--print", "sysroot"]))
        .map(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core"))
        .is_ok_and(|core| core.exists());
    let programs = [("rustfmt", "rustfmt"), ("clippy", "clippy-driver")];
    let mut missing: Vec<String> = programs
        .into_iter()
        .filter(|(_, program)| paths::find_command(program).is_none())
        .map(|(component, _)| component.to_owned())
        .collect();
    if !sources {
        missing.push("rust-src".to_owned());
    }
    missing
}

fn add_components(machine: &Machine) -> Result<()> {
    if paths::find_command("rustup").is_none() {
        bail!("there is no rustup here; install them with what installed rustc");
    }
    quietly(
        Command::new("rustup")
            .args(["component", "add"])
            .args(missing_components(machine)),
    )
}

/// The compiler's libraries for the other architecture, where they are there.
///
/// # Errors
/// `rustc` does not run.
pub fn other_target() -> Result<Option<PathBuf>> {
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(AARCH64);
    Ok(Some(libraries).filter(|path| path.exists()))
}

fn add_target(_: &Machine) -> Result<()> {
    if paths::find_command("rustup").is_none() {
        bail!("there is no rustup here; install them with what installed rustc");
    }
    quietly(Command::new("rustup").args(["target", "add", AARCH64]))
}

fn linker_root(cache: &Path, rustc: &str) -> Result<PathBuf> {
    let llvm = llvm_major(rustc).context("rustc does not say which LLVM it was built with")?;
    Ok(cache.join(format!("bpf-linker-{LINKER_VERSION}-llvm{llvm}")))
}

fn build_bpf_linker(machine: &Machine) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let llvm = PathBuf::from(format!("/usr/lib/llvm-{}/bin", machine.llvm));
    let path = std::iter::once(llvm).chain(std::env::split_paths(&path));
    fs::create_dir_all(&machine.cache)?;
    quietly(
        Command::new("cargo")
            .args(["install", "bpf-linker", "--locked", "--no-default-features"])
            .args(["--version", LINKER_VERSION])
            .args(["--features", &format!("llvm-{}", machine.llvm)])
            .arg("--root")
            .arg(linker_root(&machine.cache, &machine.rustc)?)
            .env("PATH", std::env::join_paths(path)?)
            // Away from the workspace, whose settings are not the linker's.
            .current_dir(&machine.cache),
    )
}

fn python_environment() -> Result<PathBuf> {
    let mut requirements = Vec::new();
    for file in [REQUIREMENTS, MCP_1_REQUIREMENTS] {
        let path = paths::root().join(file);
        requirements.extend(fs::read(&path).with_context(|| format!("cannot read {file}"))?);
    }
    Ok(paths::cache()?.join(format!("python-{}", version_of(&requirements))))
}

fn create_python_environment(_: &Machine) -> Result<()> {
    let environment = python_environment()?;
    let is_new_enough = "import sys; sys.exit(sys.version_info < (3, 11))";
    if !command::succeeds(Command::new("python3").args(["-c", is_new_enough])) {
        bail!("the pinned versions need Python 3.11 or newer as python3 in PATH");
    }
    quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    let install = |requirements| {
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
            // requirements.txt says why.
            .arg("--ignore-requires-python")
            .arg("--requirement")
            .arg(paths::root().join(requirements));
        pip
    };
    quietly(&mut install(REQUIREMENTS))?;
    let mcp_1 = environment.join("mcp-1");
    quietly(install(MCP_1_REQUIREMENTS).arg("--target").arg(mcp_1))?;
    fs::write(environment.join(COMPLETE), "")
        .with_context(|| format!("cannot write to {}", environment.display()))
}

fn go_binary() -> Result<PathBuf> {
    let mut sources = Vec::new();
    for file in ["go.mod", "main.go"] {
        let path = paths::root().join(GO_SOURCES).join(file);
        sources.extend(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(paths::cache()?.join(format!("go-workload-{}", version_of(&sources))))
}

fn build_go_workload(_: &Machine) -> Result<()> {
    quietly(
        Command::new("go")
            .arg("build")
            .arg("-o")
            .arg(go_binary()?)
            .current_dir(paths::root().join(GO_SOURCES))
            // Use the compiler that is there, whatever it is; it must not fetch another.
            .env("GOTOOLCHAIN", "local"),
    )
}

fn missing_tracefs(_: &Machine) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("tracefs"));
    if mounted {
        Vec::new()
    } else {
        vec!["a mount of tracefs".to_owned()]
    }
}

/// What is made from these bytes is kept under this name.
pub fn version_of(bytes: &[u8]) -> String {
    let mut digest = paths::sha256(bytes);
    digest.truncate(12);
    digest
}
