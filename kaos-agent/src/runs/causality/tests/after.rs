//! What goes on when its request is over.

use super::*;

fn after(id: u64) -> Cause {
    Cause::After(ExchangeId(id))
}

#[test]
fn what_goes_on_after_the_end_is_not_the_requests() {
    let mut script = Script::default();
    script.receive(1, context(11));
    script.receive(2, context(12));
    script.copy(21, 11);
    script.respond(1, context(21));
    script.end(1);
    let (own, below, since) = (context(21), context(31), context(32));
    script.copy(31, 21);
    script.copy(32, MAIN);
    assert_eq!(script.cause_of_call(own), after(1));
    assert_eq!(script.cause_of_call(below), after(1));
    assert_eq!(script.cause_of_call(since), Cause::NotYet);
    // Nor is it another's that is served then, and it is the same when nothing is served any more.
    script.respond(2, context(12));
    script.end(2);
    assert_eq!(script.cause_of_call(own), after(1));
    assert_eq!(script.cause_of_call(since), Cause::Nothing);
    script.now += LINKED_FOR;
    script.receive(3, context(13));
    script.respond(3, context(13));
    assert_eq!(script.cause_of_call(own), Cause::Unknown);
}

#[test]
fn requests_that_are_over_are_bounded() {
    let mut script = Script::default();
    let most = u64::try_from(MOST_PAST).expect("a small number");
    for id in 0..most + 10 {
        let at = script.step();
        let pid = u32::try_from(id / 100).expect("a small number");
        let request = RequestBuilder::get("/").id(id).pid(pid).socket(id).at(at);
        let started = ExchangeEvent::Started(Arc::new(request.clone().build()));
        script.source.observe(&started);
        let ended = request.unanswered(Outcome::ClientClosed, script.step());
        script
            .source
            .observe(&ExchangeEvent::Ended(Box::new(ended)));
    }
    let remembered = |source: &Causality| {
        let requests = source.processes.values().map(Process::len);
        requests.sum::<usize>()
    };
    assert_eq!(remembered(&script.source), MOST_PAST);
    script.now += LINKED_FOR;
    script.end(0);
    assert_eq!((script.source.kept(), remembered(&script.source)), (0, 0));
}

#[test]
fn what_was_made_for_one_request_may_serve_the_next() {
    let mut script = Script::default();
    script.copy(11, MAIN);
    script.receive(1, context(11));
    script.copy(21, MAIN);
    script.respond(1, context(21));
    script.copy(31, 21);
    script.end(1);
    script.receive_on(1, 2, context(11));
    script.respond(2, context(21));
    assert_eq!(script.cause_of_call(context(21)), known(2));
    // What the first left running is the first's all the same.
    assert_eq!(script.cause_of_call(context(31)), after(1));
}
