//! Is a process started with OpenTelemetry's automatic instrumentation?
//!
//! What tells is in its command line and in variables that hold much else. Nothing of them is kept but
//! the answer.

use super::event::Instrumentation;
use super::processes::is_version_of;

/// The directory whose `sitecustomize.py` sets the SDK up, as `opentelemetry-instrument` and the
/// Operator put it into `PYTHONPATH`.
const PYTHON_DIRECTORY: &str = "/opentelemetry/instrumentation/auto_instrumentation";

/// The package for Node.js whose `register` sets the SDK up.
const NODE_PACKAGE: &str = "@opentelemetry/auto-instrumentations-node";

/// Beginning of the names of the directories that the Operator mounts: behind it stand a language and,
/// lately, a container (before, there was nothing).
const OPERATORS_DIRECTORY: &str = "/otel-auto-instrumentation";

/// What the files of the JVM's agent are called: the project's own and those that others make of it
/// (`aws-opentelemetry-agent.jar`, `splunk-otel-javaagent.jar`).
const JAVA_AGENTS: [&str; 2] = ["opentelemetry", "otel-javaagent"];

/// Where a JVM finds options beside its command line.
const JAVA_OPTIONS: [&str; 3] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];

/// Class id of the project's profiler for .NET.
const DOTNET_PROFILER: &str = "{918728DD-259F-4A6A-AC2B-B85E1B658318}";

/// What instruments a process from its start on. Of command line and environment each word ends with a
/// zero. Variables are inherited by whatever is executed, so each counts for its own runtime only.
pub(super) fn instrumentation(
    executable: &str,
    command_line: &str,
    environment: &str,
) -> Option<Instrumentation> {
    let program = executable.rsplit('/').next().unwrap_or(executable);
    let arguments = || command_line.split('\0').skip(1);
    let variable = |name: &str| {
        let mut variables = environment.split('\0');
        variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    };
    let is_any_of = |names: &[&str]| names.iter().any(|name| is_version_of(program, name));
    if is_any_of(&["python", "pypy"]) {
        let path = variable("PYTHONPATH")?;
        let is_in_path = path.split(':').any(|directory| {
            let directory = directory.trim_end_matches('/');
            directory.ends_with(PYTHON_DIRECTORY)
        });
        return (is_in_path && !ignores_python_path(arguments()))
            .then_some(Instrumentation::Python);
    }
    if is_any_of(&["node", "nodejs"]) {
        let options = variable("NODE_OPTIONS").unwrap_or_default();
        let is_loaded =
            loads_node_package(options.split_ascii_whitespace()) || loads_node_package(arguments());
        return is_loaded.then_some(Instrumentation::Node);
    }
    if is_any_of(&["java"]) {
        let options = JAVA_OPTIONS.map(|name| variable(name).unwrap_or_default());
        let options = options.iter().flat_map(|it| it.split_ascii_whitespace());
        let words: Vec<&str> = options.chain(arguments()).collect();
        let is_off = variable("OTEL_JAVAAGENT_ENABLED").is_some_and(is_false)
            || words.iter().any(|word| switches_java_off(word));
        let is_loaded = words.iter().any(|word| is_java_agent(word));
        return (is_loaded && !is_off).then_some(Instrumentation::Java);
    }
    // Programs with a launcher of their own do not show that they are .NET.
    if program == "dotnet" {
        let is_profiled = variable("CORECLR_ENABLE_PROFILING") == Some("1");
        let profiler = variable("CORECLR_PROFILER")?.trim();
        let is_ours = profiler.eq_ignore_ascii_case(DOTNET_PROFILER);
        return (is_profiled && is_ours).then_some(Instrumentation::DotNet);
    }
    None
}

