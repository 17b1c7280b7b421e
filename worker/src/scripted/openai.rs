//! What `/v1/chat/completions` and `/v1/responses` have in common: keys, cache settings, breakpoints, usage.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::bill::Tokens;
use super::fields::{Object, array, given, known, object, string, word};
use super::prompt::{Life, Position, Prompt, Section};
use super::refusal::{Refusal, invalid};
use super::script::Settings;
use super::traits::{Rule, Traits, takes_breakpoints};

/// Bound on the number of tools, the service's own.
const TOOLS_MAX: usize = 128;
/// Bound on a name of a tool, the service's own.
const NAME_CHARS_MAX: usize = 64;

/// Reads the body as far as it is the same for both wires.
pub(super) fn body(headers: &HeaderMap, body: &[u8], settings: &Settings, fields: &[&str]) -> Result<Object, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = text("authorization").strip_prefix("Bearer ").unwrap_or_default();
    if key.is_empty() && !settings.keyless {
        let message = "You didn't provide an API key. Provide it in an Authorization header using Bearer auth.";
        return Err(Refusal::new(401, message).code("missing_api_key"));
    }
    let unasked = settings.keyless && key.is_empty();
    let known = unasked || settings.keys.is_empty() || settings.keys.iter().any(|known| known == key);
    if !known {
        return Err(Refusal::new(401, "Incorrect API key provided.").code("invalid_api_key"));
    }
    if !text("content-type").starts_with("application/json") {
        return Err(Refusal::new(415, "Unsupported Media Type: application/json is required"));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("We could not parse the JSON body of your request: {error}")))?;
    let Value::Object(body) = body else { return Err(invalid("The JSON body has to be an object")) };
    if let Some(key) = body.keys().find(|key| !fields.contains(&key.as_str())) {
        return Err(invalid(format!("Unknown parameter: '{key}'.")).code("unknown_parameter").param(key.as_str()));
    }
    Ok(body)
}

/// A field that has to be there.
pub(super) fn required<'a>(body: &'a Object, field: &str) -> Result<&'a Value, Refusal> {
    given(body, field).ok_or_else(|| {
        invalid(format!("Missing required parameter: '{field}'.")).code("missing_required_parameter").param(field)
    })
}

/// Settings of the cache, and what belongs to the key of every entry.
pub(super) fn cache_settings(
    prompt: &mut Prompt,
    body: &Object,
    traits: &Traits,
    lives: &[&str],
    fields: &[&str],
) -> Result<(), Refusal> {
    if let Some(key) = given(body, "prompt_cache_key") {
        let wrong = || invalid("Invalid type for 'prompt_cache_key': expected a string.").param("prompt_cache_key");
        prompt.routing_key = key.as_str().ok_or_else(wrong)?.to_owned();
    }
    let retention = word(body, "prompt_cache_retention", "", &["in_memory", "24h"])?;
    if retention == Some("24h") {
        prompt.implicit_life = Some(Life::Long);
    }
    if let Some(options) = given(body, "prompt_cache_options") {
        gate(&prompt.model, "prompt_cache_options")?;
        if retention.is_some() {
            let message = "'prompt_cache_retention' cannot be given together with 'prompt_cache_options'.";
            return Err(invalid(message).param("prompt_cache_retention"));
        }
        let options = object(options, "prompt_cache_options")?;
        known(options, fields, "prompt_cache_options.")?;
        let mode = word(options, "mode", "prompt_cache_options", &["implicit", "explicit"])?;
        prompt.explicit_only = mode == Some("explicit");
        let ttl = word(options, "ttl", "prompt_cache_options", lives)?;
        prompt.implicit_life = ttl.map(life);
        prompt.prewarm = super::fields::flag(options, "prewarm", "prompt_cache_options")?;
    }
    let tier = given(body, "service_tier");
    prompt.base = format!("{tier:?}");
    if traits.rule == Rule::Breakpoints {
        prompt.base.push_str(&prompt.routing_key);
    }
    Ok(())
}

fn life(ttl: &str) -> Life {
    if ttl == "12h" { Life::Long } else { Life::Short }
}

