//! A request for a response as the service reads it, and what it refuses.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::encrypted;
use crate::scripted::fields::{Object, array, flag, given, known, object, string, word};
use crate::scripted::openai::{
    body, cache_settings, check_choice, check_function, end_message, mark, parts, push, required,
};
use crate::scripted::prompt::{Prompt, Section, Wire};
use crate::scripted::refusal::{Refusal, invalid};
use crate::scripted::script::Settings;
use crate::scripted::traits::traits;

/// Fields that a body may have.
const FIELDS: [&str; 27] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "text",
    "include",
    "store",
    "stream",
    "stream_options",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "previous_response_id",
    "safety_identifier",
    "user",
    "metadata",
    "service_tier",
    "temperature",
    "top_p",
    "top_logprobs",
    "truncation",
    "background",
];
/// The least bound on output, the service's own.
const OUTPUT_TOKENS_MIN: u64 = 16;

/// What is known of the items while they are read.
#[derive(Default)]
struct Items {
    /// Ids of calls.
    calls: BTreeSet<String>,
    /// Those that are not answered yet.
    open: Vec<String>,
    /// Was the last item the model's?
    answering: bool,
    /// Id of a reasoning item that nothing follows yet.
    alone: Option<String>,
    /// Has the first message of the user been seen?
    begun: bool,
}

/// Reads a request, or says what the real service would.
pub(in crate::scripted) fn read(headers: &HeaderMap, bytes: &[u8], settings: &Settings) -> Result<Prompt, Refusal> {
    let body = body(headers, bytes, settings, &FIELDS)?;
    required(&body, "model")?;
    let model = string(&body, "model", "")?;
    let traits = traits(&settings.models, Wire::Responses, &model);
    let mut prompt = Prompt { wire: Wire::Responses, model, usage_wanted: true, ..Prompt::default() };
    check_settings(&mut prompt, &body)?;
    let options = ["mode", "ttl", "prewarm", "comparison_response_id"];
    cache_settings(&mut prompt, &body, &traits, &["30m", "12h"], &options)?;
    let counted = ["text", "reasoning"].map(|field| given(&body, field));
    prompt.folds[Section::System as usize] = format!("{counted:?}");
    check_tools(&mut prompt, &body)?;
    if let Some(instructions) = given(&body, "instructions") {
        let text =
            instructions.as_str().ok_or_else(|| invalid("Invalid type for 'instructions'.").param("instructions"))?;
        let part = json!({"type": "input_text", "text": text});
        push(&mut prompt, Section::System, "system", object(&part, "instructions")?, None);
        end_message(&mut prompt);
    }
    check_input(&mut prompt, required(&body, "input")?, settings)?;
    Ok(prompt)
}

fn check_settings(prompt: &mut Prompt, body: &Object) -> Result<(), Refusal> {
    prompt.stream = flag(body, "stream", "")?;
    flag(body, "parallel_tool_calls", "")?;
    flag(body, "store", "")?;
    if flag(body, "background", "")? {
        return Err(invalid("'background' is not served here.").param("background"));
    }
    if let Some(id) = given(body, "previous_response_id") {
        let message = format!("Previous response with id {id} not found.");
        return Err(invalid(message).code("previous_response_not_found").param("previous_response_id"));
    }
    if given(body, "max_output_tokens").is_some_and(|max| max.as_u64().is_none_or(|max| max < OUTPUT_TOKENS_MIN)) {
        let message = format!(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {OUTPUT_TOKENS_MIN}."
        );
        return Err(invalid(message).code("integer_below_min_value").param("max_output_tokens"));
    }
    let mut included = false;
    if let Some(include) = given(body, "include") {
        let words = array(include, "include")?;
        included = words.iter().any(|word| word == "reasoning.encrypted_content");
    }
    if let Some(reasoning) = given(body, "reasoning") {
        let reasoning = object(reasoning, "reasoning")?;
        known(reasoning, &["effort", "summary", "generate_summary", "mode", "context"], "reasoning.")?;
        word(reasoning, "effort", "reasoning", &["none", "minimal", "low", "medium", "high", "xhigh", "max"])?;
        word(reasoning, "summary", "reasoning", &["auto", "concise", "detailed"])?;
    }
    prompt.thinking_hidden = given(body, "reasoning").is_none_or(|reasoning| reasoning["summary"].is_null());
    let given_tools = given(body, "tools").cloned().unwrap_or_else(|| json!([]));
    prompt.echoed = vec![
        ("encrypted", json!(included)),
        ("instructions", body.get("instructions").cloned().unwrap_or_default()),
        ("max_output_tokens", body.get("max_output_tokens").cloned().unwrap_or_default()),
        ("parallel_tool_calls", given(body, "parallel_tool_calls").cloned().unwrap_or(json!(true))),
        ("store", given(body, "store").cloned().unwrap_or(json!(true))),
        ("tool_choice", given(body, "tool_choice").cloned().unwrap_or_else(|| json!("auto"))),
        ("tools", given_tools),
    ];
    check_choice(body)
}

