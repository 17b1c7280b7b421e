//! The codec of OpenAI Chat Completions, as the many servers speak it that call themselves compatible.
//!
//! What they do differently is taken without a word: a whole body in place of a stream, calls without index or
//! id, arguments as an object, a missing `[DONE]`, no counts, thoughts under two names, roles and nulls anywhere.
//! A turn calls tools where calls are in it, whatever its `finish_reason` says.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::assemble::{
    Assembled, Assembly, CallIds, Fields, INVALID_INPUT, Progress, Told, object_or_wrapped, raw_json, raw_text,
};
use super::refusal;
use super::sse::Event;
use super::{Block, Stop};

/// The fields that thoughts come in; a server is given them back under the name that it used.
const THOUGHTS: [&str; 2] = ["reasoning_content", "reasoning"];

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct ChatAssembly {
    text: String,
    thoughts: [String; 2],
    refusal: String,
    calls: Vec<Call>,
    finish: Option<String>,
    told: Told,
}

/// A call in the making.
#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// Fields beside those of the wire; some servers want them back.
    extra: Fields,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<UsageFields>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct CallDelta<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Option<FunctionDelta<'a>>,
}

#[derive(Default, Deserialize)]
struct FunctionDelta<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UsageFields {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek's words for the same.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl UsageFields {
    /// The prompt includes what was read from and written to a cache.
    fn tell(&self, told: &mut Told) {
        let details = self.prompt_tokens_details.as_ref();
        let cached = details.and_then(|details| details.cached_tokens).or(self.prompt_cache_hit_tokens).unwrap_or(0);
        let written = details.and_then(|details| details.cache_write_tokens).unwrap_or(0);
        if let Some(prompt) = self.prompt_tokens {
            told.tokens.uncached_in = prompt.saturating_sub(cached).saturating_sub(written);
            told.tokens.cache_read = cached;
            told.tokens.cache_write_short = written;
            told.counted_in = true;
        }
        if let Some(out) = self.completion_tokens {
            told.tokens.out = out;
            told.counted_out = true;
        }
        let reasoning = self.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens);
        told.reasoning_out = reasoning.unwrap_or(told.reasoning_out);
    }
}

impl Assembly for ChatAssembly {
    fn take(&mut self, event: Event<'_>) -> Result<Progress, serde_json::Error> {
        if event.data.trim() == "[DONE]" {
            // A stream that ends before it has begun is one that broke.
            return Ok(if self.told.started { Progress::Complete } else { Progress::More });
        }
        let chunk: Chunk<'_> = match serde_json::from_str(event.data) {
            Ok(chunk) => chunk,
            Err(error) => return refusal::words(event.data).map(Progress::Failed).ok_or(error),
        };
        self.chunk(chunk, event)
    }

    fn take_whole(&mut self, body: &str) -> Result<Progress, serde_json::Error> {
        let event = Event { name: "", data: body };
        match self.take(event)? {
            Progress::More if self.told.started => Ok(Progress::Complete),
            Progress::More => Err(serde::de::Error::custom("it has no choices")),
            other => Ok(other),
        }
    }

    /// Some servers send no `[DONE]`; a finish reason is as good.
    fn ended(&self) -> bool {
        self.finish.is_some()
    }

    fn told(&self) -> &Told {
        &self.told
    }

    fn finish(self: Box<Self>) -> Assembled {
        let mut content = Vec::new();
        let mut blocks = Vec::new();
        for (name, thoughts) in THOUGHTS.into_iter().zip(&self.thoughts) {
            if !thoughts.is_empty() {
                content.push(format!("{{\"type\":\"opaque\",\"raw\":{{\"{name}\":{}}}}}", raw_text(thoughts).get()));
                blocks.push(Block::Opaque);
            }
        }
        let words = if self.text.trim().is_empty() { &self.refusal } else { &self.text };
        if !words.trim().is_empty() {
            content.push(format!("{{\"type\":\"text\",\"text\":{}}}", raw_text(words).get()));
            blocks.push(Block::Text(words.clone()));
        }
        let called = !self.calls.is_empty();
        let mut ids = CallIds::default();
        for call in self.calls {
            let (json, block) = call.finish(&mut ids);
            content.push(json);
            blocks.push(block);
        }
        let stop = match self.finish.as_deref() {
            Some("length") => Stop::MaxTokens,
            Some("content_filter") => Stop::ContentFilter,
            _ if !self.refusal.trim().is_empty() => Stop::Refusal { category: None },
            _ if called => Stop::ToolUse,
            Some("stop" | "tool_calls" | "function_call" | "end_turn" | "eos") | None => Stop::End,
            Some(other) => Stop::Other(other.to_owned()),
        };
        Assembled { content, blocks, stop }
    }
}

impl ChatAssembly {
    fn chunk(&mut self, chunk: Chunk<'_>, event: Event<'_>) -> Result<Progress, serde_json::Error> {
        if chunk.error.is_some_and(|error| error.get() != "null") || event.name == "error" {
            let words = refusal::words(event.data)
                .unwrap_or_else(|| refusal::Words { message: event.data.to_owned(), ..refusal::Words::default() });
            return Ok(Progress::Failed(words));
        }
        if chunk.choices.is_none() && chunk.usage.is_none() {
            // No part of a reply; some servers put the error itself here.
            return Ok(refusal::words(event.data).map_or(Progress::More, Progress::Failed));
        }
        self.told.name(chunk.id.as_deref(), chunk.model.as_deref(), chunk.service_tier.as_deref());
        if let Some(usage) = chunk.usage {
            usage.tell(&mut self.told);
        }
        for choice in chunk.choices.unwrap_or_default() {
            // Only one was asked for.
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            self.told.started = true;
            for delta in [choice.delta, choice.message].into_iter().flatten() {
                self.delta(delta)?;
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish = Some(reason.into_owned());
            }
        }
        Ok(Progress::More)
    }

