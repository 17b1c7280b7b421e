//! A request as the real service reads it, and what that service refuses.
//!
//! The rules are those of the Messages API for what this project sends; a field that is not listed here is
//! refused, because the service refuses what it does not know.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Map, Value};

/// Versions that are known; from the second one on, sampling settings are refused.
const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
/// Marks that one request may hold.
const MARKS_MAX: usize = 4;
/// Fields that a body may have.
const FIELDS: [&str; 19] = [
    "model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "stream",
    "stop_sequences", "metadata", "cache_control", "service_tier", "temperature", "top_p", "top_k", "speed",
    "inference_geo", "diagnostics",
];

/// An answer that is no message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) retry_after: Option<f64>,
}

impl Refusal {
    pub(super) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, kind, message: message.into(), retry_after: None }
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalid_request_error", message)
}

/// A block, or a tool, in the order in which it stands in the prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Position {
    /// Its text without the mark, with the role of its message before it.
    pub(super) canonical: String,
    /// Bytes that count as tokens.
    pub(super) bytes: usize,
    /// Does a mark stand on it, and is it one for an hour?
    pub(super) mark: Option<LongLived>,
}

/// Is a mark for an hour?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongLived(pub(super) bool);

/// A request that the real service would take.
#[derive(Debug, Clone, Default)]
pub(super) struct Parsed {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) max_tokens: u64,
    /// What the thinking and effort settings add to the key of a cache entry.
    pub(super) settings: String,
    pub(super) positions: Vec<Position>,
    /// Texts of the user, but not the shared first block.
    pub(super) user_texts: Vec<String>,
    /// Tool results of the newest message.
    pub(super) tool_results: Vec<String>,
    /// Number of assistant messages.
    pub(super) turns: usize,
}

/// Reads a request, or says what the real service would.
pub(super) fn check(headers: &HeaderMap, body: &[u8], counting: bool) -> Result<Parsed, Refusal> {
    let version = check_headers(headers)?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
    let body = body.as_object().ok_or_else(|| invalid("The request body is not an object"))?;
    known(body, &FIELDS, "")?;
    for field in ["temperature", "top_p", "top_k"] {
        if body.contains_key(field) && version != VERSIONS[0] {
            return Err(invalid(format!("{field}: not supported in version {version}")));
        }
    }
    let mut parsed = Parsed { model: string(body, "model", "model")?, ..Parsed::default() };
    parsed.stream = match body.get("stream") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| invalid("stream: Input should be a valid boolean"))?,
    };
    if !counting {
        let max_tokens = body.get("max_tokens").ok_or_else(|| invalid("max_tokens: Field required"))?;
        parsed.max_tokens =
            max_tokens.as_u64().ok_or_else(|| invalid("max_tokens: Input should be a valid integer"))?;
        if parsed.max_tokens == 0 && parsed.stream {
            return Err(invalid("max_tokens: 0 is not allowed with stream"));
        }
    }
    if let Some(config) = body.get("output_config") {
        let config = object(config, "output_config")?;
        known(config, &["effort", "format"], "output_config.")?;
        if let Some(effort) = config.get("effort") {
            let levels = ["low", "medium", "high", "xhigh", "max"];
            if !effort.as_str().is_some_and(|effort| levels.contains(&effort)) {
                return Err(invalid(format!("output_config.effort: Input should be one of {levels:?}")));
            }
        }
    }
    parsed.settings = format!("{:?} {:?}", body.get("output_config"), body.get("thinking"));
    check_tools(body.get("tools"), &mut parsed)?;
    check_system(body.get("system"), &mut parsed)?;
    let messages = body.get("messages").ok_or_else(|| invalid("messages: Field required"))?;
    check_messages(messages, &mut parsed)?;
    check_marks(&parsed)?;
    Ok(parsed)
}

fn check_headers(headers: &HeaderMap) -> Result<String, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let denied = |message: &str| Refusal::new(401, "authentication_error", message);
    let key = text("x-api-key").filter(|key| !key.is_empty());
    let bearer = text("authorization").filter(|value| value.starts_with("Bearer ") && value.len() > 7);
    match (key, bearer) {
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) => return Err(denied("x-api-key header is required")),
        (Some(_), Some(_)) => return Err(denied("only one of x-api-key and authorization may be given")),
    }
    if !text("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(invalid("content-type: application/json is required"));
    }
    let version = text("anthropic-version").ok_or_else(|| invalid("anthropic-version: header is required"))?;
    if !VERSIONS.contains(&version.as_str()) {
        return Err(invalid(format!("anthropic-version: {version:?} is not a valid version")));
    }
    Ok(version)
}

fn check_tools(tools: Option<&Value>, parsed: &mut Parsed) -> Result<(), Refusal> {
    let Some(tools) = tools else { return Ok(()) };
    let mut names = BTreeSet::new();
    for (index, tool) in array(tools, "tools")?.iter().enumerate() {
        let at = format!("tools.{index}");
        let tool = object(tool, &at)?;
        let fields = [
            "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming", "defer_loading",
        ];
        known(tool, &fields, &format!("{at}."))?;
        let name = string(tool, "name", &at)?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(good) {
            return Err(invalid(format!("{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")));
        }
        if !names.insert(name) {
            return Err(invalid("tools: Tool names must be unique."));
        }
        let schema = tool.get("input_schema").ok_or_else(|| invalid(format!("{at}.input_schema: Field required")))?;
        if object(schema, &at)?.get("type").and_then(Value::as_str) != Some("object") {
            return Err(invalid(format!("{at}.input_schema.type: Input should be 'object'")));
        }
        parsed.positions.push(position("tool", tool, &at)?);
    }
    Ok(())
}

