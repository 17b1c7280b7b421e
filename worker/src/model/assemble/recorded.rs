//! Recorded streams for the tests of the codecs.

use std::ops::ControlFlow;

use wattle_cache::ledger::Tokens;
use wattle_cache::prefix::Codec;

use super::super::refusal::Words;
use super::super::sse::Decoder;
use super::super::{Block, Stop};
use super::{Assembled, Assembly, Progress, assembly};

/// The three wires, each with one recorded stream.
pub(in super::super) const STREAMS: [(Codec, &[u8]); 3] = [
    (Codec::AnthropicMessages, include_bytes!("../anthropic/stream.sse")),
    (Codec::OpenaiChat, include_bytes!("../openai_chat/stream.sse")),
    (Codec::OpenaiResponses, include_bytes!("../openai_responses/stream.sse")),
];

/// How a stream ended.
#[derive(Debug)]
pub(in super::super) enum Ended {
    /// With a message.
    Complete(Message),
    /// Before its message did.
    Truncated,
    /// With an error of the provider.
    Failed(Words),
    /// With something that cannot be read.
    Unreadable(String),
}

/// A message and what it told.
#[derive(Debug)]
pub(in super::super) struct Message {
    pub(in super::super) content: Vec<String>,
    pub(in super::super) blocks: Vec<Block>,
    pub(in super::super) stop: Stop,
    pub(in super::super) tokens: Tokens,
    pub(in super::super) exact: bool,
    pub(in super::super) reasoning_out: u64,
    pub(in super::super) served: Option<String>,
}

impl Message {
    /// Names and inputs of its calls.
    pub(in super::super) fn calls(&self) -> Vec<(&str, &str, &str)> {
        let calls = self.blocks.iter().filter_map(|block| match block {
            Block::ToolUse { id, name, input } => Some((id.as_str(), name.as_str(), input.get())),
            Block::Text(_) | Block::Opaque => None,
        });
        calls.collect()
    }

    pub(in super::super) fn text(&self) -> String {
        let texts = self.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::ToolUse { .. } | Block::Opaque => None,
        });
        texts.collect()
    }
}

fn message(assembly: Box<dyn Assembly>) -> Ended {
    let told = assembly.told();
    let (tokens, exact) = told.usage(0);
    let (reasoning_out, served) = (told.reasoning_out, told.served.clone());
    let Assembled { content, blocks, stop } = assembly.finish();
    Ended::Complete(Message { content, blocks, stop, tokens, exact, reasoning_out, served })
}

/// Reads a stream.
pub(in super::super) fn read(codec: Codec, stream: &[u8]) -> Ended {
    let mut assembly = assembly(codec);
    let mut decoder = Decoder::default();
    let ended = decoder.push(stream, |event| match assembly.take(event) {
        Ok(Progress::More) => ControlFlow::Continue(()),
        Ok(Progress::Complete) => ControlFlow::Break(None),
        Ok(Progress::Failed(words)) => ControlFlow::Break(Some(Ended::Failed(words))),
        Err(error) => ControlFlow::Break(Some(Ended::Unreadable(error.to_string()))),
    });
    match ended {
        Ok(Some(None)) => message(assembly),
        Ok(Some(Some(ended))) => ended,
        Ok(None) if assembly.ended() => message(assembly),
        Ok(None) => Ended::Truncated,
        Err(error) => Ended::Unreadable(error.to_string()),
    }
}

/// Reads the message of a stream of data-only events.
#[track_caller]
pub(in super::super) fn read_data(codec: Codec, data: &[&str]) -> Message {
    let stream: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    match read(codec, stream.as_bytes()) {
        Ended::Complete(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Reads a reply that came whole.
pub(in super::super) fn read_whole(codec: Codec, body: &str) -> Ended {
    let mut assembly = assembly(codec);
    match assembly.take_whole(body) {
        Ok(Progress::Failed(words)) => Ended::Failed(words),
        Ok(Progress::More | Progress::Complete) => message(assembly),
        Err(error) => Ended::Unreadable(error.to_string()),
    }
}

/// Every stream cut at every byte: a message only where its terminal event had come, and nothing ever panics.
#[test]
fn a_stream_cut_anywhere_gives_no_half_message() {
    for (codec, stream) in STREAMS {
        let Ended::Complete(whole) = read(codec, stream) else { panic!("{codec:?}") };
        for cut in 0..stream.len() {
            match read(codec, &stream[..cut]) {
                Ended::Truncated => {}
                Ended::Complete(message) => {
                    assert_eq!(message.content, whole.content, "{codec:?} cut at {cut}");
                }
                other @ (Ended::Failed(_) | Ended::Unreadable(_)) => panic!("{codec:?} cut at {cut}: {other:?}"),
            }
        }
    }
}

/// Every byte of every stream replaced: a message, or a typed end.
#[test]
fn a_stream_with_any_byte_changed_never_panics() {
    for (codec, stream) in STREAMS {
        let mut changed = stream.to_vec();
        for at in 0..stream.len() {
            for byte in [b'"', b'0'] {
                changed[at] = byte;
                read(codec, &changed);
            }
            changed[at] = stream[at];
        }
    }
}

/// Events that a later version adds, and pings, between any two events.
#[test]
fn unknown_events_anywhere_change_nothing() {
    for (codec, stream) in STREAMS {
        let Ended::Complete(whole) = read(codec, stream) else { panic!("{codec:?}") };
        let text = std::str::from_utf8(stream).unwrap();
        let unknown = match codec {
            Codec::OpenaiChat => "data: {\"object\":\"of.tomorrow\",\"x\":[1]}\n\n",
            Codec::AnthropicMessages | Codec::OpenaiResponses => "event: x.y\ndata: {\"type\":\"x.y\",\"z\":{}}\n\n",
        };
        let noisy: String = text.split_inclusive("\n\n").flat_map(|event| [": ping\n\n", unknown, event]).collect();
        for stream in [noisy.clone(), noisy.replace('\n', "\r\n")] {
            let Ended::Complete(message) = read(codec, stream.as_bytes()) else { panic!("{codec:?}") };
            assert_eq!((message.content, message.tokens), (whole.content.clone(), whole.tokens), "{codec:?}");
        }
    }
}

/// All three wires tell of the same work in the same terms.
#[test]
fn counts_are_normalised() {
    let tokens = Tokens { uncached_in: 12, cache_read: 2000, cache_write_short: 60, cache_write_long: 40, out: 31 };
    for (codec, stream) in STREAMS {
        let Ended::Complete(message) = read(codec, stream) else { panic!("{codec:?}") };
        let expected = match codec {
            // Its chat does not tell the two times to live apart.
            Codec::OpenaiChat => Tokens { cache_write_short: 100, cache_write_long: 0, ..tokens },
            Codec::AnthropicMessages | Codec::OpenaiResponses => tokens,
        };
        assert_eq!((message.tokens, message.exact, message.reasoning_out), (expected, true, 7), "{codec:?}");
        assert!(message.served.is_some(), "{codec:?}");
        assert_eq!(message.stop, Stop::ToolUse, "{codec:?}");
    }
}
