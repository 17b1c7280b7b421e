//! A request for a completion as the service reads it, and what it refuses.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::scripted::fields::{Object, array, flag, given, known, object, string, word};
use crate::scripted::openai::{
    body, cache_settings, check_choice, check_function, end_message, mark, parts, push, required,
};
use crate::scripted::prompt::{Prompt, Section, Wire};
use crate::scripted::refusal::{Refusal, invalid};
use crate::scripted::script::Settings;
use crate::scripted::traits::traits;

/// Fields that a body may have.
const FIELDS: [&str; 31] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_completion_tokens",
    "max_tokens",
    "reasoning_effort",
    "verbosity",
    "stream",
    "stream_options",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "metadata",
    "store",
    "service_tier",
    "response_format",
    "seed",
    "stop",
    "n",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "modalities",
];
/// Fields that servers of other models take besides.
const FIELDS_ELSEWHERE: [&str; 6] = ["cache_prompt", "id_slot", "cache_salt", "top_k", "thinking", "num_ctx"];

/// What is known of the conversation while it is read.
#[derive(Default)]
struct Talk {
    /// Ids of calls that are not answered yet.
    open: Vec<String>,
    /// Has the first message of the user been seen?
    begun: bool,
}

/// Reads a request, or says what the real service would.
pub(in crate::scripted) fn read(headers: &HeaderMap, bytes: &[u8], settings: &Settings) -> Result<Prompt, Refusal> {
    let named = serde_json::from_slice::<Value>(bytes).ok();
    let model = named.as_ref().and_then(|body| body["model"].as_str()).unwrap_or_default();
    let official = model.starts_with("gpt-");
    let mut fields = FIELDS.to_vec();
    if !official {
        fields.extend(FIELDS_ELSEWHERE);
    }
    let body = body(headers, bytes, settings, &fields)?;
    required(&body, "model")?;
    let model = string(&body, "model", "")?;
    let traits = traits(&settings.models, Wire::Chat, &model);
    let mut prompt = Prompt { wire: Wire::Chat, model, ..Prompt::default() };
    check_settings(&mut prompt, &body)?;
    cache_settings(&mut prompt, &body, &traits, &["30m"], &["mode", "ttl"])?;
    let counted = ["response_format", "reasoning_effort", "verbosity"].map(|field| given(&body, field));
    prompt.folds[Section::System as usize] = format!("{counted:?}");
    check_tools(&mut prompt, &body)?;
    let messages = required(&body, "messages")?;
    let messages = array(messages, "messages")?;
    if messages.is_empty() {
        return Err(invalid("Invalid 'messages': empty array.").code("empty_array").param("messages"));
    }
    let mut talk = Talk::default();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        check_message(&mut prompt, &mut talk, object(message, &at)?, &at, official)?;
    }
    if !talk.open.is_empty() {
        return Err(unanswered(&talk.open));
    }
    Ok(prompt)
}

fn check_settings(prompt: &mut Prompt, body: &Object) -> Result<(), Refusal> {
    prompt.stream = flag(body, "stream", "")?;
    if let Some(options) = given(body, "stream_options") {
        if !prompt.stream {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(invalid(message).param("stream_options"));
        }
        let options = object(options, "stream_options")?;
        known(options, &["include_usage", "include_obfuscation"], "stream_options.")?;
        prompt.usage_wanted = flag(options, "include_usage", "stream_options")?;
    }
    flag(body, "parallel_tool_calls", "")?;
    if body.contains_key("max_tokens") && body.contains_key("max_completion_tokens") {
        return Err(invalid("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."));
    }
    for field in ["max_tokens", "max_completion_tokens"] {
        if given(body, field).is_some_and(|value| value.as_u64().is_none_or(|max| max == 0)) {
            let message = format!("Invalid '{field}': integer below minimum value. Expected a value >= 1.");
            return Err(invalid(message).code("integer_below_min_value").param(field));
        }
    }
    if body.contains_key("max_tokens") && prompt.model.starts_with("gpt-") && !prompt.model.starts_with("gpt-4") {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return Err(invalid(message).code("unsupported_parameter").param("max_tokens"));
    }
    word(body, "reasoning_effort", "", &["none", "minimal", "low", "medium", "high", "xhigh", "max"])?;
    if given(body, "n").is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(invalid("Invalid 'n': only 1 is served here.").param("n"));
    }
    check_choice(body)
}

fn check_tools(prompt: &mut Prompt, body: &Object) -> Result<(), Refusal> {
    let Some(tools) = given(body, "tools") else { return Ok(()) };
    let mut names = BTreeSet::new();
    for (index, tool) in array(tools, "tools")?.iter().enumerate() {
        let at = format!("tools[{index}]");
        let tool = object(tool, &at)?;
        known(tool, &["type", "function"], &format!("{at}."))?;
        word(tool, "type", &at, &["function"])?.ok_or_else(|| invalid(format!("{at}.type: Field required")))?;
        let at = format!("{at}.function");
        let function = object(tool.get("function").unwrap_or(&Value::Null), &at)?;
        known(function, &["name", "description", "parameters", "strict"], &format!("{at}."))?;
        check_function(function, &mut names, &at)?;
        push(prompt, Section::Tools, "tool", tool, None);
    }
    Ok(())
}

fn unanswered(open: &[String]) -> Refusal {
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    invalid(message).param("messages")
}

