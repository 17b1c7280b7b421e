//! Replies on `/v1/messages`: a stream of events, or a whole message.

use hyper::Response;
use serde_json::{Value, json};

use crate::scripted::exchange::Exchange;
use crate::scripted::fields::Object;
use crate::scripted::journal::Receipt;
use crate::scripted::prompt::Wire;
use crate::scripted::script::Block;
use crate::scripted::script::form::Stop;
use crate::scripted::seal::Seal;
use crate::scripted::stream::{Body, Piece, pieces, spread, streamed, whole};

/// The reply of a script to a request.
pub(in crate::scripted) fn reply(exchange: &Exchange<'_>, seal: Seal, receipt: Receipt) -> Response<Body> {
    let blocks = blocks(exchange, seal);
    let stop = exchange.chosen.stop();
    let stop_details = (stop == Stop::Refusal)
        .then(|| json!({"type": "refusal", "category": exchange.chosen.category, "explanation": null}));
    let mut message = json!({
        "id": format!("msg_{}", exchange.id),
        "type": "message",
        "role": "assistant",
        "model": exchange.prompt.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(exchange),
    });
    if !exchange.prompt.stream || exchange.chosen.fault.whole {
        let out = exchange.out();
        message["stop_reason"] = Value::from(if exchange.prompt.prewarm { "max_tokens" } else { stop.word() });
        message["stop_details"] = json!(stop_details);
        message["usage"]["output_tokens"] = Value::from(out);
        message["usage"]["output_tokens_details"] = json!({"thinking_tokens": exchange.thinking_out()});
        if !exchange.prompt.prewarm {
            message["content"] = Value::from(blocks);
        }
        return whole(&message, Some(receipt), out, &exchange.chosen.fault);
    }
    let mut events = vec![
        Piece::named(&json!({"type": "message_start", "message": message}), 0),
        Piece::named(&json!({"type": "ping"}), 0),
    ];
    if exchange.chosen.fault.unknown {
        events.push(Piece::named(&json!({"type": "of_tomorrow", "index": 0, "delta": {"type": "?"}}), 0));
    }
    for (index, block) in blocks.into_iter().enumerate() {
        push_block(&mut events, index, block, &exchange.chosen.blocks[index]);
    }
    match &exchange.chosen.fault.error_event {
        Some(kind) => {
            let message = "the script ends the stream with an error";
            let mut error = json!({"type": kind, "message": message});
            if let Some(code) = &exchange.chosen.fault.code {
                error["details"] = json!({"error_code": code});
            }
            events
                .push(Piece::named(&json!({"type": "error", "error": error, "request_id": exchange.request_id()}), 0));
        }
        None => {
            let mut delta = json!({"stop_reason": stop.word(), "stop_sequence": null});
            if stop_details.is_some() {
                delta["stop_details"] = json!(stop_details);
            }
            let details = json!({"thinking_tokens": exchange.thinking_out()});
            let usage = json!({"output_tokens": exchange.out(), "output_tokens_details": details});
            events.push(Piece::named(&json!({"type": "message_delta", "delta": delta, "usage": usage}), 0));
            events.push(Piece::named(&json!({"type": "message_stop"}), 0));
        }
    }
    streamed(events, Wire::Messages, &exchange.chosen.fault, receipt)
}

fn usage(exchange: &Exchange<'_>) -> Value {
    let tokens = &exchange.tokens;
    json!({
        "input_tokens": tokens.uncached,
        "cache_creation_input_tokens": tokens.written(),
        "cache_read_input_tokens": tokens.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.written_short,
            "ephemeral_1h_input_tokens": tokens.written_long,
        },
        "output_tokens": u64::from(!exchange.prompt.prewarm),
        "service_tier": "standard",
    })
}

/// The blocks of the reply, each thinking text with the signature of its place.
fn blocks(exchange: &Exchange<'_>, mut seal: Seal) -> Vec<Value> {
    let mut blocks = Vec::new();
    for (index, block) in exchange.chosen.blocks.iter().enumerate() {
        let value = match block {
            Block::Text(text) => json!({"type": "text", "text": text}),
            Block::Thinking(thinking) => {
                let thinking = if exchange.prompt.thinking_hidden { "" } else { thinking.as_str() };
                json!({"type": "thinking", "thinking": thinking, "signature": seal.sign(exchange.seed, thinking)})
            }
            Block::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
            Block::Tool { name, arguments } => {
                let input = serde_json::from_str::<Object>(arguments).unwrap_or_default();
                json!({"type": "tool_use", "id": exchange.call_id("toolu", index), "name": name, "input": input})
            }
            Block::Raw(raw) => Value::Object(raw.clone()),
        };
        if let Value::Object(object) = &value {
            seal.push("assistant", object);
        }
        blocks.push(value);
    }
    blocks
}

/// The events of one block: its start with nothing in it, deltas, its end.
fn push_block(events: &mut Vec<Piece>, index: usize, mut start: Value, form: &Block) {
    let mut deltas = Vec::new();
    match form {
        Block::Text(text) => {
            start["text"] = Value::from("");
            deltas.extend(pieces(text).into_iter().map(|piece| json!({"type": "text_delta", "text": piece})));
        }
        Block::Thinking(_) => {
            let (thinking, signature) = (start["thinking"].take(), start["signature"].take());
            start["thinking"] = Value::from("");
            start["signature"] = Value::from("");
            let thinking = pieces(thinking.as_str().unwrap_or_default());
            deltas.extend(thinking.into_iter().map(|piece| json!({"type": "thinking_delta", "thinking": piece})));
            deltas.push(json!({"type": "signature_delta", "signature": signature}));
        }
        Block::Tool { arguments, .. } => {
            start["input"] = json!({});
            deltas.push(json!({"type": "input_json_delta", "partial_json": ""}));
            let parts = pieces(arguments).into_iter();
            deltas.extend(parts.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})));
        }
        Block::Redacted(_) | Block::Raw(_) => {}
    }
    let outs = spread(form.tokens(), deltas.len() + 1);
    events.push(Piece::named(&json!({"type": "content_block_start", "index": index, "content_block": start}), outs[0]));
    for (delta, out) in deltas.into_iter().zip(&outs[1..]) {
        events.push(Piece::named(&json!({"type": "content_block_delta", "index": index, "delta": delta}), *out));
    }
    events.push(Piece::named(&json!({"type": "content_block_stop", "index": index}), 0));
}
