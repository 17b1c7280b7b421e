//! A request for a message as the real service reads it, and what that service refuses.
//!
//! A field that is not listed here is refused, because the service refuses what it does not know.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::conversation;
use crate::scripted::fields::{Object, array, given, known, object, string, word};
use crate::scripted::prompt::{Life, Position, Prompt, Section, Wire};
use crate::scripted::refusal::{Refusal, invalid};
use crate::scripted::script::Settings;
use crate::scripted::seal::Seal;
use crate::scripted::traits::{Traits, traits};

/// Versions that are known; from the second one on, sampling settings and more are refused.
const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
/// Marks that one request may hold.
const MARKS_MAX: usize = 4;
/// Bound on the number of messages, the service's own.
const MESSAGES_MAX: usize = 100_000;
/// The least budget of thinking.
const BUDGET_MIN: u64 = 1024;
/// The beta that lets a request say what becomes of a thinking block out of its place.
const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";
/// Fields that a body may have.
const FIELDS: [&str; 21] = [
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
    "context_management",
    "container",
];

/// What is known while a request is read.
pub(super) struct Reading<'a> {
    pub(super) settings: &'a Settings,
    pub(super) traits: Traits,
    /// Is it the newer version of the interface?
    pub(super) newer: bool,
    pub(super) prompt: Prompt,
    pub(super) seal: Seal,
    /// Is a thinking block out of its place dropped, not refused?
    pub(super) drops: bool,
    pub(super) images: bool,
}

/// Reads a request, or says what the real service would.
pub(in crate::scripted) fn read(
    headers: &HeaderMap,
    body: &[u8],
    settings: &Settings,
    counting: bool,
) -> Result<(Prompt, Seal), Refusal> {
    let newer = check_headers(headers, settings)?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The request body is not valid JSON: {error}")))?;
    let body = body.as_object().ok_or_else(|| invalid("The request body is not an object"))?;
    known(body, &FIELDS, "")?;
    if newer && let Some(field) = ["temperature", "top_p", "top_k"].iter().find(|field| body.contains_key(**field)) {
        return Err(invalid(format!("{field}: not supported in version {}", VERSIONS[1])));
    }
    let model = string(body, "model", "")?;
    let betas = betas(headers);
    let mut prompt = Prompt { wire: Wire::Messages, model: model.clone(), ..Prompt::default() };
    prompt.stream = crate::scripted::fields::flag(body, "stream", "")?;
    let traits = traits(&settings.models, Wire::Messages, &model);
    let mut reading = Reading { settings, traits, newer, prompt, seal: Seal::default(), drops: false, images: false };
    let max_tokens = if counting { None } else { Some(max_tokens(body)?) };
    check_settings(&mut reading, body, max_tokens, &betas)?;
    check_tools(&mut reading, body.get("tools"))?;
    check_system(&mut reading, body.get("system"))?;
    let messages = body.get("messages").ok_or_else(|| invalid("messages: Field required"))?;
    if messages.as_array().is_some_and(|messages| messages.len() > MESSAGES_MAX) {
        return Err(invalid(format!("messages: List should have at most {MESSAGES_MAX} items")));
    }
    conversation::check(&mut reading, messages)?;
    if reading.images {
        reading.prompt.folds[Section::Messages as usize].push_str(" images");
    }
    automatic_mark(&mut reading.prompt, body)?;
    check_marks(&reading.prompt)?;
    Ok((reading.prompt, reading.seal))
}

/// Checks the headers; is it the newer version?
fn check_headers(headers: &HeaderMap, settings: &Settings) -> Result<bool, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let denied = |message: &str| Refusal::new(401, message);
    let key = text("x-api-key").filter(|key| !key.is_empty());
    let bearer = text("authorization")
        .and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned))
        .filter(|token| !token.is_empty());
    let key = match (key, bearer) {
        (Some(key), None) | (None, Some(key)) => Some(key),
        (None, None) if settings.keyless => None,
        (None, None) => return Err(denied("x-api-key header is required")),
        (Some(_), Some(_)) => {
            return Err(denied("only one of x-api-key and authorization may be given"));
        }
    };
    if key.is_some_and(|key| !settings.keys.is_empty() && !settings.keys.contains(&key)) {
        return Err(denied("invalid x-api-key"));
    }
    if !text("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(invalid("content-type: application/json is required"));
    }
    let version = text("anthropic-version").ok_or_else(|| invalid("anthropic-version: header is required"))?;
    if !VERSIONS.contains(&version.as_str()) {
        return Err(invalid(format!("anthropic-version: {version:?} is not a valid version")));
    }
    Ok(version == VERSIONS[1])
}

