//! One message of a view: what is known of it, and how it is told shorter.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Reading;
use crate::offload;
use crate::prefix::{RawMessage, Role};
use crate::reads::{Range, stub_names};

/// Bytes of a result below which it is left as it is: the line that would stand for it is as long.
const MASKED_BYTES_MIN: usize = 300;
/// Bytes of a call's input that the line for its result repeats.
const SHOWN_BYTES_MAX: usize = 120;
/// The tool whose results may be stubs.
const READ: &str = "Read";

/// A call of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: String,
    name: String,
    /// JSON text.
    input: String,
}

/// What is known of a message.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its index in the history; of an account, the index of the first message after it.
    pub(super) index: u32,
    /// Is it an account of others?
    pub(super) told: bool,
    pub(super) role: Role,
    pub(super) calls: Vec<Call>,
    /// Ids of the calls that it answers.
    pub(super) answers: Vec<String>,
    /// Calls of the message before, for those answers.
    pub(super) asked: Vec<Call>,
    /// Does it hold a block that only its maker reads?
    pub(super) bound: bool,
    /// Texts of the user.
    pub(super) texts: Vec<String>,
    /// Messages that its stubs name.
    pub(super) stubs: Vec<u32>,
    /// Outputs that its previews name.
    pub(super) outputs: Vec<String>,
    /// Bytes that masking it would save.
    pub(super) maskable: usize,
    /// Is it masked?
    pub(super) masked: bool,
    pub(super) bytes: usize,
    pub(super) hash: blake3::Hash,
}

#[derive(Deserialize)]
struct MessageForm<'a> {
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct BlockForm<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: bool,
}

fn blocks(message: &RawMessage) -> Vec<(&RawValue, BlockForm<'_>)> {
    const TAKEN: &str = "a raw message is an object with blocks, or it would not have been taken";
    let form: MessageForm<'_> = serde_json::from_str(message.as_str()).expect(TAKEN);
    form.content.into_iter().map(|raw| (raw, serde_json::from_str(raw.get()).expect(TAKEN))).collect()
}

impl BlockForm<'_> {
    /// The text of a result; `None` = it is more than text.
    fn result(&self) -> Option<String> {
        self.content.and_then(|content| serde_json::from_str(content.get()).ok())
    }
}

impl Part {
    /// Reads a message; `before` is the reply that it may answer.
    pub(super) fn of(message: &RawMessage, index: u32, before: Option<&Part>) -> Part {
        let mut part = Part {
            index,
            told: false,
            role: message.role(),
            calls: Vec::new(),
            answers: Vec::new(),
            asked: before.map(|before| before.calls.clone()).unwrap_or_default(),
            bound: false,
            texts: Vec::new(),
            stubs: Vec::new(),
            outputs: Vec::new(),
            maskable: 0,
            masked: false,
            bytes: message.as_str().len(),
            hash: blake3::hash(message.as_str().as_bytes()),
        };
        for (_, block) in blocks(message) {
            match block.kind.as_ref() {
                "text" if part.role == Role::User => {
                    part.texts.push(block.text.unwrap_or_default().into_owned());
                }
                "text" => {}
                "tool_use" => part.calls.push(Call {
                    id: block.id.unwrap_or_default().into_owned(),
                    name: block.name.unwrap_or_default().into_owned(),
                    input: block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
                }),
                "tool_result" => part.result(&block),
                _ => part.bound = true,
            }
        }
        part
    }

    fn result(&mut self, block: &BlockForm<'_>) {
        let id = block.tool_use_id.as_deref().unwrap_or_default().to_owned();
        if let Some(content) = block.result() {
            let line = self.line(&id, &content, block.is_error);
            if content.len() >= MASKED_BYTES_MIN {
                self.maskable += content.len().saturating_sub(line.len());
            }
            if self.called(&id).is_some_and(|call| call.name == READ) && !block.is_error {
                self.stubs.extend(stub_names(&content));
            }
            self.outputs.extend(offload::named_by(&content).map(str::to_owned));
        }
        self.answers.push(id);
    }

