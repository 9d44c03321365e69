//! What `kaos-agent explain` says of real processes, and what it says where it cannot.

use std::fs;
use std::path::Path;
use std::process::Command;

use kaos_tests::agent::{self, Agent};
use kaos_tests::process::Process;
use kaos_tests::receiver::Receiver;
use kaos_tests::wait;
use kaos_tests::workloads::{Need, Workloads, lacks, python};
use serde_json::Value;
use tempfile::TempDir;

/// Standard output of `explain`.
fn explain(pid: u32, arguments: &[&str]) -> String {
    let mut command = Command::new(agent::executable());
    command
        .args(["explain", "--pid", &pid.to_string()])
        .args(arguments)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    Process::spawn("explain", &mut command).succeed().join("\n")
}

fn json(pid: u32) -> Value {
    serde_json::from_str(&explain(pid, &["--json"])).expect("it is JSON")
}

/// What it says of one agent; others may run on this machine.
fn tracer(explanation: &Value, agent: &Agent) -> Value {
    let agents = explanation["traced"]["agents"].as_array();
    let tracers = agents.expect("agents are a list").iter();
    let mut ours = tracers.filter(|tracer| tracer["pid"] == agent.pid());
    ours.next().expect("our agent runs").clone()
}

/// What it says of the interpreter of a process whose contexts are followed, as soon as this agent
/// does.
fn followed(pid: u32, agent: &Agent) -> Value {
    wait::until("it is followed", || {
        let mut causes = json(pid)["causes"].take();
        let followers = causes["python"]["followed_by"].as_array();
        let mut followers = followers.expect("it has an interpreter").iter();
        let is_ours = followers.any(|follower| *follower == agent.pid());
        if is_ours && causes["method"] == "contexts" {
            Ok(causes["python"].take())
        } else {
            Err(causes)
        }
    })
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_traced_server() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let server = Workloads::of(&receiver).python_server("shop", "httptools");
    let port = server.port.to_string();
    let agent = Agent::start(&["--port", &port]);

    let pid = server.process.pid();
    let explanation = json(pid);
    assert_eq!(explanation["process"]["pid"], pid);
    assert_eq!(explanation["traced"]["verdict"], "yes");
    let tracer = tracer(&explanation, &agent);
    assert_eq!(tracer["in_table"], true);
    assert_eq!(tracer["why"], format!("selected by --port {port}"));
    assert_eq!(explanation["runtime"]["name"], "CPython");
    let version = explanation["runtime"]["version"].as_str();
    assert!(version.is_some_and(|version| version.starts_with("3.")));
    assert_eq!(explanation["runtime"]["event_loop"], "uvloop");
    let python = followed(pid, &agent);
    assert!(
        python["version"]
            .as_str()
            .is_some_and(|it| it.starts_with("3."))
    );
    assert!(
        python["slot"].is_i64() && python["context"].is_u64(),
        "{python}"
    );
    assert_eq!(
        python["threads_count"], false,
        "uvloop's thread is everybody's"
    );
    let probes = python["probes"].as_array().expect("a list").iter();
    let probed: Vec<_> = probes.map(|probe| &probe["function"]).collect();
    for function in [
        "PyContext_CopyCurrent",
        "PyContext_New",
        "PyContext_Copy",
        "Context()",
        "Context.copy()",
        "__pyx_f_6uvloop_4loop_8UVStream__exec_write",
    ] {
        assert!(probed.iter().any(|name| *name == function), "{probed:?}");
    }
    // Python's `ssl` module, which uvicorn imports.
    let libraries = explanation["tls"].as_array().expect("a list");
    let openssl = libraries
        .iter()
        .find(|library| library["name"] == "OpenSSL");
    let sites = openssl.expect("OpenSSL is mapped")["sites"].as_array();
    let functions = sites.into_iter().flatten().map(|site| &site["function"]);
    for site in sites.into_iter().flatten() {
        let why = site["why"].as_str().expect("it has a reason");
        let place = if site["inner"] == true {
            "in the inner function"
        } else {
            "in the function itself"
        };
        assert!(why.starts_with(place), "{why}");
    }
    assert!(functions.clone().any(|name| name == "SSL_read"));
    assert!(functions.clone().any(|name| name == "SSL_write"));
    let settings = &explanation["settings"];
    assert_eq!(settings["service_name"], "shop");
    assert_eq!(settings["traces"]["endpoint"], receiver.grpc_endpoint());
    assert_eq!(settings["traces"]["protocol"], "grpc");
    assert_eq!(settings["traces"]["from"], "process");

    let text = explain(pid, &[]);
    for line in [
        "traced    yes\n".to_owned(),
        format!(
            "          agent {}: selected by --port {port}\n",
            agent.pid()
        ),
        format!("          followed by agent {}\n", agent.pid()),
        "settings  OTEL_BSP_SCHEDULE_DELAY=100\n".to_owned(),
        format!("          traces     grpc {}\n", receiver.grpc_endpoint()),
    ] {
        assert!(text.contains(&line), "{line:?} is not in:\n{text}");
    }
    assert!(
        text.contains("PyContext_CopyCurrent probed at 0x"),
        "{text}"
    );
    assert!(text.contains(": read at SSL_"), "{text}");
    agent.stop();
}

