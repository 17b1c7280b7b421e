//! Replies on `/v1/responses`: a stream of numbered events, or a whole response.

use hyper::Response;
use serde_json::{Value, json};

use super::encrypted;
use crate::scripted::exchange::Exchange;
use crate::scripted::journal::Receipt;
use crate::scripted::openai::cached_details;
use crate::scripted::prompt::Wire;
use crate::scripted::script::Block;
use crate::scripted::script::form::Stop;
use crate::scripted::stream::{Body, Piece, pieces, spread, streamed, whole};

/// When every response was made: the same on every day, so that the same request gets the same reply.
const CREATED: u64 = 1_767_225_600;

/// A reply in the making.
struct Writer<'a> {
    exchange: &'a Exchange<'a>,
    events: Vec<Piece>,
    /// Items that are complete.
    output: Vec<Value>,
    /// Output tokens that no event stands for yet.
    owed: u64,
}

/// The reply of a script to a request.
pub(in crate::scripted) fn reply(exchange: &Exchange<'_>, receipt: Receipt) -> Response<Body> {
    let mut writer = Writer { exchange, events: Vec::new(), output: Vec::new(), owed: 0 };
    writer.write();
    let fault = &exchange.chosen.fault;
    if !exchange.prompt.stream || fault.whole {
        let body = writer.response(writer.status());
        return whole(&body, Some(receipt), exchange.out(), fault);
    }
    streamed(writer.events, Wire::Responses, fault, receipt)
}

