//! The demo: KAOS's agents, LiteLLM and an MCP server as real processes, and what kaos-agent tells
//! of them. `cargo xtask demo` builds and runs it.

use std::io::Write as _;

use anyhow::{Result, ensure};
use clap::Parser;
use kaos_agent::export::tree::{Style, render};
use kaos_tests::agent::{Agent, Stats};
use kaos_tests::chat::{Question, ask};
use kaos_tests::process::Process;
use kaos_tests::received::{Received, Span};
use kaos_tests::receiver::Receiver;
use kaos_tests::workloads::{AgentKind, AgentPlace, Workloads};
use serde_json::{Value, json};

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

/// What a user asks the supervisor, and how the answer begins.
struct Request {
    what: &'static str,
    question: Question,
    answer: &'static str,
}

/// The questions say themselves what the model answers to them, turn by turn.
fn requests() -> [Request; 3] {
    let task = json!([{"call": {"add": {"a": 3, "b": 4}}}, {"say": "the worker has done it"}]);
    let work = json!([
        {"call": {"add": {"a": 1, "b": 2}}},
        {"delegate": {"worker": task}},
        {"say": "all is done", "usage": {"prompt": 412, "completion": 57}},
    ]);
    let failure: Value = json!([{"call": {"fail": {"reason": "it must"}}}, {"status": 500}]);
    [
        Request {
            what: "a tool call and a delegation",
            question: Question::new(work.clone()),
            answer: "all is done",
        },
        Request {
            what: "the same, streamed",
            question: Question::new(work).streamed(),
            answer: "{\"type\": \"progress\"",
        },
        Request {
            what: "a tool that fails, then a model that fails",
            question: Question::new(failure),
            answer: "Sorry, I encountered an error",
        },
    ]
}

fn main() -> Result<()> {
    let options = Options::parse();
    let receiver = Receiver::start();
    say(&format!("OTLP receiver at {}", receiver.grpc_endpoint()));

    let workloads = Workloads::of(&receiver);
    let model = workloads.model("model");
    say(&format!(
        "scripted model server at {} (the one stand-in: it answers what the question tells it to)",
        model.url("")
    ));
    let litellm = workloads.litellm("litellm", &model);
    say(&format!("LiteLLM proxy at {}", litellm.url("")));
    let tools = workloads.tools("tools");
    say(&format!("FastMCP server at {}", tools.url("/mcp")));
    let place = AgentPlace::of(&litellm, &tools);
    let worker = workloads.kaos_agent("worker", AgentKind::Current, &place);
    say(&format!("KAOS agent \"worker\" at {}", worker.url("")));
    let place = place.with_peer("worker", worker.url(""));
    let supervisor = workloads.kaos_agent("supervisor", AgentKind::Current, &place);
    say(&format!(
        "KAOS agent \"supervisor\" at {}",
        supervisor.url("")
    ));

    let processes: Vec<&Process> = [&model, &litellm, &tools, &worker, &supervisor]
        .map(|server| &server.process)
        .to_vec();
    let agent = Agent::watch(&processes, &[]);
    say("kaos-agent watches these five processes; none of them was changed or restarted");

    let requests = requests();
    for Request {
        what,
        question,
        answer,
    } in &requests
    {
        let got = ask(&supervisor, question);
        say(&format!(
            "{what}: answered with {} {}",
            got.status, got.text
        ));
        ensure!(
            got.text.starts_with(answer),
            "that is not what was expected"
        );
    }
    let roots = |spans: &[Span]| {
        spans
            .iter()
            .filter(|span| span.service == "supervisor" && span.parent_id.is_empty())
            .count()
    };
    receiver.wait_for("the requests' spans", |spans| {
        roots(spans) >= requests.len()
    });

    if options.keep {
        show(&receiver.received(), options.json)?;
        say(&format!(
            "running until Ctrl-C; ask more with: curl {} -H 'content-type: application/json' -d '{}'",
            supervisor.url("/v1/chat/completions"),
            requests[0].question.body()
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