/// What it says of an SDK, whichever agent runs.
fn beside(pid: u32) -> (String, String, String, String) {
    let sdk = json(pid)["sdk"].take();
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let beside = &sdk["beside"];
    (
        text(&sdk["verdict"]),
        text(&beside["mode"]),
        text(&beside["from"]),
        text(&beside["left"]),
    )
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_server_with_an_sdk() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let workloads = Workloads::of(&receiver);
    let model = workloads.model("model");
    let shop = workloads.server_with_sdk("shop", &model, &[]);
    let pid = shop.process.pid();
    let selected = pid.to_string();
    let agent = Agent::start(&["--pid", &selected]);
    let (verdict, mode, from, left) = beside(pid);
    assert_eq!(
        (&*verdict, &*mode, &*from),
        ("installed", "complement", "default")
    );
    assert!(left.starts_with("nothing until"), "{left}");

    // It connects when it has something to export.
    let asker = workloads.client_with_sdk("asker", &shop.url("/chat"), 1, &[]);
    asker.succeed();
    receiver.wait_for("its spans", |spans| {
        spans.iter().any(|span| span.name == "POST /chat")
    });
    let (verdict, mode, _, left) = beside(pid);
    assert_eq!((&*verdict, &*mode), ("inside", "complement"));
    assert!(
        left.starts_with("what it serves, calls whose headers"),
        "{left}"
    );
    let text = explain(pid, &[]);
    for line in [
        "SDK       inside\n",
        "          mode complement (by default)\n",
        "          left to the SDK: what it serves",
        "          (as far as it is seen from outside",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    agent.stop();

    for (option, expected, left_to_sdk) in [
        ("never", "never", "everything"),
        ("shop=always", "always", "nothing"),
    ] {
        let agent = Agent::start(&["--pid", &selected, "--beside-sdk", option]);
        let (verdict, mode, from, left) = beside(pid);
        assert_eq!(
            (&*verdict, &*mode, &*from),
            ("inside", expected, "--beside-sdk")
        );
        assert_eq!(left, left_to_sdk);
        agent.stop();
    }

    // What it was started with shows before it has exported anything.
    let instrumented = workloads.instrumented_server("shop", &model);
    let sdk = &json(instrumented.process.pid())["sdk"];
    assert_eq!(sdk["verdict"], "inside");
    assert_eq!(
        sdk["signs"][0],
        "was started with automatic instrumentation: its directory is in PYTHONPATH"
    );

    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let shop = workloads.server_with_sdk("shop", &model, &[(name, value)]);
        let (_, mode, from, left) = beside(shop.process.pid());
        assert_eq!((&*mode, &*from, &*left), ("always", name, "nothing"));
    }
}

/// Compiles this source.
fn compile(source: &str, output: &Path, arguments: &[&str]) {
    let file = output.with_extension("c");
    fs::write(&file, source).expect("it is writable");
    let mut compiler = Command::new("cc");
    compiler.arg("-o").arg(output).arg(&file).args(arguments);
    Process::spawn("cc", &mut compiler).succeed();
}