/// The betas that are asked for, in a fixed order.
fn betas(headers: &HeaderMap) -> BTreeSet<String> {
    let values = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    let words = values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

fn max_tokens(body: &Object) -> Result<u64, Refusal> {
    let max_tokens = body.get("max_tokens").ok_or_else(|| invalid("max_tokens: Field required"))?;
    max_tokens.as_u64().ok_or_else(|| invalid("max_tokens: Input should be a valid integer"))
}

/// Settings, and what they add to the keys of cache entries.
fn check_settings(
    reading: &mut Reading<'_>,
    body: &Object,
    max_tokens: Option<u64>,
    betas: &BTreeSet<String>,
) -> Result<(), Refusal> {
    let effort = match given(body, "output_config") {
        None => None,
        Some(config) => {
            let config = object(config, "output_config")?;
            known(config, &["effort", "format"], "output_config.")?;
            word(config, "effort", "output_config", &["low", "medium", "high", "xhigh", "max"])?
        }
    };
    let format = body.get("output_config").and_then(|config| config.get("format")).filter(|value| !value.is_null());
    let thinking = check_thinking(reading, body, max_tokens, effort, betas)?;
    let forced = check_choice(body)?;
    if forced && thinking == Some("enabled") {
        return Err(invalid("Thinking may not be enabled when tool_choice forces tool use."));
    }
    word(body, "service_tier", "", &["auto", "standard_only"])?;
    word(body, "speed", "", &["standard", "fast"])?;
    if max_tokens == Some(0) {
        let on = !matches!(thinking, None | Some("disabled"));
        let against = [
            (reading.prompt.stream, "stream"),
            (on, "thinking"),
            (format.is_some(), "output_config.format"),
            (forced, "tool_choice"),
        ];
        if let Some((_, what)) = against.iter().find(|(set, _)| *set) {
            return Err(invalid(format!("max_tokens: 0 is not allowed with {what}")));
        }
        reading.prompt.prewarm = true;
    }
    let management = given(body, "context_management");
    let changed = format!("{betas:?} {management:?} {format:?}");
    let thought = format!("{:?} {effort:?}", body.get("thinking"));
    let [_, system, messages] = &mut reading.prompt.folds;
    *system = format!("{:?}", given(body, "speed"));
    *messages = format!("{:?}", given(body, "tool_choice"));
    if reading.traits.fold_all {
        reading.prompt.base = format!("{changed} {thought}");
    } else {
        reading.prompt.base = changed;
        messages.push_str(&thought);
    }
    Ok(())
}

/// Checks `thinking` and gives its type.
fn check_thinking<'a>(
    reading: &mut Reading<'_>,
    body: &'a Object,
    max_tokens: Option<u64>,
    effort: Option<&str>,
    betas: &BTreeSet<String>,
) -> Result<Option<&'a str>, Refusal> {
    let Some(thinking) = given(body, "thinking") else { return Ok(None) };
    let thinking = object(thinking, "thinking")?;
    known(thinking, &["type", "budget_tokens", "display", "block_binding"], "thinking.")?;
    let kind = word(thinking, "type", "thinking", &["adaptive", "enabled", "disabled", "between_tools"])?
        .ok_or_else(|| invalid("thinking.type: Field required"))?;
    let model = reading.prompt.model.as_str();
    match kind {
        "enabled" => {
            if takes_no_budget(model) {
                return Err(invalid(format!("thinking.type: 'enabled' is not supported for {model}; use 'adaptive'")));
            }
            let budget = given(thinking, "budget_tokens").and_then(Value::as_u64);
            let budget = budget.ok_or_else(|| invalid("thinking.enabled.budget_tokens: Field required"))?;
            if budget < BUDGET_MIN {
                let message =
                    format!("thinking.enabled.budget_tokens: Input should be greater than or equal to {BUDGET_MIN}");
                return Err(invalid(message));
            }
            if max_tokens.is_some_and(|max_tokens| budget >= max_tokens) {
                return Err(invalid("`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
        }
        "disabled" if model.starts_with("claude-fable-5") => {
            return Err(invalid(format!("thinking.type: 'disabled' is not supported for {model}")));
        }
        "disabled" if model.starts_with("claude-opus-5") && matches!(effort, Some("xhigh" | "max")) => {
            return Err(invalid("thinking.type: 'disabled' is not supported with this output_config.effort"));
        }
        _ => {}
    }
    let display = word(thinking, "display", "thinking", &["omitted", "summarized"])?;
    reading.prompt.thinking_hidden = display == Some("omitted");
    if let Some(binding) = given(thinking, "block_binding") {
        if !betas.contains(BINDING_BETA) {
            return Err(invalid("thinking.block_binding: Extra inputs are not permitted"));
        }
        let binding = object(binding, "thinking.block_binding")?;
        let at = "thinking.block_binding";
        let wanted = word(binding, "prefix_mismatch_behavior", at, &["error", "drop_block"])?;
        reading.traits.bound |= wanted.is_some();
        reading.drops = wanted == Some("drop_block");
    }
    Ok(Some(kind))
}

/// Models whose thinking has no budget any more: from 4.7 on.
fn takes_no_budget(model: &str) -> bool {
    ["claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-haiku-5", "claude-fable"]
        .iter()
        .any(|start| model.starts_with(start))
}

/// Checks `tool_choice`; does it force a call?
fn check_choice(body: &Object) -> Result<bool, Refusal> {
    let Some(choice) = given(body, "tool_choice") else { return Ok(false) };
    let choice = object(choice, "tool_choice")?;
    let kind = word(choice, "type", "tool_choice", &["auto", "any", "tool", "none"])?
        .ok_or_else(|| invalid("tool_choice.type: Field required"))?;
    let fields: &[&str] = match kind {
        "none" => &["type"],
        "tool" => &["type", "name", "disable_parallel_tool_use"],
        _ => &["type", "disable_parallel_tool_use"],
    };
    known(choice, fields, "tool_choice.")?;
    if kind == "tool" {
        string(choice, "name", "tool_choice")?;
    }
    let tools = given(body, "tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty());
    if !tools && kind != "none" {
        return Err(invalid("tool_choice: may only be specified while providing tools"));
    }
    Ok(matches!(kind, "any" | "tool"))
}

fn check_tools(reading: &mut Reading<'_>, tools: Option<&Value>) -> Result<(), Refusal> {
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
            "input_examples",
            "allowed_callers",
            "type",
        ];
        known(tool, &fields, &format!("{at}."))?;
        word(tool, "type", &at, &["custom"])?;
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
        push(reading, Section::Tools, "tool", tool, &at)?;
    }
    Ok(())
}

fn check_system(reading: &mut Reading<'_>, system: Option<&Value>) -> Result<(), Refusal> {
    match system {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) => {
            let block = json!({"type": "text", "text": text});
            push(reading, Section::System, "system", object(&block, "system")?, "system")
        }
        Some(system) => {
            for (index, block) in array(system, "system")?.iter().enumerate() {
                let at = format!("system.{index}");
                let block = object(block, &at)?;
                if block.get("type").and_then(Value::as_str) != Some("text") {
                    return Err(invalid(format!("{at}.type: Input should be 'text'")));
                }
                check_text(block, &at, true)?;
                push(reading, Section::System, "system", block, &at)?;
            }
            Ok(())
        }
    }
}

