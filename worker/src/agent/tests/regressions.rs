//! What went wrong elsewhere when a conversation grew too long, each under the number of its report.

use std::sync::Arc;

use serde_json::{Value, json};
use wattle_cache::view::{Rung, ViewEdit};

use super::bench::Recorder;
use super::context::{Left, Stage, edits};
use crate::agent::Finish;
use crate::host::{Intent, Message, Reply, StepResult, Usage};
use crate::outcome::Cause;

const READING: &[&str] = &["Glob", "Grep", "Read"];
const WINDOW: u64 = 40_000;

/// Reads about ten thousand bytes, other ones each time.
fn read(n: u64) -> Value {
    json!({"tool": "Read", "input": {"file_path": "big-7.txt", "offset": 1 + n, "limit": 250}})
}

/// Writes something new to a file of its own.
fn write(n: u64) -> Value {
    json!({"tool": "Write", "input": {"file_path": format!("own/{n}.txt"), "content": format!("{n}\n")}})
}

fn thinking() -> Value {
    json!({"thinking": "hm"})
}

/// Replies one after the other, whatever is asked, and the last one for ever.
fn script(replies: Vec<Vec<Value>>) -> Value {
    let count = replies.len();
    let replies: Vec<Value> = (1..)
        .zip(replies)
        .map(|(n, blocks)| if n < count { json!({"times": 1, "blocks": blocks}) } else { json!({"blocks": blocks}) })
        .collect();
    json!({"version": 1, "replies": replies})
}

/// Reads and writes for so many replies, and says that it is done.
fn busy(count: u64, thinks: bool) -> Vec<Vec<Value>> {
    let mut replies: Vec<Vec<Value>> = (0..count)
        .map(|n| {
            let mut blocks = vec![read(n), write(n)];
            if thinks {
                blocks.insert(0, thinking());
            }
            blocks
        })
        .collect();
    replies.push(vec![json!({"text": "Done."})]);
    replies
}

fn swaps(host: &Recorder) -> Vec<(Rung, String)> {
    let swaps = edits(host).into_iter().filter_map(|edit| match edit {
        ViewEdit::Swap { rung, text, .. } => Some((rung, text)),
        ViewEdit::Mask { .. } => None,
    });
    swaps.collect()
}

fn bodies(stage: &Stage) -> Vec<Value> {
    let records = stage.server.journal();
    assert!(
        records.iter().all(|record| record.status == 200),
        "{:?}",
        records.iter().map(|r| r.status).collect::<Vec<_>>()
    );
    records.iter().map(|record| serde_json::from_slice(&record.body).unwrap()).collect()
}

fn prompt(row: &Usage) -> u64 {
    row.uncached_in + row.cache_read + row.cache_write
}

async fn held(replies: Vec<Vec<Value>>, tools: &[&str], host: &Arc<Recorder>) -> (Stage, Finish) {
    let stage = Stage::new(&script(replies)).await;
    let ended = stage.talk_as("one", WINDOW, host, &Left::default(), tools).await;
    (stage, ended.end)
}

const ALL: &[&str] = &["Edit", "Glob", "Grep", "Read", "Write"];

#[tokio::test]
async fn codex_13279_one_reply_asks_for_more_than_the_window_holds() {
    let host = Recorder::new();
    let all: Vec<Value> = (0..40)
        .map(|n| json!({"tool": "Read", "input": {"file_path": "big-7.txt", "offset": 1 + n, "limit": 1000}}))
        .collect();
    let (stage, end) = held(vec![all, vec![json!({"text": "Done."})]], READING, &host).await;
    assert_eq!(end, Finish::Done);
    let refused = host.tool_results().iter().filter(|(text, bad)| *bad && text.contains("Not given")).count();
    assert!(refused > 35, "{refused}");
    assert_eq!(bodies(&stage).len(), 2, "it did not spiral");
}

#[tokio::test]
async fn codex_36665_compactions_that_are_followed_by_re_reads_come_to_an_end() {
    let host = Recorder::new();
    // It reads for ever, and nothing comes of it.
    let replies: Vec<Vec<Value>> = (0..200).map(|n| vec![thinking(), read(n)]).collect();
    let (stage, end) = held(replies, ALL, &host).await;
    let Finish::Failed(Cause::RequestRefused, message) = end else { panic!("{end:?}") };
    assert!(message.contains("nothing has come of it") && message.contains("split the step"), "{message}");
    assert_eq!(swaps(&host).len(), 2);
    assert!(bodies(&stage).len() < 60, "{}", bodies(&stage).len());
}

