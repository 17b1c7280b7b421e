//! The conversation of a request: whose turn it is, which calls are answered, and what blocks may hold.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::body::{Reading, check_text, push};
use crate::scripted::fields::{Object, array, given, known, object, string};
use crate::scripted::prompt::Section;
use crate::scripted::refusal::{Refusal, invalid};
use crate::scripted::seal::Broken;

/// Beginnings of the names of models that take notes of an operator between the turns.
const SYSTEM_TURNS: [&str; 3] = ["claude-opus-4-8", "claude-opus-5", "claude-fable-5"];

/// What is known of the conversation while it is read.
#[derive(Default)]
struct Talk {
    last_role: &'static str,
    /// Ids of calls that the message to come has to answer.
    open: Vec<String>,
    /// Ids of all calls.
    ids: BTreeSet<String>,
}

/// Where a message stands.
struct Place {
    index: usize,
    role: &'static str,
    /// Does it start a turn? Messages of one role after each other count as one.
    turn: bool,
    last: bool,
}

pub(super) fn check(reading: &mut Reading<'_>, messages: &Value) -> Result<(), Refusal> {
    let messages = array(messages, "messages")?;
    let mut talk = Talk::default();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = object(message, &at)?;
        known(message, &["role", "content"], &format!("{at}."))?;
        let role = role(message, &at, &reading.prompt.model, talk.last_role)?;
        if index == 0 && role != "user" {
            return Err(invalid("messages: first message must use the \"user\" role"));
        }
        let place = Place { index, role, turn: role != talk.last_role, last: index + 1 == messages.len() };
        check_message(reading, &mut talk, message, &place)?;
        talk.last_role = role;
    }
    match talk.last_role {
        "" => Err(invalid("messages: at least one message is required")),
        "assistant" => Err(invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        )),
        _ => Ok(()),
    }
}

fn role(message: &Object, at: &str, model: &str, last: &str) -> Result<&'static str, Refusal> {
    match message.get("role").and_then(Value::as_str) {
        Some("user") => Ok("user"),
        Some("assistant") => Ok("assistant"),
        Some("system") if !SYSTEM_TURNS.iter().any(|start| model.starts_with(start)) => {
            Err(invalid(format!("{at}.role: 'system' is not supported for {model}")))
        }
        Some("system") if last != "user" => {
            Err(invalid(format!("{at}.role: a 'system' message must follow a 'user' message")))
        }
        Some("system") => Ok("system"),
        _ => Err(invalid(format!("{at}.role: Input should be 'user' or 'assistant'"))),
    }
}

fn check_message(reading: &mut Reading<'_>, talk: &mut Talk, message: &Object, place: &Place) -> Result<(), Refusal> {
    let at = format!("messages.{}", place.index);
    if place.role == "assistant" && place.turn {
        reading.prompt.turns += 1;
    }
    let blocks = blocks_of(message, &at)?;
    if place.role == "user" {
        check_results(&blocks, &mut talk.open, place)?;
    } else if !talk.open.is_empty() && place.turn {
        return Err(unanswered(place.index, &talk.open));
    }
    let shared_first = place.index == 0 && blocks.len() > 1;
    for (number, block) in blocks.iter().enumerate() {
        let at = format!("{at}.content.{number}");
        let kind = check_block(reading, block, place.role, &at)?;
        match kind.as_str() {
            "tool_use" => {
                let id = string(block, "id", &at)?;
                if !talk.ids.insert(id.clone()) {
                    return Err(invalid(format!("{at}: `tool_use` ids must be unique")));
                }
                talk.open.push(id);
            }
            "text" if place.role == "user" && !(shared_first && number == 0) => {
                reading.prompt.user_texts.push(string(block, "text", &at)?);
            }
            "tool_result" if place.last => reading.prompt.tool_results.push(result_text(block)),
            "thinking" if !check_thinking(reading, block, &at)? => continue,
            _ => {}
        }
        push(reading, Section::Messages, place.role, block, &at)?;
    }
    if let Some(position) = reading.prompt.positions.last_mut() {
        position.message_end = true;
    }
    Ok(())
}

/// The blocks of a message; a text stands for one block.
fn blocks_of(message: &Object, at: &str) -> Result<Vec<Object>, Refusal> {
    match message.get("content") {
        Some(Value::String(text)) => {
            let block = json!({"type": "text", "text": text});
            Ok(vec![object(&block, at)?.clone()])
        }
        Some(content) => {
            let blocks = array(content, &format!("{at}.content"))?;
            if blocks.is_empty() {
                return Err(invalid(format!("{at}: all messages must have non-empty content")));
            }
            blocks.iter().map(|block| object(block, &format!("{at}.content")).cloned()).collect()
        }
        None => Err(invalid(format!("{at}.content: Field required"))),
    }
}

