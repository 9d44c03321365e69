//! Which request caused which call where it is not known what runs, in Node and Go: the one request in
//! flight, and never a guess among several.

use kaos_tests::WRONG;
use kaos_tests::agent::{Agent, Stats};
use kaos_tests::causes::{Bed, CALLS, Causes, is_poll};
use kaos_tests::received::Span;
use kaos_tests::workloads::{Need, Runtime, lacks};

const RUNTIMES: [Runtime; 2] = [Runtime::Node, Runtime::Go];

/// Starts a server and the agent, lets `drive` make requests, and returns what was told of so many.
fn told_of(
    runtime: Runtime,
    polls: Option<&str>,
    requests: usize,
    drive: impl FnOnce(&Bed),
) -> (Causes, Stats, Vec<Span>) {
    let bed = Bed::start_of(runtime, polls);
    let agent = Agent::watch(&[&bed.server.process], &[]);
    drive(&bed);
    bed.wait_for_calls(requests * CALLS);
    let stats = agent.stop();
    let causes = bed.told();
    println!("{runtime:?}: {causes}");
    assert_eq!(causes.wrong, 0, "{WRONG}: {runtime:?}: {causes}");
    (causes, stats, bed.spans())
}

fn all_right(requests: usize) -> Causes {
    Causes {
        right: requests * CALLS,
        ..Causes::default()
    }
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn one_request_at_a_time_causes_all_calls() {
    const REQUESTS: usize = 32;
    if lacks(&[Need::Go, Need::Program("node")]) {
        return;
    }
    for runtime in RUNTIMES {
        for drive in [Bed::drive, Bed::drive_kept] {
            let drive = |bed: &Bed| drive(bed, 1, REQUESTS);
            let (causes, stats, _) = told_of(runtime, None, REQUESTS, drive);
            assert_eq!(causes, all_right(REQUESTS), "{runtime:?}: {stats:?}");
            assert_eq!(stats["runs.causes_unknown"], 0);
        }
    }
}

/// What is told has the right parent: calls from before the second request came, and from after the last
/// but one was over.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn several_requests_at_a_time_leave_calls_of_unknown_cause() {
    const REQUESTS: usize = 128;
    if lacks(&[Need::Go, Need::Program("node")]) {
        return;
    }
    for runtime in RUNTIMES {
        for in_flight in [2, 8, 64] {
            let drive = |bed: &Bed| bed.drive(in_flight, REQUESTS);
            let (causes, stats, _) = told_of(runtime, None, REQUESTS, drive);
            assert_eq!(causes.calls(), REQUESTS * CALLS, "{causes}");
            assert!(causes.unknown > 0, "none was in flight with another");
            assert_eq!(causes.linked, 0);
            assert_eq!(stats["runs.causes_unknown"], causes.unknown as u64);
        }
    }
}

/// How the requests that a server makes on its own were told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Polls {
    /// While nothing was served, by themselves.
    outside: usize,
    /// While a request was, below it.
    below_request: usize,
    /// While a request was, by themselves.
    unknown: usize,
    /// So close to its beginning or end that it is not known here on which side.
    at_edge: usize,
    /// In any other way.
    otherwise: usize,
}

impl Polls {
    /// Counts them among spans of requests that were served one at a time.
    fn of(spans: &[Span]) -> Self {
        /// Wall clocks of two traces may have been read some microseconds apart, and an operation is seen
        /// some after it began.
        const EDGE_NS: u64 = 200_000;
        let served: Vec<_> = spans.iter().filter(|span| span.kind == "SERVER").collect();
        let mut polls = Self::default();
        for poll in spans.iter().filter(|span| is_poll(span)) {
            let is_at_edge = |at: u64| poll.start.abs_diff(at) < EDGE_NS;
            let mut around = served
                .iter()
                .filter(|request| (request.start..request.end).contains(&poll.start));
            *if served
                .iter()
                .any(|it| is_at_edge(it.start) || is_at_edge(it.end))
            {
                &mut polls.at_edge
            } else {
                match (around.next(), poll.parent_id.as_str()) {
                    (None, "") => &mut polls.outside,
                    (Some(_), "") => &mut polls.unknown,
                    (Some(request), parent) if request.span_id == parent => {
                        &mut polls.below_request
                    }
                    _ => &mut polls.otherwise,
                }
            } += 1;
        }
        polls
    }
}

/// What a process also does on its own falls into the time of requests. A GET that repeats outside of them
/// is known then to be none of theirs for certain; of all else nothing shows that.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn what_a_process_polls_is_told_by_itself() {
    const REQUESTS: usize = 32;
    if lacks(&[Need::Go, Need::Program("node")]) {
        return;
    }
    for runtime in RUNTIMES {
        for method in ["GET", "POST"] {
            let (causes, stats, spans) = told_of(runtime, Some(method), REQUESTS, |bed| {
                bed.wait_for_polls(8);
                bed.drive(1, REQUESTS);
            });
            // Its own calls are none of the polls.
            assert_eq!(causes, all_right(REQUESTS), "{runtime:?}: {stats:?}");
            let polls = Polls::of(&spans);
            println!("{runtime:?} polls by {method}: {polls:?}");
            let (inside, none) = match method {
                "GET" => (polls.unknown, polls.below_request),
                _ => (polls.below_request, polls.unknown),
            };
            assert!(
                polls.outside >= 8 && inside > 0,
                "{runtime:?} {method}: {polls:?}"
            );
            assert_eq!(
                (none, polls.otherwise),
                (0, 0),
                "{runtime:?} {method}: {polls:?}"
            );
            let unknown = polls.unknown..=polls.unknown + polls.at_edge;
            let counted = usize::try_from(stats["runs.causes_unknown"]).expect("few");
            assert!(unknown.contains(&counted), "{counted} of {polls:?}");
            let outside = polls.outside..=polls.outside + polls.at_edge;
            let counted = usize::try_from(stats["runs.calls_without_request"]).expect("few");
            assert!(outside.contains(&counted), "{counted} of {polls:?}");
        }
    }
}
