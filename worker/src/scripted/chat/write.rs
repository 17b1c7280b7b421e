//! Replies on `/v1/chat/completions`: a stream of chunks, or a whole completion.

use hyper::Response;
use serde_json::{Value, json};

use crate::scripted::exchange::Exchange;
use crate::scripted::journal::Receipt;
use crate::scripted::openai::cached_details;
use crate::scripted::prompt::Wire;
use crate::scripted::script::form::{Quirk, Stop};
use crate::scripted::script::{Block, Settings};
use crate::scripted::stream::{Body, Piece, pieces, spread, streamed, whole};
use crate::scripted::traits::{Rule, traits};

/// When every completion was made: the same on every day, so that the same request gets the same reply.
const CREATED: u64 = 1_767_225_600;

/// A reply in the making.
struct Writer<'a> {
    exchange: &'a Exchange<'a>,
    quirks: Vec<Quirk>,
    /// Does the server report hits and misses, as DeepSeek's does?
    units: bool,
    events: Vec<Piece>,
    /// Output tokens that no chunk stands for yet.
    owed: u64,
}

/// The reply of a script to a request.
pub(in crate::scripted) fn reply(exchange: &Exchange<'_>, settings: &Settings, receipt: Receipt) -> Response<Body> {
    let quirks = settings.quirks.iter().chain(&exchange.chosen.quirks).copied().collect();
    let rule = traits(&settings.models, Wire::Chat, &exchange.prompt.model).rule;
    let mut writer = Writer { exchange, quirks, units: rule == Rule::Units, events: Vec::new(), owed: 0 };
    if !exchange.prompt.stream || exchange.chosen.fault.whole {
        return whole(&writer.completion(), Some(receipt), exchange.out(), &exchange.chosen.fault);
    }
    writer.stream();
    let mut fault = exchange.chosen.fault.clone();
    if writer.has(Quirk::Comments) {
        fault.pings = fault.pings.max(1);
    }
    streamed(writer.events, Wire::Chat, &fault, receipt)
}

