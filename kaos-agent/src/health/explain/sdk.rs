//! Is an OpenTelemetry SDK in a process? What can be seen of one from outside.

use procfs::net::TcpState;
use procfs::process::FDTarget;
use rustc_hash::FxHashSet;
use serde::Serialize;

use super::files::MappedFiles;
use super::runtime::Runtime;
use super::settings::{SDK_DISABLED, Settings};
use crate::capture::event::{Instrumentation, Pid, ProcessInfo};
use crate::identity::service::BesideSdk;

/// The ports of OTLP.
const OTLP_PORTS: [u16; 2] = [4317, 4318];

/// Is an SDK in it?
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sdk {
    /// In one word.
    pub verdict: SdkVerdict,
    /// Why.
    pub signs: Vec<String>,
    /// What is told of the process beside it.
    pub beside: Beside,
}

/// What is told of a process beside its SDK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// The mode in force: `complement`, `always` or `never`.
    pub mode: &'static str,
    /// What sets it: `default`, `--beside-sdk` (of the agent that the settings name), or a variable of
    /// the process.
    pub from: &'static str,
    /// What the agent tells.
    pub told: &'static str,
    /// What it leaves to the SDK.
    pub left: &'static str,
    /// How far this can be known here.
    pub seen: &'static str,
}

impl Beside {
    fn of((mode, from): (BesideSdk, &'static str), verdict: SdkVerdict) -> Self {
        const EVERYTHING: &str = "everything";
        const NOTHING: &str = "nothing";
        let is_inside = verdict == SdkVerdict::Inside;
        let (mode, told, left) = match mode {
            BesideSdk::Always => ("always", EVERYTHING, NOTHING),
            BesideSdk::Never if is_inside => ("never", NOTHING, EVERYTHING),
            BesideSdk::Never => (
                "never",
                "everything until an SDK shows itself at work",
                "nothing until then, and then everything",
            ),
            BesideSdk::Complement if is_inside => (
                "complement",
                "calls whose headers name no span of the SDK, as HTTP; what it serves, where its calls \
                 show that the SDK has no span for that",
                "what it serves, calls whose headers name a span of the SDK, and what calls mean",
            ),
            BesideSdk::Complement => (
                "complement",
                "everything until an SDK shows itself at work",
                "nothing until then, and then what the SDK tells",
            ),
        };
        Self {
            mode,
            from,
            told,
            left,
            seen: "as far as it is seen from outside; the agent that traces it goes by what it sends, \
                   too, and logs when that shows an SDK",
        }
    }
}

/// Is an SDK in it? What its requests carry says more, and only the agent that traces it sees
/// those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SdkVerdict {
    /// It exports, was started with automatic instrumentation, or an agent of OpenTelemetry is loaded.
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
        let (verdict, signs) = Self::seen(pid, info, files, runtime, settings);
        Self {
            verdict,
            signs,
            beside: Beside::of(settings.beside_sdk, verdict),
        }
    }

    /// Is there one, and what shows it?
    fn seen(
        pid: Pid,
        info: &ProcessInfo,
        files: &MappedFiles,
        runtime: &Runtime,
        settings: &Settings,
    ) -> (SdkVerdict, Vec<String>) {
        if settings.is_true(SDK_DISABLED) {
            return (SdkVerdict::Off, vec![format!("{SDK_DISABLED}=true")]);
        }
        let mut signs = Vec::new();
        if settings.is_instrumented
            && let Some(instrumentation) = info.instrumentation
        {
            signs.push(format!(
                "was started with automatic instrumentation: {}",
                shown_by(instrumentation)
            ));
        }
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
        (verdict, signs)
    }
}