    fn delta(&mut self, delta: Delta<'_>) -> Result<(), serde_json::Error> {
        let [content, reasoning] = &mut self.thoughts;
        for (grown, part) in [
            (&mut self.text, delta.content),
            (content, delta.reasoning_content),
            (reasoning, delta.reasoning),
            (&mut self.refusal, delta.refusal),
        ] {
            if let Some(part) = part {
                let before = grown.len();
                push_text(grown, part);
                self.told.out_bytes += grown.len() - before;
            }
        }
        for raw in delta.tool_calls.unwrap_or_default() {
            if raw.get() != "null" {
                self.call(raw)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, raw: &RawValue) -> Result<(), serde_json::Error> {
        let delta: CallDelta<'_> = serde_json::from_str(raw.get())?;
        let id = delta.id.unwrap_or_default();
        let function = delta.function.unwrap_or_default();
        let name = function.name.unwrap_or_default();
        let at = match self.find(delta.index, &id, &name) {
            Some(at) => at,
            None => {
                self.calls.push(Call { index: delta.index, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            call.id = id.into_owned();
        }
        if call.name.is_empty() {
            call.name = name.to_string();
        }
        if let Some(arguments) = function.arguments {
            let before = call.arguments.len();
            push_arguments(&mut call.arguments, arguments);
            self.told.out_bytes += call.arguments.len() - before;
        }
        // Fields of another kind come with the first delta of a call, which names it.
        if !name.is_empty() {
            let fields: Fields = serde_json::from_str(raw.get())?;
            let others =
                fields.0.into_iter().filter(|(key, _)| !["index", "id", "type", "function"].contains(&key.as_str()));
            for (key, value) in others {
                call.extra.set(&key, value);
            }
        }
        Ok(())
    }

    /// The call that a delta belongs to; `None` = a new one begins.
    fn find(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let by_index = || self.calls.iter().rposition(|call| index.is_some() && call.index == index);
        if !id.is_empty() {
            if let Some(at) = self.calls.iter().position(|call| call.id == id) {
                // The same id at another place and with a name is another call, whatever its server thinks.
                let other = index.is_some() && self.calls[at].index != index && !name.is_empty();
                return (!other).then_some(at);
            }
            // A new id begins a new call, even at a known index; unless that one has no id yet.
            return by_index().filter(|at| self.calls[*at].id.is_empty() && !self.calls[*at].complete());
        }
        let candidate = match index {
            Some(_) => by_index(),
            None => self.calls.len().checked_sub(1),
        }?;
        // A name after complete arguments (or a second, different name) begins another call.
        let known = &self.calls[candidate];
        let another = !name.is_empty() && !known.name.is_empty() && (known.complete() || known.name != name);
        (!another).then_some(candidate)
    }
}

impl Call {
    /// Are the arguments a whole object?
    fn complete(&self) -> bool {
        self.arguments.trim_end().ends_with('}') && serde_json::from_str::<Fields>(self.arguments.trim()).is_ok()
    }

    /// As it is journaled: `raw` is what goes back to the server, with the arguments as the text that came. Only
    /// arguments that are no object are wrapped: several servers read them, and would refuse every later request.
    fn finish(self, ids: &mut CallIds) -> (String, Block) {
        let id = ids.unique(&self.id);
        let name = if self.name.is_empty() { "unnamed".to_owned() } else { self.name };
        let input = object_or_wrapped(&self.arguments);
        let wrapped = input.get().starts_with(&format!("{{\"{INVALID_INPUT}\""));
        let arguments = if wrapped || self.arguments.trim().is_empty() { input.get() } else { self.arguments.as_str() };
        let mut function = Fields::default();
        function.set("name", raw_text(&name));
        function.set("arguments", raw_text(arguments));
        let mut raw = Fields::default();
        raw.set("id", raw_text(&id));
        raw.set("type", raw_text("function"));
        raw.set("function", raw_json(function.json()));
        for (key, value) in self.extra.0 {
            raw.set(&key, value);
        }
        let json = format!(
            "{{\"type\":\"tool_use\",\"id\":{},\"name\":{},\"input\":{},\"raw\":{}}}",
            raw_text(&id).get(),
            raw_text(&name).get(),
            input.get(),
            raw.json(),
        );
        (json, Block::ToolUse { id, name, input })
    }
}

/// Adds the text of a value: a string, or the text parts of a list.
fn push_text(grown: &mut String, value: &RawValue) {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: String,
    }
    if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(value.get()) {
        grown.push_str(&text);
    } else if let Ok(parts) = serde_json::from_str::<Vec<Part>>(value.get()) {
        for part in parts {
            grown.push_str(&part.text);
        }
    }
}

/// Adds arguments: text as it comes, an object as it is written.
fn push_arguments(grown: &mut String, value: &RawValue) {
    match serde_json::from_str::<Cow<'_, str>>(value.get()) {
        Ok(text) => grown.push_str(&text),
        Err(_) if value.get() == "null" => {}
        Err(_) => grown.push_str(value.get()),
    }
}

#[cfg(test)]
mod tests;
