//! An explanation for people.

use std::fmt::Write;

use super::settings::Destination;
use super::{
    Causes, Explanation, Probe, Process, Sdk, SdkVerdict, Settings, TlsLibrary, Traced,
    TracedVerdict,
};

/// Width of the left column.
const WIDTH: usize = 10;

/// Lines of text: a left column that says what a line is about, and what was found.
pub fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    section(&mut text, "process", process(&explanation.process));
    section(&mut text, "traced", traced(&explanation.traced));
    let runtime = &explanation.runtime;
    let version = runtime.version.as_deref().unwrap_or_default();
    let mut name = format!("{} {version}", runtime.name).trim_end().to_owned();
    if let Some(event_loop) = runtime.event_loop {
        let _ = write!(name, " with {event_loop}");
    }
    section(&mut text, "runtime", [name, runtime.file.clone()]);
    section(&mut text, "causes", causes(&explanation.causes));
    let is_traced = explanation.traced.verdict == TracedVerdict::Yes;
    let libraries = explanation.tls.iter();
    let mut tls: Vec<_> = libraries
        .flat_map(|library| tls_library(library, is_traced))
        .collect();
    if tls.is_empty() {
        tls.push("no library of TLS is mapped".to_owned());
    }
    section(&mut text, "TLS", tls);
    section(&mut text, "settings", environment(&explanation.settings));
    section(&mut text, "come to", come_to(&explanation.settings));
    let sdk = match explanation.sdk.verdict {
        SdkVerdict::Inside => "inside",
        SdkVerdict::Off => "switched off",
        SdkVerdict::Installed => "not seen at work",
        SdkVerdict::Unseen => "not seen",
    };
    let Sdk { signs, beside, .. } = &explanation.sdk;
    let mode = format!("mode {} (by {})", beside.mode, beside.from);
    let told = [
        format!("told by the agent: {}", beside.told),
        format!("left to the SDK: {}", beside.left),
        format!("({})", beside.seen),
    ];
    let lines = [sdk.to_owned()].into_iter().chain(signs.iter().cloned());
    section(&mut text, "SDK", lines.chain([mode]).chain(told));
    text
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    for (index, line) in lines.into_iter().enumerate() {
        let left = if index == 0 { title } else { "" };
        let _ = writeln!(text, "{left:WIDTH$}{line}");
    }
}

fn process(process: &Process) -> Vec<String> {
    let mut first = format!("{} {}", process.pid, process.command.join(" "));
    if process.command.is_empty() {
        let _ = write!(first, "{}", process.name);
    }
    let mut lines = vec![first, process.executable.clone()];
    if let Some(parent) = process.parent {
        lines.push(format!("child of {parent}"));
    }
    if let Some(container) = &process.container {
        lines.push(format!("container {container}"));
    }
    lines
}

fn traced(traced: &Traced) -> Vec<String> {
    let verdict = match traced.verdict {
        TracedVerdict::Yes => "yes",
        TracedVerdict::No if traced.agents.is_empty() => "no: no kaos-agent runs on this machine",
        TracedVerdict::No => "no",
        TracedVerdict::Unknown => "unknown",
    };
    let agents = traced.agents.iter().map(|agent| {
        let what = if agent.records { "recording " } else { "" };
        format!("{what}agent {}: {}", agent.pid, agent.why)
    });
    [verdict.to_owned()].into_iter().chain(agents).collect()
}

