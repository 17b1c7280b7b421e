//! The codec of OpenAI Responses: items come whole when they are done, and go back as they came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::assemble::{Assembled, Assembly, CallIds, Fields, Progress, Told, object_or_wrapped, raw_text};
use super::refusal::{self, Words};
use super::sse::Event;
use super::{Block, Stop};

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct ResponsesAssembly {
    items: BTreeMap<u64, Box<RawValue>>,
    /// Arguments that were told apart from their item, for servers whose items leave them out.
    arguments: BTreeMap<u64, String>,
    incomplete: Option<String>,
    told: Told,
}

/// The parts of all events that matter here.
#[derive(Deserialize)]
struct Form<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    output_index: Option<u64>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ResponseForm<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    service_tier: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    incomplete_details: Option<IncompleteDetails>,
    usage: Option<UsageFields>,
    output: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct UsageFields {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_write_tokens_details: Option<WriteDetails>,
}

#[derive(Deserialize)]
struct WriteDetails {
    ttl_12h_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl UsageFields {
    /// The input includes what was read from and written to a cache.
    fn tell(&self, told: &mut Told) {
        let details = self.input_tokens_details.as_ref();
        let cached = details.and_then(|details| details.cached_tokens).unwrap_or(0);
        let written = details.and_then(|details| details.cache_write_tokens).unwrap_or(0);
        let split = details.and_then(|details| details.cache_write_tokens_details.as_ref());
        let long = split.and_then(|split| split.ttl_12h_tokens).unwrap_or(0).min(written);
        if let Some(input) = self.input_tokens {
            told.tokens.uncached_in = input.saturating_sub(cached).saturating_sub(written);
            told.tokens.cache_read = cached;
            told.tokens.cache_write_short = written - long;
            told.tokens.cache_write_long = long;
            told.counted_in = true;
        }
        if let Some(out) = self.output_tokens {
            told.tokens.out = out;
            told.counted_out = true;
        }
        let reasoning = self.output_tokens_details.as_ref().and_then(|details| details.reasoning_tokens);
        told.reasoning_out = reasoning.unwrap_or(told.reasoning_out);
    }
}

impl Assembly for ResponsesAssembly {
    fn take(&mut self, event: Event<'_>) -> Result<Progress, serde_json::Error> {
        // Some servers end the stream as the other wire does; what counts came before.
        if event.data.trim() == "[DONE]" {
            return Ok(Progress::More);
        }
        let form: Form<'_> = serde_json::from_str(event.data)?;
        let kind = if form.kind.is_empty() { event.name } else { form.kind.as_ref() };
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.told.started = true;
                if let Some(raw) = form.response {
                    let response: ResponseForm<'_> = serde_json::from_str(raw.get())?;
                    self.name(&response);
                }
            }
            "response.output_item.added" => self.told.started = true,
            "response.output_item.done" => {
                self.told.started = true;
                if let Some(item) = form.item {
                    let next = self.items.last_key_value().map_or(0, |(index, _)| index + 1);
                    self.items.insert(form.output_index.unwrap_or(next), item.to_owned());
                }
            }
            "response.function_call_arguments.done" => {
                if let (Some(index), Some(arguments)) = (form.output_index, form.arguments) {
                    self.arguments.insert(index, arguments.into_owned());
                }
            }
            "response.completed" | "response.incomplete" => {
                if let Some(raw) = form.response {
                    return self.whole(serde_json::from_str(raw.get())?);
                }
                return Ok(Progress::Complete);
            }
            "response.failed" => {
                let error = form.response.map(|raw| serde_json::from_str::<ResponseForm<'_>>(raw.get())).transpose()?;
                return Ok(Progress::Failed(words(error.and_then(|response| response.error), event.data)));
            }
            "error" => return Ok(Progress::Failed(words(None, event.data))),
            kind if kind.ends_with(".delta") => {
                let part = form.delta.and_then(|raw| serde_json::from_str::<Cow<'_, str>>(raw.get()).ok());
                self.told.out_bytes += part.map_or(0, |part| part.len());
            }
            // Parts that are repeated whole by their item, and what a later version adds.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn take_whole(&mut self, body: &str) -> Result<Progress, serde_json::Error> {
        let response: ResponseForm<'_> = match serde_json::from_str(body) {
            Ok(response) => response,
            Err(error) => return refusal::words(body).map(Progress::Failed).ok_or(error),
        };
        if response.output.is_none() && response.error.is_none() {
            return refusal::words(body)
                .map(Progress::Failed)
                .ok_or_else(|| serde::de::Error::custom("it has no output"));
        }
        self.told.started = true;
        self.whole(response)
    }

    fn told(&self) -> &Told {
        &self.told
    }

