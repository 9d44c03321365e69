//! Attaching programs to places in files.

use std::borrow::Cow;
use std::path::Path;

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use aya::sys::{UProbeMultiFeature, is_uprobe_multi_supported};

use super::site::Site;
use crate::capture::release;

/// How programs are attached to functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// `uprobe_multi` links: many places at once, with CAP_BPF and CAP_PERFMON (Linux 6.6).
    Multi,
    /// A perf event for each place. From 6.16 on it asks for CAP_SYS_ADMIN, and so do later versions of
    /// older stable series (Debian's 6.12.117).
    PerfEvents,
}

impl Attachment {
    /// The best that the running kernel has.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn detect() -> Result<Self, ProgramError> {
        let is_supported = is_uprobe_multi_supported(UProbeMultiFeature::LinkCreation)?;
        Ok(match is_supported {
            true => Self::Multi,
            false => Self::PerfEvents,
        })
    }

    /// What kernels of this release have, where the running one cannot be asked.
    #[must_use]
    pub fn expected(release: &str) -> Self {
        match release::parse(release) {
            Some(version) if version >= (6, 6) => Self::Multi,
            _ => Self::PerfEvents,
        }
    }

    /// The object with its programs declared for this.
    ///
    /// The kernel wants to know when a program is loaded how it will be attached, and aya takes that
    /// from the section's name: what follows `uprobe` and `uretprobe` is cut off.
    #[must_use]
    pub fn declare(self, object: &[u8]) -> Cow<'_, [u8]> {
        const MULTI: &[u8] = b"probe.multi\0";
        if self == Self::Multi {
            return Cow::Borrowed(object);
        }
        let mut object = object.to_vec();
        let ends: Vec<usize> = memchr::memmem::find_iter(&object, MULTI)
            .map(|start| start + b"probe".len())
            .collect();
        for end in ends {
            object[end] = 0;
        }
        Cow::Owned(object)
    }
}

/// Attaches a loaded program to places in a file, in all processes.
///
/// # Errors
/// The kernel refuses it.
pub fn attach(
    ebpf: &mut Ebpf,
    program: &str,
    file: &Path,
    sites: &[&Site],
) -> Result<UProbeLink, ProgramError> {
    let program: &mut UProbe = ebpf
        .program_mut(program)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()?;
    let points = sites.iter().map(|site| UProbeAttachPoint {
        location: UProbeAttachLocation::AbsoluteOffset(site.offset),
        cookie: Some(site.cookie),
    });
    let id = program.attach(points, file, UProbeScope::AllProcesses)?;
    program.take_link(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_cannot_be_asked_has_what_its_release_has() {
        for (release, expected) in [
            ("6.18.5-arch1-1", Attachment::Multi),
            ("6.6.0", Attachment::Multi),
            ("6.5.13", Attachment::PerfEvents),
            ("7.0.1", Attachment::Multi),
            ("", Attachment::PerfEvents),
        ] {
            assert_eq!(Attachment::expected(release), expected, "{release}");
        }
    }
}