fn causes(causes: &Causes) -> Vec<String> {
    let mut lines = vec![causes.method.to_owned(), causes.why.clone()];
    let Some(python) = &causes.python else {
        return lines;
    };
    let version = python.version.as_deref().unwrap_or("of unknown version");
    lines.push(format!("interpreter {version} in {}", python.file));
    if let Some(slot) = python.slot {
        let behind = python.slot_behind;
        let behind = behind.map(|offset| format!(", then {offset:#x}"));
        let mut line = format!(
            "thread state at {slot:#x}{} from the thread pointer",
            behind.unwrap_or_default()
        );
        if let Some(context) = python.context {
            let _ = write!(line, ", its context at {context}");
        }
        lines.push(line);
    }
    let probed = match python.followed_by.is_empty() {
        true => "would be probed",
        false => "probed",
    };
    lines.extend(python.probes.iter().map(|probe| {
        let how = if probe.emulated {
            "emulated"
        } else {
            "stepped over"
        };
        let Probe {
            function,
            file,
            offset,
            ..
        } = probe;
        format!("{function} {probed} at {offset:#x} in {file} ({how})")
    }));
    let followed = python
        .followed_by
        .iter()
        .map(|agent| format!("followed by agent {agent}"));
    lines.extend(followed);
    lines
}

fn environment(settings: &Settings) -> Vec<String> {
    if settings.environment.is_empty() {
        return vec!["its environment has none that is read".to_owned()];
    }
    settings
        .environment
        .iter()
        .map(|variable| format!("{}={}", variable.name, variable.value))
        .chain(settings.warnings.iter().map(|it| format!("! {it}")))
        .collect()
}

fn come_to(settings: &Settings) -> Vec<String> {
    let http_spans = match (settings.http_server_spans, settings.http_client_spans) {
        (true, true) => "requests served and made",
        (true, false) => "requests served",
        (false, true) => "requests made",
        (false, false) => "none",
    };
    let mut lines = vec![
        format!("service    {}", settings.service_name),
        format!("traces     {}", destination(settings.traces.as_ref())),
        format!("metrics    {}", destination(settings.metrics.as_ref())),
        format!("sampler    {}", settings.sampler),
        format!("HTTP spans {http_spans}"),
    ];
    if !settings.excluded_urls.is_empty() {
        lines.push(format!("not told   {}", settings.excluded_urls.join(", ")));
    }
    if let Some(agent) = settings.defaults_of {
        lines.push(format!("defaults   those of agent {agent}"));
    }
    lines
}

/// `OpenSSL /usr/lib/libssl.so.3: read at SSL_read, SSL_write (2 of 4 places emulated)`, and each place.
fn tls_library(library: &TlsLibrary, is_traced: bool) -> Vec<String> {
    let TlsLibrary {
        name, file, sites, ..
    } = library;
    if let Some(problem) = &library.problem {
        return vec![format!("{name} {file}: not read, {problem}")];
    }
    let mut functions: Vec<_> = sites.iter().map(|site| site.function).collect();
    functions.dedup();
    let emulated = sites.iter().filter(|site| site.emulated).count();
    let read = if is_traced { "read" } else { "would be read" };
    let mut lines = vec![format!(
        "{name} {file}: {read} at {} ({emulated} of {} places emulated)",
        functions.join(", "),
        sites.len()
    )];
    // The places for entry and return of a function are the same.
    let mut places: Vec<_> = sites
        .iter()
        .map(|site| format!("  {} at {:#x}: {}", site.function, site.offset, site.why))
        .collect();
    places.dedup();
    lines.extend(places);
    lines
}

fn destination(destination: Option<&Destination>) -> String {
    let Some(destination) = destination else {
        return "nowhere: no endpoint is known".to_owned();
    };
    let mut text = format!("{} {}", destination.protocol, destination.endpoint);
    if let Some(named) = &destination.named {
        let _ = write!(text, " ({named} in its pod)");
    }
    if !destination.headers.is_empty() {
        let _ = write!(text, " with {}", destination.headers.join(", "));
    }
    if destination.from == "agent" {
        text += " (the agent's)";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_with_what_its_pod_calls_it() {
        let resolved = Destination {
            endpoint: "http://10.244.0.7:4317".to_owned(),
            named: Some("localhost".to_owned()),
            protocol: "grpc",
            headers: vec!["authorization".to_owned()],
            from: "process",
        };
        assert_eq!(
            destination(Some(&resolved)),
            "grpc http://10.244.0.7:4317 (localhost in its pod) with authorization"
        );
    }
}