impl Writer<'_> {
    fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    fn calls(&self) -> impl Iterator<Item = (usize, &Block)> {
        let blocks = self.exchange.chosen.blocks.iter().enumerate();
        blocks.filter(|(_, block)| matches!(block, Block::Tool { .. }))
    }

    fn finish_reason(&self) -> &'static str {
        match self.exchange.chosen.stop() {
            Stop::ToolUse if self.has(Quirk::StopWithTools) => "stop",
            Stop::ToolUse => "tool_calls",
            Stop::EndTurn | Stop::Sequence | Stop::PauseTurn => "stop",
            Stop::MaxTokens | Stop::ModelContextWindowExceeded => "length",
            Stop::Refusal => "content_filter",
        }
    }

    fn id(&self, index: usize) -> String {
        if self.has(Quirk::EmptyId) { String::new() } else { self.exchange.call_id("call", index) }
    }

    fn arguments(&self, arguments: &str) -> Value {
        if self.has(Quirk::ObjectArguments) {
            serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments))
        } else {
            json!(arguments)
        }
    }

    fn usage(&self) -> Value {
        let tokens = &self.exchange.tokens;
        let (prompt, out) = (tokens.prompt(), self.exchange.out());
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": out,
            "total_tokens": prompt + out,
            "prompt_tokens_details": cached_details(tokens),
            "completion_tokens_details": {"reasoning_tokens": self.exchange.thinking_out()},
        });
        if self.units {
            usage["prompt_cache_hit_tokens"] = json!(tokens.read);
            usage["prompt_cache_miss_tokens"] = json!(prompt - tokens.read);
        }
        usage
    }

    fn text(&self) -> String {
        let texts = self.exchange.chosen.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The name of the field that thinking comes in.
    fn reasoning(&self) -> &'static str {
        if self.has(Quirk::Reasoning) { "reasoning" } else { "reasoning_content" }
    }

    fn completion(&self) -> Value {
        let text = self.text();
        let empty = if self.has(Quirk::EmptyContent) { json!("") } else { Value::Null };
        let mut message = json!({
            "role": "assistant",
            "content": if text.is_empty() { empty } else { json!(text) },
            "refusal": null,
        });
        for block in &self.exchange.chosen.blocks {
            if let Block::Thinking(thinking) = block {
                message[self.reasoning()] = json!(thinking);
            }
        }
        let calls = self.calls().map(|(index, block)| {
            let Block::Tool { name, arguments } = block else { unreachable!("only calls are listed") };
            json!({"id": self.id(index), "type": "function",
                "function": {"name": name, "arguments": self.arguments(arguments)}})
        });
        let calls: Vec<Value> = calls.collect();
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason()});
        let mut completion = self.envelope("chat.completion", json!([choice]));
        if !self.has(Quirk::NoUsage) {
            completion["usage"] = self.usage();
        }
        completion
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        let mut value = json!({
            "id": format!("chatcmpl-{}", self.exchange.id),
            "object": object,
            "created": CREATED,
            "model": self.exchange.prompt.model,
            "service_tier": "default",
            "system_fingerprint": "fp_script",
            "choices": choices,
        });
        if self.has(Quirk::UnknownFields) {
            value["of_tomorrow"] = json!({"x": [1]});
        }
        value
    }

    fn push(&mut self, mut delta: Value, finish: Option<&str>, out: u64) {
        if self.has(Quirk::RepeatedRole) {
            delta["role"] = json!("assistant");
        }
        if self.has(Quirk::NullContent) && delta.get("content").is_none() {
            delta["content"] = Value::Null;
        }
        if self.has(Quirk::EmptyContent) && delta.get("content").is_none() {
            delta["content"] = json!("");
        }
        if self.has(Quirk::UnknownFields) {
            delta["of_tomorrow"] = json!(true);
        }
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        let mut chunk = self.envelope("chat.completion.chunk", json!([choice]));
        if self.exchange.prompt.usage_wanted && !self.has(Quirk::NoUsage) {
            chunk["usage"] = Value::Null;
        }
        let out = out + std::mem::take(&mut self.owed);
        self.events.push(Piece::data(&chunk.to_string(), out));
    }

    fn stream(&mut self) {
        let first = if self.has(Quirk::NullContent) { Value::Null } else { json!("") };
        self.push(json!({"role": "assistant", "content": first, "refusal": null}), None, 0);
        if self.exchange.chosen.fault.unknown {
            let unknown = self.envelope("of.tomorrow", json!([]));
            self.events.push(Piece::data(&unknown.to_string(), 0));
        }
        let mut calls = 0;
        for (index, block) in self.exchange.chosen.blocks.iter().enumerate() {
            match block {
                Block::Text(text) => self.texts("content", text, block.tokens()),
                Block::Thinking(thinking) => self.texts(self.reasoning(), thinking, block.tokens()),
                Block::Tool { name, arguments } => {
                    self.call((index, calls), name, arguments, block.tokens());
                    calls += 1;
                }
                // This wire has nothing for them but their price.
                Block::Redacted(_) | Block::Raw(_) => self.owed += block.tokens(),
            }
        }
        if let Some(kind) = &self.exchange.chosen.fault.error_event {
            let code = &self.exchange.chosen.fault.code;
            let error = json!({"message": "the script ends the stream with an error", "type": kind, "param": null, "code": code});
            self.events.push(Piece::data(&json!({"error": error}).to_string(), 0));
            return;
        }
        if self.has(Quirk::NoFinish) {
            return;
        }
        self.push(json!({}), Some(self.finish_reason()), 0);
        if self.exchange.prompt.usage_wanted && !self.has(Quirk::NoUsage) {
            let mut chunk = self.envelope("chat.completion.chunk", json!([]));
            chunk["usage"] = self.usage();
            self.events.push(Piece::data(&chunk.to_string(), 0));
        }
        if !self.has(Quirk::NoDone) {
            self.events.push(Piece::data("[DONE]", 0));
        }
    }

    fn texts(&mut self, field: &str, text: &str, tokens: u64) {
        let parts = pieces(text);
        if parts.is_empty() {
            self.owed += tokens;
        }
        let outs = spread(tokens, parts.len());
        for (part, out) in parts.into_iter().zip(outs) {
            let mut delta = json!({});
            delta[field] = json!(part);
            self.push(delta, None, out);
        }
    }

    fn call(&mut self, (index, number): (usize, usize), name: &str, arguments: &str, tokens: u64) {
        let whole = self.has(Quirk::ObjectArguments);
        let parts = if whole { Vec::new() } else { pieces(arguments) };
        let outs = spread(tokens, parts.len() + 1);
        let id = self.id(index);
        let first = if whole { self.arguments(arguments) } else { json!("") };
        let mut start = json!({"id": id, "type": "function", "function": {"name": name, "arguments": first}});
        self.place(&mut start, number);
        self.push(json!({"tool_calls": [start]}), None, outs[0]);
        for (part, out) in parts.into_iter().zip(&outs[1..]) {
            let mut piece = json!({"function": {"arguments": part}});
            if self.has(Quirk::RepeatedId) {
                piece["id"] = json!(id);
            }
            self.place(&mut piece, number);
            self.push(json!({"tool_calls": [piece]}), None, *out);
        }
    }

    fn place(&self, call: &mut Value, number: usize) {
        if !self.has(Quirk::NoIndex) {
            call["index"] = json!(if self.has(Quirk::ZeroIndex) { 0 } else { number });
        }
    }
}
