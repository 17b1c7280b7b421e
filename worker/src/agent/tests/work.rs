//! What a step does: its tools, what they may do, and what it is given.

use super::bench::{Bench, Recorder, agent_work};
use crate::assignment::{Mode, NeedReport, Work};
use crate::host::{Intent, Message, Reply, StepResult};
use crate::outcome::{Cause, End};

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n"), ("README.md", "alpha\n")];

/// Reads, edits, writes, reports.
const RENAME: &str = r##"
version: 1
replies:
  - match: { text: "rename alpha", turn: 0, role: worker }
    blocks:
      - text: "I look first."
      - { tool: Read, input: { file_path: src/lib.rs } }
      - { tool: Grep, input: { pattern: alpha } }
  - match: { turn: 1, tool_result: "fn alpha" }
    blocks:
      - { tool: Edit, input: { file_path: src/lib.rs, old_string: "fn alpha", new_string: "fn beta" } }
      - { tool: Write, input: { file_path: docs/beta.md, content: "beta\n" } }
  - match: { turn: 2, tool_result: "was edited" }
    blocks:
      - { tool: Bash, input: { command: "env; cat src/lib.rs; exit 3" } }
  - match: { turn: 3, tool_result: "exit code 3" }
    blocks:
      - text: "Renamed alpha to beta."
"##;

#[tokio::test]
async fn a_step_edits_files_and_its_work_becomes_a_commit() {
    let bench = Bench::new(RENAME, LIB).await;
    let mut step = bench.step("one", Mode::Write, "rename alpha to beta");
    step.needs = vec![NeedReport { step: "survey".to_owned(), markdown: "found in one file".to_owned() }];
    let host = Recorder::new();
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_eq!(bench.file(&outcome, "src/lib.rs").as_deref(), Some("fn beta() {}\n"));
    assert_eq!(bench.file(&outcome, "docs/beta.md").as_deref(), Some("beta\n"));
    assert_eq!(outcome.report, "Renamed alpha to beta.");
    assert_eq!(outcome.evidence.exit, Some(3));
    assert_eq!(outcome.evidence.read[0].0, "src/lib.rs");
    assert_eq!(
        outcome.evidence.wrote.iter().map(|wrote| wrote.0.as_str()).collect::<Vec<_>>(),
        ["docs/beta.md", "src/lib.rs"]
    );
    let turns = host.turns();
    assert_eq!(turns.len(), 8);
    for part in ["Role: worker", "rename alpha to beta", "found in one file", "Report of step survey"] {
        assert!(turns[0].contains(part), "{part}: {}", turns[0]);
    }
    let (shell, _) = host.tool_results().last().cloned().unwrap();
    assert!(shell.contains("WATTLE_STEP=one") && shell.contains("fn beta()"), "{shell}");
    assert!(!shell.contains("secret-key"), "{shell}");
    let usages = host.usages();
    assert_eq!(usages.len(), 4);
    assert!(usages.iter().all(|usage| usage.exact && usage.nano_usd > Some(0) && usage.status == 200));
    assert!(usages[1].cache_read > 0, "{usages:?}");
}

#[tokio::test]
async fn every_effect_stands_in_the_journal_before_it_happens() {
    let bench = Bench::new(RENAME, LIB).await;
    let step = bench.step("one", Mode::Write, "rename alpha to beta");
    let host = Recorder::new();
    bench.perform(&step, &host).await;
    let mut open = Vec::new();
    let mut last_turn = String::new();
    for message in host.messages.lock().unwrap().iter() {
        match message {
            Message::Result(StepResult::Turn { json, .. }) => {
                assert_eq!(open, Vec::<String>::new(), "a turn waits for the results of its calls");
                last_turn = json.clone();
            }
            Message::Intent(Intent::Tool { id, .. }) => {
                assert!(last_turn.contains(id), "the reply is journaled before its calls run");
                open.push(id.clone());
            }
            Message::Result(StepResult::Tool { id, .. }) => open.retain(|other| other != id),
            _ => {}
        }
    }
}

/// Calls tools that a step may not use, and says what came of it.
const REFUSED: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Edit, input: { file_path: src/lib.rs, old_string: alpha, new_string: beta } }
      - { tool: Read, input: { file_path: src/lib.rs } }
      - { tool: Write, input: { file_path: new, content: x } }
      - { tool: Bash, input: { command: "touch new" } }
      - { tool: SubmitPlan, input: { steps: [] } }
      - { tool: Teleport, input: {} }
  - match: { turn: 1, tool_result: "not allowed" }
    blocks: [{ text: "I could only read." }]
"##;

#[tokio::test]
async fn what_a_step_may_not_do_is_refused_when_it_calls() {
    let bench = Bench::new(REFUSED, LIB).await;
    let mut step = bench.step("one", Mode::Read, "look");
    // Tools that a reading step lists do not make it a writing one.
    let mut work = agent_work("look");
    work.tools = vec!["Read".to_owned(), "Edit".to_owned(), "Write".to_owned()];
    step.work = Work::Agent(work);
    let host = Recorder::new();
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let results = host.tool_results();
    let errors: Vec<bool> = results.iter().map(|(_, is_error)| *is_error).collect();
    assert_eq!(errors, [true, false, true, true, true, true]);
    assert!(results[0].0.contains("Edit is not allowed here; allowed are Ask, Read, Report"), "{results:?}");
    assert_eq!(outcome.report, "I could only read.");
}

