//! Which processes are captured.

use std::path::Path;
use std::process::Command;

use kaos_agent::capture::event::{Event, ProcessChange};
use kaos_agent::capture::pods::unified_hierarchy;
use kaos_agent::settings::Selectors;

use crate::support::{Cgroup, Python, Seen, live, of_pid};

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn children_are_captured_from_their_first_byte_and_others_are_not() {
    let mut python = Python::start();
    let mut stranger = Python::start();
    let mut live = live(of_pid(python.pid()));
    let mut seen = Seen::default();
    stranger.connect();
    stranger.run("a.send(b'GET /stranger'); b.recv(100)");
    let child = "import socket; l = socket.socket(); l.bind((\"127.0.0.1\", 0)); l.listen(); a = socket.create_connection(l.getsockname()); b, _ = l.accept(); a.send(b\"GET /child\"); b.recv(100)";
    python.run(&format!("import subprocess; subprocess.run([sys.executable, '-c', '{child}'], env={{'AGENT_NAME': 'yes'}})"));
    // It is gone before anything is read: what it was started with came from the kernel.
    seen.until(&mut live, "exit of the child", |seen| {
        seen.events.iter().any(|event| {
            matches!(event, Event::Process(process) if process.change == ProcessChange::Exited)
        })
    });
    assert_eq!(seen.count_text("GET /child"), 2);
    assert!(!seen.has_text("stranger"));
    let child = seen.data().next().expect("there is data").pid;
    let life: Vec<_> = seen
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Process(process) if process.pid == child => Some(&process.change),
            _ => None,
        })
        .collect();
    let [
        ProcessChange::Forked { parent },
        ProcessChange::Executed,
        ProcessChange::Described(info),
        ProcessChange::Exited,
    ] = life[..]
    else {
        panic!("{life:?}");
    };
    assert_eq!(*parent, python.pid());
    assert_eq!(
        info.environment,
        [("AGENT_NAME".to_owned(), "yes".to_owned())]
    );
}

/// What it is was read before the agent was ready, so what it did can be told.
#[test]
#[ignore = "kernel: loads programs, needs root"]
fn a_process_that_ran_already_and_is_killed_before_anything_is_read_is_described() {
    let mut python = Python::start_with("AGENT_NAME", Path::new("yes"));
    let mut live = live(of_pid(python.pid()));
    python.connect();
    python.run("a.send(b'GET /last'); b.recv(100)");
    let pid = python.pid();
    drop(python);
    let mut seen = Seen::default();
    seen.until(&mut live, "its end", |seen| {
        seen.events.iter().any(|event| {
            matches!(event, Event::Process(process) if process.change == ProcessChange::Exited)
        })
    });
    let described = seen.events.iter().position(|event| {
        matches!(event, Event::Process(process) if process.pid == pid
            && matches!(&process.change, ProcessChange::Described(info)
                if info.environment.contains(&("AGENT_NAME".to_owned(), "yes".to_owned()))))
    });
    let data = seen
        .events
        .iter()
        .position(|event| matches!(event, Event::Data(_)));
    assert_eq!(seen.count_text("GET /last"), 2);
    assert!(
        described.expect("it is described") < data.expect("there is data"),
        "{:#?}",
        seen.events
    );
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn programs_that_start_later_are_selected_by_path_and_by_port() {
    let by_path = Selectors {
        executables: vec![
            globset::Glob::new("**/curl")
                .expect("a pattern")
                .compile_matcher(),
        ],
        ..Selectors::default()
    };
    let mut server = Python::start();
    server.run(
        "l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(); print(l.getsockname()[1])",
    );
    let mut by_path = live(by_path);
    let port = server.run("print(l.getsockname()[1])")[0].clone();
    let curl = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "1",
            &format!("http://127.0.0.1:{port}/by-path"),
        ])
        .output()
        .expect("curl runs");
    assert_eq!(curl.status.code(), Some(28), "nobody answers it in time");
    let mut seen = Seen::default();
    seen.until(&mut by_path, "request of curl", |seen| {
        seen.has_text("GET /by-path")
    });
    drop(by_path);

    let mut live = live(Selectors {
        ports: vec![18_099],
        ..Selectors::default()
    });
    let mut late = Python::start();
    late.run("l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('127.0.0.1', 18099)); l.listen()");
    late.run("a = socket.create_connection(l.getsockname()); b, _ = l.accept(); a.send(b'GET /by-port'); b.recv(100)");
    seen.until(&mut live, "request to the port", |seen| {
        seen.count_text("GET /by-port") == 2
    });
}

#[test]
#[ignore = "kernel: loads programs, needs root"]
fn cgroups_select_their_processes_and_those_of_cgroups_made_later() {
    let name = format!("kaos-test-{}", std::process::id());
    let outer = Cgroup::make(
        &unified_hierarchy().expect("the v2 hierarchy is mounted"),
        &name,
    );
    let mut first = Python::start();
    let mut later = Python::start();
    outer.take(first.pid());
    let mut live = live(Selectors {
        cgroups: vec![outer.0.clone()],
        ..Selectors::default()
    });
    let inner = Cgroup::make(&outer.0, "inner");
    later.connect();
    later.run("a.send(b'GET /outside'); b.recv(100)");
    inner.take(later.pid());
    for (python, path) in [(&mut first, "first"), (&mut later, "later")] {
        python.connect();
        python.run(&format!("a.send(b'GET /{path}'); b.recv(100)"));
    }
    let mut seen = Seen::default();
    seen.until(&mut live, "later request", |seen| {
        seen.count_text("GET /later") == 2
    });
    assert_eq!(seen.count_text("GET /first"), 2);
    assert!(!seen.has_text("outside"));
    drop((first, later));
    // A cgroup can be removed when its processes are gone.
    seen.until(&mut live, "two exits", |seen| {
        let exits = seen.events.iter().filter(|event| {
            matches!(event, Event::Process(process) if process.change == ProcessChange::Exited)
        });
        exits.count() == 2
    });
}
