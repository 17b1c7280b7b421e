//! Whole conversations over each of the three wires: the same script, the same end.

use serde_json::Value;
use wattle_cache::prefix::Codec;

use super::bench::{Bench, Recorder};
use crate::assignment::Mode;
use crate::outcome::End;

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n")];

const WIRES: [Codec; 3] = [Codec::AnthropicMessages, Codec::OpenaiChat, Codec::OpenaiResponses];

/// Looks, is wrong once, edits, and is done; every reply fails once before it comes.
const SCRIPT: &str = r#"
version: 1
replies:
  - { match: { turn: 0 }, times: 1, fault: { status: 529, retry_after_ms: 1 } }
  - match: { turn: 0 }
    blocks:
      - text: "Ich sehe nach: 😀"
      - { tool: Read, input: { file_path: src/lib.rs } }
      - { tool: Read, input: { file_path: nowhere.rs } }
  - { match: { turn: 1 }, times: 1, fault: { cut_after_bytes: 300 }, blocks: [{ text: "a reply that is cut somewhere in the middle of it" }] }
  - match: { turn: 1, tool_result: "fn alpha" }
    blocks: [{ tool: Edit, arguments: "{\"file_path\": oops" }]
  - match: { turn: 2 }
    fault: { pings: 1, crlf: true, chunk_bytes: 3 }
    blocks: [{ tool: Edit, input: { file_path: src/lib.rs, old_string: alpha, new_string: beta } }]
  - match: { turn: 3 }
    fault: { whole: true }
    blocks: [{ text: "Done." }]
"#;

#[tokio::test]
async fn a_step_ends_alike_on_every_wire() {
    for codec in WIRES {
        let bench = Bench::over(codec, SCRIPT, LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Write, "rename it"), &host).await;
        assert_eq!(outcome.end, End::Committed, "{codec:?}: {outcome:?}");
        assert_eq!(bench.file(&outcome, "src/lib.rs").as_deref(), Some("fn beta() {}\n"), "{codec:?}");
        assert_eq!(outcome.report, "Done.", "{codec:?}");
        let results = host.tool_results();
        let failed: Vec<bool> = results.iter().map(|(_, is_error)| *is_error).collect();
        assert_eq!(failed, [false, true, true, false], "{codec:?}: {results:?}");
        let statuses: Vec<u16> = host.usages().iter().map(|usage| usage.status).collect();
        assert_eq!(statuses, [529, 200, 200, 200, 200, 200], "{codec:?}: each attempt is a row");
        let turns = host.turns();
        assert_eq!(turns.len(), 8, "{codec:?}: no half turn is journaled");
        for turn in turns.iter().skip(1).step_by(2) {
            let turn: Value = serde_json::from_str(turn).unwrap();
            assert_eq!(turn["origin"]["codec"], serde_json::to_value(codec).unwrap(), "{turn}");
        }
    }
}

#[tokio::test]
async fn a_conversation_that_moves_to_another_wire_is_told_again() {
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2)] {
        let (from, to) = (WIRES[from], WIRES[to]);
        let bench = Bench::over(from, SCRIPT, LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Write, "rename it"), &host).await;
        assert_eq!(outcome.end, End::Committed, "{from:?}: {outcome:?}");
        // The first two turns were made there; the rest is to be done here.
        let bench = Bench::over(to, SCRIPT, LIB).await;
        let mut step = bench.step("one", Mode::Write, "rename it");
        step.resume.messages = host.turns()[..5].to_vec();
        let host = Recorder::new();
        let outcome = bench.perform(&step, &host).await;
        assert_eq!(outcome.end, End::Committed, "{from:?} to {to:?}: {outcome:?}");
        assert_eq!(bench.file(&outcome, "src/lib.rs").as_deref(), Some("fn beta() {}\n"), "{from:?} to {to:?}");
        let body = bench.requests().remove(0);
        assert!(body.contains("Ich sehe nach") && !body.contains("\"origin\""), "{body}");
    }
}

/// What a server that calls itself compatible may do its own way, by the scripted model's names for it.
const HABITS: [&str; 15] = [
    "no_index",
    "zero_index",
    "empty_id",
    "repeated_id",
    "object_arguments",
    "stop_with_tools",
    "no_usage",
    "no_done",
    "reasoning",
    "null_content",
    "empty_content",
    "repeated_role",
    "unknown_fields",
    "comments",
    // All that do not exclude each other.
    "zero_index, empty_id, stop_with_tools, no_usage, no_done, reasoning, null_content, repeated_role, comments",
];

#[tokio::test]
async fn a_step_ends_alike_whatever_the_habits_of_its_server() {
    for habits in HABITS {
        let script = format!(
            r#"
version: 1
quirks: [{habits}]
replies:
  - {{ match: {{ turn: 0 }}, times: 1, quirks: [no_finish], blocks: [{{ text: "a reply that never ends" }}] }}
  - match: {{ turn: 0 }}
    blocks:
      - thinking: "hm, ja"
      - text: "Ich sehe nach."
      - {{ tool: Read, input: {{ file_path: src/lib.rs }} }}
      - {{ tool: Read, input: {{ file_path: src/lib.rs, limit: 1 }} }}
  - match: {{ turn: 1, tool_result: "fn alpha" }}
    blocks: [{{ tool: Edit, input: {{ file_path: src/lib.rs, old_string: alpha, new_string: beta }} }}]
  - match: {{ turn: 2 }}
    blocks: [{{ text: "Done." }}]
"#
        );
        let bench = Bench::over(Codec::OpenaiChat, &script, LIB).await;
        let host = Recorder::new();
        let outcome = bench.perform(&bench.step("one", Mode::Write, "rename it"), &host).await;
        assert_eq!((&outcome.end, outcome.report.as_str()), (&End::Committed, "Done."), "{habits}: {outcome:?}");
        assert_eq!(bench.file(&outcome, "src/lib.rs").as_deref(), Some("fn beta() {}\n"), "{habits}");
        assert_eq!(host.tool_results().iter().filter(|(_, failed)| !failed).count(), 3, "{habits}: two calls and one");
        assert_eq!((host.usages().len(), host.turns().len()), (4, 6), "{habits}: what never ended is no turn");
        let exact = host.usages().iter().skip(1).all(|usage| usage.exact);
        assert_eq!(exact, !habits.contains("no_usage"), "{habits}: what is not counted is estimated");
        let last = bench.requests().pop().unwrap();
        let thoughts = if habits.contains("reasoning") { "\"reasoning\":" } else { "\"reasoning_content\":" };
        assert!(last.contains(thoughts), "{habits}: thoughts go back apart from the text, as they came: {last}");
    }
}
