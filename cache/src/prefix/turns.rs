//! The turns of a conversation, as far as another wire has to understand them.
//!
//! A journaled message is `{"role":…,"content":[blocks],"origin":…}`. The blocks of a turn that came by the
//! Anthropic wire are that wire's own; those of the OpenAI wires are the loop's (`text`, `tool_use`, `opaque`),
//! each with the object it was received as under `raw`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::target::Target;
use super::{RawMessage, Role, push_string};

/// A message with its blocks, for one receiver.
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) blocks: Vec<Block<'a>>,
}

/// One block.
pub(super) enum Block<'a> {
    /// Words.
    Text { text: Cow<'a, str>, raw: Option<&'a RawValue> },
    /// A call of a tool.
    Call { id: String, name: Cow<'a, str>, input: &'a RawValue, raw: Option<&'a RawValue> },
    /// What came of one.
    Outcome { id: String, text: String, is_error: bool },
    /// What only its maker understands; never there for anybody else.
    Opaque { raw: &'a RawValue },
}

#[derive(Deserialize)]
struct ContentForm<'a> {
    #[serde(borrow)]
    content: Vec<BlockForm<'a>>,
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
    raw: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
}

/// The turns of `history` for one receiver, and how many blocks it is not given.
///
/// Turns of another origin get new ids for their calls (`call_<turn>_<n>`): what one provider takes for an id
/// another refuses, and some servers number their calls from 0 in every turn.
pub(super) fn turns<'a>(history: &'a [RawMessage], target: &Target, model: &str) -> (Vec<Turn<'a>>, usize) {
    let mut dropped = 0;
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    let mut turns = Vec::new();
    for (index, message) in history.iter().enumerate() {
        let own = target.takes(message.origin(), model);
        let form: ContentForm<'_> = serde_json::from_str(message.as_str())
            .expect("a raw message is an object with blocks, or it would not have been taken");
        if message.role() == Role::Assistant {
            renamed.clear();
        }
        let mut blocks = Vec::new();
        for (number, form) in form.content.into_iter().enumerate() {
            match form.kind.as_ref() {
                "text" => {
                    let raw = form.raw.filter(|_| own);
                    blocks.push(Block::Text { text: form.text.unwrap_or_default(), raw });
                }
                "tool_use" => {
                    let id = form.id.unwrap_or_default().into_owned();
                    let given = if own { id.clone() } else { format!("call_{index}_{number}") };
                    renamed.insert(id, given.clone());
                    let (raw, name) = (form.raw.filter(|_| own), form.name.unwrap_or_default());
                    blocks.push(Block::Call { id: given, name, input: form.input.unwrap_or(RawValue::NULL), raw });
                }
                "tool_result" => {
                    let id = form.tool_use_id.unwrap_or_default().into_owned();
                    let id = renamed.get(&id).cloned().unwrap_or(id);
                    let text = form.content.map_or_else(String::new, outcome_text);
                    blocks.push(Block::Outcome { id, text, is_error: form.is_error == Some(true) });
                }
                // The Anthropic wire is given its own turns as they are, not block by block.
                _ if own => blocks.extend(form.raw.map(|raw| Block::Opaque { raw })),
                _ => dropped += 1,
            }
        }
        turns.push(Turn { role: message.role(), blocks });
    }
    (turns, dropped)
}

/// The text of a result: a string, or the text blocks of a list.
fn outcome_text(content: &RawValue) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Blocks(Vec<TextForm>),
    }
    #[derive(Deserialize)]
    struct TextForm {
        #[serde(default)]
        text: String,
    }
    match serde_json::from_str(content.get()) {
        Ok(Form::Text(text)) => text,
        Ok(Form::Blocks(blocks)) => {
            blocks.into_iter().map(|block| block.text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
        }
        Err(_) => content.get().to_owned(),
    }
}

/// A result as a wire without a flag for errors tells it.
pub(super) fn told(text: &str, is_error: bool) -> Cow<'_, str> {
    if is_error { Cow::Owned(format!("Error: {text}")) } else { Cow::Borrowed(text) }
}

/// `history` for the Anthropic wire: turns of its own as they are, all others told again.
pub(super) fn for_anthropic<'a>(
    history: &'a [RawMessage],
    target: &Target,
    model: &str,
) -> (Cow<'a, [RawMessage]>, usize) {
    let assistants = || history.iter().filter(|message| message.role() == Role::Assistant);
    if assistants().all(|message| target.takes(message.origin(), model)) {
        return (Cow::Borrowed(history), 0);
    }
    let (turns, dropped) = turns(history, target, model);
    let mut told_again = Vec::new();
    let mut own = true;
    for (message, turn) in history.iter().zip(turns) {
        // A user message answers the turn before it, so it names calls as that one does.
        if turn.role == Role::Assistant {
            own = target.takes(message.origin(), model);
        }
        if own {
            told_again.push(message.clone());
        } else {
            told_again.extend(rebuilt(&turn));
        }
    }
    (Cow::Owned(told_again), dropped)
}

/// A turn in blocks that every receiver of the Anthropic wire takes; `None` = nothing is left of it.
fn rebuilt(turn: &Turn<'_>) -> Option<RawMessage> {
    let mut out = match turn.role {
        Role::User => "{\"role\":\"user\",\"content\":[".to_owned(),
        Role::Assistant => "{\"role\":\"assistant\",\"content\":[".to_owned(),
    };
    let empty = out.len();
    for block in &turn.blocks {
        let blank = matches!(block, Block::Text { text, .. } if text.trim().is_empty());
        if blank || matches!(block, Block::Opaque { .. }) {
            continue;
        }
        if out.len() > empty {
            out.push(',');
        }
        match block {
            Block::Text { text, .. } => {
                out.push_str("{\"type\":\"text\",\"text\":");
                push_string(&mut out, text);
            }
            Block::Call { id, name, input, .. } => {
                out.push_str("{\"type\":\"tool_use\",\"id\":");
                push_string(&mut out, id);
                out.push_str(",\"name\":");
                push_string(&mut out, name);
                out.push_str(",\"input\":");
                out.push_str(input.get());
            }
            Block::Outcome { id, text, is_error } => {
                out.push_str("{\"type\":\"tool_result\",\"tool_use_id\":");
                push_string(&mut out, id);
                out.push_str(",\"content\":");
                push_string(&mut out, text);
                if *is_error {
                    out.push_str(",\"is_error\":true");
                }
            }
            // Skipped above.
            Block::Opaque { .. } => {}
        }
        out.push('}');
    }
    if out.len() == empty {
        return None;
    }
    out.push_str("]}");
    Some(RawMessage::parse(&out).expect("it was written as a message just now"))
}
