//! The conversation of a request: whose turn it is, which calls are answered, and what blocks may hold.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Parsed, Refusal, array, check_text, invalid, known, object, position, string};
use crate::scripted::wire;

pub(super) fn check_messages(messages: &Value, parsed: &mut Parsed) -> Result<(), Refusal> {
    let messages = array(messages, "messages")?;
    let mut last_role = "";
    // Ids of calls that the message to come has to answer.
    let mut open: Vec<String> = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages.{index}");
        let message = object(message, &at)?;
        known(message, &["role", "content"], &format!("{at}."))?;
        let role = match message.get("role").and_then(Value::as_str) {
            Some("user") => "user",
            Some("assistant") => "assistant",
            _ => {
                return Err(invalid(format!("{at}.role: Input should be 'user' or 'assistant'")));
            }
        };
        if index == 0 && role != "user" {
            return Err(invalid("messages: first message must use the \"user\" role"));
        }
        // Messages of one role after each other count as one.
        let turn = role != last_role;
        if role == "assistant" && turn {
            parsed.turns += 1;
        }
        let blocks = blocks_of(message, &at)?;
        if role == "user" {
            if index + 1 == messages.len() {
                parsed.tool_results.clear();
            }
            check_results(&blocks, &mut open, index, turn)?;
        } else if !open.is_empty() && turn {
            return Err(unanswered(index, &open));
        }
        let shared_first = index == 0 && blocks.len() > 1;
        for (number, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{number}");
            let kind = check_block(block, role, &at)?;
            match kind.as_str() {
                "tool_use" => {
                    let id = string(block, "id", &at)?;
                    if !ids.insert(id.clone()) {
                        return Err(invalid(format!("{at}: `tool_use` ids must be unique")));
                    }
                    open.push(id);
                }
                "text" if role == "user" && !(shared_first && number == 0) => {
                    parsed.user_texts.push(string(block, "text", &at)?);
                }
                "tool_result" if index + 1 == messages.len() => {
                    parsed.tool_results.push(result_text(block));
                }
                _ => {}
            }
            parsed.positions.push(position(role, block, &at)?);
        }
        last_role = role;
    }
    match last_role {
        "" => Err(invalid("messages: at least one message is required")),
        "assistant" => Err(invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        )),
        _ => Ok(()),
    }
}

/// The blocks of a message; a text stands for one block.
fn blocks_of(message: &Map<String, Value>, at: &str) -> Result<Vec<Map<String, Value>>, Refusal> {
    match message.get("content") {
        Some(Value::String(text)) => {
            let pairs = [("type", Value::from("text")), ("text", Value::from(text.as_str()))];
            Ok(vec![pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()])
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
fn check_results(
    blocks: &[Map<String, Value>],
    open: &mut Vec<String>,
    index: usize,
    turn: bool,
) -> Result<(), Refusal> {
    let mut others = false;
    for block in blocks {
        if block.get("type").and_then(Value::as_str) != Some("tool_result") {
            others = true;
            continue;
        }
        let id = string(block, "tool_use_id", &format!("messages.{index}"))?;
        let known = open.iter().position(|wanted| *wanted == id);
        match known {
            Some(place) if turn && !others => {
                open.remove(place);
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
fn check_block(block: &Map<String, Value>, role: &str, at: &str) -> Result<String, Refusal> {
    let kind = string(block, "type", at)?;
    let prefix = format!("{at}.");
    match (kind.as_str(), role) {
        ("text", _) => check_text(block, at, false)?,
        ("thinking", "assistant") => check_thinking(block, at)?,
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
        ("tool_result", "user") => check_result(block, at)?,
        ("image" | "document", "user") => {
            known(block, &["type", "source", "cache_control", "title", "context", "citations"], &prefix)?;
        }
        _ => {
            return Err(invalid(format!("{at}: Input tag '{kind}' is not allowed in a message of the {role}")));
        }
    }
    Ok(kind)
}

fn check_result_content(content: Option<&Value>, at: &str) -> Result<(), Refusal> {
    match content {
        None | Some(Value::String(_)) => Ok(()),
        Some(blocks) => {
            for block in array(blocks, &format!("{at}.content"))? {
                let block = object(block, at)?;
                match block.get("type").and_then(Value::as_str) {
                    Some("text") => check_text(block, at, false)?,
                    Some("image" | "document") => {}
                    _ => return Err(invalid(format!("{at}.content: Input tag is not allowed"))),
                }
                if block.contains_key("cache_control") {
                    return Err(invalid(format!("{at}.content: cache_control is not allowed on a sub-block")));
                }
            }
            Ok(())
        }
    }
}

fn result_text(block: &Map<String, Value>) -> String {
    match block.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        Some(_) | None => String::new(),
    }
}

fn check_thinking(block: &Map<String, Value>, at: &str) -> Result<(), Refusal> {
    known(block, &["type", "thinking", "signature"], &format!("{at}."))?;
    string(block, "thinking", at)?;
    if string(block, "signature", at)? != wire::signature(&string(block, "thinking", at)?) {
        return Err(invalid(format!("{at}: Invalid `signature` in `thinking` block")));
    }
    Ok(())
}

fn check_result(block: &Map<String, Value>, at: &str) -> Result<(), Refusal> {
    known(block, &["type", "tool_use_id", "content", "is_error", "cache_control"], &format!("{at}."))?;
    if block.get("is_error").is_some_and(|value| !value.is_boolean()) {
        return Err(invalid(format!("{at}.is_error: Input should be a valid boolean")));
    }
    check_result_content(block.get("content"), at)
}