    fn called(&self, id: &str) -> Option<&Call> {
        self.asked.iter().find(|call| call.id == id)
    }

    /// The line that stands for a result.
    fn line(&self, id: &str, content: &str, is_error: bool) -> String {
        let what = match self.called(id) {
            Some(call) => format!("{} {}", call.name, offload::cut(&call.input, SHOWN_BYTES_MAX)),
            None => "a call".to_owned(),
        };
        let last = content.lines().next_back().filter(|line| line.starts_with("exit code "));
        let ended = last.map(|line| format!(", {line}")).unwrap_or_default();
        let failed = if is_error { ", it failed" } else { "" };
        let kept = offload::named_by(content).map(|name| format!(" It is kept as {name}.")).unwrap_or_default();
        format!("[Left out to make room: the result of {what} ({} bytes{ended}{failed}).{kept}]", content.len())
    }

    /// Readings that stand in this message in full.
    pub(super) fn readings(&self, message: &RawMessage) -> Vec<Reading> {
        let reads = |id: &str| self.called(id).filter(|call| call.name == READ);
        if !self.answers.iter().any(|id| reads(id).is_some()) {
            return Vec::new();
        }
        let found = blocks(message).into_iter().filter_map(|(_, block)| {
            let call = reads(block.tool_use_id.as_deref()?)?;
            let content = block.result().filter(|content| !block.is_error && stub_names(content).is_none())?;
            Some(Reading { range: Range::of_input(&call.input)?, content })
        });
        found.collect()
    }
}

/// The account of messages that a swap replaces.
pub(super) fn told(text: &str) -> RawMessage {
    let text = serde_json::Value::from(text);
    parsed(&format!("{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":{text}}}]}}"))
}

/// A message whose long results are told in a line each.
pub(super) fn masked(message: &RawMessage, before: Option<&Part>) -> RawMessage {
    let part = Part::of(message, 0, before);
    retold(message, |block| {
        let content = block.result()?;
        let stub = stub_names(&content).is_some();
        let id = block.tool_use_id.as_deref().unwrap_or_default();
        (content.len() >= MASKED_BYTES_MIN || stub).then(|| part.line(id, &content, block.is_error))
    })
}

/// A message whose stubs point to what is in the view, or to nothing.
pub(super) fn restubbed(message: &RawMessage, before: Option<&Part>, there: impl Fn(u32) -> bool) -> RawMessage {
    let part = Part::of(message, 0, before);
    retold(message, |block| {
        let content = block.result()?;
        let id = block.tool_use_id.as_deref().unwrap_or_default();
        let reads = part.called(id).is_some_and(|call| call.name == READ);
        let lost = reads && !block.is_error && stub_names(&content).is_some_and(|named| !there(named));
        lost.then(|| part.line(id, &content, false))
    })
}

/// A message with other contents for some results; everything else is copied.
fn retold(message: &RawMessage, tell: impl Fn(&BlockForm<'_>) -> Option<String>) -> RawMessage {
    let mut out = match message.role() {
        Role::User => "{\"role\":\"user\",\"content\":[".to_owned(),
        Role::Assistant => return message.clone(),
    };
    for (number, (raw, block)) in blocks(message).into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        match Some(&block).filter(|block| block.kind == "tool_result").and_then(&tell) {
            None => out.push_str(raw.get()),
            Some(line) => {
                let id = serde_json::Value::from(block.tool_use_id.as_deref().unwrap_or_default());
                let line = serde_json::Value::from(line);
                out.push_str(&format!("{{\"type\":\"tool_result\",\"tool_use_id\":{id},\"content\":{line}"));
                if block.is_error {
                    out.push_str(",\"is_error\":true");
                }
                out.push('}');
            }
        }
    }
    out.push_str("]}");
    parsed(&out)
}

fn parsed(json: &str) -> RawMessage {
    RawMessage::parse(json).expect("it was written as a message just now")
}