/// Breakpoints are known from 5.6 on; servers of other models refuse what they do not know.
fn gate(model: &str, what: &str) -> Result<(), Refusal> {
    if takes_breakpoints(model) {
        return Ok(());
    }
    Err(invalid(format!("Unknown parameter: '{what}'.")).code("unknown_parameter").param(what))
}

/// The mark of a part of content.
pub(super) fn mark(prompt: &Prompt, part: &Object, at: &str) -> Result<Option<Life>, Refusal> {
    let Some(breakpoint) = given(part, "prompt_cache_breakpoint") else { return Ok(None) };
    let at = format!("{at}.prompt_cache_breakpoint");
    gate(&prompt.model, &at)?;
    let breakpoint = object(breakpoint, &at)?;
    known(breakpoint, &["mode", "ttl"], &format!("{at}."))?;
    word(breakpoint, "mode", &at, &["explicit"])?.ok_or_else(|| invalid(format!("{at}.mode: Field required")))?;
    let ttl = word(breakpoint, "ttl", &at, &["30m", "12h"])?;
    Ok(Some(ttl.map(life).or(prompt.implicit_life).unwrap_or(Life::Short)))
}

/// One more position of the prompt: an object without its mark.
pub(super) fn push(prompt: &mut Prompt, section: Section, role: &'static str, part: &Object, mark: Option<Life>) {
    let mut bare = part.clone();
    bare.shift_remove("prompt_cache_breakpoint");
    let text = Value::from(bare).to_string();
    prompt.positions.push(Position { section, role, text, mark, markable: true, message_end: false });
}

/// The last position ends a message.
pub(super) fn end_message(prompt: &mut Prompt) {
    if let Some(position) = prompt.positions.last_mut() {
        position.message_end = true;
    }
}

/// Checks the function of a tool, and that its name is new.
pub(super) fn check_function(function: &Object, names: &mut BTreeSet<String>, at: &str) -> Result<(), Refusal> {
    let name = string(function, "name", at)?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(good) {
        let message = format!("Invalid '{at}.name': string does not match pattern '^[a-zA-Z0-9_-]{{1,64}}$'.");
        return Err(invalid(message).code("invalid_value").param(format!("{at}.name")));
    }
    if !names.insert(name) {
        return Err(invalid(format!("Invalid '{at}.name': names of tools must be unique.")).param(format!("{at}.name")));
    }
    if names.len() > TOOLS_MAX {
        return Err(
            invalid(format!("Invalid 'tools': array too long, at most {TOOLS_MAX}.")).code("array_above_max_length")
        );
    }
    if let Some(parameters) = given(function, "parameters") {
        let parameters = object(parameters, &format!("{at}.parameters"))?;
        if parameters.get("type").and_then(Value::as_str) != Some("object") {
            let message =
                format!("Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"' ({at}).");
            return Err(invalid(message).code("invalid_function_parameters").param(format!("{at}.parameters")));
        }
    }
    Ok(())
}

/// Checks `tool_choice`.
pub(super) fn check_choice(body: &Object) -> Result<(), Refusal> {
    match given(body, "tool_choice") {
        None => Ok(()),
        Some(Value::String(word)) if ["none", "auto", "required"].contains(&word.as_str()) => {
            if given(body, "tools").is_none() {
                let message = "'tool_choice' is only allowed when 'tools' are specified.";
                return Err(invalid(message).param("tool_choice"));
            }
            Ok(())
        }
        Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(invalid("Invalid value for 'tool_choice'.").code("invalid_value").param("tool_choice")),
    }
}

/// What of the prompt was read from the cache and what was written to it.
pub(super) fn cached_details(tokens: &Tokens) -> Value {
    json!({"cached_tokens": tokens.read, "cache_write_tokens": tokens.written()})
}

/// Texts and pictures of a content, each as an object; a text stands for one part.
pub(super) fn parts(content: &Value, kind: &str, at: &str) -> Result<Vec<Object>, Refusal> {
    match content {
        Value::String(text) => {
            let part = json!({"type": kind, "text": text});
            Ok(vec![object(&part, at)?.clone()])
        }
        content => {
            let parts = array(content, at)?;
            if parts.is_empty() {
                return Err(invalid(format!("Invalid '{at}': empty array.")).code("empty_array").param(at));
            }
            parts.iter().map(|part| object(part, at).cloned()).collect()
        }
    }
}