fn check_tools(prompt: &mut Prompt, body: &Object) -> Result<(), Refusal> {
    let Some(tools) = given(body, "tools") else { return Ok(()) };
    let mut names = BTreeSet::new();
    for (index, tool) in array(tools, "tools")?.iter().enumerate() {
        let at = format!("tools[{index}]");
        let tool = object(tool, &at)?;
        known(tool, &["type", "name", "description", "parameters", "strict", "defer_loading"], &format!("{at}."))?;
        word(tool, "type", &at, &["function"])?.ok_or_else(|| invalid(format!("{at}.type: Field required")))?;
        check_function(tool, &mut names, &at)?;
        push(prompt, Section::Tools, "tool", tool, None);
    }
    Ok(())
}

fn check_input(prompt: &mut Prompt, input: &Value, settings: &Settings) -> Result<(), Refusal> {
    let items = match input {
        Value::String(text) => vec![json!({"type": "message", "role": "user", "content": text})],
        input => array(input, "input")?.clone(),
    };
    if items.is_empty() {
        return Err(invalid("Invalid 'input': empty array.").code("empty_array").param("input"));
    }
    let mut state = Items::default();
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        let item = object(item, &at)?;
        check_item(prompt, &mut state, item, &at, settings)?;
        end_message(prompt);
    }
    if let Some(id) = state.open.first() {
        return Err(invalid(format!("No tool output found for function call {id}.")).param("input"));
    }
    alone(&state)
}

fn alone(state: &Items) -> Result<(), Refusal> {
    match &state.alone {
        None => Ok(()),
        Some(id) => {
            let message = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
            Err(invalid(message).param("input"))
        }
    }
}

fn check_item(
    prompt: &mut Prompt,
    state: &mut Items,
    item: &Object,
    at: &str,
    settings: &Settings,
) -> Result<(), Refusal> {
    let prefix = format!("{at}.");
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
    match kind {
        "message" => check_message(prompt, state, item, at),
        "reasoning" => {
            alone(state)?;
            known(item, &["type", "id", "summary", "encrypted_content", "content", "status"], &prefix)?;
            check_reasoning(item, at, settings)?;
            begin_answer(prompt, state);
            // A client that has nothing stored sends it back without its id.
            let id = item.get("id").and_then(Value::as_str);
            state.alone = Some(id.unwrap_or(at).to_owned());
            push(prompt, Section::Messages, "assistant", item, None);
            Ok(())
        }
        "function_call" => {
            let fields = ["type", "id", "call_id", "name", "arguments", "status", "namespace", "caller", "async"];
            known(item, &fields, &prefix)?;
            string(item, "name", at)?;
            string(item, "arguments", at)?;
            let id = string(item, "call_id", at)?;
            if id.is_empty() || !state.calls.insert(id.clone()) {
                return Err(invalid(format!("Duplicate or empty call_id '{id}'.")).param(format!("{at}.call_id")));
            }
            begin_answer(prompt, state);
            state.alone = None;
            state.open.push(id);
            push(prompt, Section::Messages, "assistant", item, None);
            Ok(())
        }
        "function_call_output" => {
            alone(state)?;
            known(item, &["type", "id", "call_id", "output", "status", "name", "namespace", "caller"], &prefix)?;
            let id = string(item, "call_id", at)?;
            let Some(place) = state.open.iter().position(|open| *open == id) else {
                let message = format!("No tool call found for function call output with call_id {id}.");
                return Err(invalid(message).param("input"));
            };
            state.open.remove(place);
            state.answering = false;
            prompt.tool_results.push(output_text(item, at)?);
            push(prompt, Section::Messages, "user", item, None);
            Ok(())
        }
        other => {
            let message = format!("Invalid value: '{other}'.");
            Err(invalid(message).code("invalid_value").param(format!("{at}.type")))
        }
    }
}