#[tokio::test]
async fn codex_34095_what_was_under_way_is_in_the_account() {
    let host = Recorder::new();
    let (_stage, end) = held(busy(40, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    let swaps = swaps(&host);
    assert!(!swaps.is_empty());
    for (_, text) in &swaps {
        let (_, frontier) = text.split_once("## Where the work stands").unwrap();
        assert!(frontier.contains("- Write own/") && frontier.contains("done →"), "{text}");
        assert!(text.contains("You called Write {"), "the newest call in words: {text}");
    }
}

#[tokio::test]
async fn codex_28874_nothing_is_done_twice_after_a_compaction() {
    let host = Recorder::new();
    let (_stage, end) = held(busy(40, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    assert!(!swaps(&host).is_empty());
    let messages = host.messages.lock().unwrap();
    let writes = messages.iter().filter(|m| matches!(m, Message::Intent(Intent::Tool { name, .. }) if name == "Write"));
    assert_eq!(writes.count(), 40, "each call of the model is made once, and no other");
}

#[tokio::test]
async fn codex_31659_the_goal_stays_and_the_newest_words_stay() {
    let host = Recorder::with(|_, message| match message {
        Message::Result(StepResult::Turn { index, .. }) if [5, 21].contains(index) => {
            Some(Reply::Told { seq: 1, words: vec![format!("words at {index}")] })
        }
        _ => None,
    });
    let (stage, end) = held(busy(60, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    assert!(swaps(&host).len() > 1);
    let last = bodies(&stage).pop().unwrap().to_string();
    let at = |words: &str| last.rfind(words).unwrap_or_else(|| panic!("{words}: {last}"));
    assert!(at("# Your task\\n\\none") < at("words at 5") && at("words at 5") < at("words at 21"));
    assert_eq!(last.matches("words at 21").count(), 2, "verbatim, and in the ledger");
}

#[tokio::test]
async fn codex_21269_nothing_that_begins_a_request_is_told_again() {
    let host = Recorder::new();
    let (stage, end) = held(busy(60, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    let swaps = swaps(&host);
    assert!(swaps.len() > 1);
    for body in bodies(&stage) {
        let body = body.to_string();
        assert_eq!(body.matches("canary-of-the-instructions").count(), 1);
        assert!(body.matches("# Account of messages").count() <= 1, "an account is never told in another");
    }
    let sizes: Vec<usize> = swaps.iter().map(|(_, text)| text.len()).collect();
    assert!(sizes.iter().all(|size| *size < 40_000), "no floor that rises: {sizes:?}");
}

#[tokio::test]
async fn codex_31834_no_request_is_compacted_twice() {
    let host = Recorder::new();
    let (_stage, end) = held(busy(60, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    let messages = host.messages.lock().unwrap();
    let mut since = 0;
    for message in messages.iter() {
        match message {
            Message::Result(StepResult::ViewEdit { .. }) => {
                since += 1;
                assert_eq!(since, 1, "two edits before one reply");
            }
            Message::Result(StepResult::Turn { usage: Some(_), .. }) => since = 0,
            _ => {}
        }
    }
}

#[tokio::test]
async fn codex_35226_after_a_compaction_there_is_room_again() {
    let host = Recorder::new();
    let (_stage, end) = held(busy(60, true), ALL, &host).await;
    assert_eq!(end, Finish::Done);
    let messages = host.messages.lock().unwrap();
    let mut swapped = false;
    for message in messages.iter() {
        match message {
            Message::Result(StepResult::ViewEdit { json }) => swapped = json.contains("\"swap\""),
            Message::Result(StepResult::Turn { usage: Some(row), .. }) if std::mem::take(&mut swapped) => {
                assert!(prompt(row) <= 15_000 + 1_000, "half of the budget: {}", prompt(row));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn openhands_8630_and_10873_what_cannot_be_made_shorter_ends_at_once() {
    let host = Recorder::new();
    let stage = Stage::new(&script(busy(10, false))).await;
    // The task alone fills the window.
    let ended = stage.talk_as(&"A long task. ".repeat(9_000), WINDOW, &host, &Left::default(), ALL).await;
    let Finish::Failed(Cause::RequestRefused, message) = ended.end else { panic!("{:?}", ended.end) };
    assert!(message.contains("more than half of the window"), "{message}");
    assert!(bodies(&stage).len() <= 1, "it does not condense for ever");
}

#[tokio::test]
async fn openhands_7588_and_7893_a_summary_reads_the_cache_that_the_conversation_wrote() {
    // Reading without changing anything: after the first swap the worker itself is asked.
    let mut replies: Vec<Vec<Value>> = (0..26).map(|n| vec![thinking(), read(n)]).collect();
    for reply in &mut replies[12..] {
        reply.push(json!({"text": "I have seen that the lines are numbered."}));
    }
    replies.push(vec![json!({"text": "Done."})]);
    let host = Recorder::new();
    let (stage, _) = held(replies, ALL, &host).await;
    let summed: Vec<(Rung, String)> = swaps(&host).into_iter().filter(|(rung, _)| *rung == Rung::Summary).collect();
    assert_eq!(summed.len(), 1, "{:?}", edits(&host));
    assert!(summed[0].1.contains("I have seen that the lines are numbered."));
    let messages = host.messages.lock().unwrap();
    let rows: Vec<&Usage> =
        messages.iter().filter_map(|m| if let Message::Usage(row) = m { Some(row.as_ref()) } else { None }).collect();
    assert_eq!(rows.len(), 1, "its cost is in the ledger");
    // It reads all that the request before it wrote; what is new is the newest result and the question.
    assert!(rows[0].cache_read * 10 > prompt(rows[0]) * 7, "{:?}", rows[0]);
    // The call in it was not made.
    let calls = messages.iter().filter(|m| matches!(m, Message::Intent(Intent::Tool { .. }))).count();
    assert!(calls < bodies(&stage).len(), "{calls}");
}

#[tokio::test]
async fn openhands_7237_the_same_call_with_the_same_answer_ten_times_is_the_end() {
    let host = Recorder::new();
    let (stage, end) = held(vec![vec![json!({"tool": "Glob", "input": {"pattern": "*.none"}})]], ALL, &host).await;
    let Finish::Failed(Cause::Turns, message) = end else { panic!("{end:?}") };
    assert!(message.contains("ten times"), "{message}");
    assert_eq!(bodies(&stage).len(), 10);
}