impl Writer<'_> {
    fn push(&mut self, kind: &str, mut fields: Value, out: u64) {
        fields["type"] = json!(kind);
        fields["sequence_number"] = json!(self.events.len());
        let out = out + std::mem::take(&mut self.owed);
        self.events.push(Piece::named(&fields, out));
    }

    fn status(&self) -> &'static str {
        match self.exchange.chosen.stop() {
            Stop::MaxTokens | Stop::ModelContextWindowExceeded | Stop::Refusal => "incomplete",
            Stop::EndTurn | Stop::ToolUse | Stop::Sequence | Stop::PauseTurn => "completed",
        }
    }

    fn write(&mut self) {
        let begun = self.response("in_progress");
        self.push("response.created", json!({"response": begun}), 0);
        self.push("response.in_progress", json!({"response": begun}), 0);
        if self.exchange.chosen.fault.unknown {
            self.push("response.of_tomorrow", json!({"x": [1]}), 0);
        }
        let blocks = if self.exchange.prompt.prewarm { &[] } else { self.exchange.chosen.blocks.as_slice() };
        for (index, block) in blocks.iter().enumerate() {
            match block {
                Block::Text(text) => self.message(index, text, block.tokens()),
                Block::Thinking(thinking) => self.reasoning(index, thinking, block.tokens()),
                Block::Tool { name, arguments } => self.call(index, name, arguments, block.tokens()),
                // This wire has nothing for them but their price.
                Block::Redacted(_) | Block::Raw(_) => self.owed += block.tokens(),
            }
        }
        if let Some(kind) = &self.exchange.chosen.fault.error_event {
            let message = "the script ends the stream with an error";
            if kind == "response.failed" {
                let mut failed = self.response("failed");
                let code = self.exchange.chosen.fault.code.as_deref().unwrap_or("server_error");
                failed["error"] = json!({"code": code, "message": message});
                return self.push("response.failed", json!({"response": failed}), 0);
            }
            return self.push("error", json!({"code": kind, "message": message, "param": null}), 0);
        }
        let status = self.status();
        let ended = self.response(status);
        self.push(&format!("response.{status}"), json!({"response": ended}), 0);
    }

    /// The response object, with what is complete of it.
    fn response(&self, status: &str) -> Value {
        let exchange = self.exchange;
        let ended = status != "in_progress";
        let reason = match exchange.chosen.stop() {
            Stop::Refusal => "content_filter",
            _ => "max_output_tokens",
        };
        let mut response = json!({
            "id": format!("resp_{}", exchange.id),
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": null,
            "incomplete_details": if status == "incomplete" { json!({"reason": reason}) } else { Value::Null },
            "model": exchange.prompt.model,
            "output": if ended { self.output.as_slice() } else { &[] },
            "previous_response_id": null,
            "temperature": 1.0,
            "top_p": 1.0,
            "truncation": "disabled",
            "metadata": {},
            "usage": if ended { self.usage() } else { Value::Null },
        });
        for (field, value) in &exchange.prompt.echoed {
            if !["encrypted", "store"].contains(field) {
                response[*field] = value.clone();
            }
        }
        response
    }

    fn usage(&self) -> Value {
        let tokens = &self.exchange.tokens;
        let (prompt, out) = (tokens.prompt(), self.exchange.out());
        let mut details = cached_details(tokens);
        details["cache_write_tokens_details"] =
            json!({"ttl_30m_tokens": tokens.written_short, "ttl_12h_tokens": tokens.written_long});
        json!({
            "input_tokens": prompt,
            "input_tokens_details": details,
            "output_tokens": out,
            "output_tokens_details": {"reasoning_tokens": self.exchange.thinking_out()},
            "total_tokens": prompt + out,
        })
    }

    fn message(&mut self, index: usize, text: &str, tokens: u64) {
        let at = self.output.len();
        let id = self.exchange.call_id("msg", index);
        let item = json!({"id": id, "type": "message", "role": "assistant", "status": "in_progress", "content": []});
        self.push("response.output_item.added", json!({"output_index": at, "item": item}), 0);
        let place = json!({"item_id": id, "output_index": at, "content_index": 0});
        let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
        self.push("response.content_part.added", with(&place, &[("part", part(""))]), 0);
        let parts = pieces(text);
        let outs = spread(tokens, parts.len());
        for (piece, out) in parts.into_iter().zip(outs) {
            let fields = with(&place, &[("delta", json!(piece)), ("logprobs", json!([]))]);
            self.push("response.output_text.delta", fields, out);
        }
        let done = with(&place, &[("text", json!(text)), ("logprobs", json!([]))]);
        self.push("response.output_text.done", done, 0);
        self.push("response.content_part.done", with(&place, &[("part", part(text))]), 0);
        let item =
            json!({"id": id, "type": "message", "role": "assistant", "status": "completed", "content": [part(text)]});
        self.done(at, item);
    }

    fn reasoning(&mut self, index: usize, thinking: &str, tokens: u64) {
        let at = self.output.len();
        let id = self.exchange.call_id("rs", index);
        let mut item = json!({"id": id, "type": "reasoning", "summary": []});
        if self.exchange.prompt.echoed.iter().any(|(field, value)| *field == "encrypted" && *value == true) {
            item["encrypted_content"] = json!(encrypted(self.exchange.seed, thinking));
        }
        self.push("response.output_item.added", json!({"output_index": at, "item": item}), 0);
        if self.exchange.prompt.thinking_hidden || thinking.is_empty() {
            self.owed += tokens;
            return self.done(at, item);
        }
        let place = json!({"item_id": id, "output_index": at, "summary_index": 0});
        let part = |text: &str| json!({"type": "summary_text", "text": text});
        self.push("response.reasoning_summary_part.added", with(&place, &[("part", part(""))]), 0);
        let parts = pieces(thinking);
        let outs = spread(tokens, parts.len());
        for (piece, out) in parts.into_iter().zip(outs) {
            self.push("response.reasoning_summary_text.delta", with(&place, &[("delta", json!(piece))]), out);
        }
        self.push("response.reasoning_summary_text.done", with(&place, &[("text", json!(thinking))]), 0);
        self.push("response.reasoning_summary_part.done", with(&place, &[("part", part(thinking))]), 0);
        item["summary"] = json!([part(thinking)]);
        self.done(at, item);
    }

    fn call(&mut self, index: usize, name: &str, arguments: &str, tokens: u64) {
        let at = self.output.len();
        let id = self.exchange.call_id("fc", index);
        let call_id = self.exchange.call_id("call", index);
        let item = |arguments: &str, status: &str| {
            json!({"id": id, "type": "function_call", "call_id": call_id, "name": name,
                "arguments": arguments, "status": status})
        };
        let added = json!({"output_index": at, "item": item("", "in_progress")});
        let parts = pieces(arguments);
        let outs = spread(tokens, parts.len() + 1);
        self.push("response.output_item.added", added, outs[0]);
        let place = json!({"item_id": id, "output_index": at});
        for (piece, out) in parts.into_iter().zip(&outs[1..]) {
            self.push("response.function_call_arguments.delta", with(&place, &[("delta", json!(piece))]), *out);
        }
        let done = with(&place, &[("arguments", json!(arguments))]);
        self.push("response.function_call_arguments.done", done, 0);
        let item = item(arguments, "completed");
        self.done(at, item);
    }

    fn done(&mut self, at: usize, item: Value) {
        self.push("response.output_item.done", json!({"output_index": at, "item": item}), 0);
        self.output.push(item);
    }
}

/// An object with more fields.
fn with(base: &Value, fields: &[(&str, Value)]) -> Value {
    let mut value = base.clone();
    for (field, more) in fields {
        value[*field] = more.clone();
    }
    value
}
