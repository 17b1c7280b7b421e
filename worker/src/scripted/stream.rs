//! Bodies of replies: whole ones, and streams with everything that can go wrong with them.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::HeaderValue;
use serde_json::Value;

use super::fault::Fault;
use super::journal::Receipt;
use super::prompt::Wire;

/// How long a stall lasts where the script does not say: longer than any client waits.
const STALL_MS: u64 = 3_600_000;
/// Characters of one delta: small, so that a client has to put every block together.
const DELTA_CHARS: usize = 24;

/// Body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One event of a stream, and the output tokens that it stands for.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Its type; empty where the wire has none.
    pub(super) kind: String,
    pub(super) bytes: Bytes,
    pub(super) out: u64,
}

impl Piece {
    /// A named event, whose data repeats its name.
    pub(super) fn named(data: &Value, out: u64) -> Piece {
        let kind = data["type"].as_str().unwrap_or_default().to_owned();
        Piece { bytes: Bytes::from(format!("event: {kind}\ndata: {data}\n\n")), kind, out }
    }

    /// An event of data alone.
    pub(super) fn data(data: &str, out: u64) -> Piece {
        Piece { kind: String::new(), bytes: Bytes::from(format!("data: {data}\n\n")), out }
    }
}

/// A text in pieces.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(DELTA_CHARS).map(|piece| piece.iter().collect()).collect()
}

/// A number of tokens, spread over so many pieces.
pub(super) fn spread(tokens: u64, count: usize) -> Vec<u64> {
    let count = count as u64;
    (1..=count).map(|n| (tokens * n).div_ceil(count) - (tokens * (n - 1)).div_ceil(count)).collect()
}

/// A whole JSON object, with what the fault does to its bytes.
pub(super) fn whole(body: &Value, receipt: Option<Receipt>, out: u64, fault: &Fault) -> Response<Body> {
    let bytes = Bytes::from(body.to_string());
    let body = match receipt {
        Some(receipt) if fault.cut_after_bytes.or(fault.stall_after_bytes).or(fault.chunk_bytes).is_some() => {
            StreamBody::new(Flow::new([(bytes, out)].into(), fault, receipt).frames()).boxed_unsync()
        }
        receipt => {
            if let Some(mut receipt) = receipt {
                receipt.produced(out);
                receipt.complete();
            }
            Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
        }
    };
    with_type(Response::new(body), "application/json")
}

/// A stream of events, with what the fault does to it.
pub(super) fn streamed(events: Vec<Piece>, wire: Wire, fault: &Fault, receipt: Receipt) -> Response<Body> {
    let mut queue = VecDeque::new();
    for piece in events {
        let mut bytes = piece.bytes;
        if fault.crlf {
            bytes = Bytes::from(String::from_utf8_lossy(&bytes).replace('\n', "\r\n"));
        }
        let twice = fault.duplicate.contains(&piece.kind);
        queue.push_back((bytes.clone(), piece.out));
        if twice {
            queue.push_back((bytes, 0));
        }
        queue.extend((0..fault.pings).map(|_| (sign_of_life(wire, fault.crlf), 0)));
    }
    let body = StreamBody::new(Flow::new(queue, fault, receipt).frames());
    with_type(Response::new(body.boxed_unsync()), "text/event-stream; charset=utf-8")
}

fn sign_of_life(wire: Wire, crlf: bool) -> Bytes {
    let text = match wire {
        Wire::Messages => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        Wire::Chat | Wire::Responses => ": ping\n\n",
    };
    Bytes::from(if crlf { text.replace('\n', "\r\n") } else { text.to_owned() })
}

fn with_type(mut response: Response<Body>, kind: &'static str) -> Response<Body> {
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}

/// What is left of a stream.
struct Flow {
    queue: VecDeque<(Bytes, u64)>,
    sent: usize,
    cut: Option<usize>,
    stall: Option<usize>,
    stall_ms: u64,
    chunk: usize,
    event_ms: u64,
    started: bool,
    /// Is its last event the end of a message?
    ends: bool,
    receipt: Option<Receipt>,
}

impl Flow {
    fn new(queue: VecDeque<(Bytes, u64)>, fault: &Fault, receipt: Receipt) -> Flow {
        Flow {
            queue,
            sent: 0,
            cut: fault.cut_after_bytes,
            stall: fault.stall_after_bytes,
            stall_ms: fault.stall_ms.unwrap_or(STALL_MS),
            chunk: fault.chunk_bytes.unwrap_or(usize::MAX),
            event_ms: fault.event_ms,
            started: false,
            ends: fault.error_event.is_none(),
            receipt: Some(receipt),
        }
    }

    fn frames(self) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
        stream::unfold(self, |mut flow| async move { flow.next().await.map(|frame| (frame, flow)) })
    }

    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        if self.cut == Some(self.sent) {
            self.cut = None;
            self.queue.clear();
            self.receipt = None;
            // Gives the connection a chance to send what it has.
            tokio::task::yield_now().await;
            return Some(Err(io::Error::other("the script cuts the reply off")));
        }
        if self.stall == Some(self.sent) {
            self.stall = None;
            tokio::time::sleep(Duration::from_millis(self.stall_ms)).await;
        }
        let (mut bytes, out) = self.queue.pop_front()?;
        if self.started && self.event_ms > 0 && out > 0 {
            tokio::time::sleep(Duration::from_millis(self.event_ms)).await;
        }
        if self.started && self.chunk < usize::MAX {
            // What was handed over goes out as a piece of its own.
            tokio::task::yield_now().await;
        }
        self.started = true;
        let stops = [self.cut, self.stall].into_iter().flatten().map(|at| at - self.sent);
        let size = stops.min().unwrap_or(usize::MAX).min(self.chunk).min(bytes.len());
        let rest = bytes.split_off(size);
        self.sent += size;
        if rest.is_empty() {
            self.count(out);
        } else {
            self.queue.push_front((rest, out));
        }
        Some(Ok(Frame::data(bytes)))
    }

    /// An event has gone out: it is charged, and with the last one the bill is closed.
    fn count(&mut self, out: u64) {
        if let Some(receipt) = &mut self.receipt {
            receipt.produced(out);
        }
        if self.queue.is_empty()
            && let Some(receipt) = self.receipt.take()
            && self.ends
        {
            receipt.complete();
        }
    }
}
