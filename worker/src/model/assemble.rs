//! What every wire's codec does: put one assistant message together from the events of a stream.
//!
//! What is echoed in the next request is the text that was received: the fields of a block keep their order
//! and their bytes, and only the field that a delta extends is written again. A message counts only after its
//! terminal event; until then it exists nowhere but here.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wattle_cache::ledger::Tokens;
use wattle_cache::prefix::Codec;

use super::anthropic::AnthropicAssembly;
use super::openai_chat::ChatAssembly;
use super::openai_responses::ResponsesAssembly;
use super::refusal::Words;
use super::sse::Event;
use super::{Block, Stop};

/// The only field of the input of a tool call whose JSON was not an object: what the model wrote instead.
pub(crate) const INVALID_INPUT: &str = "invalid_json";

/// Bytes of output that are a token, for estimates: the newer tokenizers give about 3.5.
const BYTES_PER_TOKEN: f64 = 3.5;

/// What an event changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The message goes on.
    More,
    /// The message is complete.
    Complete,
    /// The stream reports an error.
    Failed(Words),
}

/// What a reply has told of itself so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Has anything of the reply come?
    pub(super) started: bool,
    /// Tokens as far as they were reported, in the terms of the ledger.
    pub(super) tokens: Tokens,
    /// Those of the output that are reasoning.
    pub(super) reasoning_out: u64,
    /// Has the input been counted?
    pub(super) counted_in: bool,
    /// Has the whole output been counted?
    pub(super) counted_out: bool,
    /// Bytes of output that have come, for an estimate.
    pub(super) out_bytes: usize,
    /// The provider's id of the message.
    pub(super) id: Option<String>,
    /// The model that answers, by its own word.
    pub(super) served: Option<String>,
    /// Service tier.
    pub(super) tier: Option<String>,
}

impl Told {
    /// The tokens of the attempt, and whether all counts are the provider's own. What was not counted is
    /// estimated: the input from the size of the request, the output from what came.
    pub(super) fn usage(&self, request_bytes: usize) -> (Tokens, bool) {
        let mut tokens = self.tokens;
        if !self.counted_in {
            tokens.uncached_in = estimate(request_bytes);
        }
        if !self.counted_out {
            tokens.out = tokens.out.max(estimate(self.out_bytes));
        }
        (tokens, self.counted_in && self.counted_out)
    }

    /// Keeps the first word on a field.
    pub(super) fn name(&mut self, id: Option<&str>, served: Option<&str>, tier: Option<&str>) {
        for (known, new) in [(&mut self.id, id), (&mut self.served, served), (&mut self.tier, tier)] {
            if let Some(new) = new.filter(|new| !new.is_empty() && known.is_none()) {
                *known = Some(new.to_owned());
            }
        }
    }
}

fn estimate(bytes: usize) -> u64 {
    (bytes as f64 / BYTES_PER_TOKEN).ceil() as u64
}

/// A message in the making, on one wire.
pub(super) trait Assembly: Send {
    /// Takes the next event. Events, blocks and fields of a kind this version does not know change nothing.
    ///
    /// # Errors
    /// Fails where an event that is known is not as it has to be.
    fn take(&mut self, event: Event<'_>) -> Result<Progress, serde_json::Error>;

    /// Takes a message that came whole, as some gateways answer a request for a stream.
    ///
    /// # Errors
    /// Fails where it is no message of this wire.
    fn take_whole(&mut self, body: &str) -> Result<Progress, serde_json::Error>;

    /// The stream has ended without its terminal event: is the message complete nevertheless?
    fn ended(&self) -> bool {
        false
    }

    /// What the reply has told of itself.
    fn told(&self) -> &Told;

    /// The message; only after its terminal event.
    fn finish(self: Box<Self>) -> Assembled;
}

/// An empty message of a wire.
pub(super) fn assembly(codec: Codec) -> Box<dyn Assembly> {
    match codec {
        Codec::AnthropicMessages => Box::<AnthropicAssembly>::default(),
        Codec::OpenaiChat => Box::<ChatAssembly>::default(),
        Codec::OpenaiResponses => Box::<ResponsesAssembly>::default(),
    }
}

/// A complete message.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Its blocks as they are journaled and echoed, JSON texts.
    pub(super) content: Vec<String>,
    /// The same blocks, as far as the loop has to know them.
    pub(super) blocks: Vec<Block>,
    pub(super) stop: Stop,
}

