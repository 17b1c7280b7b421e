//! Random conversations through the whole ladder, against the strict server: nothing it refuses, nothing that is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wattle_cache::prefix::{Codec, PrefixTtl};
use wattle_cache::view::{Rung, ViewEdit};

use super::bench::{Recorder, model, turns};
use crate::agent::{Conversation, Finish, Task, brief, converse};
use crate::host::{Host, Message, Reply, StepResult};
use crate::instructions::Instructions;
use crate::model::Model;
use crate::outcome::{Cause, Evidence};
use crate::scripted::{self, Server};
use crate::tool;
use crate::tool::host::InProcess;

/// Random conversations.
const CASES: u64 = 1_000;
/// Of these one server holds the script.
const PER_SERVER: u64 = 20;
/// Words that every request has to hold.
const BRIEF_CANARY: &str = "canary-of-the-instructions";
const PLAN_CANARY: &str = "canary-of-the-plan";

/// A worktree, a model and what a conversation on them needs.
pub(super) struct Stage {
    pub(super) dir: tempfile::TempDir,
    pub(super) server: Server,
    model: Arc<dyn Model>,
}

/// What an earlier try has left.
#[derive(Default)]
pub(super) struct Left {
    pub(super) messages: Vec<String>,
    pub(super) views: Vec<String>,
    pub(super) evidence: Vec<(String, Evidence)>,
}

impl Left {
    /// What has reached a journal.
    pub(super) fn of(messages: &[Message]) -> Left {
        let mut left = Left { messages: turns(messages), ..Left::default() };
        for message in messages {
            match message {
                Message::Result(StepResult::ViewEdit { json }) => left.views.push(json.clone()),
                Message::Result(StepResult::Tool { id, evidence, .. }) => {
                    left.evidence.push((id.clone(), evidence.clone()))
                }
                _ => {}
            }
        }
        left
    }
}

impl Stage {
    /// `script` is JSON.
    pub(super) async fn new(script: &Value) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tree/own")).unwrap();
        std::fs::create_dir_all(dir.path().join("temp")).unwrap();
        for (number, lines) in [20, 60, 120, 200, 300, 420, 500, 2_000].into_iter().enumerate() {
            let text: String = (0..lines).map(|n| format!("line {n} of file {number}: some words of it\n")).collect();
            std::fs::write(dir.path().join(format!("tree/big-{number}.txt")), text).unwrap();
        }
        let server = scripted::serve_text(&script.to_string(), 0).await.unwrap();
        let model = Arc::new(model(Codec::AnthropicMessages, &server));
        Stage { dir, server, model }
    }

    pub(super) fn tree(&self) -> std::path::PathBuf {
        self.dir.path().join("tree")
    }

    /// Holds a conversation in a window of so many tokens.
    pub(super) async fn talk(&self, words: &str, window: u64, host: &Arc<Recorder>, left: &Left) -> Conversation {
        self.talk_as(words, window, host, left, &["Edit", "Glob", "Grep", "Read", "Write"]).await
    }

    pub(super) async fn talk_as(
        &self,
        words: &str,
        window: u64,
        host: &Arc<Recorder>,
        left: &Left,
        tools: &[&str],
    ) -> Conversation {
        let brief = format!("The repository holds {BRIEF_CANARY}.");
        let instructions = Instructions::default();
        let task = Task {
            model_name: "claude-sonnet-5-5",
            brief: &brief,
            prefix_ttl: PrefixTtl::FiveMinutes,
            worker_message: format!("Role: worker\n\n# Your task\n\n{words} {PLAN_CANARY}\n"),
            allowed: tools.iter().chain(&["Ask", "Report"]).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
            max_turns: 400,
            max_nano_usd: None,
            proposals_max: None,
            messages: &left.messages,
            views: &left.views,
            evidence: &left.evidence,
            context_tokens: Some(window),
            spent_nano_usd: 0,
            feedback: &[],
            instructions: &instructions,
            step: ("", ""),
            worktree: String::new(),
            fork: None,
        };
        let tools = InProcess::new(&self.tree(), None, &self.dir.path().join("temp")).unwrap();
        let host: Arc<dyn Host> = Arc::clone(host) as Arc<dyn Host>;
        converse(task, Arc::clone(&self.model), host, tools).await
    }
}

