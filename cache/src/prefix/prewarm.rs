//! A request that only fills the cache: the shared part of another one, and nothing asked for.

use super::target::{BriefPlace, Codec, Target};

/// Builds it from the bytes of a rendered request up to its shared end. `None` where a receiver's own rules leave nothing to
/// gain by it, or no way to end a request there.
pub fn prewarm(target: &Target, shared_part: &[u8]) -> Option<Vec<u8>> {
    match (target.codec, target.dialect.brief) {
        (Codec::AnthropicMessages, _) => Some(without_output(shared_part)),
        // With no brief the shared part ends inside a message.
        (Codec::OpenaiChat, BriefPlace::Message) => shared_part.ends_with(b"}").then(|| one_token(target, shared_part)),
        (Codec::OpenaiChat | Codec::OpenaiResponses, _) => None,
    }
}

/// A cache that holds whole messages keeps what a request ended with: this one ends where the workers' parts begin.
fn one_token(target: &Target, shared_part: &[u8]) -> Vec<u8> {
    let field = target.dialect.output_field.name();
    [shared_part, format!("],\"{field}\":1}}").as_bytes()].concat()
}

/// The same bytes, a placeholder where the worker's part would stand, and no output. The wire refuses a stream for it.
fn without_output(shared_part: &[u8]) -> Vec<u8> {
    let mut bytes = shared_part.to_vec();
    // With no brief the shared part ends where the content begins.
    if bytes.last() == Some(&b'}') {
        bytes.push(b',');
    }
    bytes.extend_from_slice(br#"{"type":"text","text":"."}]}],"max_tokens":0}"#);
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::prewarm;
    use crate::prefix::{
        BriefPlace, Codec, Dialect, PrefixTtl, RequestOptions, SharedPrefix, Target, render, render_for,
    };

    fn options() -> RequestOptions {
        RequestOptions {
            model: "m".to_owned(),
            max_tokens: 9,
            effort: None,
            stream: true,
            prefix_ttl: PrefixTtl::FiveMinutes,
            min_cache_tokens: 0,
            tail: String::new(),
        }
    }

    #[test]
    fn where_whole_messages_are_held_it_ends_with_the_brief() {
        for (brief, place) in
            [("a brief", BriefPlace::Message), ("", BriefPlace::Message), ("a brief", BriefPlace::Joined)]
        {
            let shared = SharedPrefix::new(Vec::new(), "system", brief).unwrap();
            let dialect = Dialect { brief: place, ..Dialect::plain() };
            let target = Target { codec: Codec::OpenaiChat, provider: "deepseek".to_owned(), dialect };
            let rendered = render_for(&target, &shared, "worker", &[], &options());
            let part = &rendered.bytes[..rendered.prefix_len];
            let Some(warm) = prewarm(&target, part) else {
                assert!(brief.is_empty() || place != BriefPlace::Message);
                continue;
            };
            assert!(warm.starts_with(part));
            let body: Value = serde_json::from_slice(&warm).unwrap();
            assert_eq!((&body["max_tokens"], &body["stream"]), (&1.into(), &Value::Null));
            let messages = body["messages"].as_array().unwrap();
            assert_eq!(messages.last().unwrap()["content"], "a brief");
        }
    }

    #[test]
    fn it_begins_as_every_request_of_the_run_and_asks_for_nothing() {
        for brief in ["a brief", ""] {
            let shared = SharedPrefix::new(Vec::new(), "system", brief).unwrap();
            let rendered = render(&shared, "worker", &[], &options());
            let part = &rendered.bytes[..rendered.prefix_len];
            let warm = prewarm(&Target::anthropic("anthropic"), part).unwrap();
            assert!(warm.starts_with(part));
            let body: Value = serde_json::from_slice(&warm).unwrap();
            assert_eq!((&body["max_tokens"], &body["stream"]), (&0.into(), &Value::Null));
            let content = body["messages"][0]["content"].as_array().unwrap();
            assert_eq!(content.len(), if brief.is_empty() { 1 } else { 2 });
            assert_eq!(content.last().unwrap()["text"], ".");
        }
    }
}
