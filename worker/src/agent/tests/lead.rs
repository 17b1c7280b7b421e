//! The lead: it reads, proposes, and mends what is sent back.

use super::bench::{Bench, Recorder};
use crate::host::{Message, Proposal, Reply};
use crate::outcome::{Cause, End};
use std::sync::Arc;

const LIB: &[(&str, &str)] = &[("src/a.rs", "a\n"), ("src/b.rs", "b\n")];

const PLANS: &str = r#"
version: 1
replies:
  - match: { role: lead, turn: 0, text: "split the work" }
    blocks: [{ tool: Glob, input: { pattern: "src/*" } }]
  - match: { turn: 1, tool_result: src/b.rs }
    blocks: [{ tool: SubmitPlan, input: { steps: [{ id: "BAD ID" }] } }]
  - match: { turn: 2, tool_result: "ids are lowercase" }
    blocks: [{ tool: SubmitPlan, input: { steps: [{ id: good, agent: { prompt: x } }] } }]
"#;

/// Accepts a plan with the step `good`, and sends others back.
fn strict() -> Arc<Recorder> {
    Recorder::with(|_, message| match message {
        Message::Propose(Proposal::Plan { json }) if !json.contains("good") => {
            Some(Reply::Refused { reason: "ids are lowercase".to_owned() })
        }
        _ => None,
    })
}

#[tokio::test]
async fn a_plan_that_is_sent_back_is_mended() {
    let bench = Bench::new(PLANS, LIB).await;
    let outcome = bench.perform_lead(bench.lead("Please split the work.", 2), &strict()).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    assert_eq!(outcome.report, r#"{"steps":[{"id":"good","agent":{"prompt":"x"}}]}"#);
}

#[tokio::test]
async fn proposals_are_bounded() {
    let bench = Bench::new(PLANS, LIB).await;
    let outcome = bench.perform_lead(bench.lead("Please split the work.", 0), &strict()).await;
    let End::Failed { cause: Cause::Turns, message } = outcome.end else {
        panic!("{outcome:?}");
    };
    assert!(message.contains("ids are lowercase"), "{message}");
}

#[tokio::test]
async fn a_lead_that_plans_nothing_has_failed() {
    let script = r#"
version: 1
replies:
  - { match: { turn: 0 }, blocks: [{ tool: Write, input: { file_path: x, content: x } }, { tool: Bash, input: { command: "true" } }] }
  - { match: { turn: 1 }, blocks: [{ text: "I would rather not." }] }
"#;
    let bench = Bench::new(script, LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform_lead(bench.lead("Plan.", 2), &host).await;
    assert!(matches!(outcome.end, End::Failed { cause: Cause::Turns, .. }), "{outcome:?}");
    assert!(host.tool_results().iter().all(|(content, is_error)| *is_error && content.contains("not allowed")));
}