/// Where automatic instrumentation shows.
fn shown_by(instrumentation: Instrumentation) -> &'static str {
    match instrumentation {
        Instrumentation::Python => "its directory is in PYTHONPATH",
        Instrumentation::Node => "--require or --import, in NODE_OPTIONS or the command line",
        Instrumentation::Java => "-javaagent, in JAVA_TOOL_OPTIONS or the command line",
        Instrumentation::DotNet => "CORECLR_PROFILER",
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    fn sdk(environment: &[(&str, &str)], mapped: &[&str], executable: &str) -> Sdk {
        sdk_of(environment, mapped, executable, None)
    }

    fn sdk_of(
        environment: &[(&str, &str)],
        mapped: &[&str],
        executable: &str,
        instrumentation: Option<Instrumentation>,
    ) -> Sdk {
        let info = ProcessInfo {
            executable: executable.to_owned(),
            command: vec![executable.to_owned()],
            instrumentation,
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..ProcessInfo::default()
        };
        let files = MappedFiles::for_test(mapped);
        let settings = Settings::of(7, &info, None).expect("no option is wrong");
        let runtime = Runtime::of(&info, &files);
        Sdk::of(std::process::id(), &info, &files, &runtime, &settings)
    }

    #[test]
    fn what_is_loaded_shows_an_sdk_and_what_lies_there_does_not() {
        let java = "/opt/opentelemetry-javaagent.jar";
        let inside = sdk(&[], &[java], "/usr/bin/java");
        assert_eq!(inside.verdict, SdkVerdict::Inside);
        assert_eq!(inside.signs, [format!("uses {java}")]);

        let packages = tempfile::tempdir().expect("a directory");
        let packages = packages.path().join("lib/python3.12/site-packages");
        std::fs::create_dir_all(packages.join("opentelemetry/sdk")).expect("it is writable");
        let module = packages.join("opentelemetry/sdk/x.so");
        let module = module.to_str().expect("it is text");
        let installed = sdk(&[], &[module], "/usr/bin/python3.12");
        assert_eq!(installed.verdict, SdkVerdict::Installed, "{installed:?}");
        assert_eq!(installed.signs.len(), 1);

        let unseen = sdk(&[], &["/usr/lib/libc.so.6"], "/usr/bin/python3.12");
        assert_eq!((unseen.verdict, unseen.signs), (SdkVerdict::Unseen, vec![]));
    }

    #[test]
    fn automatic_instrumentation_shows_by_how_it_was_started() {
        let started = |environment: &[(&str, &str)]| {
            let python = Some(Instrumentation::Python);
            sdk_of(environment, &[], "/usr/bin/python3.12", python)
        };
        let inside = started(&[]);
        assert_eq!(inside.verdict, SdkVerdict::Inside);
        assert_eq!(
            inside.signs,
            ["was started with automatic instrumentation: its directory is in PYTHONPATH"]
        );
        // Its spans go to nobody who would miss ours.
        let elsewhere = started(&[("OTEL_TRACES_EXPORTER", "console")]);
        assert_eq!(elsewhere.verdict, SdkVerdict::Unseen);
        let off = started(&[("OTEL_SDK_DISABLED", "true")]);
        assert_eq!(off.verdict, SdkVerdict::Off);
    }

    #[test]
    fn an_exporter_shows_by_its_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it binds");
        let address = listener.local_addr().expect("it is bound");
        let endpoint = format!("http://{address}");
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
        let before = sdk(&environment, &[], "/usr/bin/shop");
        assert_eq!(before.verdict, SdkVerdict::Unseen);
        let _connection = TcpStream::connect(address).expect("it listens");
        let connected = sdk(&environment, &[], "/usr/bin/shop");
        assert_eq!(connected.verdict, SdkVerdict::Inside);
        let sign = format!("is connected to {address}, where OTLP goes");
        assert_eq!(connected.signs, [sign]);
    }

    #[test]
    fn the_environment_may_switch_an_sdk_off_and_leave_all_to_the_agent() {
        let off = sdk(&[("OTEL_SDK_DISABLED", "True")], &[], "/usr/bin/shop");
        assert_eq!(off.verdict, SdkVerdict::Off);
        assert_eq!((off.beside.mode, off.beside.from), ("always", SDK_DISABLED));
        let unexported = sdk(&[("OTEL_TRACES_EXPORTER", "none")], &[], "/usr/bin/shop");
        let beside = &unexported.beside;
        assert_eq!(
            (beside.mode, beside.from),
            ("always", "OTEL_TRACES_EXPORTER")
        );
        assert_eq!((beside.told, beside.left), ("everything", "nothing"));
        let plain = sdk(&[], &[], "/usr/bin/shop").beside;
        assert_eq!((plain.mode, plain.from), ("complement", "default"));
    }

    #[test]
    fn modes_say_who_tells_what() {
        let of = |mode, verdict| {
            let beside = Beside::of((mode, "default"), verdict);
            (beside.mode, beside.told, beside.left)
        };
        for verdict in [SdkVerdict::Inside, SdkVerdict::Unseen] {
            let all = ("always", "everything", "nothing");
            assert_eq!(of(BesideSdk::Always, verdict), all);
        }
        let none = ("never", "nothing", "everything");
        assert_eq!(of(BesideSdk::Never, SdkVerdict::Inside), none);
        for mode in [BesideSdk::Never, BesideSdk::Complement] {
            let (_, told, left) = of(mode, SdkVerdict::Installed);
            assert!(told.starts_with("everything until"), "{told}");
            assert!(left.starts_with("nothing until"), "{left}");
        }
        let (_, told, left) = of(BesideSdk::Complement, SdkVerdict::Inside);
        assert!(told.contains("as HTTP") && left.contains("what it serves"));
    }
}