/// Tries to get at what lies outside its worktree.
const ESCAPE: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Read, input: { file_path: ../../../etc/passwd } }
      - { tool: Read, input: { file_path: /etc/passwd } }
      - { tool: Read, input: { file_path: .git } }
      - { tool: Read, input: { file_path: link } }
      - { tool: Write, input: { file_path: link, content: x } }
      - { tool: Write, input: { file_path: folder/x, content: x } }
      - { tool: Write, input: { file_path: .git, content: x } }
      - { tool: Grep, input: { pattern: root, path: /etc } }
      - { tool: Glob, input: { pattern: "*", path: folder } }
  - match: { turn: 1 }
    blocks: [{ text: "No way out." }]
"##;

#[tokio::test]
async fn no_tool_reaches_outside_the_worktree() {
    let bench = Bench::new(ESCAPE, LIB).await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret\n").unwrap();
    let step = bench.step("one", Mode::Scratch, "escape");
    std::os::unix::fs::symlink(outside.path().join("secret"), step.place.path.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), step.place.path.join("folder")).unwrap();
    let host = Recorder::new();
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let results = host.tool_results();
    assert_eq!(results.len(), 9);
    for (content, is_error) in results {
        assert!(
            is_error && (content.contains("outside the worktree") || content.contains("belongs to git")),
            "{content}"
        );
    }
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret\n");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

const ASKS: &str = r##"
version: 1
replies:
  - { match: { turn: 0 }, blocks: [{ tool: Ask, input: { question: "Which name?", options: [beta, gamma] } }] }
  - { match: { turn: 1, tool_result: gamma }, blocks: [{ tool: Report, input: { markdown: "# It is gamma" } }] }
  - { match: { turn: 1, tool_result: "nobody will answer: no human here" }, blocks: [{ tool: Report, input: { markdown: "# It stays" } }] }
  - { match: { turn: 2 }, blocks: [{ text: "Bye." }] }
"##;

#[tokio::test]
async fn a_question_is_put_to_a_human_who_may_not_be_there() {
    let answer =
        |reply: Reply| Recorder::with(move |_, message| matches!(message, Message::Ask { .. }).then(|| reply.clone()));
    let bench = Bench::new(ASKS, LIB).await;
    let answered =
        bench.perform(&bench.step("one", Mode::Read, "x"), &answer(Reply::Answer { text: "gamma".to_owned() })).await;
    assert_eq!((answered.end, answered.report.as_str()), (End::Done, "# It is gamma"));
    let alone = bench.perform(&bench.step("two", Mode::Read, "x"), &Recorder::new()).await;
    assert_eq!((alone.end, alone.report.as_str()), (End::Done, "# It stays"));
    let stopped = bench.perform(&bench.step("three", Mode::Read, "x"), &answer(Reply::Cancel)).await;
    assert_eq!(stopped.end, End::Parked);
}

#[tokio::test]
async fn the_shared_bytes_are_the_same_for_two_workers() {
    let bench = Bench::new(RENAME, LIB).await;
    let mut other = bench.step("two", Mode::Read, "rename alpha in your head");
    other.title = "something else".to_owned();
    let one = Recorder::new();
    let two = Recorder::new();
    bench.perform(&bench.step("one", Mode::Write, "rename alpha"), &one).await;
    bench.perform(&other, &two).await;
    let requests = bench.requests();
    assert!(requests.len() > 5, "{}", requests.len());
    let shared: Vec<&str> = requests.iter().map(|body| body.split("Role: worker").next().unwrap()).collect();
    assert!(shared[0].contains("The repository holds a small library."));
    assert!(shared.iter().all(|start| *start == shared[0]));
    let usages = [one.usages(), two.usages()].concat();
    assert!(usages.iter().all(|usage| usage.prefix_sha == usages[0].prefix_sha));
    // The second worker reads from the cache what the first one wrote there.
    assert!(two.usages()[0].cache_read > 0, "{:?}", two.usages());
}

const FOREVER: &str = r##"
version: 1
replies:
  - { blocks: [{ tool: Glob, input: { pattern: "*" } }] }
"##;

fn failed(end: &End) -> (Cause, &str) {
    match end {
        End::Failed { cause, message } => (*cause, message),
        other => panic!("a failure: {other:?}"),
    }
}

#[tokio::test]
async fn turns_and_money_are_bounded() {
    let bench = Bench::new(FOREVER, LIB).await;
    let host = Recorder::new();
    let endless = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
    assert_eq!(failed(&endless.end), (Cause::Turns, "the model was not done after 10 turns"));
    let hit = |message: &Message| matches!(message, Message::Result(StepResult::BoundHit { bound, .. }) if bound == "max_turns");
    assert!(host.messages.lock().unwrap().iter().any(hit));

    let broke = Recorder::with(|_, message| {
        let reason = "the run has no money left".to_owned();
        matches!(message, Message::Reserve { .. }).then_some(Reply::Refused { reason })
    });
    let before = bench.requests().len();
    let refused = bench.perform(&bench.step("two", Mode::Read, "x"), &broke).await;
    assert_eq!(failed(&refused.end), (Cause::Budget, "the run has no money left"));
    assert_eq!(bench.requests().len(), before, "nothing is sent without a reservation");

    let reserved = broke.messages.lock().unwrap().iter().find_map(|message| match message {
        Message::Reserve { nano_usd, .. } => *nano_usd,
        _ => None,
    });
    let mut step = bench.step("three", Mode::Read, "x");
    let mut work = agent_work("x");
    // Room for the reservation of one request; what that one costs leaves too little for a second.
    work.max_nano_usd = reserved.map(|nano_usd| nano_usd + 100_000);
    step.work = Work::Agent(work);
    let capped = bench.perform(&step, &Recorder::new()).await;
    assert_eq!(failed(&capped.end).0, Cause::Budget, "{capped:?}");
    assert_eq!(bench.requests().len(), before + 1);
}