/// Options of Python with which `PYTHONPATH` or the customisation of sites does not count: `-E`, `-I`,
/// `-S`, alone or with others.
fn ignores_python_path<'a>(mut arguments: impl Iterator<Item = &'a str>) -> bool {
    while let Some(option) = arguments.next() {
        let Some(letters) = option.strip_prefix('-') else {
            return false;
        };
        for (index, letter) in letters.bytes().enumerate() {
            match letter {
                b'E' | b'I' | b'S' => return true,
                b'c' | b'm' | b'-' => return false,
                b'W' | b'X' => {
                    // The rest, or else the next argument, is its value.
                    if index + 1 == letters.len() {
                        arguments.next();
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    false
}

/// Do options of Node.js, before a script, load what sets the SDK up?
fn loads_node_package<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    while let Some(word) = words.next() {
        let module = match word.split_once('=') {
            Some(("--require" | "--import", module)) => Some(module),
            _ if ["-r", "--require", "--import"].contains(&word) => words.next(),
            _ if word.starts_with('-') => None,
            _ => return false,
        };
        if let Some(module) = module
            && (module.contains(NODE_PACKAGE)
                || module.contains(OPERATORS_DIRECTORY) && module.contains("/autoinstrumentation."))
        {
            return true;
        }
    }
    false
}

/// `-javaagent:PATH`, perhaps with `=OPTIONS` behind, of an agent that sets the SDK up.
fn is_java_agent(word: &str) -> bool {
    let Some(agent) = word.strip_prefix("-javaagent:") else {
        return false;
    };
    let path = agent.split('=').next().unwrap_or(agent);
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    directory.contains(OPERATORS_DIRECTORY) || JAVA_AGENTS.iter().any(|name| file.contains(name))
}

/// A system property that says what a variable may say, too, which is looked at elsewhere.
fn switches_java_off(word: &str) -> bool {
    match word.split_once('=') {
        Some(("-Dotel.javaagent.enabled", value)) => is_false(value),
        Some(("-Dotel.sdk.disabled", value)) => value.eq_ignore_ascii_case("true"),
        Some(("-Dotel.traces.exporter", value)) => !value.contains("otlp"),
        _ => false,
    }
}

fn is_false(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of words and variables with spaces between them; `~` is a space inside of one.
    fn of(executable: &str, arguments: &str, environment: &str) -> Option<Instrumentation> {
        let words = |text: &str| {
            let words = text.split(' ').map(|word| word.replace('~', " ") + "\0");
            words.collect::<String>()
        };
        instrumentation(
            executable,
            &words(&format!("program {arguments}")),
            &words(environment),
        )
    }

    const PYTHONPATH: &str = "PYTHONPATH=/w:/v/site-packages\
                              /opentelemetry/instrumentation/auto_instrumentation";

    #[test]
    fn python_by_its_path() {
        let python =
            |arguments: &str, environment: &str| of("/usr/bin/python3.11", arguments, environment);
        let yes = Some(Instrumentation::Python);
        assert_eq!(python("/v/bin/uvicorn app:app", PYTHONPATH), yes);
        let of_operator = "PYTHONPATH=/otel-auto-instrumentation-python/opentelemetry\
                           /instrumentation/auto_instrumentation:/otel-auto-instrumentation-python";
        assert_eq!(python("-u app.py -I", of_operator), yes);
        assert_eq!(python("-W ignore -m app -E", PYTHONPATH), yes);
        for arguments in ["-I app.py", "-uE app.py", "-X dev -S -m app"] {
            assert_eq!(python(arguments, PYTHONPATH), None, "{arguments}");
        }
        for environment in ["", "PYTHONPATH=/w", "PATH=/opentelemetry/instrumentation"] {
            assert_eq!(python("app.py", environment), None, "{environment}");
        }
        // It is inherited by whatever is executed.
        assert_eq!(of("/usr/bin/node", "app.js", PYTHONPATH), None);
        assert_eq!(of("/bin/bash", "-c app.py", PYTHONPATH), None);
    }

    #[test]
    fn node_by_what_it_loads_first() {
        let node = |arguments: &str, environment: &str| of("/usr/bin/node", arguments, environment);
        let yes = Some(Instrumentation::Node);
        for options in [
            "--require~/otel-auto-instrumentation-nodejs/autoinstrumentation.js",
            "--enable-source-maps~--import=@opentelemetry/auto-instrumentations-node/register",
            "~-r~/app/node_modules/@opentelemetry/auto-instrumentations-node/build/src/register.js",
        ] {
            let options = format!("NODE_OPTIONS={options}");
            assert_eq!(node("app.js", &options), yes, "{options}");
        }
        let register = "--require @opentelemetry/auto-instrumentations-node/register app.js";
        assert_eq!(node(register, ""), yes);
        assert_eq!(node(&format!("app.js {register}"), ""), None);
        assert_eq!(node("-r ts-node/register app.js", ""), None);
        assert_eq!(
            node("app.js", "NODE_OPTIONS=--max-old-space-size=512"),
            None
        );
    }

    #[test]
    fn java_by_its_agent() {
        let java =
            |arguments: &str, environment: &str| of("/opt/jdk/bin/java", arguments, environment);
        let yes = Some(Instrumentation::Java);
        for agent in [
            "-javaagent:/otel-auto-instrumentation-java-shop/javaagent.jar",
            "-javaagent:opentelemetry-javaagent.jar",
            "-javaagent:/opt/splunk-otel-javaagent.jar=a=b",
            "-javaagent:/opt/aws-opentelemetry-agent.jar",
        ] {
            assert_eq!(java(&format!("-Xmx1g {agent} -jar app.jar"), ""), yes);
            let options = format!("JAVA_TOOL_OPTIONS=-Xmx1g~{agent}");
            assert_eq!(java("-jar app.jar", &options), yes, "{agent}");
            for off in [
                "-Dotel.javaagent.enabled=false",
                "-Dotel.sdk.disabled=true",
                "-Dotel.traces.exporter=none",
            ] {
                assert_eq!(java(&format!("{off} -jar app.jar"), &options), None);
            }
            let off = format!("{options} OTEL_JAVAAGENT_ENABLED=false");
            assert_eq!(java("-jar app.jar", &off), None);
        }
        assert_eq!(java("-javaagent:/opt/jacoco.jar -jar app.jar", ""), None);
        assert_eq!(java("-jar /opt/opentelemetry-collector.jar", ""), None);
    }

    #[test]
    fn dotnet_by_its_profiler() {
        let dotnet = |environment: &str| of("/usr/bin/dotnet", "app.dll", environment);
        let profiler = format!("CORECLR_PROFILER={}", DOTNET_PROFILER.to_lowercase());
        let on = format!("CORECLR_ENABLE_PROFILING=1 {profiler}");
        assert_eq!(dotnet(&on), Some(Instrumentation::DotNet));
        assert_eq!(dotnet(&profiler), None);
        let another = "{846F5F1C-F9AE-4B07-969E-05C26BC060D8}";
        let another = format!("CORECLR_ENABLE_PROFILING=1 CORECLR_PROFILER={another}");
        assert_eq!(dotnet(&another), None);
    }
}
