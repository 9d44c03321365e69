//! Python processes: with few privileges, in great numbers, and made to hurt.

use std::fs;
use std::path::Path;
use std::process::Command;

use kaos_tests::agent::Agent;
use kaos_tests::bpf::{entries, uprobes};
use kaos_tests::causes::{CALLS, Causes, Over, Run};
use kaos_tests::process::Process;
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Certificate, Need, Workloads, lacks, python};
use kaos_tests::{WRONG, wait};
use tempfile::TempDir;

const ALL_RIGHT: Causes = Causes {
    right: 32 * CALLS,
    linked: 0,
    unknown: 0,
    wrong: 0,
};

fn are_right(causes: Causes) {
    assert_eq!(causes.wrong, 0, "{WRONG}: {causes}");
    assert_eq!(causes, ALL_RIGHT);
}

fn run(python: &Path) -> Run<'_> {
    Run {
        python,
        kind: "uvicornuv-raw-plain",
        in_flight: 16,
        requests: 32,
        over: Over::Plain,
    }
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_with_the_documented_capabilities() {
    if lacks(&[Need::Python, Need::Program("setpriv")]) {
        return;
    }
    let python = python();
    for over in [Over::Plain, Over::Tls] {
        let run = Run {
            over,
            ..run(&python)
        };
        let (causes, stats) = run.go_with(|server| {
            let pid = server.process.pid().to_string();
            Agent::start_with_few_capabilities(&["--pid", &pid])
        });
        are_right(causes);
        assert_eq!(stats["python.followed"], 1, "{stats:?}");
        // Each request and each call is one that is read and one that is written.
        let operations = if over == Over::Tls {
            2 * 32 * (1 + CALLS)
        } else {
            0
        };
        assert!(
            stats["kernel.tls_operations"] >= operations as u64,
            "{stats:?}"
        );
    }
}

/// What the agent holds: descriptors, and resident memory in KiB.
fn holds(agent: &Agent) -> (usize, usize) {
    let directory = format!("/proc/{}", agent.pid());
    let descriptors = fs::read_dir(format!("{directory}/fd")).expect("it runs");
    let status = fs::read_to_string(format!("{directory}/status")).expect("it runs");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
    (descriptors.count(), resident.expect("the kernel says so"))
}

/// A thousand that are executed and end at once, and a thousand that are forked and make a call over TLS in
/// an event loop.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn two_thousand_processes_leave_nothing() {
    const MOST_GROWTH_KIB: usize = 4 * 1024;
    const SCRIPT: &str = "for i in $(seq 125); do $0 -S -E -c pass || exit 1; done";
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let agent = Agent::start(&["--pid", &std::process::id().to_string()]);
    // A collector's port is known on, whichever process sends to it.
    let entered = || {
        let mut entries = entries(agent.pid());
        entries.remove("HTTP2_PORTS").expect("a map of ports");
        entries
    };
    let at_first = entered();
    let server = workloads.python_server("server", "h11");
    // In few at a time: each lot must be through before a deadline.
    let lot = || {
        let shells = [0, 1].map(|_| {
            let mut shell = Command::new("sh");
            Process::spawn("executed", shell.args(["-c", SCRIPT]).arg(python()))
        });
        let forked = workloads.forked("forked", &server.url("/echo/1"), 250);
        forked.succeed();
        for shell in shells {
            shell.succeed();
        }
    };
    // What is made once is there before it counts.
    lot();
    let (before, resident) = holds(&agent);
    for _ in 0..4 {
        lot();
    }
    let (_, grown) = holds(&agent);
    let grown = grown.saturating_sub(resident);
    println!("{grown} KiB more than {resident}");
    drop(server);
    // Entries of processes and of calls, probes, and what was opened for them.
    let what = format!("it has no probes, {at_first:?} and {before} descriptors");
    wait::until(&what, || {
        let (descriptors, _) = holds(&agent);
        let left = (uprobes(agent.pid()), entered());
        if left == (0, at_first.clone()) && descriptors <= before {
            Ok(())
        } else {
            Err((left, descriptors))
        }
    });
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more than {resident}");
    let stats = agent.stop();
    assert!(stats["kernel.tls_operations"] >= 2 * 2 * 1000, "{stats:?}");
    assert_eq!(
        stats["uprobes.released_files"],
        stats["uprobes.probed_files"]
    );
    assert_eq!(stats["kernel.lost.process_map_full"], 0);
}

/// A process of this program, which exports what it has and has said this line; and where the program is.
fn fake(source: &str, says: &str) -> (Process, TempDir) {
    let directory = TempDir::new().expect("a directory");
    let (text, program) = (
        directory.path().join("fake.c"),
        directory.path().join("fake"),
    );
    fs::write(&text, source).expect("it is writable");
    let mut compiler = Command::new("cc");
    compiler.args(["-rdynamic", "-pthread", "-o"]);
    Process::spawn("cc", compiler.arg(&program).arg(&text)).succeed();
    let fake = Process::spawn("fake", &mut Command::new(program));
    fake.wait_for_line("that it is up", |line| line == says);
    (fake, directory)
}

