//! The codec of Anthropic Messages: named events, blocks by index, counts that are cumulative.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::assemble::{Assembled, Assembly, CallIds, Fields, Progress, Told, object_or_wrapped, raw_json, raw_text};
use super::refusal::{self, Words};
use super::sse::Event;
use super::{Block, Stop};

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct AnthropicAssembly {
    blocks: BTreeMap<u64, Building>,
    stop: Option<String>,
    category: Option<String>,
    usage: UsageFields,
    told: Told,
}

#[derive(Debug)]
struct Building {
    fields: Fields,
    kind: String,
    text: String,
    input: String,
    thinking: String,
    signature: Option<String>,
    citations: Vec<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
struct UsageFields {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
    service_tier: Option<String>,
}

#[derive(Debug, Deserialize)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl UsageFields {
    /// Counts are cumulative: those that are given replace those before.
    fn overwrite(&mut self, newer: UsageFields) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens = newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation = newer.cache_creation.or(self.cache_creation.take());
        self.output_tokens_details = newer.output_tokens_details.or(self.output_tokens_details.take());
        self.service_tier = newer.service_tier.or(self.service_tier.take());
    }

    fn tell(&self, told: &mut Told) {
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let long = self.cache_creation.as_ref().and_then(|split| split.ephemeral_1h_input_tokens).unwrap_or(0);
        told.tokens.uncached_in = self.input_tokens.unwrap_or(0);
        told.tokens.cache_read = self.cache_read_input_tokens.unwrap_or(0);
        told.tokens.cache_write_short = written.saturating_sub(long);
        told.tokens.cache_write_long = long.min(written);
        told.tokens.out = self.output_tokens.unwrap_or(0);
        told.reasoning_out =
            self.output_tokens_details.as_ref().and_then(|details| details.thinking_tokens).unwrap_or(0);
        told.counted_in = self.input_tokens.is_some();
        told.name(None, None, self.service_tier.as_deref());
    }
}

#[derive(Deserialize)]
struct MessageStart<'a> {
    #[serde(borrow)]
    message: StartedMessage<'a>,
}

#[derive(Deserialize)]
struct StartedMessage<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<UsageFields>,
}

#[derive(Deserialize)]
struct BlockStart {
    index: u64,
    content_block: Fields,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    index: u64,
    #[serde(borrow)]
    delta: Delta<'a>,
}

/// The deltas of all kinds of blocks; a field is there with its kind.
#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    citation: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct MessageDelta {
    delta: StopFields,
    usage: Option<UsageFields>,
}

#[derive(Deserialize)]
struct StopFields {
    stop_reason: Option<String>,
    stop_details: Option<StopDetails>,
}

#[derive(Deserialize)]
struct StopDetails {
    category: Option<String>,
}

#[derive(Deserialize)]
struct WholeMessage {
    id: Option<String>,
    model: Option<String>,
    content: Vec<Fields>,
    stop_reason: Option<String>,
    stop_details: Option<StopDetails>,
    usage: Option<UsageFields>,
}

