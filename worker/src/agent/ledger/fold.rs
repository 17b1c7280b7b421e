//! Messages and evidence, one after the other, into a ledger.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use wattle_cache::offload;

use super::{CommandRun, Failure, FileChanged, FileRead, Frontier, Ledger, Note, Resolved, Step, VERSION};
use crate::outcome::Evidence;
use crate::tool;

/// Entries of each list that are kept, the newest ones: a conversation of a thousand turns has fewer.
const ENTRIES_MAX: usize = 1_000;
/// Bytes of a line or a call that is kept.
const LINE_BYTES_MAX: usize = 300;
/// Bytes of what the worker said last.
const SAID_BYTES_MAX: usize = 1_200;
/// Lines of the first message that say what the result is held to.
const ACCEPTANCE: [&str; 4] = ["Step: ", "Title: ", "Mode: ", "Paths you may change"];
/// What begins the task in a worker's first message.
const TASK: &str = "# Your task\n\n";
/// What begins each piece of feedback.
const FEEDBACK: &str = "# Feedback ";

/// A call that nobody has answered.
struct Open {
    id: String,
    name: String,
    input: Value,
}

/// The fold.
pub(super) struct Fold {
    ledger: Ledger,
    open: Vec<Open>,
    evidence: BTreeMap<String, VecDeque<Evidence>>,
    index: u32,
}

impl Fold {
    pub(super) fn new(evidence: &[(String, Evidence)]) -> Fold {
        let mut by_id: BTreeMap<String, VecDeque<Evidence>> = BTreeMap::new();
        for (id, evidence) in evidence {
            // The output is in the messages as far as it counts here.
            let evidence = Evidence { output: String::new(), ..evidence.clone() };
            by_id.entry(id.clone()).or_default().push_back(evidence);
        }
        Fold { ledger: Ledger { v: VERSION, ..Ledger::default() }, open: Vec::new(), evidence: by_id, index: 0 }
    }

    pub(super) fn finish(self) -> Ledger {
        Ledger { messages: self.index, ..self.ledger }
    }

    pub(super) fn message(&mut self, json: &str) {
        let message: Value = serde_json::from_str(json).unwrap_or_default();
        let blocks = match &message["content"] {
            Value::Array(blocks) => blocks.clone(),
            _ => Vec::new(),
        };
        if self.index == 0 {
            // The brief comes first where there is one; the worker's own part is the last block.
            self.first(blocks.last().and_then(|block| block["text"].as_str()).unwrap_or_default());
        } else if message["role"] == "assistant" {
            self.reply(&blocks);
        } else {
            self.answers(&blocks);
        }
        self.index += 1;
    }

    fn first(&mut self, text: &str) {
        let (head, rest) = text.split_once(TASK).unwrap_or((text, text));
        let wanted = |line: &&str| ACCEPTANCE.iter().any(|start| line.starts_with(start));
        self.ledger.acceptance = head.lines().filter(wanted).map(str::to_owned).collect();
        let (task, feedback) = split_feedback(rest);
        self.ledger.task = task.trim_end().to_owned();
        self.ledger.corrections.extend(feedback.into_iter().map(|text| Note { message: 0, text }));
    }

