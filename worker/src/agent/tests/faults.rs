//! What goes wrong on the wire, as a step sees it.

use super::bench::{Bench, Recorder};
use crate::assignment::Mode;
use crate::host::{Message, StepResult};
use crate::model::Wall;
use crate::outcome::{Cause, End};

const LIB: &[(&str, &str)] = &[("a.txt", "a\n")];

fn script(fault: &str) -> String {
    format!(
        r#"
version: 1
replies:
  - match: {{ turn: 1 }}
    times: 1
    fault: {fault}
    blocks: [{{ tool: Write, input: {{ file_path: wrong, content: never }} }}]
  - match: {{ turn: 0 }}
    blocks: [{{ tool: Write, input: {{ file_path: b.txt, content: b }} }}]
  - match: {{ turn: 1 }}
    blocks: [{{ text: done }}]
"#
    )
}

#[tokio::test]
async fn a_fault_that_passes_leaves_no_trace_in_the_conversation() {
    for (fault, status) in [
        ("{ status: 529, retry_after: 0 }", 529),
        ("{ status: 500 }", 500),
        ("{ cut_after_bytes: 900 }", 200),
        ("{ error_event: overloaded_error }", 200),
    ] {
        let bench = Bench::new(&script(fault), LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Write, "x"), &host).await;
        assert_eq!(outcome.end, End::Committed, "{fault}: {outcome:?}");
        assert_eq!(bench.file(&outcome, "b.txt").as_deref(), Some("b"));
        assert_eq!(bench.file(&outcome, "wrong"), None, "half a reply is never acted on");
        let statuses: Vec<u16> = host.usages().iter().map(|usage| usage.status).collect();
        assert_eq!(statuses, [200, status, 200], "each attempt is a row of the ledger");
        assert_eq!(host.turns().len(), 4, "{fault}");
    }
}

#[tokio::test]
async fn what_is_fatal_fails_the_step_and_says_why() {
    let script = "version: 1\nreplies:\n  - fault: { status: 400 }\n";
    let bench = Bench::new(script, LIB).await;
    let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &Recorder::new()).await;
    let End::Failed { cause: Cause::RequestRefused, message } = outcome.end else {
        panic!("{outcome:?}");
    };
    assert!(message.contains("invalid_request_error") && message.contains("400"), "{message}");
    assert_eq!(bench.requests().len(), 1);
}

