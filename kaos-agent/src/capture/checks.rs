//! What `doctor` wants to know of capture: does every program load and attach here?

use std::fs::File;
use std::path::{Path, PathBuf};

use super::btf;
use super::kernel::{Attached, Kernel};
use super::release;
use super::tls::FINDER;
use super::uprobes::image::Image;
use super::uprobes::links::Attachment;
use super::uprobes::mappings::MappingWatch;
use crate::health::doctor::{Check, holds_sys_admin};
use crate::settings::{CaptureSettings, Selection, Selectors};

/// Loads and attaches everything for a moment, selecting nothing.
#[must_use]
pub fn run() -> Vec<Check> {
    let mut checks = Vec::new();
    match btf::read_offsets() {
        Ok(_) => checks.push(Check::ok(
            "kernel types",
            "BTF has every field that is needed",
        )),
        Err(error) => {
            checks.push(Check::fail(
                "kernel types",
                format!("{}: {}", error.what, error.why),
                error.remedy,
            ));
            return checks;
        }
    }
    let attachment = Attachment::detect().map_err(|error| error.to_string());
    let expected = Attachment::expected(&release::running());
    checks.push(check_attachment(&attachment, expected, holds_sys_admin()));
    checks.push(check_tls_places(machines_openssl()));
    checks.push(check_mappings());
    let nothing = Selection::Matching(Selectors::default());
    let attached =
        Kernel::load(&CaptureSettings::default(), &nothing).and_then(|mut kernel| kernel.attach());
    match attached {
        Ok(attached) => checks.extend(attached.iter().map(check)),
        Err(error) => checks.push(Check::fail(
            "programs",
            format!("{}: {}", error.what, error.why),
            error.remedy,
        )),
    }
    checks
}

fn check_attachment(
    attachment: &Result<Attachment, String>,
    expected: Attachment,
    has_sys_admin: bool,
) -> Check {
    const NAME: &str = "probes in processes";
    let found = match (attachment, expected) {
        (Ok(Attachment::Multi), _) => return Check::ok(NAME, "uprobe_multi links"),
        (Ok(Attachment::PerfEvents), _) => {
            "perf events: this kernel has no uprobe_multi links".to_owned()
        }
        (Err(error), Attachment::Multi) => {
            return Check::warn(
                NAME,
                format!("the kernel cannot be asked ({error}): uprobe_multi links, by its release"),
                "grant CAP_BPF and CAP_PERFMON; without such links no probe is attached",
            );
        }
        (Err(error), Attachment::PerfEvents) => {
            format!("the kernel cannot be asked ({error}): perf events, by its release")
        }
    };
    match has_sys_admin {
        true => Check::warn(
            NAME,
            format!("{found}; CAP_SYS_ADMIN, for which they may ask, is held"),
            "use Linux 6.6 or newer, where CAP_BPF and CAP_PERFMON are enough",
        ),
        false => Check::warn(
            NAME,
            format!("{found}; CAP_SYS_ADMIN, for which they may ask, is not held"),
            "grant CAP_SYS_ADMIN, or use Linux 6.6 or newer; where the kernel refuses, nothing of TLS \
             is read and causes in Python are known from threads alone",
        ),
    }
}

/// The first OpenSSL among the machine's own libraries. Processes in containers bring theirs.
fn machines_openssl() -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let directories = [
        multiarch.as_str(),
        "/usr/lib64",
        "/usr/lib",
        "/lib64",
        "/lib",
    ];
    let names = ["libssl.so.3", "libssl.so.1.1"];
    let files = directories.iter().flat_map(|directory| {
        let directory = Path::new(directory);
        names.map(|name| directory.join(name))
    });
    files.into_iter().find(|file| file.is_file())
}

/// Where its plain text would be read, and why there.
fn check_tls_places(library: Option<PathBuf>) -> Check {
    const NAME: &str = "places in OpenSSL";
    let Some(path) = library else {
        return Check::ok(
            NAME,
            "no libssl among this machine's libraries: processes may bring one",
        );
    };
    let sites = File::open(&path)
        .and_then(|file| Ok((FINDER.sites)(&Image::read(&file, FINDER.functions)?)));
    let path = path.display();
    match sites {
        Err(error) => Check::warn(
            NAME,
            format!("{path} cannot be read: {error}"),
            "run as root, or grant CAP_DAC_READ_SEARCH",
        ),
        Ok(sites) if sites.is_empty() => Check::warn(
            NAME,
            format!("{path} has none of the functions"),
            "install a libssl with its exports; what uses this one is not read",
        ),
        Ok(sites) => {
            // Entry and return of a function are at one place.
            let mut places: Vec<_> = sites
                .iter()
                .map(|site| {
                    format!(
                        "{} at {:#x} {}",
                        site.function,
                        site.offset,
                        site.place.why()
                    )
                })
                .collect();
            places.dedup();
            Check::ok(NAME, format!("{path}: {}", places.join("; ")))
        }
    }
}

fn check_mappings() -> Check {
    const NAME: &str = "news of mappings";
    match MappingWatch::start() {
        Ok(_) => Check::ok(NAME, "the kernel tells what processes map"),
        Err(error) => Check::warn(
            NAME,
            format!("none: {error}: TLS libraries that are loaded later are not seen"),
            "run as root, or grant CAP_PERFMON; raise the limit of open files",
        ),
    }
}

fn check(attached: &Attached) -> Check {
    let program = attached.program;
    let name = format!("{}:{}", program.subsystem, program.hook);
    match &attached.outcome {
        Ok(instructions) => Check::ok(
            &name,
            format!("loaded; the verifier walked {instructions} instructions"),
        ),
        Err(failure) => {
            let remedy = format!(
                "without it {}; it needs Linux {}.{}",
                program.why, program.since.0, program.since.1
            );
            if program.needed {
                Check::fail(&name, failure.clone(), remedy)
            } else {
                Check::warn(&name, failure.clone(), remedy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::doctor::Verdict;

    #[test]
    fn ways_to_attach_and_what_they_ask_for() {
        use Attachment::{Multi, PerfEvents};
        let unknown = || Err("no permission".to_owned());
        for (attachment, expected, has_sys_admin, verdict, part) in [
            (Ok(Multi), Multi, false, Verdict::Ok, "uprobe_multi links"),
            (Ok(PerfEvents), Multi, true, Verdict::Warn, "is held"),
            (
                Ok(PerfEvents),
                PerfEvents,
                false,
                Verdict::Warn,
                "is not held",
            ),
            (
                unknown(),
                Multi,
                true,
                Verdict::Warn,
                "cannot be asked (no permission)",
            ),
            (
                unknown(),
                PerfEvents,
                false,
                Verdict::Warn,
                "perf events, by its release",
            ),
        ] {
            let check = check_attachment(&attachment, expected, has_sys_admin);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.found.contains(part), "{check:?}");
        }
    }

    #[test]
    fn places_in_openssl_are_told_with_their_reasons() {
        let none = check_tls_places(None);
        assert_eq!(none.verdict, Verdict::Ok);
        // This program has none of the functions.
        let other = check_tls_places(Some(PathBuf::from("/proc/self/exe")));
        assert_eq!(other.verdict, Verdict::Warn, "{other:?}");
        let absent = check_tls_places(Some(PathBuf::from("/nowhere/libssl.so.3")));
        assert!(absent.found.contains("cannot be read"), "{absent:?}");
    }
}