    fn reply(&mut self, blocks: &[Value]) {
        let texts: Vec<&str> =
            blocks.iter().filter(|b| b["type"] == "text").filter_map(|b| b["text"].as_str()).collect();
        let said = texts.join("\n\n");
        if said.lines().filter(|line| is_item(line)).count() > 1 {
            self.ledger.plan = Some(Note { message: self.index, text: said.clone() });
        }
        let calls = blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| Open {
            id: block["id"].as_str().unwrap_or_default().to_owned(),
            name: block["name"].as_str().unwrap_or_default().to_owned(),
            input: block["input"].clone(),
        });
        self.open = calls.collect();
        let steps = self.open.iter().map(|open| Step { call: call(open), result: None }).collect();
        let said = offload::cut(&said, SAID_BYTES_MAX).to_owned();
        self.ledger.frontier = Frontier { message: self.index, said, calls: steps };
    }

    fn answers(&mut self, blocks: &[Value]) {
        for block in blocks {
            match block["type"].as_str() {
                Some("tool_result") => self.answer(block),
                Some("text") => {
                    let (_, feedback) = split_feedback(block["text"].as_str().unwrap_or_default());
                    let message = self.index;
                    self.ledger.corrections.extend(feedback.into_iter().map(|text| Note { message, text }));
                }
                Some(_) | None => {}
            }
        }
    }

    fn answer(&mut self, block: &Value) {
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        let Some(at) = self.open.iter().position(|open| open.id == id) else { return };
        let open = self.open.remove(at);
        let content = block["content"].as_str().unwrap_or_default();
        let is_error = block["is_error"] == true;
        let evidence = self.evidence.get_mut(id).and_then(VecDeque::pop_front).unwrap_or_default();
        let named = call(&open);
        let last = content.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let last = offload::cut(last, LINE_BYTES_MAX).to_owned();
        if let Some(step) = self.ledger.frontier.calls.iter_mut().find(|s| s.call == named && s.result.is_none()) {
            step.result = Some(if is_error { format!("failed: {last}") } else { last.clone() });
        }
        self.ledger.calls += 1;
        self.files(&open, is_error, &evidence);
        match open.name.as_str() {
            tool::BASH => self.command(&open, content, &evidence),
            tool::ASK => self.asked(&open, content, is_error),
            tool::REPORT if !is_error => self.reported(&open),
            _ => {}
        }
        self.failed(named, content, is_error);
    }

    fn files(&mut self, open: &Open, is_error: bool, evidence: &Evidence) {
        let (message, named) = (self.index, open.input["file_path"].as_str());
        let mut read: Vec<(String, Option<String>)> =
            evidence.read.iter().map(|(path, blob)| (path.clone(), Some(blob.to_string()))).collect();
        let mut wrote: Vec<(String, Option<String>)> = evidence
            .wrote
            .iter()
            .map(|(path, _, after)| (path.clone(), after.as_ref().map(ToString::to_string)))
            .collect();
        if let (Some(path), false, true) = (named, is_error, read.is_empty() && wrote.is_empty()) {
            // Nothing but the message is left of it.
            let unknown = (path.trim_start_matches("./").to_owned(), None);
            match open.name.as_str() {
                "Read" if !offload::is_name(path) => read.push(unknown),
                name if tool::FILE_WRITERS.contains(&name) => wrote.push(unknown),
                _ => {}
            }
        }
        for (path, blob) in read {
            let entry =
                self.ledger.read.entry(path).or_insert(FileRead { first: message, message, blob: None, times: 0 });
            *entry = FileRead { first: entry.first, message, blob: blob.or(entry.blob.take()), times: entry.times + 1 };
        }
        for (path, blob) in wrote {
            let entry = self.ledger.changed.entry(path).or_insert(FileChanged { message, blob: None, times: 0 });
            *entry = FileChanged { message, blob, times: entry.times + 1 };
        }
    }

    fn command(&mut self, open: &Open, content: &str, evidence: &Evidence) {
        let told = content.lines().next_back().and_then(|line| line.strip_prefix("exit code ")?.parse().ok());
        let run = CommandRun {
            message: self.index,
            command: open.input["command"].as_str().unwrap_or_default().to_owned(),
            exit: evidence.exit.or(told),
            output: offload::named_by(content).map(str::to_owned),
        };
        keep(&mut self.ledger.commands, run);
    }

    fn asked(&mut self, open: &Open, content: &str, is_error: bool) {
        let question = open.input["question"].as_str().unwrap_or_default();
        let message = self.index;
        if is_error {
            keep(&mut self.ledger.open, Note { message, text: format!("{question} (nobody answered)") });
        } else {
            keep(&mut self.ledger.decisions, Note { message, text: format!("{question} → {content}") });
        }
    }

    fn reported(&mut self, open: &Open) {
        let text = open.input["markdown"].as_str().unwrap_or_default();
        let message = self.index;
        keep(&mut self.ledger.decisions, Note { message, text: text.to_owned() });
        for text in left(text) {
            keep(&mut self.ledger.open, Note { message, text });
        }
    }

    fn failed(&mut self, call: String, content: &str, is_error: bool) {
        let message = self.index;
        if is_error {
            let telling = content.lines().find(|line| offload::looks_like_error(line));
            let line = telling.or(content.lines().next()).unwrap_or_default();
            let line = offload::cut(line.trim(), LINE_BYTES_MAX).to_owned();
            return keep(&mut self.ledger.errors, Failure { message, call, line, resolved: None });
        }
        let Ledger { errors, changed, .. } = &mut self.ledger;
        for error in errors.iter_mut().filter(|error| error.resolved.is_none() && error.call == call) {
            let between = changed.iter().filter(|(_, file)| file.message > error.message || file.message == message);
            error.resolved = Some(Resolved { message, by: between.map(|(path, _)| path.clone()).collect() });
        }
    }
}

fn keep<T>(list: &mut Vec<T>, entry: T) {
    if list.len() == ENTRIES_MAX {
        list.remove(0);
    }
    list.push(entry);
}

/// A call in one line.
fn call(open: &Open) -> String {
    let keys = ["command", "file_path", "pattern", "question", "path"];
    let key = keys.iter().find_map(|key| open.input[key].as_str()).map(str::to_owned);
    let key = key.unwrap_or_else(|| if open.input.is_object() { String::new() } else { open.input.to_string() });
    let line = key.lines().next().unwrap_or_default();
    format!("{} {}", open.name, offload::cut(line, LINE_BYTES_MAX)).trim_end().to_owned()
}

/// What stands before the feedback in a text, and each piece of feedback.
fn split_feedback(text: &str) -> (&str, Vec<String>) {
    let mut starts: Vec<usize> =
        text.match_indices(FEEDBACK).map(|(at, _)| at).filter(|at| *at == 0 || text[..*at].ends_with('\n')).collect();
    let before = &text[..starts.first().copied().unwrap_or(text.len())];
    starts.push(text.len());
    let pieces = starts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
    let words = pieces.filter_map(|piece| piece.split_once("\n\n")).map(|(_, words)| words.trim_end().to_owned());
    (before, words.collect())
}

/// Is a line an item of a list of things to do?
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    line.starts_with("- ") || line.starts_with("* ") || (digits > 0 && line[digits..].starts_with(". "))
}

/// What a report says is left: the items below a heading of that name, and lines that begin so.
fn left(report: &str) -> Vec<String> {
    const NAMES: [&str; 5] = ["open", "left", "todo", "remaining", "not done"];
    let names = |line: &str| {
        let low = line.trim_start_matches(['#', '*', '-', ' ']).to_lowercase();
        NAMES.iter().any(|name| low.starts_with(name))
    };
    let (mut under, mut found) = (false, Vec::new());
    for line in report.lines() {
        if line.starts_with('#') || (line.ends_with(':') && !is_item(line)) {
            under = names(line);
        } else if (under && !line.trim().is_empty()) || (names(line) && line.contains(':')) {
            found.push(offload::cut(line.trim(), LINE_BYTES_MAX).to_owned());
        }
    }
    found
}