/// A process with an interpreter that lies: its type of contexts is made of pointers to anywhere.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_fake_interpreter_costs_only_itself() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        #include <unistd.h>
        static const char *name = "_contextvars.Context";
        void *PyContext_Type[64];
        void *PyContext_CopyCurrent(void) { static long n; return (void *)(++n << 40); }
        int main(void) {
            for (int i = 0; i < 64; i++) PyContext_Type[i] = (void *)(0x4141414141414141UL + i);
            PyContext_Type[3] = (void *)name;
            PyContext_Type[4] = (void *)64;
            PyContext_Type[26] = (void *)40;
            puts("lying");
            fflush(stdout);
            for (;;) { PyContext_CopyCurrent(); usleep(100); }
        }"#;
    if lacks(&[Need::Python, Need::Program("cc")]) {
        return;
    }
    let (fake, _directory) = fake(SOURCE, "lying");
    let python = python();
    let (causes, stats) =
        run(&python).go_with(|server| Agent::watch(&[&server.process, &fake], &[]));
    are_right(causes);
    assert_eq!(stats["python.processes"], 2, "{stats:?}");
    assert_eq!(stats["python.followed"], 1, "{stats:?}");
}

/// A process whose interpreter is like a real one until it is followed: then what its threads have, what
/// they run and what that is lead to anywhere, while it moves bytes.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn an_interpreter_that_turns_wild_costs_only_itself() {
    const SOURCE: &str = r#"
        #include <netinet/in.h>
        #include <pthread.h>
        #include <signal.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <unistd.h>
        static const char *name = "_contextvars.Context";
        void *PyContext_Type[64];
        static void *state[256], *context[16], *nothing[64];
        static uintptr_t any;
        void *PyContext_CopyCurrent(void) { return (void *)any; }
        static volatile sig_atomic_t wild;
        static void turn(int number) { (void)number; wild = 1; }
        static void put(int from, int to, const char *text) {
            char buffer[256];
            if (send(from, text, strlen(text), 0) > 0) recv(to, buffer, sizeof buffer, 0);
        }
        int main(void) {
            PyContext_Type[3] = (void *)name;
            PyContext_Type[4] = (void *)64;
            PyContext_Type[26] = (void *)32;
            PyContext_Type[29] = nothing;
            pthread_key_t key;
            pthread_key_create(&key, 0);
            state[3] = (void *)pthread_self();
            int listener = socket(AF_INET, SOCK_STREAM, 0), a = socket(AF_INET, SOCK_STREAM, 0);
            struct sockaddr_in address = {.sin_family = AF_INET};
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            socklen_t length = sizeof address;
            bind(listener, (void *)&address, length);
            listen(listener, 1);
            getsockname(listener, (void *)&address, &length);
            connect(a, (void *)&address, length);
            int b = accept(listener, 0, 0);
            signal(SIGUSR1, turn);
            for (unsigned long round = 0, rounds = 0; rounds < 2000; round++) {
                // Sane.
                pthread_setspecific(key, state);
                state[8] = context;
                context[1] = PyContext_Type;
                context[2] = 0;
                context[5] = (void *)1;
                if (round == 0) { puts("sane"); fflush(stdout); }
                if (wild) {
                    if (rounds++ == 0) { puts("wild"); fflush(stdout); }
                    any = rounds * 0x9e3779b97f4a7c15;
                    void *anywhere = (void *)any;
                    switch (rounds % 6) {
                    case 0: pthread_setspecific(key, anywhere); break;
                    case 1: state[8] = anywhere; break;
                    case 2: context[1] = anywhere; break;
                    case 3: context[2] = anywhere; break;
                    case 4: context[5] = anywhere; break;
                    case 5: pthread_setspecific(key, (void *)&key); break;
                    }
                }
                PyContext_CopyCurrent();
                put(a, b, "GET /wild HTTP/1.1\r\nhost: wild\r\n\r\n");
                put(b, a, "HTTP/1.1 204 No Content\r\n\r\n");
                usleep(200);
            }
            puts("unharmed");
            return 0;
        }"#;
    if lacks(&[Need::Python, Need::Program("cc")]) {
        return;
    }
    let (fake, _directory) = fake(SOURCE, "sane");
    let python = python();
    let (causes, stats) = run(&python).go_with(|server| {
        let agent = Agent::watch(&[&server.process, &fake], &[]);
        fake.signal(libc::SIGUSR1);
        fake.wait_for_line("that it is wild", |line| line == "wild");
        agent
    });
    are_right(causes);
    assert_eq!(stats["python.followed"], 2, "{stats:?}");
    assert!(stats["kernel.contexts_not_found"] > 0, "{stats:?}");
    assert_eq!(fake.succeed(), ["sane", "wild", "unharmed"]);
}