#[tokio::test]
async fn what_would_be_refused_to_everybody_parks_the_step_and_is_told() {
    for (status, wall) in [(401, Wall::Access), (404, Wall::Access), (402, Wall::Money)] {
        let script = format!("version: 1\nreplies:\n  - fault: {{ status: {status} }}\n");
        let bench = Bench::new(&script, LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
        assert_eq!(outcome.end, End::Parked, "{outcome:?}");
        let messages = host.messages.lock().unwrap();
        let told = messages.iter().find_map(|message| match message {
            Message::Result(StepResult::Refused { wall, message }) => Some((*wall, message.clone())),
            _ => None,
        });
        let (met, words) = told.expect("the host is told");
        assert!(met == wall && words.contains(&status.to_string()), "{words}");
    }
}

#[tokio::test]
async fn a_reply_that_was_cut_at_its_bound_is_asked_for_again() {
    let script = r#"
version: 1
replies:
  - { match: { turn: 0 }, times: 1, stop: max_tokens, blocks: [{ tool: Write, input: { file_path: wrong, content: half } }] }
  - { match: { turn: 0 }, blocks: [{ text: whole }] }
"#;
    let bench = Bench::new(script, LIB).await;
    let outcome = bench.perform(&bench.step("one", Mode::Write, "x"), &Recorder::new()).await;
    assert_eq!((outcome.end, outcome.report.as_str()), (End::Unchanged, "whole"));
    let requests = bench.requests();
    assert!(requests[0].contains("\"max_tokens\":16384") && requests[1].contains("\"max_tokens\":65536"));
}

#[tokio::test]
async fn a_reply_that_goes_no_further_ends_the_step_and_says_what_to_do() {
    for (reply, words) in [
        ("stop: refusal, blocks: [{ text: no }]", "declined to go on: change the task, or name another model"),
        ("stop: refusal, category: cyber, blocks: [{ text: no }]", "declined to go on (cyber): change the task"),
        ("stop: model_context_window_exceeded, blocks: [{ text: and }]", "split the step, or name a model"),
        ("stop: pause_turn, blocks: [{ text: and }]", "paused its turn"),
    ] {
        let bench = Bench::new(&format!("version: 1\nreplies:\n  - {{ {reply} }}\n"), LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
        let End::Failed { cause: Cause::Model, message } = outcome.end else { panic!("{reply}: {outcome:?}") };
        assert!(message.contains(words), "{message}");
        assert_eq!((host.turns().len(), host.usages().len()), (1, 1), "{reply}: it is no turn, and it was paid for");
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_ends_the_step_and_says_what_to_do() {
    let script = "version: 1\nmodels: { \"*\": { context_tokens: 100 } }\nreplies: [{ blocks: [{ text: Done. }] }]\n";
    let bench = Bench::new(script, LIB).await;
    let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &Recorder::new()).await;
    let End::Failed { cause: Cause::RequestRefused, message } = outcome.end else { panic!("{outcome:?}") };
    assert!(message.contains("too long") && message.contains("split the step"), "{message}");
    let bench = Bench::new("version: 1\nreplies: [{ blocks: [{ text: Done. }] }]\n", LIB).await;
    let huge = "word ".repeat(7_000_000);
    let outcome = bench.perform(&bench.step("one", Mode::Read, &huge), &Recorder::new()).await;
    let End::Failed { cause: Cause::RequestRefused, message } = outcome.end else { panic!("{:?}", outcome.end) };
    assert!(message.contains("nothing was sent") && message.contains("split the step"), "{message}");
    assert!(bench.requests().is_empty());
}

#[tokio::test]
async fn calls_that_cannot_be_read_are_answered_with_what_is_wrong_with_them() {
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Read, arguments: "{\"file_path\": oops" }
      - { tool: Read, input: { path: a.txt } }
      - { tool: Nothing, input: {} }
      - { tool: Read, input: { file_path: a.txt } }
  - match: { turn: 1 }
    blocks: [{ text: Seen. }]
"##;
    let bench = Bench::new(script, LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
    assert_eq!((&outcome.end, outcome.report.as_str()), (&End::Done, "Seen."), "{outcome:?}");
    let results = host.tool_results();
    let failed: Vec<bool> = results.iter().map(|(_, failed)| *failed).collect();
    assert_eq!(failed, [true, true, true, false], "{results:?}");
    for (result, words) in results.iter().zip([
        "the input of Read was not valid JSON: expected value at line 1 column 15",
        "unknown field `path`, expected one of `file_path`, `offset`, `limit`",
        "Nothing is not allowed here; allowed are Ask, AstGrep, Glob, Grep, Lsp, Read, Report, Symbols",
    ]) {
        assert!(result.0.contains(words), "{}", result.0);
    }
}

#[tokio::test]
async fn a_stop_while_the_model_thinks_parks_the_step() {
    let script = "version: 1\nreplies:\n  - { delay_ms: 600000, blocks: [{ text: late }] }\n";
    let bench = Bench::new(script, LIB).await;
    let step = bench.step("one", Mode::Write, "x");
    let host = Recorder::new();
    let stop = async {
        while bench.server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        host.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(bench.perform(&step, &host), stop);
    assert_eq!(outcome.end, End::Parked);
    assert_eq!(host.turns().len(), 1);
    assert_eq!(host.usages().len(), 1, "the attempt is a row of the ledger");
}