/// Edits of the view that a host was told of.
pub(super) fn edits(host: &Recorder) -> Vec<ViewEdit> {
    let messages = host.messages.lock().unwrap();
    let edits = messages.iter().filter_map(|message| match message {
        Message::Result(StepResult::ViewEdit { json }) => Some(serde_json::from_str(json).unwrap()),
        _ => None,
    });
    edits.collect()
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }
}

fn call(dice: &mut Dice, case: u64) -> Value {
    let file = format!("big-{}.txt", dice.below(8));
    let own = format!("own/{case}.txt");
    let (tool, input) = match dice.below(16) {
        0..=5 => ("Read", json!({"file_path": file})),
        6 => ("Read", json!({"file_path": file, "offset": 1 + dice.below(100), "limit": 5 + dice.below(200)})),
        7 => ("Read", json!({"file_path": "not-there.txt"})),
        8 => ("Grep", json!({"pattern": "line [0-9]*7 ", "output_mode": "content", "head_limit": 600})),
        9 => ("Grep", json!({"pattern": "("})),
        10 => ("Glob", json!({"pattern": "*"})),
        11 | 12 => ("Write", json!({"file_path": own, "content": "word ".repeat(dice.below(400) as usize)})),
        13 => ("Edit", json!({"file_path": own, "old_string": "word word", "new_string": "words"})),
        14 => ("Ask", json!({"question": "Which way?"})),
        _ => ("Nope", json!({"x": [1, null]})),
    };
    json!({"tool": tool, "input": input})
}

/// The replies of one conversation, in order; the last one ends it.
fn replies(dice: &mut Dice, case: u64) -> Vec<Value> {
    let thinks = dice.one_in(3);
    let only = |blocks: Vec<Value>| json!({"match": {"text": format!("case-{case};")}, "times": 1, "blocks": blocks});
    let mut replies = Vec::new();
    for turn in 0..4 + dice.below(4) {
        let mut blocks = Vec::new();
        if thinks && dice.one_in(2) {
            blocks.push(json!({"thinking": if dice.one_in(2) { "" } else { "hm" }}));
        }
        if dice.one_in(3) {
            blocks.push(json!({"text": format!("Now part {turn}:\n- look\n- change")}));
        }
        blocks.extend((0..=1 + dice.below(4)).map(|_| call(dice, case)));
        replies.push(only(blocks));
    }
    let mut last = only(vec![json!({"text": format!("Done with {case}.")})]);
    last.as_object_mut().unwrap().remove("times");
    replies.push(last);
    replies
}

/// What came of all cases.
#[derive(Default)]
struct Tally {
    requests: AtomicUsize,
    masks: AtomicUsize,
    swaps: AtomicUsize,
    resumes: AtomicUsize,
    split: AtomicUsize,
}

/// A host that stops the work at a message, or tells the worker something with a turn.
fn host(stop: Option<usize>, words: Option<(u32, String)>) -> Arc<Recorder> {
    Recorder::with(move |index, message| {
        if stop == Some(index) {
            return Some(Reply::Cancel);
        }
        let Message::Result(StepResult::Turn { index: turn, .. }) = message else { return None };
        let (at, words) = words.as_ref()?;
        (at == turn).then(|| Reply::Told { seq: 1, words: vec![words.clone()] })
    })
}

/// A window that is full after a few turns, whatever the tools and the system text have come to.
fn window(dice: &mut Dice) -> u64 {
    let tools: usize =
        tool::definitions().iter().map(|t| t.name.len() + t.description.len() + t.input_schema.len()).sum();
    let shared = (tools + brief::SYSTEM.len()) as u64 / 4 + 500;
    // A quarter of the window is for the reply; of the rest half has to be free after a swap.
    (2 * shared + 2_500 + 500 * dice.below(4)) * 4 / 3
}

