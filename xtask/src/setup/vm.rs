//! `cargo xtask setup --vm`: other kernels, and what starts them in virtual machines, for the tests on
//! kernels that are not this machine's (`crate::vm`).
//!
//! Each suite of Debian has one kernel for clouds, which has all that is needed built in (6.1 has some
//! of it as modules). It is fetched once; its directory is removed to have the newest again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::machine::Machine;
use super::root::{Words, quietly};
use super::steps::{How, Step};
use crate::{command, paths};

/// Where they come from.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Who signs them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The newest kernel of a suite depends on this.
const NEWEST: &str = "linux-image-cloud-amd64";
/// Beginnings of the packages that a kernel consists of.
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
];
/// What must be there before the root file system can be mounted, in the order in which they are
/// loaded, where the kernel has them as modules.
const MODULES: [&str; 7] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "fuse",
    "virtiofs",
];
/// The suites.
pub const SUITES: [&str; 5] = [
    "bookworm",
    "trixie",
    "bookworm-backports",
    "trixie-backports",
    "sid",
];
/// Holds the release of a kernel, and is written when all of it is there.
const RELEASE: &str = "release";
const QEMU: &str = "qemu-system-x86_64";
/// Where Debian has it, which had it in qemu's packages up to bookworm.
const VIRTIOFSD: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// The steps.
pub const STEPS: &[Step] = &[
    Step {
        name: "virtual machines",
        what: "qemu, a server of file systems, busybox",
        how: How::Root {
            missing: |_| {
                let mut missing = Vec::new();
                for (name, found) in [
                    (QEMU, paths::find_command(QEMU)),
                    ("a static busybox", busybox()),
                    ("virtiofsd", virtiofsd()),
                ] {
                    if found.is_none() {
                        missing.push(name.to_owned());
                    }
                }
                missing
            },
            bring: |machine, _| install(machine),
        },
    },
    Step {
        name: "other kernels",
        what: "those for clouds of Debian's releases",
        how: How::User {
            missing: |machine| {
                let kernels = SUITES.iter().map(|suite| kernel(&machine.cache, suite));
                let missing = kernels.filter(|kernel| !kernel.release_file().exists());
                missing
                    .map(|kernel| kernel.directory.display().to_string())
                    .collect()
            },
            bring: |machine| {
                if !machine.debian || !Path::new(KEYRING).exists() {
                    bail!("they are fetched with Debian's apt and keyring, which are not here");
                }
                let kernels = SUITES.map(|suite| (suite, kernel(&machine.cache, suite)));
                for (suite, kernel) in kernels {
                    if !kernel.release_file().exists() {
                        fetch(suite, &kernel).with_context(|| format!("the kernel of {suite}"))?;
                    }
                }
                Ok(())
            },
        },
    },
];

/// A kernel that can be started.
pub struct Kernel {
    directory: PathBuf,
}

