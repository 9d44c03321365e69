//! The demo: an AI agent, LiteLLM and an MCP server as real processes, and what kaos-agent tells
//! of them. `cargo xtask demo` builds and runs it.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use kaos_agent::export::tree::{Style, render};
use kaos_tests::agent::{Agent, Stats};
use kaos_tests::process::Process;
use kaos_tests::received::{Received, Span};
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{Server, Workloads};

/// Watches real processes and shows what was seen.
#[derive(Debug, Parser)]
struct Options {
    /// Leave everything running after the requests, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Print the OTLP requests as JSON, one per line, in place of a tree.
    #[arg(long)]
    json: bool,
}

/// What a client asks the AI agent, and with which HTTP status it is answered.
struct Question {
    what: &'static str,
    body: &'static str,
    status: &'static str,
}

const QUESTIONS: [Question; 3] = [
    Question {
        what: "a plain request",
        body: r#"{"messages": [{"role": "user", "content": "add two and three"}]}"#,
        status: "200",
    },
    Question {
        what: "a streaming request",
        body: r#"{"messages": [{"role": "user", "content": "add two and three"}], "stream": true}"#,
        status: "200",
    },
    Question {
        what: "a request on which the model fails",
        body: r#"{"messages": [{"role": "user", "content": "please fail"}]}"#,
        status: "502",
    },
];

fn main() -> Result<()> {
    let options = Options::parse();
    let receiver = Receiver::start();
    say(&format!("OTLP receiver at {}", receiver.grpc_endpoint()));

    let workloads = Workloads::of(&receiver);
    let model = workloads.model("model");
    say(&format!(
        "scripted OpenAI-compatible model server at {} (the one stand-in: it answers from a script)",
        model.url("")
    ));
    let litellm = workloads.litellm("litellm", &model);
    say(&format!("LiteLLM proxy at {}", litellm.url("")));
    let tools = workloads.tools("tools");
    say(&format!("FastMCP server at {}", tools.url("/mcp")));
    let assistant = workloads.agent("assistant", &litellm, &tools);
    say(&format!("FastAPI agent at {}", assistant.url("")));

    let processes: Vec<&Process> = [&model, &litellm, &tools, &assistant]
        .map(|server| &server.process)
        .to_vec();
    let agent = Agent::watch(&processes, &[]);
    say("kaos-agent watches these four processes; none of them was changed or restarted");

    for question in &QUESTIONS {
        ask(&assistant, question)?;
        say(&format!(
            "{}: answered with {}",
            question.what, question.status
        ));
    }
    let served = |spans: &[Span]| {
        spans
            .iter()
            .filter(|span| span.service == "assistant" && span.kind == "SERVER")
            .count()
    };
    receiver.wait_for("the requests' spans", |spans| {
        served(spans) >= QUESTIONS.len()
    });

    if options.keep {
        show(&receiver.received(), options.json)?;
        say(&format!(
            "running until Ctrl-C; ask more with: curl {} -H 'content-type: application/json' -d '{}'",
            assistant.url("/v1/chat/completions"),
            QUESTIONS[0].body
        ));
        tokio::runtime::Runtime::new()?.block_on(tokio::signal::ctrl_c())?;
    }
    let stats = agent.stop();
    if !options.keep {
        show(&receiver.received(), options.json)?;
    }
    show_stats(&stats);
    Ok(())
}

/// Progress goes to standard error, so that standard output has the result alone.
fn say(what: &str) {
    eprintln!("demo: {what}");
}

fn ask(assistant: &Server, question: &Question) -> Result<()> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(["--header", "content-type: application/json"])
        .args(["--data", question.body])
        .arg(assistant.url("/v1/chat/completions"))
        .output()
        .context("cannot start curl")?;
    let status = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && status == question.status,
        "{} was answered with {status}, not {} {}",
        question.what,
        question.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn show(received: &Received, json: bool) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        for request in &received.trace_requests {
            serde_json::to_writer(&mut stdout, request)?;
            stdout.write_all(b"\n")?;
        }
        return Ok(());
    }
    let spans: Vec<_> = received.spans.iter().map(Span::to_tree_span).collect();
    writeln!(stdout, "\n{}", render(&spans, Style::for_stdout()))?;
    Ok(())
}

fn show_stats(stats: &Stats) {
    say("counters of kaos-agent, those that are not zero:");
    for (name, value) in stats.iter().filter(|(_, value)| **value > 0) {
        eprintln!("  {name:<40} {value:>10}");
    }
}
