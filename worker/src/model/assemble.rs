//! One assistant message, put together from the events of a stream.
//!
//! What is echoed in the next request is the text that was received: the fields of a block keep their order
//! and their bytes, and only the field that a delta extends is written again.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wattle_cache::ledger::Tokens;

use super::sse::Event;
use super::{Block, Stop};

/// The only field of the input of a tool call whose JSON was not an object: what the model wrote instead.
pub(crate) const INVALID_INPUT: &str = "invalid_json";

/// What an event changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The message goes on.
    More,
    /// The message is complete.
    Complete,
    /// The stream reports an error.
    Failed {
        /// The provider's name of it.
        code: String,
        /// Its words.
        message: String,
    },
}

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    blocks: BTreeMap<u64, Building>,
    stop: Option<String>,
    usage: UsageFields,
    /// Has `message_start` come?
    pub(super) started: bool,
    /// Has a count of the output come after the start?
    counted: bool,
}

/// A complete message.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) message_json: String,
    pub(super) blocks: Vec<Block>,
    pub(super) stop: Stop,
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

/// The fields of an object in their order, each with its value as it was written.
#[derive(Debug, Default)]
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Fields {
    fn text(&self, key: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(name, _)| name == key)?;
        serde_json::from_str(value.get()).ok()
    }

    fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some(field) => field.1 = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    fn push_to(&self, out: &mut String) {
        out.push('{');
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(name.as_str()).to_string());
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
    }
}

#[derive(Debug, Default, Deserialize)]
struct UsageFields {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

#[derive(Debug, Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
}