    fn finish(self: Box<Self>) -> Assembled {
        let mut content = Vec::new();
        let mut blocks = Vec::new();
        let mut ids = CallIds::default();
        let mut refused = false;
        for (index, raw) in self.items {
            let mut fields: Fields = serde_json::from_str(raw.get()).unwrap_or_default();
            let kind = fields.text("type").unwrap_or_default();
            let (json, block) = match kind.as_str() {
                "message" => {
                    let (text, refusal) = message_text(&fields);
                    refused |= refusal;
                    let text_json = raw_text(&text);
                    let json = format!("{{\"type\":\"text\",\"text\":{},\"raw\":{}}}", text_json.get(), raw.get());
                    (json, if text.trim().is_empty() { Block::Opaque } else { Block::Text(text) })
                }
                "function_call" => {
                    let spare = self.arguments.get(&index).map(String::as_str);
                    function_call(&raw, &mut fields, spare, &mut ids)
                }
                _ => (format!("{{\"type\":\"opaque\",\"raw\":{}}}", raw.get()), Block::Opaque),
            };
            content.push(json);
            blocks.push(block);
        }
        let called = blocks.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let stop = match self.incomplete.as_deref() {
            Some("max_output_tokens" | "max_tokens") => Stop::MaxTokens,
            Some("content_filter") => Stop::ContentFilter,
            Some(other) => Stop::Other(other.to_owned()),
            None if refused => Stop::Refusal { category: None },
            None if called => Stop::ToolUse,
            None => Stop::End,
        };
        Assembled { content, blocks, stop }
    }
}

impl ResponsesAssembly {
    fn name(&mut self, response: &ResponseForm<'_>) {
        let (id, model) = (response.id.as_deref(), response.model.as_deref());
        self.told.name(id, model, response.service_tier.as_deref());
    }

    /// A response that has ended.
    fn whole(&mut self, response: ResponseForm<'_>) -> Result<Progress, serde_json::Error> {
        self.name(&response);
        if let Some(usage) = &response.usage {
            usage.tell(&mut self.told);
        }
        let failed = response.status.as_deref() == Some("failed");
        if failed || response.error.is_some_and(|error| error.get() != "null") {
            return Ok(Progress::Failed(words(response.error, "")));
        }
        if self.items.is_empty() {
            self.items = (0u64..).zip(response.output.unwrap_or_default()).collect();
        }
        let reason = response.incomplete_details.and_then(|details| details.reason);
        let incomplete = response.status.as_deref() == Some("incomplete");
        self.incomplete = reason.or_else(|| incomplete.then(|| "incomplete".to_owned()));
        self.told.started = true;
        Ok(Progress::Complete)
    }
}

/// The words of an error: the object in a response, or the event itself.
fn words(error: Option<&RawValue>, data: &str) -> Words {
    let data = error.map_or_else(|| data.to_owned(), |error| format!("{{\"error\":{}}}", error.get()));
    refusal::words(&data).unwrap_or_else(|| Words { message: data, ..Words::default() })
}

/// The text of a message item, and whether it is a refusal.
fn message_text(fields: &Fields) -> (String, bool) {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        refusal: Option<String>,
    }
    let raw = fields.raw("content").map_or("[]", RawValue::get);
    if let Ok(text) = serde_json::from_str::<String>(raw) {
        return (text, false);
    }
    let parts: Vec<Part> = serde_json::from_str(raw).unwrap_or_default();
    let refused = parts.iter().any(|part| part.refusal.is_some());
    (parts.into_iter().filter_map(|part| part.text.or(part.refusal)).collect(), refused)
}

fn function_call(raw: &RawValue, fields: &mut Fields, spare: Option<&str>, ids: &mut CallIds) -> (String, Block) {
    let mut changed = false;
    let mut arguments = fields.text("arguments").unwrap_or_default();
    if let Some(spare) = spare.filter(|_| arguments.trim().is_empty()) {
        fields.set("arguments", raw_text(spare));
        spare.clone_into(&mut arguments);
        changed = true;
    }
    let told = fields.text("call_id").unwrap_or_default();
    let id = ids.unique(&told);
    if id != told {
        fields.set("call_id", raw_text(&id));
        changed = true;
    }
    let name = fields.text("name").unwrap_or_default();
    let input = object_or_wrapped(&arguments);
    let item = if changed { fields.json() } else { raw.get().to_owned() };
    let (id_json, name_json) = (raw_text(&id), raw_text(&name));
    let json = format!(
        "{{\"type\":\"tool_use\",\"id\":{},\"name\":{},\"input\":{},\"raw\":{item}}}",
        id_json.get(),
        name_json.get(),
        input.get(),
    );
    (json, Block::ToolUse { id, name, input })
}

#[cfg(test)]
mod tests;