/// Items of the model that follow each other are one answer.
fn begin_answer(prompt: &mut Prompt, state: &mut Items) {
    if !state.answering {
        prompt.turns += 1;
        prompt.tool_results.clear();
    }
    state.answering = true;
}

/// A reasoning item comes back as it was given.
fn check_reasoning(item: &Object, at: &str, settings: &Settings) -> Result<(), Refusal> {
    let summary = array(item.get("summary").unwrap_or(&Value::Null), &format!("{at}.summary"))?;
    let text: String = summary.iter().filter_map(|part| part["text"].as_str()).collect();
    match given(item, "encrypted_content").and_then(Value::as_str) {
        Some(content) if !text.is_empty() && content != encrypted(settings.seed, &text) => {
            let message = "The encrypted content for the reasoning item could not be verified.";
            Err(invalid(message).code("invalid_encrypted_content").param(format!("{at}.encrypted_content")))
        }
        Some(content) if !content.starts_with("enc_") => {
            let message = "The encrypted content for the reasoning item could not be decrypted.";
            Err(invalid(message).code("invalid_encrypted_content").param(format!("{at}.encrypted_content")))
        }
        Some(_) | None => Ok(()),
    }
}

fn output_text(item: &Object, at: &str) -> Result<String, Refusal> {
    let output = item.get("output").unwrap_or(&Value::Null);
    let parts = parts(output, "input_text", &format!("{at}.output"))?;
    let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

fn check_message(prompt: &mut Prompt, state: &mut Items, item: &Object, at: &str) -> Result<(), Refusal> {
    known(item, &["type", "role", "content", "id", "status", "phase"], &format!("{at}."))?;
    let role = string(item, "role", at)?;
    let (section, role) = match role.as_str() {
        "system" | "developer" => (Section::System, "system"),
        "user" => (Section::Messages, "user"),
        "assistant" => (Section::Messages, "assistant"),
        other => {
            let message = format!("Invalid value: '{other}'.");
            return Err(invalid(message).code("invalid_value").param(format!("{at}.role")));
        }
    };
    if role == "assistant" {
        begin_answer(prompt, state);
        state.alone = None;
    } else {
        alone(state)?;
        state.answering = false;
    }
    let at = format!("{at}.content");
    let plain = if role == "assistant" { "output_text" } else { "input_text" };
    let mut texts = Vec::new();
    for (index, part) in parts(item.get("content").unwrap_or(&Value::Null), plain, &at)?.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let kind = string(part, "type", &at)?;
        let fields: &[&str] = match (kind.as_str(), role) {
            ("input_text", "user" | "system") => &["type", "text", "prompt_cache_breakpoint"],
            ("output_text", "assistant") => &["type", "text", "annotations", "logprobs"],
            ("refusal", "assistant") => &["type", "refusal"],
            ("input_image", "user") => &["type", "image_url", "file_id", "detail", "prompt_cache_breakpoint"],
            ("input_file", "user") => {
                &["type", "file_data", "file_id", "file_url", "filename", "prompt_cache_breakpoint"]
            }
            _ => {
                let message = format!("Invalid value: '{kind}'.");
                return Err(invalid(message).code("invalid_value").param(format!("{at}.type")));
            }
        };
        known(part, fields, &format!("{at}."))?;
        if kind == "input_text" {
            texts.push(string(part, "text", &at)?);
        }
        let mark = mark(prompt, part, &at)?;
        push(prompt, section, role, part, mark);
    }
    if role == "user" {
        // What all workers of a run share comes first, and is not searched.
        let shared = usize::from(!state.begun && texts.len() > 1);
        state.begun = true;
        prompt.user_texts.extend(texts.into_iter().skip(shared));
    }
    Ok(())
}
