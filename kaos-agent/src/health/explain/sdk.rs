//! Is an OpenTelemetry SDK in a process? What can be seen of one from outside.

use procfs::net::TcpState;
use procfs::process::FDTarget;
use rustc_hash::FxHashSet;
use serde::Serialize;

use super::files::MappedFiles;
use super::runtime::Runtime;
use super::settings::Settings;
use crate::capture::event::{Pid, ProcessInfo};

/// The ports of OTLP.
const OTLP_PORTS: [u16; 2] = [4317, 4318];

/// Is an SDK in it?
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sdk {
    /// In one word.
    pub verdict: SdkVerdict,
    /// Why.
    pub signs: Vec<String>,
}

/// Is an SDK in it? What its requests carry says more, and only the agent that traces it sees
/// those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SdkVerdict {
    /// It exports, or an agent of OpenTelemetry is loaded.
    Inside,
    /// There is one, and the environment switches it off.
    Off,
    /// One is installed; nothing shows that it is used.
    Installed,
    /// Nothing was seen.
    Unseen,
}

impl Sdk {
    pub(super) fn of(
        pid: Pid,
        info: &ProcessInfo,
        files: &MappedFiles,
        runtime: &Runtime,
        settings: &Settings,
    ) -> Self {
        if settings
            .variable("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        {
            return Self {
                verdict: SdkVerdict::Off,
                signs: vec!["OTEL_SDK_DISABLED=true".to_owned()],
            };
        }
        let mut signs = Vec::new();
        let ports = [&OTLP_PORTS[..], &settings.own_ports()].concat();
        for address in connections(pid, &ports) {
            signs.push(format!("is connected to {address}, where OTLP goes"));
        }
        let is_agent = |path: &&str| path.contains("opentelemetry") && !is_python_file(path);
        signs.extend(
            files
                .all()
                .filter(is_agent)
                .map(|path| format!("uses {path}")),
        );
        let verdict = match signs.is_empty() {
            false => SdkVerdict::Inside,
            true => match installed_for_python(info, files, runtime) {
                Some(directory) => {
                    signs.push(format!("{directory} is installed"));
                    SdkVerdict::Installed
                }
                None => SdkVerdict::Unseen,
            },
        };
        Self { verdict, signs }
    }
}

/// A package that merely lies there is no sign of use.
fn is_python_file(path: &str) -> bool {
    path.contains("-packages/")
}

/// Addresses on these ports that the process is connected to.
fn connections(pid: Pid, ports: &[u16]) -> Vec<String> {
    let Some(process) = i32::try_from(pid)
        .ok()
        .and_then(|pid| procfs::process::Process::new(pid).ok())
    else {
        return Vec::new();
    };
    let sockets: FxHashSet<u64> = process
        .fd()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|descriptor| match descriptor.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let mut found: Vec<String> = [process.tcp(), process.tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.state == TcpState::Established
                && ports.contains(&entry.remote_address.port())
                && sockets.contains(&entry.inode)
        })
        .map(|entry| entry.remote_address.to_string())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The SDK's directory among the packages of a Python process.
fn installed_for_python(
    info: &ProcessInfo,
    files: &MappedFiles,
    runtime: &Runtime,
) -> Option<String> {
    if runtime.name != "CPython" {
        return None;
    }
    let mapped = files.all().filter_map(|path| {
        let end = path.find("-packages/")? + "-packages".len();
        Some(path[..end].to_owned())
    });
    // A virtual environment whose extension modules are not loaded: beside the program.
    let prefixes = info.command.iter().take(2).filter_map(|program| {
        let (prefix, _) = program.rsplit_once("/bin/")?;
        Some(prefix.to_owned())
    });
    let beside = prefixes.flat_map(|prefix| {
        let library = format!("{prefix}/lib");
        let versions = files.names_in(&library).into_iter();
        let versions = versions.filter(|name| name.starts_with("python3"));
        let packages = versions.map(move |name| format!("{library}/{name}/site-packages"));
        packages.collect::<Vec<_>>()
    });
    mapped
        .chain(beside)
        .map(|packages| format!("{packages}/opentelemetry/sdk"))
        .find(|directory| files.has_directory(directory))
}
