//! The project's commands. Each is one file; this one only tells them apart.
//!
//! Builds with a plain `cargo` of any supported compiler: what older compilers need for the rest
//! of the workspace is in [`toolchain`].

mod bench;
mod build_ebpf;
mod command;
mod crds;
mod demo;
mod e2e;
mod fuzz;
mod images;
mod lint;
mod paths;
mod sbom;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Builds, checks and shows the KAOS node agent.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Install everything that building, the demo and the tests need.
    Setup(setup::Options),
    /// Build the eBPF object that the agent embeds, and say where it is.
    BuildEbpf(build_ebpf::Options),
    /// Run a real FastAPI agent, LiteLLM and an MCP server, and show what was seen as a trace tree.
    Demo(demo::Options),
    /// Run all tests that this machine can run, and say which it cannot.
    Test(test::Options),
    /// Measure what the agent costs, and how much it takes.
    Bench(bench::Options),
    /// Run every parser of the agent under a fuzzer.
    Fuzz(fuzz::Options),
    /// Write the custom resource definitions into the chart.
    Crds(crds::Options),
    /// Make images of the operator and the node agent from the local build.
    Images(images::Options),
    /// Install the chart on a real single-node Kubernetes, and look at what is told of KAOS's resources.
    E2e(e2e::Options),
    /// Run tests of the agent on other kernels, in virtual machines.
    Vm(vm::Options),
    /// Check formatting, clippy, licences, advisories and file lengths.
    Lint,
    /// Run cargo with what compilers before 1.98 need for this workspace.
    Cargo(toolchain::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Setup(options) => setup::run(&options),
        Command::BuildEbpf(options) => build_ebpf::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Crds(options) => crds::run(&options),
        Command::Images(options) => images::run(&options),
        Command::E2e(options) => e2e::run(&options),
        Command::Vm(options) => vm::run(&options),
        Command::Lint => lint::run(),
        Command::Cargo(options) => toolchain::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
