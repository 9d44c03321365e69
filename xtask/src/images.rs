//! `cargo xtask images`: images of the operator and the node agent from the local build, without
//! Docker and without a registry, each with a list of what it is made of.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{command, paths, sbom, toolchain};

/// `cargo xtask images`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Tag of the images.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Build without optimisation: minutes less, and several times larger.
    #[arg(long)]
    debug: bool,
}

struct Image {
    program: &'static str,
    name: &'static str,
    description: &'static str,
    /// Who runs it: the agent needs root's files, the operator nothing.
    user: &'static str,
}

const IMAGES: [Image; 2] = [
    Image {
        program: "kaos-agent",
        name: "kaos-node-agent",
        description: "Watches AI agents from the kernel and tells through OpenTelemetry what they did",
        user: "0",
    },
    Image {
        program: "kaos-operator",
        name: "kaos-operator",
        description: "Runs KAOS's Agents, MCPServers and ModelAPIs on Kubernetes",
        user: "65532",
    },
];

/// Makes the images and says where they are.
///
/// # Errors
/// The build fails, or a tool is missing (`strip`, `ldd`, `tar`).
pub fn run(options: &Options) -> Result<ExitCode> {
    let archives = make(&options.tag, options.debug)?;
    for (name, archive) in archives {
        let bytes = archive.metadata()?.len();
        println!(
            "{name}: {} ({:.1} MB), what is in it: {}",
            archive.display(),
            bytes as f64 / 1e6,
            archive.with_extension("cdx.json").display()
        );
    }
    println!("load them with `docker load --input FILE` or `ctr -n k8s.io images import FILE`");
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs and returns each image's name with its archive.
///
/// # Errors
/// As [`run`].
pub fn make(tag: &str, debug: bool) -> Result<Vec<(String, PathBuf)>> {
    // Without optimisation it is what the tests have built already, features of all dependencies
    // included.
    let which: &[&str] = match debug {
        true => &["--workspace"],
        false => &[
            "--release",
            "--package=kaos-agent",
            "--package=kaos-operator",
        ],
    };
    command::run(toolchain::cargo(&["build", "--bins"])?.args(which))?;
    let profile = if debug { "debug" } else { "release" };
    let directory = paths::target().join("images");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    IMAGES
        .iter()
        .map(|image| {
            let name = format!("localhost/{}:{tag}", image.name);
            let archive = directory.join(format!("{}.tar", image.name));
            let program = paths::target().join(profile).join(image.program);
            let parts = directory.join(format!("{}.cdx.json", image.name));
            let text = serde_json::to_string_pretty(&sbom::of(image.program, &program)?)?;
            std::fs::write(&parts, text)
                .with_context(|| format!("cannot write {}", parts.display()))?;
            program_image(image, &name, &archive, &program, &parts)?;
            Ok((name, archive))
        })
        .collect()
}

fn program_image(
    image: &Image,
    name: &str,
    archive: &Path,
    program: &Path,
    parts: &Path,
) -> Result<()> {
    let config = serde_json::json!({
        "User": image.user,
        "Env": ["PATH=/usr/bin"],
        "Entrypoint": [image.program],
        "Labels": {
            "org.opencontainers.image.title": image.name,
            "org.opencontainers.image.description": image.description,
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    });
    command::run(
        Command::new(paths::root().join("tests/cluster/program.sh"))
            .args([archive.as_os_str(), name.as_ref(), program.as_os_str()])
            .arg(config.to_string())
            .arg(parts),
    )
}