/// The kind of an event whose stream names none.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Assembly for AnthropicAssembly {
    fn take(&mut self, event: Event<'_>) -> Result<Progress, serde_json::Error> {
        let kind = if event.name.is_empty() {
            serde_json::from_str::<Kind<'_>>(event.data)?.kind
        } else {
            Cow::Borrowed(event.name)
        };
        match kind.as_ref() {
            "message_start" => {
                let start: MessageStart<'_> = serde_json::from_str(event.data)?;
                let message = start.message;
                self.told.name(message.id.as_deref(), message.model.as_deref(), None);
                self.usage.overwrite(message.usage.unwrap_or_default());
                self.usage.tell(&mut self.told);
                self.told.started = true;
            }
            "content_block_start" => {
                let start: BlockStart = serde_json::from_str(event.data)?;
                let block = Building::new(start.content_block);
                self.told.out_bytes += block.text.len() + block.thinking.len();
                self.blocks.insert(start.index, block);
                self.told.started = true;
            }
            "content_block_delta" => {
                let delta: BlockDelta<'_> = serde_json::from_str(event.data)?;
                if let Some(block) = self.blocks.get_mut(&delta.index) {
                    self.told.out_bytes += block.extend(delta.delta);
                }
            }
            "message_delta" => {
                let delta: MessageDelta = serde_json::from_str(event.data)?;
                let usage = delta.usage.unwrap_or_default();
                self.told.counted_out |= usage.output_tokens.is_some();
                self.usage.overwrite(usage);
                self.usage.tell(&mut self.told);
                self.stop = delta.delta.stop_reason.or(self.stop.take());
                self.category = delta.delta.stop_details.and_then(|details| details.category).or(self.category.take());
            }
            "message_stop" => return Ok(Progress::Complete),
            "error" => return Ok(Progress::Failed(words(event.data))),
            // `ping`, `content_block_stop`, and what a later version adds.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn take_whole(&mut self, body: &str) -> Result<Progress, serde_json::Error> {
        let whole: WholeMessage = match serde_json::from_str(body) {
            Ok(whole) => whole,
            Err(error) => return refusal::words(body).map(Progress::Failed).ok_or(error),
        };
        let usage = whole.usage.unwrap_or_default();
        self.told.name(whole.id.as_deref(), whole.model.as_deref(), None);
        self.told.counted_out = usage.output_tokens.is_some();
        self.usage.overwrite(usage);
        self.usage.tell(&mut self.told);
        self.told.started = true;
        self.stop = whole.stop_reason;
        self.category = whole.stop_details.and_then(|details| details.category);
        for (index, fields) in (0u64..).zip(whole.content) {
            let block = Building::new(fields);
            self.told.out_bytes += block.text.len() + block.thinking.len();
            self.blocks.insert(index, block);
        }
        Ok(Progress::Complete)
    }

    fn told(&self) -> &Told {
        &self.told
    }

    fn finish(self: Box<Self>) -> Assembled {
        let mut content = Vec::new();
        let mut blocks = Vec::new();
        let mut ids = CallIds::default();
        for building in self.blocks.into_values() {
            let (fields, block) = building.finish(&mut ids);
            // The provider refuses blank text in a request, so it must not get into the history.
            if matches!(&block, Block::Text(text) if text.trim().is_empty()) {
                continue;
            }
            content.push(fields.json());
            blocks.push(block);
        }
        let stop = match self.stop.as_deref() {
            Some("end_turn") | None => Stop::End,
            Some("max_tokens") => Stop::MaxTokens,
            Some("tool_use") => Stop::ToolUse,
            Some("stop_sequence") => Stop::StopSequence,
            Some("refusal") => Stop::Refusal { category: self.category },
            Some("pause_turn") => Stop::Pause,
            Some("model_context_window_exceeded") => Stop::ContextFull,
            Some(other) => Stop::Other(other.to_owned()),
        };
        Assembled { content, blocks, stop }
    }
}

/// The words of an error event, whatever it holds.
fn words(data: &str) -> Words {
    refusal::words(data).unwrap_or_else(|| Words { message: data.to_owned(), ..Words::default() })
}

impl Building {
    fn new(fields: Fields) -> Building {
        let kind = fields.text("type").unwrap_or_default();
        let text = fields.text("text").unwrap_or_default();
        let thinking = fields.text("thinking").unwrap_or_default();
        Building { fields, kind, text, input: String::new(), thinking, signature: None, citations: Vec::new() }
    }

    /// Takes a delta and gives the bytes of output that it brought.
    fn extend(&mut self, delta: Delta<'_>) -> usize {
        let (grown, part) = match delta.kind.as_ref() {
            "text_delta" => (&mut self.text, delta.text),
            "input_json_delta" => (&mut self.input, delta.partial_json),
            "thinking_delta" => (&mut self.thinking, delta.thinking),
            // It comes whole: the last one counts.
            "signature_delta" => {
                self.signature = delta.signature.map(Cow::into_owned).or(self.signature.take());
                return 0;
            }
            "citations_delta" => {
                self.citations.extend(delta.citation);
                return 0;
            }
            _ => return 0,
        };
        let part = part.unwrap_or_default();
        grown.push_str(&part);
        part.len()
    }

    fn finish(self, ids: &mut CallIds) -> (Fields, Block) {
        let mut fields = self.fields;
        match self.kind.as_str() {
            "text" => {
                fields.set("text", raw_text(&self.text));
                if !self.citations.is_empty() {
                    let all: Vec<&str> = self.citations.iter().map(|one| one.get()).collect();
                    fields.set("citations", raw_json(format!("[{}]", all.join(","))));
                }
                (fields, Block::Text(self.text))
            }
            "tool_use" => {
                let given = match fields.raw("input").filter(|_| self.input.trim().is_empty()) {
                    Some(start) => start.get().to_owned(),
                    None => self.input,
                };
                let input = object_or_wrapped(&given);
                fields.set("input", input.clone());
                let told = fields.text("id").unwrap_or_default();
                let id = ids.unique(&told);
                if id != told {
                    fields.set("id", raw_text(&id));
                }
                let name = fields.text("name").unwrap_or_default();
                (fields, Block::ToolUse { id, name, input })
            }
            "thinking" => {
                fields.set("thinking", raw_text(&self.thinking));
                if let Some(signature) = self.signature {
                    fields.set("signature", raw_text(&signature));
                }
                (fields, Block::Opaque)
            }
            _ => (fields, Block::Opaque),
        }
    }
}

#[cfg(test)]
mod tests;
