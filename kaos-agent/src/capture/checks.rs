//! What `doctor` wants to know of capture: does every program load and attach here?

use super::btf;
use super::kernel::{Attached, Kernel};
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

fn check(attached: &Attached) -> Check {
    let program = attached.program;
    let name = format!("{}:{}", program.subsystem, program.hook);
    match &attached.outcome {
        Ok(instructions) => Check::ok(
            &name,
            format!("attached; the verifier walked {instructions} instructions"),
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