fn check_message(
    prompt: &mut Prompt,
    talk: &mut Talk,
    message: &Object,
    at: &str,
    official: bool,
) -> Result<(), Refusal> {
    let role = string(message, "role", at)?;
    if role != "tool" && !talk.open.is_empty() {
        return Err(unanswered(&talk.open));
    }
    match role.as_str() {
        "system" | "developer" => {
            known(message, &["role", "content", "name"], &format!("{at}."))?;
            push_content(prompt, message, Section::System, "system", at)?;
        }
        "user" => {
            known(message, &["role", "content", "name"], &format!("{at}."))?;
            let texts = push_content(prompt, message, Section::Messages, "user", at)?;
            // What all workers of a run share comes first, and is not searched.
            let shared = usize::from(!talk.begun && texts.len() > 1);
            talk.begun = true;
            prompt.user_texts.extend(texts.into_iter().skip(shared));
        }
        "assistant" => check_assistant(prompt, talk, message, at, official)?,
        "tool" => {
            known(message, &["role", "content", "tool_call_id", "name"], &format!("{at}."))?;
            let id = string(message, "tool_call_id", at)?;
            let Some(place) = talk.open.iter().position(|open| *open == id) else {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
                return Err(invalid(message).param(format!("{at}.role")));
            };
            talk.open.remove(place);
            let texts = push_content(prompt, message, Section::Messages, "tool", at)?;
            prompt.tool_results.push(texts.join("\n"));
        }
        other => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'developer', 'tool'."
            );
            return Err(invalid(message).code("invalid_value").param(format!("{at}.role")));
        }
    }
    end_message(prompt);
    Ok(())
}

fn check_assistant(
    prompt: &mut Prompt,
    talk: &mut Talk,
    message: &Object,
    at: &str,
    official: bool,
) -> Result<(), Refusal> {
    let mut fields = vec!["role", "content", "name", "refusal", "tool_calls", "annotations", "audio"];
    if !official {
        fields.extend(["reasoning_content", "reasoning"]);
    }
    known(message, &fields, &format!("{at}."))?;
    prompt.turns += 1;
    prompt.tool_results.clear();
    let calls = given(message, "tool_calls");
    let empty = matches!(message.get("content"), None | Some(Value::Null)) || message["content"] == "";
    if !empty {
        push_content(prompt, message, Section::Messages, "assistant", at)?;
    } else if calls.is_none() {
        return Err(invalid(format!("Invalid value for '{at}.content': expected a string, got null."))
            .param(format!("{at}.content")));
    }
    let Some(calls) = calls else { return Ok(()) };
    let calls = array(calls, &format!("{at}.tool_calls"))?;
    if calls.is_empty() {
        return Err(invalid(format!("Invalid '{at}.tool_calls': empty array.")).code("empty_array"));
    }
    for (index, call) in calls.iter().enumerate() {
        let at = format!("{at}.tool_calls[{index}]");
        let call = object(call, &at)?;
        known(call, &["id", "type", "function"], &format!("{at}."))?;
        let id = string(call, "id", &at)?;
        word(call, "type", &at, &["function"])?.ok_or_else(|| invalid(format!("{at}.type: Field required")))?;
        let function = object(call.get("function").unwrap_or(&Value::Null), &format!("{at}.function"))?;
        known(function, &["name", "arguments"], &format!("{at}.function."))?;
        string(function, "name", &format!("{at}.function"))?;
        string(function, "arguments", &format!("{at}.function"))?;
        if id.is_empty() || talk.open.contains(&id) {
            return Err(invalid(format!("Invalid '{at}.id': ids of tool calls must be unique and not empty."))
                .param(format!("{at}.id")));
        }
        talk.open.push(id);
        push(prompt, Section::Messages, "assistant", call, None);
    }
    Ok(())
}

/// Pushes the parts of a content and gives their texts.
fn push_content(
    prompt: &mut Prompt,
    message: &Object,
    section: Section,
    role: &'static str,
    at: &str,
) -> Result<Vec<String>, Refusal> {
    let at = format!("{at}.content");
    let content = message.get("content").unwrap_or(&Value::Null);
    let mut texts = Vec::new();
    for (index, part) in parts(content, "text", &at)?.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = string(part, "type", &at)?;
        let fields: &[&str] = match (kind.as_str(), role) {
            ("text", _) => &["type", "text", "prompt_cache_breakpoint"],
            ("refusal", "assistant") => &["type", "refusal"],
            ("image_url", "user") => &["type", "image_url", "prompt_cache_breakpoint"],
            ("file", "user") => &["type", "file", "prompt_cache_breakpoint"],
            ("input_audio", "user") => &["type", "input_audio", "prompt_cache_breakpoint"],
            _ => {
                let message = format!("Invalid value: '{kind}'.");
                return Err(invalid(message).code("invalid_value").param(format!("{at}.type")));
            }
        };
        known(part, fields, &format!("{at}."))?;
        if kind == "text" {
            texts.push(string(part, "text", &at)?);
        }
        let mark = mark(prompt, part, &at)?;
        let mut part = part.clone();
        if let Some(id) = message.get("tool_call_id") {
            part.insert("tool_call_id".to_owned(), json!(id));
        }
        push(prompt, section, role, &part, mark);
    }
    Ok(texts)
}