fn check_system(system: Option<&Value>, parsed: &mut Parsed) -> Result<(), Refusal> {
    match system {
        None => Ok(()),
        Some(Value::String(text)) => {
            let block = Map::from_iter([("text".to_owned(), Value::from(text.as_str()))]);
            parsed.positions.push(position("system", &block, "system")?);
            Ok(())
        }
        Some(system) => {
            for (index, block) in array(system, "system")?.iter().enumerate() {
                let at = format!("system.{index}");
                let block = object(block, &at)?;
                if block.get("type").and_then(Value::as_str) != Some("text") {
                    return Err(invalid(format!("{at}.type: Input should be 'text'")));
                }
                check_text(block, &at, true)?;
                parsed.positions.push(position("system", block, &at)?);
            }
            Ok(())
        }
    }
}

fn check_messages(messages: &Value, parsed: &mut Parsed) -> Result<(), Refusal> {
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
            _ => return Err(invalid(format!("{at}.role: Input should be 'user' or 'assistant'"))),
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
        "assistant" => Err(invalid("This model does not support assistant message prefill. The conversation must end with a user message.")),
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
        ("thinking", "assistant") => {
            known(block, &["type", "thinking", "signature"], &prefix)?;
            string(block, "thinking", at)?;
            if string(block, "signature", at)? != super::wire::signature(&string(block, "thinking", at)?) {
                return Err(invalid(format!("{at}: Invalid `signature` in `thinking` block")));
            }
        }
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
            known(block, &["type", "tool_use_id", "content", "is_error", "cache_control"], &prefix)?;
            if block.get("is_error").is_some_and(|value| !value.is_boolean()) {
                return Err(invalid(format!("{at}.is_error: Input should be a valid boolean")));
            }
            check_result_content(block.get("content"), at)?;
        }
        ("image" | "document", "user") => {
            known(block, &["type", "source", "cache_control", "title", "context", "citations"], &prefix)?;
        }
        _ => return Err(invalid(format!("{at}: Input tag '{kind}' is not allowed in a message of the {role}"))),
    }
    Ok(kind)
}

fn check_text(block: &Map<String, Value>, at: &str, system: bool) -> Result<(), Refusal> {
    known(block, &["type", "text", "cache_control", "citations"], &format!("{at}."))?;
    if string(block, "text", at)?.trim().is_empty() {
        let what = if system { "system: text content blocks" } else { "messages: text content blocks" };
        return Err(invalid(format!("{what} must contain non-whitespace text ({at})")));
    }
    Ok(())
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

fn check_marks(parsed: &Parsed) -> Result<(), Refusal> {
    let marks: Vec<LongLived> = parsed.positions.iter().filter_map(|position| position.mark).collect();
    if marks.len() > MARKS_MAX {
        let found = marks.len();
        return Err(invalid(format!(
            "A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {found}."
        )));
    }
    if marks.windows(2).any(|pair| !pair[0].0 && pair[1].0) {
        return Err(invalid("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"));
    }
    Ok(())
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

fn position(role: &str, block: &Map<String, Value>, at: &str) -> Result<Position, Refusal> {
    let mark = match block.get("cache_control") {
        None => None,
        Some(control) => {
            let control = object(control, &format!("{at}.cache_control"))?;
            known(control, &["type", "ttl"], &format!("{at}.cache_control."))?;
            if control.get("type").and_then(Value::as_str) != Some("ephemeral") {
                return Err(invalid(format!("{at}.cache_control.type: Input should be 'ephemeral'")));
            }
            match control.get("ttl").map(|ttl| ttl.as_str().unwrap_or_default()) {
                None | Some("5m") => Some(LongLived(false)),
                Some("1h") => Some(LongLived(true)),
                Some(_) => return Err(invalid(format!("{at}.cache_control.ttl: Input should be '5m' or '1h'"))),
            }
        }
    };
    let mut bare = block.clone();
    bare.shift_remove("cache_control");
    let text = Value::from(bare).to_string();
    Ok(Position { bytes: text.len(), canonical: format!("{role} {text}"), mark })
}

fn known(object: &Map<String, Value>, fields: &[&str], prefix: &str) -> Result<(), Refusal> {
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(key) => Err(invalid(format!("{prefix}{key}: Extra inputs are not permitted"))),
        None => Ok(()),
    }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, Refusal> {
    value.as_object().ok_or_else(|| invalid(format!("{at}: Input should be an object")))
}

fn array<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, Refusal> {
    value.as_array().ok_or_else(|| invalid(format!("{at}: Input should be a valid list")))
}

fn string(object: &Map<String, Value>, field: &str, at: &str) -> Result<String, Refusal> {
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(invalid(format!("{at}.{field}: Input should be a valid string"))),
        None => Err(invalid(format!("{at}.{field}: Field required"))),
    }
}

#[cfg(test)]
mod tests;