impl UsageFields {
    /// Counts are cumulative: those that are given replace those before.
    fn overwrite(&mut self, newer: UsageFields) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens = newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation = newer.cache_creation.or(self.cache_creation.take());
    }

    fn tokens(&self) -> Tokens {
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let long = self.cache_creation.as_ref().map_or(0, |split| split.ephemeral_1h_input_tokens);
        Tokens {
            uncached_in: self.input_tokens.unwrap_or(0),
            cache_read: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_short: written.saturating_sub(long),
            cache_write_long: long.min(written),
            out: self.output_tokens.unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
struct MessageStart {
    message: StartedMessage,
}

#[derive(Deserialize)]
struct StartedMessage {
    #[serde(default)]
    usage: UsageFields,
}

#[derive(Deserialize)]
struct BlockStart {
    index: u64,
    content_block: Fields,
}

#[derive(Deserialize)]
struct BlockDelta {
    index: u64,
    delta: Fields,
}

#[derive(Deserialize)]
struct MessageDelta {
    delta: StopFields,
    #[serde(default)]
    usage: UsageFields,
}

#[derive(Deserialize)]
struct StopFields {
    stop_reason: Option<String>,
}

/// The body of an error, in a response or in a stream.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: ErrorFields,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorFields {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) details: Option<ErrorDetails>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorDetails {
    #[serde(default)]
    pub(super) error_code: Option<String>,
}

#[derive(Deserialize)]
struct WholeMessage {
    content: Vec<Fields>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: UsageFields,
}

impl Assembly {
    /// Takes the next event. Events of a kind this version does not know change nothing.
    pub(super) fn take(&mut self, event: &Event) -> Result<Progress, serde_json::Error> {
        match event.name.as_str() {
            "message_start" => {
                let start: MessageStart = serde_json::from_str(&event.data)?;
                self.usage.overwrite(start.message.usage);
                self.started = true;
            }
            "content_block_start" => {
                let start: BlockStart = serde_json::from_str(&event.data)?;
                self.blocks.insert(start.index, Building::new(start.content_block));
            }
            "content_block_delta" => {
                let delta: BlockDelta = serde_json::from_str(&event.data)?;
                if let Some(block) = self.blocks.get_mut(&delta.index) {
                    block.extend(&delta.delta);
                }
            }
            "message_delta" => {
                let delta: MessageDelta = serde_json::from_str(&event.data)?;
                self.counted |= delta.usage.output_tokens.is_some();
                self.usage.overwrite(delta.usage);
                self.stop = delta.delta.stop_reason.or(self.stop.take());
            }
            "message_stop" => return Ok(Progress::Complete),
            "error" => {
                let body: ErrorBody = serde_json::from_str(&event.data)?;
                return Ok(Progress::Failed { code: body.error.kind, message: body.error.message });
            }
            // `ping`, `content_block_stop`, and what a later version adds.
            _ => {}
        }
        Ok(Progress::More)
    }

    /// Takes a message that came whole, as some gateways answer a request for a stream.
    pub(super) fn take_whole(&mut self, body: &str) -> Result<(), serde_json::Error> {
        let whole: WholeMessage = serde_json::from_str(body)?;
        self.counted = whole.usage.output_tokens.is_some();
        self.usage.overwrite(whole.usage);
        self.started = true;
        self.stop = whole.stop_reason;
        for (index, fields) in (0u64..).zip(whole.content) {
            self.blocks.insert(index, Building::new(fields));
        }
        Ok(())
    }

    /// Tokens as far as they were reported.
    pub(super) fn tokens(&self) -> Tokens {
        self.usage.tokens()
    }

    /// Are all counts the provider's own?
    pub(super) fn exact(&self) -> bool {
        self.started && self.counted
    }

    /// The message; only after its terminal event.
    pub(super) fn finish(self) -> Assembled {
        let mut message_json = "{\"role\":\"assistant\",\"content\":[".to_owned();
        let mut blocks = Vec::new();
        for (_, building) in self.blocks {
            let (fields, block) = building.finish();
            // The provider refuses blank text in a request, so it must not get into the history.
            if matches!(&block, Block::Text(text) if text.trim().is_empty()) {
                continue;
            }
            if !blocks.is_empty() {
                message_json.push(',');
            }
            fields.push_to(&mut message_json);
            blocks.push(block);
        }
        message_json.push_str("]}");
        let stop = match self.stop.as_deref() {
            Some("end_turn") | None => Stop::End,
            Some("max_tokens") => Stop::MaxTokens,
            Some("tool_use") => Stop::ToolUse,
            Some("stop_sequence") => Stop::StopSequence,
            Some("refusal") => Stop::Refusal,
            Some("pause_turn") => Stop::Pause,
            Some("model_context_window_exceeded") => Stop::ContextFull,
            Some(other) => Stop::Other(other.to_owned()),
        };
        Assembled { message_json, blocks, stop }
    }
}

impl Building {
    fn new(fields: Fields) -> Building {
        let kind = fields.text("type").unwrap_or_default();
        let text = fields.text("text").unwrap_or_default();
        let thinking = fields.text("thinking").unwrap_or_default();
        Building { fields, kind, text, input: String::new(), thinking, signature: None, citations: Vec::new() }
    }

    fn extend(&mut self, delta: &Fields) {
        match delta.text("type").unwrap_or_default().as_str() {
            "text_delta" => self.text.push_str(&delta.text("text").unwrap_or_default()),
            "input_json_delta" => self.input.push_str(&delta.text("partial_json").unwrap_or_default()),
            "thinking_delta" => self.thinking.push_str(&delta.text("thinking").unwrap_or_default()),
            // It comes whole: the last one counts.
            "signature_delta" => self.signature = delta.text("signature").or(self.signature.take()),
            "citations_delta" => self.citations.extend(delta.raw("citation").map(ToOwned::to_owned)),
            _ => {}
        }
    }

    fn finish(self) -> (Fields, Block) {
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
                let given = if self.input.trim().is_empty() {
                    fields.raw("input").map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned())
                } else {
                    self.input
                };
                let input = object_or_wrapped(given);
                fields.set("input", input.clone());
                let block = Block::ToolUse {
                    id: fields.text("id").unwrap_or_default(),
                    name: fields.text("name").unwrap_or_default(),
                    input,
                };
                (fields, block)
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

/// The text as it is where it is a JSON object; otherwise an object that holds it.
fn object_or_wrapped(given: String) -> Box<RawValue> {
    if serde_json::from_str::<Fields>(&given).is_ok() {
        return raw_json(given.trim().to_owned());
    }
    raw_json(serde_json::json!({ INVALID_INPUT: given }).to_string())
}

fn raw_text(text: &str) -> Box<RawValue> {
    raw_json(serde_json::Value::from(text).to_string())
}

fn raw_json(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("the callers pass what was parsed or written as JSON")
}

#[cfg(test)]
mod tests;
