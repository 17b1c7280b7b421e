//! A request as the real service reads it, and what that service refuses.
//!
//! The rules are those of the Messages API for what this project sends; a field that is not listed here is
//! refused, because the service refuses what it does not know.

mod messages;

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Map, Value};

/// Versions that are known; from the second one on, sampling settings are refused.
const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
/// Marks that one request may hold.
const MARKS_MAX: usize = 4;
/// Fields that a body may have.
const FIELDS: [&str; 19] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "stream",
    "stop_sequences",
    "metadata",
    "cache_control",
    "service_tier",
    "temperature",
    "top_p",
    "top_k",
    "speed",
    "inference_geo",
    "diagnostics",
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
    messages::check_messages(messages, &mut parsed)?;
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
        (Some(_), Some(_)) => {
            return Err(denied("only one of x-api-key and authorization may be given"));
        }
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
            "name",
            "description",
            "input_schema",
            "cache_control",
            "strict",
            "eager_input_streaming",
            "defer_loading",
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

fn check_text(block: &Map<String, Value>, at: &str, system: bool) -> Result<(), Refusal> {
    known(block, &["type", "text", "cache_control", "citations"], &format!("{at}."))?;
    if string(block, "text", at)?.trim().is_empty() {
        let what = if system { "system: text content blocks" } else { "messages: text content blocks" };
        return Err(invalid(format!("{what} must contain non-whitespace text ({at})")));
    }
    Ok(())
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
                Some(_) => {
                    return Err(invalid(format!("{at}.cache_control.ttl: Input should be '5m' or '1h'")));
                }
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
