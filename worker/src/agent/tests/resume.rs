//! Conversations that were cut off, and conversations that go on with feedback.

use super::bench::{Bench, Recorder, tree, turns};
use crate::assignment::Mode;
use crate::host::Reply;
use crate::outcome::End;

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n"), ("notes.md", "old\n")];

/// The second edit holds the text that it replaces: made twice, it would be seen.
const SCRIPT: &str = r##"
version: 1
replies:
  - match: { text: "# Feedback 1", turn: 4, not_text: "# Feedback 2" }
    blocks: [{ tool: Edit, input: { file_path: src/lib.rs, old_string: "fn gamma", new_string: "pub fn gamma" } }]
  - match: { text: "make it public", turn: 5 }
    blocks: [{ text: "Now it is public." }]
  - match: { turn: 0 }
    blocks:
      - { tool: Read, input: { file_path: src/lib.rs } }
      - { tool: Read, input: { file_path: notes.md } }
  - match: { turn: 1 }
    blocks:
      - { tool: Edit, input: { file_path: src/lib.rs, old_string: "fn alpha() {}", new_string: "fn alpha() {}\nfn gamma() {}" } }
      - { tool: Write, input: { file_path: notes.md, content: "new\n" } }
      - { tool: Write, input: { file_path: made/here.md, content: "made\n" } }
  - match: { turn: 2 }
    blocks:
      - { tool: Grep, input: { pattern: gamma } }
      - { tool: Edit, input: { file_path: notes.md, old_string: "new", new_string: "newer" } }
  - match: { turn: 3 }
    blocks: [{ text: "Done." }]
"##;

#[tokio::test]
async fn a_step_cut_off_anywhere_ends_with_the_same_files() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let whole = Recorder::new();
    let expected = bench.perform(&bench.step("whole", Mode::Write, "add gamma"), &whole).await;
    assert_eq!(expected.end, End::Committed, "{expected:?}");
    assert_eq!(bench.file(&expected, "src/lib.rs").as_deref(), Some("fn alpha() {}\nfn gamma() {}\n"));
    assert_eq!(bench.file(&expected, "notes.md").as_deref(), Some("newer\n"));
    let count = whole.messages.lock().unwrap().len();
    for at in 0..count {
        // The message at which the host stops has reached the journal, or it has not.
        for reached in [false, true] {
            let mut step = bench.step(&format!("cut-{at}-{reached}"), Mode::Write, "add gamma");
            let host = Recorder::with(move |index, _| (index == at).then_some(Reply::Cancel));
            let cut = bench.perform(&step, &host).await;
            assert_eq!(cut.end, End::Parked, "cut at {at}: {cut:?}");
            let told = host.messages.lock().unwrap()[..at + usize::from(reached)].to_vec();
            step.resume.messages = turns(&told);
            let outcome = bench.perform(&step, &Recorder::new()).await;
            assert_eq!(outcome.end, End::Committed, "cut at {at}: {outcome:?}");
            assert_eq!(tree(&outcome), tree(&expected), "cut at {at}, reached {reached}");
            assert_eq!(outcome.report, expected.report, "cut at {at}");
        }
    }
}

#[tokio::test]
async fn feedback_goes_on_in_the_same_conversation() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let mut step = bench.step("one", Mode::Write, "add gamma");
    let first = Recorder::new();
    bench.perform(&step, &first).await;
    let sent_before = bench.requests();

    step.feedback = vec!["make it public".to_owned()];
    step.resume.messages = first.turns();
    step.owner.attempt = 2;
    if let Some(form) = &mut step.commit {
        form.attempt_ref = "refs/wattle/attempt/r1/one/2".to_owned();
    }
    let second = Recorder::with(|_, _| None);
    // The journal goes on counting where it stood.
    let indices = std::sync::Arc::clone(&second);
    let outcome = bench.perform(&step, &second).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_eq!(bench.file(&outcome, "src/lib.rs").as_deref(), Some("fn alpha() {}\npub fn gamma() {}\n"));
    assert_eq!(outcome.report, "Now it is public.");

    let requests = bench.requests();
    let bare = |text: &str| text.replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let old = bare(sent_before.last().unwrap());
    // All but the card, which is the last block of the last message.
    let (old, _) = old.rsplit_once(",{\"type\":\"text\"").unwrap();
    assert!(bare(&requests[sent_before.len()]).starts_with(old), "history is only added to");
    assert!(requests[sent_before.len()].contains("# Feedback 1\\n\\nmake it public"));
    let told: Vec<u32> = indices
        .messages
        .lock()
        .unwrap()
        .iter()
        .filter_map(|message| match message {
            crate::host::Message::Result(crate::host::StepResult::Turn { index, .. }) => Some(*index),
            _ => None,
        })
        .collect();
    assert_eq!(told, [8, 9, 10, 11]);
}

#[tokio::test]
async fn an_interrupted_command_is_not_run_again() {
    let script = r##"
version: 1
replies:
  - { match: { turn: 0 }, blocks: [{ tool: Bash, input: { command: "echo once >> log" } }] }
  - { match: { turn: 1, tool_result: "its result is unknown" }, blocks: [{ text: "It may have run." }] }
"##;
    let bench = Bench::new(script, LIB).await;
    let mut step = bench.step("one", Mode::Write, "x");
    // Stopped at the result of the command: it ran, and nobody was told.
    let host = Recorder::with(|_, message| {
        let result = matches!(message, crate::host::Message::Result(crate::host::StepResult::Tool { .. }));
        result.then_some(Reply::Cancel)
    });
    assert_eq!(bench.perform(&step, &host).await.end, End::Parked);
    step.resume.messages = host.turns();
    let outcome = bench.perform(&step, &Recorder::new()).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_eq!(bench.file(&outcome, "log").as_deref(), Some("once\n"));
}

#[tokio::test]
async fn a_fresh_conversation_gets_its_feedback_with_the_task() {
    let script = r##"
version: 1
replies:
  - { match: { turn: 0, text: "make it public" }, blocks: [{ text: "Seen." }] }
"##;
    let bench = Bench::new(script, LIB).await;
    let mut step = bench.step("one", Mode::Read, "x");
    step.feedback = vec!["make it public".to_owned()];
    let outcome = bench.perform(&step, &Recorder::new()).await;
    assert_eq!((outcome.end, outcome.report.as_str()), (End::Done, "Seen."));
}

#[tokio::test]
async fn what_the_host_tells_meanwhile_is_heard_with_the_next_turn_and_once() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let step = bench.step("one", Mode::Write, "add gamma");
    let told = std::sync::atomic::AtomicBool::new(false);
    let host = Recorder::with(move |_, message| {
        let turn = matches!(message, crate::host::Message::Result(crate::host::StepResult::Turn { index: 1, .. }));
        let now = turn && !told.swap(true, std::sync::atomic::Ordering::Relaxed);
        now.then(|| Reply::Told { seq: 1, words: vec!["make it public".to_owned()] })
    });
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    let requests = bench.requests();
    let words = "# Feedback 1\\n\\nmake it public";
    assert!(!requests[0].contains(words));
    assert!(requests[1].contains(words), "{}", requests[1]);
    assert_eq!(requests.last().unwrap().matches(words).count(), 1);
    // A later attempt knows them by number and text.
    let heard = host.turns().iter().filter(|turn| turn.contains(words)).count();
    assert_eq!(heard, 1);
}