/// What it says of an interpreter that cannot be followed: the reason, what holds instead, and that
/// nothing is probed.
fn assert_not_followed(process: &Process, problem: &str) {
    let pid = process.pid();
    let causes = json(pid)["causes"].take();
    assert_eq!(causes["method"], "one request in flight");
    assert_eq!(causes["python"]["problem"], problem);
    assert_eq!(causes["python"]["followed_by"], serde_json::json!([]));
    let why = causes["why"].as_str().expect("it is text");
    let reason = format!(". Its contexts cannot be followed: {problem}");
    assert!(why.ends_with(&reason), "{why}");
    assert!(
        why.starts_with("a call belongs to the one request"),
        "{why}"
    );
    let text = explain(pid, &[]);
    for part in [why, "PyContext_CopyCurrent would be probed at 0x"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn interpreters_that_cannot_be_followed() {
    if lacks(&[Need::Program("cc"), Need::Python]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let fake = directory.path().join("fake");
    let source = r#"
        #include <stdio.h>
        #include <unistd.h>
        void *PyContext_CopyCurrent(void) { return 0; }
        int main(void) { puts("started"); fflush(stdout); for (;;) pause(); }"#;
    compile(source, &fake, &["-rdynamic"]);
    let process = Process::spawn("fake", &mut Command::new(&fake));
    process.wait_for_line("its start", |line| line == "started");
    assert_not_followed(&process, "it exports no PyContext_Type");

    // A real one, with something of gevent's in it.
    let gevent = directory.path().join("gevent");
    fs::create_dir(&gevent).expect("it is writable");
    let module = gevent.join("module.so");
    compile(
        "int gevent = 1; int f(void) { return gevent; }",
        &module,
        &["-shared", "-fPIC"],
    );
    let script = "import ctypes, sys, time; ctypes.CDLL(sys.argv[1]); print('loaded', flush=True); \
                  time.sleep(1000)";
    let mut command = Command::new(python());
    command.args(["-c", script]).arg(&module);
    let process = Process::spawn("gevent", &mut command);
    process.wait_for_line("its start", |line| line == "loaded");
    assert_not_followed(
        &process,
        "gevent switches between requests inside of a thread, in no context",
    );
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_child_that_is_traced_with_its_parent_and_a_stranger() {
    let mut stranger = Process::spawn("stranger", Command::new("sleep").arg("1000"));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "sleep 1000 & echo $!; wait"])
        .env("OTEL_SDK_DISABLED", "true")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret");
    let mut parent = Process::spawn("parent", &mut shell);
    let child = parent.wait_for_line("its child", |line| line.parse::<u32>().is_ok());
    let child: u32 = child.parse().expect("it is a number");
    let pid = parent.pid().to_string();
    let endpoint = "http://collector:4318";
    let agent = Agent::start(&["--pid", &pid, "--otlp-endpoint", endpoint]);

    let explanation = json(child);
    let tracer = tracer(&explanation, &agent);
    assert_eq!(tracer["in_table"], true);
    assert_eq!(
        tracer["why"],
        format!("selected by --pid {pid}, as a descendant of process {pid}")
    );
    assert_eq!(explanation["runtime"]["name"], "native");
    assert_eq!(explanation["causes"]["method"], "one request in flight");
    assert_eq!(explanation["causes"]["python"], Value::Null);
    assert_eq!(explanation["sdk"]["verdict"], "off");
    let text = explain(child, &[]);
    assert!(
        text.contains("OTEL_EXPORTER_OTLP_HEADERS=authorization=*"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");

    let explanation = json(stranger.pid());
    let tracer = self::tracer(&explanation, &agent);
    assert_eq!(tracer["in_table"], false);
    assert_eq!(tracer["why"], "no rule matches");
    let itself = self::tracer(&json(agent.pid()), &agent);
    assert_eq!(itself["why"], "it is the agent itself");
    agent.stop();
    parent.kill();
    stranger.kill();
    // SAFETY: plain system call; the child sleeps until it is killed.
    unsafe { libc::kill(child.cast_signed(), libc::SIGKILL) };
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn what_cannot_be_explained() {
    let refused = |command: &mut Command, code: i32, message: &str| {
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(message), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty());
    };
    let agent = || Command::new(agent::executable());
    // The kernel's thread daemon.
    refused(
        agent().args(["explain", "--pid", "2"]),
        2,
        "kaos-agent: --pid 2: it runs no program",
    );
    if lacks(&[Need::Program("setpriv")]) {
        return;
    }
    // Root without capabilities may not look into root with them.
    let pid = std::process::id().to_string();
    refused(
        Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(agent::executable())
            .args(["explain", "--pid", &pid]),
        3,
        &format!("kaos-agent: cannot look into process {pid}: "),
    );
}

/// OpenSSL inside of a program that was stripped: found by what it says of itself, and not probed.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_stripped_copy_of_openssl() {
    const SOURCE: &str = r#"
        #include <openssl/ssl.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {
            SSL *ssl = SSL_new(SSL_CTX_new(TLS_method()));
            char byte;
            if (SSL_read(ssl, &byte, 1) > 0 || SSL_write(ssl, &byte, 1) > 0) return 1;
            puts(OpenSSL_version(OPENSSL_VERSION));
            fflush(stdout);
            for (;;) pause();
        }"#;
    if lacks(&[Need::Program("cc"), Need::Program("strip")]) {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let program = directory.path().join("tls");
    compile(SOURCE, &program, &["-l:libssl.a", "-l:libcrypto.a", "-ldl"]);
    Process::spawn("strip", Command::new("strip").arg(&program)).succeed();

    let process = Process::spawn("tls", &mut Command::new(&program));
    let said = process.wait_for_line("its version", |line| line.starts_with("OpenSSL "));
    let version = said.split(' ').nth(1).expect("it has a version");
    let problem = format!(
        "OpenSSL {version} is linked into it, and the names of its functions are not in the file"
    );
    let file = program.to_str().expect("it is text");
    let library = serde_json::json!({
        "name": "OpenSSL", "file": file, "sites": [], "problem": problem,
    });
    assert_eq!(json(process.pid())["tls"], serde_json::json!([library]));
    let line = format!("TLS       OpenSSL {file}: not read, {problem}\n");
    let text = explain(process.pid(), &[]);
    assert!(text.contains(&line), "{text}");
}