async fn case(stage: &Stage, case: u64, tally: &Tally) {
    let mut dice = Dice(case ^ 0xabcd);
    let (words, window) = (format!("case-{case};"), window(&mut dice));
    let told = dice.one_in(2).then(|| (1 + dice.below(9) as u32, format!("canary-of-the-words-{case}")));
    let stop = dice.one_in(3).then(|| 5 + dice.below(30) as usize);
    let first = host(stop, told.clone());
    let mut ended = stage.talk(&words, window, &first, &Left::default()).await;
    let mut journal: Vec<Message> = first.messages.lock().unwrap().clone();
    if ended.end == Finish::Parked {
        tally.resumes.fetch_add(1, Ordering::Relaxed);
        // The message at which the work stopped has not reached the journal.
        journal.truncate(stop.unwrap());
        let second = host(None, None);
        ended = stage.talk(&words, window, &second, &Left::of(&journal)).await;
        let more = second.messages.lock().unwrap().clone();
        journal.extend(more);
    }
    match &ended.end {
        Finish::Done => assert_eq!(ended.report, format!("Done with {case}."), "case {case}"),
        Finish::Failed(Cause::RequestRefused, message) if message.contains("split the step") => {
            tally.split.fetch_add(1, Ordering::Relaxed);
        }
        other => panic!("case {case}: {other:?}"),
    }
    for view in &Left::of(&journal).views {
        let edit: ViewEdit = serde_json::from_str(view).unwrap();
        let count = if matches!(edit, ViewEdit::Mask { .. }) { &tally.masks } else { &tally.swaps };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every request was taken, and holds what it has to.
fn sound(server: &Server, tally: &Tally) {
    let records = server.journal();
    tally.requests.fetch_add(records.len(), Ordering::Relaxed);
    let mut heard: BTreeSet<String> = BTreeSet::new();
    for record in &records {
        let body = String::from_utf8_lossy(&record.body);
        assert_eq!(record.status, 200, "{body}");
        for canary in [BRIEF_CANARY, PLAN_CANARY] {
            assert!(body.contains(canary), "{canary}: {body}");
        }
        let case = body.split("case-").nth(1).and_then(|rest| rest.split(';').next()).unwrap().to_owned();
        let words = format!("canary-of-the-words-{case}");
        // Once it has been told, it is told in every request that follows.
        if body.contains(&words) {
            heard.insert(case);
        } else {
            assert!(!heard.contains(&case), "{words} was lost: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_conversations_are_never_refused() {
    let tally = Arc::new(Tally::default());
    let batches: Vec<u64> = (0..CASES / PER_SERVER).collect();
    let halves = batches.chunks(batches.len().div_ceil(2)).map(|half| {
        let (half, tally) = (half.to_vec(), Arc::clone(&tally));
        tokio::spawn(async move {
            for batch in half {
                let cases = batch * PER_SERVER..(batch + 1) * PER_SERVER;
                let all: Vec<Value> = cases.clone().flat_map(|n| replies(&mut Dice(n), n)).collect();
                let stage = Stage::new(&json!({"version": 1, "replies": all})).await;
                for number in cases {
                    case(&stage, number, &tally).await;
                }
                sound(&stage.server, &tally);
            }
        })
    });
    for half in halves.collect::<Vec<_>>() {
        half.await.unwrap();
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    // The ladder was climbed: a test that never gets there would show nothing.
    let share = |counter: &AtomicUsize| count(counter) * 100 / CASES as usize;
    let all = [&tally.masks, &tally.swaps, &tally.resumes, &tally.split, &tally.requests].map(share);
    let [masks, swaps, resumes, split, requests] = all;
    assert!(masks >= 3 && swaps >= 7 && resumes >= 10, "in percent of the cases: {all:?}");
    assert!(split < 15 && requests >= 300, "in percent of the cases: {all:?}");
}

#[tokio::test]
async fn a_resume_sends_the_bytes_that_would_have_been_sent() {
    let read = |n: u64| json!({"match": {"turn": n}, "blocks": [{"tool": "Read", "input": {"file_path": "big-7.txt", "offset": 1 + n, "limit": 250}}]});
    let mut script: Vec<Value> = (0..30).map(read).collect();
    script.push(json!({"blocks": [{"text": "Done."}]}));
    let stage = Stage::new(&json!({"version": 1, "replies": script})).await;
    let whole = Recorder::new();
    let ended = stage.talk("one", 60_000, &whole, &Left::default()).await;
    assert_eq!(ended.end, Finish::Done);
    assert!(!edits(&whole).is_empty());
    let told = whole.messages.lock().unwrap().clone();
    let bodies = stage.server.requests();
    // Cut after each edit: whatever comes next is what came next.
    for (at, _) in told.iter().enumerate().filter(|(_, m)| matches!(m, Message::Result(StepResult::ViewEdit { .. }))) {
        let before = stage.server.requests().len();
        let host = Recorder::with(|index, _| (index > 4).then_some(Reply::Cancel));
        stage.talk("one", 60_000, &host, &Left::of(&told[..=at])).await;
        let next = stage.server.requests()[before].clone();
        assert!(bodies.contains(&next), "cut after message {at}");
    }
}

#[tokio::test]
async fn long_output_is_kept_and_can_be_read_and_searched_also_after_an_interruption() {
    let grep = json!({"pattern": "line", "output_mode": "content", "head_limit": 3000});
    let stage = Stage::new(&json!({"version": 1, "replies": [
        {"match": {"turn": 0}, "blocks": [{"tool": "Grep", "input": grep}]},
        {"match": {"turn": 1}, "blocks": [{"text": "Seen."}]},
    ]}))
    .await;
    let host = Recorder::new();
    stage.talk("one", 200_000, &host, &Left::default()).await;
    let (shown, _) = host.tool_results().remove(0);
    let name = wattle_cache::offload::named_by(&shown).unwrap_or_else(|| panic!("{shown}")).to_owned();
    assert!(shown.len() <= wattle_cache::offload::BYTES_MAX);

    let after = Stage::new(&json!({"version": 1, "replies": [
        {"match": {"turn": 1}, "blocks": [
            {"tool": "Read", "input": {"file_path": name, "offset": 100, "limit": 2}},
            {"tool": "Grep", "input": {"path": name, "pattern": "line 1[01] ", "output_mode": "content", "head_limit": 2}},
            {"tool": "Read", "input": {"file_path": "out:0123456789abcdef"}},
        ]},
        {"match": {"turn": 2}, "blocks": [{"text": "Done."}]},
    ]}))
    .await;
    let mut left = Left::of(&host.messages.lock().unwrap());
    left.messages.truncate(3);
    let again = Recorder::new();
    // The turn that follows is the second one.
    let ended = after.talk("one", 200_000, &again, &left).await;
    assert_eq!(ended.end, Finish::Done);
    let results = results_after(&again);
    assert!(results[0].0.starts_with("   100\tbig-"), "{results:?}");
    assert!(results[1].0.contains(&format!("{name}:")), "{results:?}");
    assert!(results[2].1 && results[2].0.contains("there is no output"), "{results:?}");
}

/// Results that a host was told of in a conversation that went on.
fn results_after(host: &Recorder) -> Vec<(String, bool)> {
    let messages = host.messages.lock().unwrap();
    let mut results = Vec::new();
    for message in messages.iter() {
        let Message::Result(StepResult::Turn { json, .. }) = message else { continue };
        let turn: Value = serde_json::from_str(json).unwrap();
        for block in turn["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_result") {
            results.push((block["content"].as_str().unwrap().to_owned(), block["is_error"] == true));
        }
    }
    results
}

#[tokio::test]
async fn reading_the_same_again_is_a_stub_only_while_it_is_in_view() {
    let read = json!({"tool": "Read", "input": {"file_path": "big-3.txt"}});
    let change = json!({"tool": "Write", "input": {"file_path": "big-3.txt", "content": "new\n".repeat(300)}});
    let stage = Stage::new(&json!({"version": 1, "replies": [
        {"match": {"turn": 0}, "blocks": [read]},
        {"match": {"turn": 1}, "blocks": [read, {"tool": "Read", "input": {"file_path": "big-3.txt", "limit": 150}}]},
        {"match": {"turn": 2}, "blocks": [change]},
        {"match": {"turn": 3}, "blocks": [read]},
        {"match": {"turn": 4}, "blocks": [{"text": "Done."}]},
    ]}))
    .await;
    let host = Recorder::new();
    stage.talk("one", 200_000, &host, &Left::default()).await;
    let results: Vec<String> = host.tool_results().into_iter().map(|(content, _)| content).collect();
    assert!(results[1].starts_with("(Unchanged: message 2 "), "{}", results[1]);
    assert!(results[2].starts_with("     1\tline"), "another range");
    assert!(results[4].starts_with("     1\tnew"), "another content: {}", results[4]);
}

#[test]
fn the_rungs_have_names_in_the_journal() {
    let edit = ViewEdit::Swap { before: 3, rung: Rung::Handover, at: 4, stamp: String::new(), text: "x".to_owned() };
    let json = r#"{"edit":"swap","before":3,"rung":"handover","at":4,"stamp":"","text":"x"}"#;
    assert_eq!(serde_json::to_string(&edit).unwrap(), json);
}
