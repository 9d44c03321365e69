//! `cargo xtask setup`: everything that building, the demo and the tests need.
//!
//! A table of steps, each of which can tell what is missing and bring it. What needs no root goes
//! to the user's cache directory under a name that holds its version, so nothing is done twice
//! and a changed version never meets an old result.

mod cluster;
mod go;
mod interpreters;
mod kind;
mod machine;
mod ollama;
mod packages;
mod pythons;
mod root;
mod steps;
pub mod vm;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

pub use self::cluster::{is_there as cluster_is_there, node_is_there};
pub use self::kind::kind_is_there;
use self::machine::Machine;
pub use self::root::{is_root, prefix as root_prefix};
pub use self::steps::{AARCH64, bpf_linker, other_target, python};
use self::steps::{STEPS, Step};

/// `cargo xtask setup`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Change nothing; list what is missing, and exit with 1 if anything is.
    #[arg(long)]
    check: bool,
    /// Also build a Kubernetes control plane and helm, for the tests of the operator (minutes).
    #[arg(long)]
    cluster: bool,
    /// Also build Ollama, for the test of a real model server (minutes).
    #[arg(long)]
    ollama: bool,
    /// Also make root file systems with other versions of Python and OpenSSL, for the tests of what
    /// caused what and of TLS (minutes).
    #[arg(long)]
    pythons: bool,
    /// Also bring what a whole Kubernetes node needs, for `cargo xtask e2e` (more minutes).
    #[arg(long)]
    node: bool,
    /// Also bring kind with a Docker and an image of its nodes, for `cargo xtask e2e --kind`, where this
    /// machine has no kind and Docker in use (more minutes).
    #[arg(long)]
    kind: bool,
    /// Also bring other kernels and what starts them in virtual machines, for `cargo xtask vm`.
    #[arg(long)]
    vm: bool,
}

/// How a step went.
enum Outcome {
    InPlace,
    Done,
    Missing { what: String, advice: String },
}

/// Runs all steps and prints each.
///
/// # Errors
/// The machine cannot be looked at: no `rustc`, no home directory.
pub fn run(options: &Options) -> Result<ExitCode> {
    let kind = options.kind && !kind::is_installed();
    if options.kind && !kind {
        println!(
            "setup: kind and Docker of this machine are used; KAOS_KIND=built asks for our own"
        );
    }
    let more = [
        (cluster::STEPS, options.cluster || options.node || kind),
        (cluster::NODE_STEPS, options.node || kind),
        (kind::STEPS, kind),
        (ollama::STEPS, options.ollama),
        (pythons::STEPS, options.pythons),
        (vm::STEPS, options.vm),
    ];
    let more = more.into_iter().filter(|(_, is_wanted)| *is_wanted);
    let more = more.flat_map(|(steps, _)| steps);
    Ok(match steps(options.check, more)? {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The same for commands that need the results. What could not be brought was printed; we go on,
/// since most of the work may not need it.
///
/// # Errors
/// As [`run`].
pub fn ensure() -> Result<()> {
    let missing = steps(false, [])?;
    if missing > 0 {
        println!(
            "setup: going on without {missing} of {} steps\n",
            STEPS.len()
        );
    }
    Ok(())
}

/// `NAME=value` for the tests and the demo: where the workloads that were set up are.
///
/// # Errors
/// No home directory.
pub fn variables() -> Result<Vec<String>> {
    let found = [
        ("KAOS_PYTHON", steps::python()?),
        ("KAOS_GO_WORKLOAD", steps::go_workload()?),
        ("KAOS_CAUSALITY_PYTHON", interpreters::built()?),
        ("KAOS_OLLAMA", ollama::built()?),
        ("KAOS_PYTHON_ROOTS", pythons::followed_roots()?),
        ("KAOS_BUILT_PYTHONS", pythons::from_source()?),
        ("KAOS_OPENSSL_1_1_ROOT", pythons::with_openssl_1_1()?),
    ];
    Ok(found
        .into_iter()
        .filter_map(|(name, path)| Some(format!("{name}={}", path?.display())))
        .collect())
}

/// Runs all steps and these, and returns how many are missing afterwards.
fn steps(check_only: bool, more: impl IntoIterator<Item = &'static Step>) -> Result<usize> {
    let machine = Machine::look()?;
    println!("setup: {machine}");
    let mut missing = 0;
    for step in STEPS.iter().chain(more) {
        let started = Instant::now();
        print!("  {:<20} {} … ", step.name, step.what);
        std::io::stdout().flush()?;
        let outcome = perform(step, &machine, check_only);
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Outcome::InPlace => println!("in place ({seconds:.2} s)"),
            Outcome::Done => println!("done ({seconds:.2} s)"),
            Outcome::Missing { what, advice } => {
                missing += 1;
                println!("MISSING ({seconds:.2} s)");
                println!("      missing: {what}");
                println!("      to do:   {advice}");
            }
        }
    }
    Ok(missing)
}

fn perform(step: &Step, machine: &Machine, check_only: bool) -> Outcome {
    let missing = step.missing(machine);
    if missing.is_empty() {
        return Outcome::InPlace;
    }
    let what = missing.join(", ");
    if check_only {
        let advice = "cargo xtask setup".to_owned();
        return Outcome::Missing { what, advice };
    }
    if let Err(error) = step.bring(machine, &missing) {
        let advice = format!("{error:#}");
        return Outcome::Missing { what, advice };
    }
    let missing = step.missing(machine);
    if missing.is_empty() {
        return Outcome::Done;
    }
    Outcome::Missing {
        what: missing.join(", "),
        advice: "the step ran but did not bring it; install it by hand".to_owned(),
    }
}
