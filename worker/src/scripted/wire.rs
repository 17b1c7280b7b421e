//! Replies on the wire: a stream of events, a whole message, or an error object.

use std::collections::VecDeque;
use std::io;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::account::{Bill, tokens_of};
use super::request::{Parsed, Refusal};
use super::script::{Block, Chosen};

/// Characters of one delta: small, so that a client has to put every block together.
const DELTA_CHARS: usize = 24;
/// Digits of an id: enough to tell the messages of a run apart.
const ID_DIGITS: usize = 24;

/// Body of a response.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// The signature of a thinking block, which a client has to send back with the same text.
pub(super) fn signature(thinking: &str) -> String {
    format!("sig_{}", blake3::hash(thinking.as_bytes()).to_hex())
}

/// The type of error that goes with a status.
pub(super) fn error_kind(status: u16) -> &'static str {
    match status {
        400 | 422 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

/// An error object with its status.
pub(super) fn error(refusal: &Refusal) -> Response<Body> {
    let body = json!({
        "type": "error",
        "error": {"type": refusal.kind, "message": refusal.message},
        "request_id": "req_scripted",
    });
    let mut response = whole(&body);
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = refusal.retry_after {
        let value = seconds.to_string().parse().expect("a number is a header value");
        response.headers_mut().insert("retry-after", value);
    }
    response
}

/// The answer to a request to count.
pub(super) fn count(tokens: u64) -> Response<Body> {
    whole(&json!({"input_tokens": tokens}))
}

/// The reply of a script to a request whose raw body is `raw`, from which its ids are made: the same request
/// gets the same ids.
pub(super) fn message(request: &Parsed, raw: &[u8], chosen: &Chosen, bill: Bill) -> Response<Body> {
    let id = blake3::hash(raw).to_hex()[..ID_DIGITS].to_owned();
    let blocks: Vec<Value> = (0..).zip(&chosen.blocks).map(|(index, block)| whole_block(&id, index, block)).collect();
    let out: u64 = blocks.iter().map(|block| tokens_of(block.to_string().len())).sum();
    let usage = json!({
        "input_tokens": bill.uncached,
        "cache_creation_input_tokens": bill.written_short + bill.written_long,
        "cache_read_input_tokens": bill.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": bill.written_short,
            "ephemeral_1h_input_tokens": bill.written_long,
        },
        "output_tokens": 1,
        "service_tier": "standard",
    });
    let mut message = json!({
        "id": format!("msg_{id}"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage,
    });
    if !request.stream {
        let prewarm = request.max_tokens == 0;
        message["content"] = if prewarm { json!([]) } else { Value::from(blocks) };
        message["stop_reason"] = Value::from(if prewarm { "max_tokens" } else { chosen.stop });
        message["usage"]["output_tokens"] = Value::from(if prewarm { 0 } else { out });
        return whole(&message);
    }
    let mut events =
        vec![event(&json!({"type": "message_start", "message": message})), event(&json!({"type": "ping"}))];
    for (index, (block, form)) in blocks.into_iter().zip(&chosen.blocks).enumerate() {
        push_block(&mut events, index, block, form);
    }
    match &chosen.fault.error_event {
        Some(kind) => events.push(event(&json!({
            "type": "error",
            "error": {"type": kind, "message": "the script ends the stream with an error"},
        }))),
        None => {
            events.push(event(&json!({
                "type": "message_delta",
                "delta": {"stop_reason": chosen.stop, "stop_sequence": null},
                "usage": {"output_tokens": out},
            })));
            events.push(event(&json!({"type": "message_stop"})));
        }
    }
    streamed(events, chosen.fault.cut_after_bytes)
}

fn whole_block(id: &str, index: usize, block: &Block) -> Value {
    match block {
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::Thinking(thinking) => {
            json!({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
        }
        Block::Tool { name, input } => {
            json!({"type": "tool_use", "id": format!("toolu_{id}_{index}"), "name": name, "input": input})
        }
    }
}

/// The events of one block: its start with nothing in it, deltas, its end.
fn push_block(events: &mut Vec<Bytes>, index: usize, mut start: Value, form: &Block) {
    let mut deltas = Vec::new();
    match form {
        Block::Text(text) => {
            start["text"] = Value::from("");
            deltas.extend(pieces(text).map(|piece| json!({"type": "text_delta", "text": piece})));
        }
        Block::Thinking(thinking) => {
            let signature = start["signature"].take();
            start["thinking"] = Value::from("");
            start["signature"] = Value::from("");
            deltas.extend(pieces(thinking).map(|piece| json!({"type": "thinking_delta", "thinking": piece})));
            deltas.push(json!({"type": "signature_delta", "signature": signature}));
        }
        Block::Tool { input, .. } => {
            start["input"] = json!({});
            deltas.push(json!({"type": "input_json_delta", "partial_json": ""}));
            let text = Value::from(input.clone()).to_string();
            deltas.extend(pieces(&text).map(|piece| json!({"type": "input_json_delta", "partial_json": piece})));
        }
    }
    events.push(event(&json!({"type": "content_block_start", "index": index, "content_block": start})));
    for delta in deltas {
        events.push(event(&json!({"type": "content_block_delta", "index": index, "delta": delta})));
    }
    events.push(event(&json!({"type": "content_block_stop", "index": index})));
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = characters.chunks(DELTA_CHARS).map(|piece| piece.iter().collect()).collect();
    pieces.into_iter()
}

fn event(data: &Value) -> Bytes {
    let name = data["type"].as_str().unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

fn whole(body: &Value) -> Response<Body> {
    let full = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    with_type(Response::new(full.boxed()), "application/json")
}

fn streamed(events: Vec<Bytes>, cut_after: Option<usize>) -> Response<Body> {
    let body = StreamBody::new(frames(events, cut_after));
    with_type(Response::new(body.boxed()), "text/event-stream; charset=utf-8")
}

fn with_type(mut response: Response<Body>, kind: &'static str) -> Response<Body> {
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}

/// What the body does next.
enum Next {
    Frame(Bytes),
    /// Give the connection a chance to send what it has.
    Flush,
    Cut,
}

/// The frames of a stream; a cut one ends with an error after so many bytes, and the connection with it.
fn frames(events: Vec<Bytes>, cut_after: Option<usize>) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    let mut queue = VecDeque::new();
    let mut left = cut_after.unwrap_or(usize::MAX);
    for mut event in events {
        event.truncate(left);
        left -= event.len();
        if !event.is_empty() {
            queue.push_back(Next::Frame(event));
        }
    }
    if cut_after.is_some() {
        queue.extend([Next::Flush, Next::Cut]);
    }
    stream::poll_fn(move |context| match queue.pop_front() {
        None => Poll::Ready(None),
        Some(Next::Frame(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
        Some(Next::Flush) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Some(Next::Cut) => Poll::Ready(Some(Err(io::Error::other("the script cuts the reply off")))),
    })
}