/// Checks a block of text.
pub(super) fn check_text(block: &Object, at: &str, system: bool) -> Result<(), Refusal> {
    known(block, &["type", "text", "cache_control", "citations"], &format!("{at}."))?;
    if string(block, "text", at)?.trim().is_empty() {
        let what = if system { "system: text content blocks" } else { "messages: text content blocks" };
        return Err(invalid(format!("{what} must contain non-whitespace text ({at})")));
    }
    Ok(())
}

/// One more position of the prompt.
pub(super) fn push(
    reading: &mut Reading<'_>,
    section: Section,
    role: &'static str,
    block: &Object,
    at: &str,
) -> Result<(), Refusal> {
    let mark = match given(block, "cache_control") {
        None => None,
        Some(control) => Some(mark(control, &format!("{at}.cache_control"))?),
    };
    let mut bare = block.clone();
    bare.shift_remove("cache_control");
    let text = Value::from(bare).to_string();
    reading.seal.push(role, block);
    let thought = ["thinking", "redacted_thinking"].map(Value::from);
    let markable = !block.get("type").is_some_and(|kind| thought.contains(kind));
    reading.prompt.positions.push(Position { section, role, text, mark, markable, message_end: false });
    Ok(())
}

fn mark(control: &Value, at: &str) -> Result<Life, Refusal> {
    let control = object(control, at)?;
    known(control, &["type", "ttl"], &format!("{at}."))?;
    if control.get("type").and_then(Value::as_str) != Some("ephemeral") {
        return Err(invalid(format!("{at}.type: Input should be 'ephemeral'")));
    }
    match control.get("ttl").map(|ttl| ttl.as_str().unwrap_or_default()) {
        None | Some("5m") => Ok(Life::Short),
        Some("1h") => Ok(Life::Long),
        Some(_) => Err(invalid(format!("{at}.ttl: Input should be '5m' or '1h'"))),
    }
}

/// A mark at the top of the body stands on the last block that can carry one.
fn automatic_mark(prompt: &mut Prompt, body: &Object) -> Result<(), Refusal> {
    let Some(control) = given(body, "cache_control") else { return Ok(()) };
    let life = mark(control, "cache_control")?;
    let Some(last) = prompt.positions.iter_mut().rev().find(|position| position.markable) else { return Ok(()) };
    match last.mark {
        Some(mark) if mark != life => {
            Err(invalid("cache_control: the last block carries a cache_control with another ttl"))
        }
        Some(_) | None => {
            last.mark = Some(life);
            Ok(())
        }
    }
}

fn check_marks(prompt: &Prompt) -> Result<(), Refusal> {
    let marks: Vec<Life> = prompt.positions.iter().filter_map(|position| position.mark).collect();
    if marks.len() > MARKS_MAX {
        let found = marks.len();
        return Err(invalid(format!(
            "A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {found}."
        )));
    }
    if marks.windows(2).any(|pair| pair == [Life::Short, Life::Long]) {
        return Err(invalid("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"));
    }
    Ok(())
}
