//! The account that stands in place of messages which no longer fit.
//!
//! It is made from the whole history each time, never from an earlier account, and holds nothing that every request
//! begins with anyway (openai/codex#21269).

use std::fmt::Write as _;

use serde_json::Value;
use wattle_cache::offload::cut;

/// Bytes of a call's input that are told.
const INPUT_BYTES_MAX: usize = 600;
/// Part of a long text that is its head; the rest is its tail.
const HEAD_PART: usize = 2;

/// What an account is made of.
pub(super) struct Account<'a> {
    /// Index of the first message that stays.
    pub(super) before: u32,
    /// The working ledger, Markdown.
    pub(super) ledger: &'a str,
    /// The worker's own summary.
    pub(super) summary: Option<&'a str>,
    /// Words that have to stay, verbatim.
    pub(super) pinned: &'a [String],
    /// The newest exchanges, in words.
    pub(super) retold: &'a str,
}

/// The account.
pub(super) fn text(account: &Account<'_>) -> String {
    let last = account.before.saturating_sub(1);
    let mut out = format!(
        "# Account of messages 1 to {last}\n\nThey were taken out to make room. This account is kept by a program from \
         what happened. What it tells of has been done: do not do it again, go on from there. The task above holds, and \
         so do the words that came after it. Files are as they are in the worktree: read what you need again.\n\n{}",
        account.ledger
    );
    let mut section = |name: &str, text: &str| {
        if !text.trim().is_empty() {
            write!(out, "# {name}\n\n{}\n\n", text.trim_end()).expect("writing to a string cannot fail");
        }
    };
    section("What you noted yourself", account.summary.unwrap_or_default());
    section("The newest calls and what they gave (made already)", account.retold);
    section("Words that came on the way, verbatim", &account.pinned.join("\n\n"));
    out
}

/// The newest exchanges of a conversation in words, at most so many bytes; of the newest one there is always something.
pub(super) fn retold<'a>(messages: impl DoubleEndedIterator<Item = &'a str>, bytes_max: usize) -> String {
    if bytes_max == 0 {
        return String::new();
    }
    let mut exchanges: Vec<String> = Vec::new();
    let mut answers: Vec<Value> = Vec::new();
    let mut used = 0;
    for json in messages.rev() {
        let message: Value = serde_json::from_str(json).unwrap_or_default();
        if message["role"] != "assistant" {
            answers.push(message);
            continue;
        }
        let room = bytes_max.saturating_sub(used);
        let answers = std::mem::take(&mut answers);
        let whole = exchange(&message, &answers, usize::MAX);
        let fits = whole.len() <= room;
        if !fits && !exchanges.is_empty() {
            break;
        }
        let told = if fits { whole } else { exchange(&message, &answers, room) };
        used += told.len();
        exchanges.push(told);
        if !fits {
            break;
        }
    }
    exchanges.reverse();
    exchanges.join("\n")
}

/// One reply of the model and its answers, each result cut so that all of it has about so many bytes.
fn exchange(reply: &Value, answers: &[Value], room: usize) -> String {
    let blocks = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    let results: Vec<Value> = answers.iter().flat_map(blocks).filter(|block| block["type"] == "tool_result").collect();
    let each = room / results.len().max(1);
    let mut out = String::new();
    for block in blocks(reply) {
        match block["type"].as_str() {
            Some("text") => {
                writeln!(out, "You said: {}", shortened(block["text"].as_str().unwrap_or_default(), each))
                    .expect("writing to a string cannot fail");
            }
            Some("tool_use") => {
                let input = block["input"].to_string();
                let result = results.iter().find(|result| result["tool_use_id"] == block["id"]);
                let failed = result.is_some_and(|result| result["is_error"] == true);
                let content = result.and_then(|result| result["content"].as_str()).unwrap_or("(no answer)");
                writeln!(
                    out,
                    "You called {} {}; it {}:\n{}",
                    block["name"].as_str().unwrap_or_default(),
                    cut(&input, INPUT_BYTES_MAX),
                    if failed { "failed" } else { "gave" },
                    shortened(content, each).trim_end()
                )
                .expect("writing to a string cannot fail");
            }
            Some(_) | None => {}
        }
    }
    out
}

/// Head and tail of a text.
fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let head = cut(text, bytes_max / HEAD_PART);
    let from = text.len() - (bytes_max - bytes_max / HEAD_PART);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{head}\n[… {} bytes left out …]\n{}", from - head.len(), &text[from..])
}