impl Kernel {
    /// The kernel's image.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Modules that it needs to mount a root file system, in the order of their names.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// What `uname -r` says there.
    ///
    /// # Errors
    /// It is not there.
    pub fn release(&self) -> Result<String> {
        let file = self.release_file();
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    fn release_file(&self) -> PathBuf {
        self.directory.join(RELEASE)
    }
}

/// The programs that start a machine.
pub struct Programs {
    /// Emulates it.
    pub qemu: PathBuf,
    /// Serves its root file system.
    pub virtiofsd: PathBuf,
    /// Its first program.
    pub busybox: PathBuf,
}

/// The programs, where all are there.
pub fn programs() -> Option<Programs> {
    Some(Programs {
        qemu: paths::find_command(QEMU)?,
        virtiofsd: virtiofsd()?,
        busybox: busybox()?,
    })
}

/// The kernel of a suite, where it is there.
///
/// # Errors
/// No home directory.
pub fn built(suite: &str) -> Result<Option<Kernel>> {
    let kernel = kernel(&paths::cache()?, suite);
    Ok(kernel.release_file().exists().then_some(kernel))
}

fn kernel(cache: &Path, suite: &str) -> Kernel {
    Kernel {
        directory: cache.join("kernels").join(suite),
    }
}

fn virtiofsd() -> Option<PathBuf> {
    let mut places = VIRTIOFSD.iter().map(PathBuf::from);
    places.find(|path| path.exists())
}

/// In the initial file system it is the only program, so it must need no library.
fn busybox() -> Option<PathBuf> {
    const LINKER: &[u8] = b"/ld-linux";
    let is_static = |path: &PathBuf| {
        fs::read(path).is_ok_and(|bytes| !bytes.windows(LINKER.len()).any(|part| part == LINKER))
    };
    paths::find_command("busybox").filter(is_static)
}

fn install(machine: &Machine) -> Result<Vec<Words>> {
    if !machine.debian {
        bail!(
            "install qemu for x86-64, virtiofsd and a static busybox with this distribution's tools"
        );
    }
    let install = "export DEBIAN_FRONTEND=noninteractive\n\
        apt-get update -qq\n\
        apt-get install -qq --no-install-recommends qemu-system-x86 busybox-static\n\
        test -e /usr/lib/qemu/virtiofsd || apt-get install -qq virtiofsd";
    Ok(vec![["sh", "-ec", install].map(str::to_owned).to_vec()])
}

/// Fetches the newest kernel of a suite with an apt of its own lists, which checks who signed it.
fn fetch(suite: &str, kernel: &Kernel) -> Result<()> {
    let directory = &kernel.directory;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    for name in [
        "apt/lists/partial",
        "apt/cache/archives/partial",
        "tree",
        "modules",
    ] {
        fs::create_dir_all(directory.join(name))?;
    }
    let list = format!("deb [signed-by={KEYRING}] {MIRROR} {suite} main\n");
    fs::write(directory.join("apt/sources.list"), list)?;
    // What is installed here is none of its business.
    fs::write(directory.join("apt/status"), "")?;
    let apt = |program: &str, arguments: &[&str]| {
        let mut apt = Command::new(program);
        for (option, place) in [
            ("Dir::Etc::SourceList", "apt/sources.list"),
            ("Dir::Etc::SourceParts", "apt/none"),
            ("Dir::State::Lists", "apt/lists"),
            ("Dir::State::status", "apt/status"),
            ("Dir::Cache", "apt/cache"),
        ] {
            let place = directory.join(place);
            apt.arg("-o").arg(format!("{option}={}", place.display()));
        }
        // As for debootstrap: that the lists are signed matters, not how old the mirror's are.
        apt.args(["-o", "Acquire::Check-Valid-Until=false"])
            .args([
                "-o",
                "Acquire::Languages=none",
                "-o",
                "APT::Sandbox::User=root",
            ])
            .args(arguments)
            .current_dir(directory.join("tree"));
        apt
    };
    quietly(&mut apt("apt-get", &["update", "-qq"]))?;
    let mut packages = vec![NEWEST.to_owned()];
    let mut next = 0;
    while let Some(package) = packages.get(next) {
        let shown = command::output(&mut apt(
            "apt-cache",
            &["show", "--no-all-versions", package],
        ))?;
        let more = parts(&shown);
        packages.extend(
            more.filter(|part| !packages.contains(part))
                .collect::<Vec<_>>(),
        );
        next += 1;
    }
    let mut download = apt("apt-get", &["download", "-qq"]);
    quietly(download.args(&packages[1..]))?;
    unpack(kernel)?;
    for name in ["apt", "tree"] {
        fs::remove_dir_all(directory.join(name))?;
    }
    Ok(())
}

/// The packages of one version of the kernel that a package depends on.
fn parts(shown: &str) -> impl Iterator<Item = String> {
    let depends = shown
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "));
    let names = depends.unwrap_or_default().split([',', '|']);
    let names = names.filter_map(|depends| depends.split_whitespace().next());
    names
        .filter(|name| {
            let version = PARTS.iter().find_map(|start| name.strip_prefix(start));
            version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        })
        .map(str::to_owned)
}

/// Takes what is needed out of the packages in `tree`.
fn unpack(kernel: &Kernel) -> Result<()> {
    let tree = kernel.directory.join("tree");
    let files = files(&tree)?;
    let packages = files.iter().filter(|file| has_extension(file, "deb"));
    for package in packages {
        quietly(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(package)
                .arg(&tree),
        )?;
    }
    let files = self::files(&tree)?;
    let named = |wanted: &dyn Fn(&str) -> bool| {
        let name = |file: &&PathBuf| file.file_name().and_then(OsStr::to_str).is_some_and(wanted);
        files.iter().find(name)
    };
    for (number, module) in MODULES.iter().enumerate() {
        let file_name = format!("{module}.ko");
        // What is not there is built in, or the machine says what it cannot mount.
        if let Some(file) = named(&|name| name == file_name) {
            fs::copy(file, kernel.modules().join(format!("{number}-{file_name}")))?;
        }
    }
    let image = named(&|name| name.starts_with("vmlinuz")).context("it has no image")?;
    fs::copy(image, kernel.image())?;
    let release = match image.file_name().and_then(OsStr::to_str) {
        // lib/modules/RELEASE/vmlinuz
        Some("vmlinuz") => image
            .parent()
            .and_then(Path::file_name)
            .and_then(OsStr::to_str),
        name => name.and_then(|name| name.strip_prefix("vmlinuz-")),
    };
    let release = release.context("the image does not say its release")?;
    fs::write(kernel.release_file(), release)?;
    Ok(())
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// All files below a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(self::files(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_kernel_are_found() {
        let shown = "Package: linux-image-7.2.13+deb14-cloud-amd64\n\
             Depends: dracut | linux-initramfs-tool, linux-base-7.2.13+deb14-cloud-amd64 (= 7.2), \
             linux-binary-7.2.13+deb14-cloud-amd64 (= 7.2), linux-base (>= 4)\n\
             Description: linux-image-1\n";
        let parts: Vec<_> = parts(shown).collect();
        assert_eq!(
            parts,
            [
                "linux-base-7.2.13+deb14-cloud-amd64",
                "linux-binary-7.2.13+deb14-cloud-amd64"
            ]
        );
    }
}