fn unanswered(index: usize, open: &[String]) -> Refusal {
    invalid(format!(
        "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        open.join(", ")
    ))
}

/// Results come first, answer a call of the message before, and leave none open.
fn check_results(blocks: &[Object], open: &mut Vec<String>, place: &Place) -> Result<(), Refusal> {
    let index = place.index;
    let mut others = false;
    for block in blocks {
        if block.get("type").and_then(Value::as_str) != Some("tool_result") {
            others = true;
            continue;
        }
        let id = string(block, "tool_use_id", &format!("messages.{index}"))?;
        match open.iter().position(|wanted| *wanted == id) {
            Some(answered) if place.turn && !others => {
                open.remove(answered);
            }
            Some(_) => {
                return Err(invalid(format!("messages.{index}: `tool_result` blocks have to come first")));
            }
            None => {
                return Err(invalid(format!(
                    "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )));
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(index, open)) }
}

/// Checks one block of a message and gives its type.
fn check_block(reading: &mut Reading<'_>, block: &Object, role: &str, at: &str) -> Result<String, Refusal> {
    let kind = string(block, "type", at)?;
    let prefix = format!("{at}.");
    match (kind.as_str(), role) {
        ("text", _) => {
            check_text(block, at, false)?;
            let cited = given(block, "citations").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
            if reading.newer && role == "user" && cited {
                return Err(invalid(format!("{at}.citations: not supported on text of the user")));
            }
        }
        ("thinking", "assistant") => known(block, &["type", "thinking", "signature"], &prefix)?,
        ("redacted_thinking", "assistant") => {
            known(block, &["type", "data"], &prefix)?;
            string(block, "data", at)?;
        }
        ("tool_use", "assistant") => {
            known(block, &["type", "id", "name", "input", "cache_control", "caller", "toolset_name"], &prefix)?;
            string(block, "name", at)?;
            if !block.get("input").is_some_and(Value::is_object) {
                return Err(invalid(format!("{at}.input: Input should be an object")));
            }
        }
        ("tool_result", "user") => {
            check_result(block, at)?;
            reading.images |= holds_image(block.get("content"));
        }
        ("image" | "document", "user") => {
            known(block, &["type", "source", "cache_control", "title", "context", "citations"], &prefix)?;
            reading.images |= kind == "image";
        }
        // The older version takes a document from the model as well.
        ("document", "assistant") if !reading.newer => {}
        // What the service itself has sent comes back as it was: its kinds are more than are known here.
        (_, "assistant") if reading.settings.says(&kind) => {}
        _ => {
            return Err(invalid(format!("{at}: Input tag '{kind}' is not allowed in a message of the {role}")));
        }
    }
    Ok(kind)
}

fn holds_image(content: Option<&Value>) -> bool {
    let blocks = content.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    blocks.iter().any(|block| block.get("type").and_then(Value::as_str) == Some("image"))
}

fn check_result(block: &Object, at: &str) -> Result<(), Refusal> {
    known(block, &["type", "tool_use_id", "content", "is_error", "cache_control"], &format!("{at}."))?;
    crate::scripted::fields::flag(block, "is_error", at)?;
    match block.get("content") {
        None | Some(Value::String(_)) => Ok(()),
        Some(blocks) => {
            for block in array(blocks, &format!("{at}.content"))? {
                let block = object(block, at)?;
                if block.contains_key("cache_control") {
                    return Err(invalid(format!("{at}.content: cache_control is not allowed on a sub-block")));
                }
                match block.get("type").and_then(Value::as_str) {
                    Some("text") => check_text(block, at, false)?,
                    Some("image" | "document" | "search_result") => {}
                    _ => return Err(invalid(format!("{at}.content: Input tag is not allowed"))),
                }
            }
            Ok(())
        }
    }
}

fn result_text(block: &Object) -> String {
    match block.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        Some(_) | None => String::new(),
    }
}

/// Checks the signature of a thinking block; `false` = it is dropped.
fn check_thinking(reading: &Reading<'_>, block: &Object, at: &str) -> Result<bool, Refusal> {
    let (thinking, signature) = (string(block, "thinking", at)?, string(block, "signature", at)?);
    match reading.seal.check(reading.settings.seed, reading.traits.bound, &thinking, &signature) {
        Ok(()) => Ok(true),
        Err(Broken::Forged) => Err(invalid(format!("{at}: Invalid `signature` in `thinking` block"))),
        Err(Broken::Moved) if reading.drops => Ok(false),
        Err(Broken::Moved) => Err(invalid(format!("{at}: `thinking` block is bound to a different conversation"))),
    }
}