/// The fields of an object in their order, each with its value as it was written.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, Box<RawValue>)>);

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
    /// The text of a field that holds a string.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }

    pub(super) fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    pub(super) fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some(field) => field.1 = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(super) fn json(&self) -> String {
        let mut out = "{".to_owned();
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(name.as_str()).to_string());
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        out
    }
}

/// The text as it is where it is a JSON object; otherwise an object that holds it.
pub(super) fn object_or_wrapped(given: &str) -> Box<RawValue> {
    let trimmed = given.trim();
    if trimmed.is_empty() {
        return raw_json("{}".to_owned());
    }
    if serde_json::from_str::<Fields>(trimmed).is_ok() {
        return raw_json(trimmed.to_owned());
    }
    raw_json(serde_json::json!({ INVALID_INPUT: given }).to_string())
}

/// A string as JSON.
pub(super) fn raw_text(text: &str) -> Box<RawValue> {
    raw_json(serde_json::Value::from(text).to_string())
}

/// JSON text that was parsed or written as JSON.
pub(super) fn raw_json(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("the callers pass what was parsed or written as JSON")
}

/// Ids of the calls of one message, each given once: two calls with one id could not be answered.
#[derive(Debug, Default)]
pub(super) struct CallIds(std::collections::BTreeSet<String>);

impl CallIds {
    /// The id where it is new and not empty, else a new one.
    pub(super) fn unique(&mut self, id: &str) -> String {
        let mut given = id.to_owned();
        let mut number = self.0.len();
        while given.is_empty() || !self.0.insert(given.clone()) {
            given = if id.is_empty() { format!("call_{number}") } else { format!("{id}_{number}") };
            number += 1;
        }
        given
    }
}

#[cfg(test)]
pub(super) mod recorded;

#[cfg(test)]
mod tests {
    use super::{CallIds, Told, object_or_wrapped};

    #[test]
    fn an_input_that_is_no_object_is_wrapped() {
        for (given, expected) in [
            ("{\"b\": 1.0, \"a\":1e2} ", "{\"b\": 1.0, \"a\":1e2}"),
            ("", "{}"),
            ("{\"a\":", "{\"invalid_json\":\"{\\\"a\\\":\"}"),
            ("[1]", "{\"invalid_json\":\"[1]\"}"),
            ("null", "{\"invalid_json\":\"null\"}"),
        ] {
            assert_eq!(object_or_wrapped(given).get(), expected);
        }
    }

    #[test]
    fn call_ids_are_unique() {
        let mut ids = CallIds::default();
        let given: Vec<String> = ["a", "", "a", "", "call_1", "a"].iter().map(|id| ids.unique(id)).collect();
        assert_eq!(given, ["a", "call_1", "a_2", "call_3", "call_1_4", "a_5"]);
    }

    #[test]
    fn what_was_not_counted_is_estimated() {
        let mut told = Told { out_bytes: 7, ..Told::default() };
        let (tokens, exact) = told.usage(350);
        assert_eq!((tokens.uncached_in, tokens.out, exact), (100, 2, false));
        told.counted_in = true;
        told.tokens.uncached_in = 90;
        assert_eq!(told.usage(350).0.uncached_in, 90);
        told.counted_out = true;
        told.tokens.out = 1;
        let (tokens, exact) = told.usage(350);
        assert_eq!((tokens.out, exact), (1, true));
    }
}
