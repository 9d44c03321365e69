//! What `doctor` wants to know of capture: does every program load and attach here?

use super::btf;
use super::kernel::{Attached, Kernel};
use super::uprobes::links::Attachment;
use super::uprobes::mappings::MappingWatch;
use crate::health::doctor::Check;
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
    checks.push(check_attachment(Attachment::detect()));
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

fn check_attachment(attachment: Attachment) -> Check {
    const NAME: &str = "probes in processes";
    match attachment {
        Attachment::Multi => Check::ok(NAME, "uprobe_multi links"),
        Attachment::PerfEvents => Check::warn(
            NAME,
            "perf events: this kernel has no uprobe_multi links",
            "use Linux 6.6 or newer, or make sure of CAP_SYS_ADMIN: perf events may ask for it",
        ),
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
