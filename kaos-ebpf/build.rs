//! Builds the eBPF object, where the feature `object` asks for it.
//!
//! This is the only place that builds it: the agent embeds what this leaves in `OUT_DIR`, and
//! `cargo xtask build-ebpf` copies the same file out. It does what `aya-build` does and two things
//! more: compilers before the version that aya declares are let through, and paths of the machine
//! are kept out of the object, so that the same sources give the same bytes in every checkout.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    if env::var_os("CARGO_FEATURE_OBJECT").is_some() {
        build_object();
    }
}

fn build_object() {
    let out_directory = PathBuf::from(variable("OUT_DIR"));
    let manifest_directory = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest_directory
        .parent()
        .expect("the crate is in a workspace");
    // Kernels of either architecture that we run on are little-endian.
    let target = "bpfel-unknown-none";
    let target_directory = out_directory.join("target");

    let status = Command::new(variable("CARGO"))
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            "kaos-ebpf",
            "--bin",
            "kaos-ebpf",
            "--release",
        ])
        .args([
            "--target",
            target,
            "-Z",
            "build-std=core",
            "--ignore-rust-version",
        ])
        .arg("--target-dir")
        .arg(&target_directory)
        // `build-std` is unstable; this lets a stable compiler do it for this one build.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rustc_flags(workspace).join("\x1f"),
        )
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_SPLIT_DEBUGINFO", "off")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        // What cargo sets for build scripts describes the outer build, not this one.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_FEATURE_OBJECT")
        .status()
        .unwrap_or_else(|error| panic!("cannot start cargo for the eBPF object: {error}"));
    assert!(
        status.success(),
        "building the eBPF object failed ({status}); `cargo xtask setup` installs bpf-linker and rust-src, which it needs"
    );

    let built = target_directory.join(target).join("release/kaos-ebpf");
    let object = out_directory.join("kaos-ebpf");
    fs::copy(&built, &object)
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", built.display()));
}

/// BTF for the programs and their line information, and no path of this machine in either.
fn rustc_flags(workspace: &Path) -> Vec<String> {
    let sysroot = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc tells its sysroot");
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let cargo_home = env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default()));
    vec![
        "-Clinker=bpf-linker".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        format!("--remap-path-prefix={}=/kaos", workspace.display()),
        format!("--remap-path-prefix={sysroot}=/rust"),
        format!("--remap-path-prefix={cargo_home}=/cargo"),
    ]
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
