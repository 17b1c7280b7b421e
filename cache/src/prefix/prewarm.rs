//! A request that only fills the cache: the shared part of another one, and nothing asked for.

/// Builds it from the bytes of a rendered request up to its shared breakpoint: the same bytes, a placeholder where the
/// worker's part would stand, and no output. The wire refuses a stream for it.
pub fn prewarm(shared_part: &[u8]) -> Vec<u8> {
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
    use crate::prefix::{PrefixTtl, RequestOptions, SharedPrefix, render};

    #[test]
    fn it_begins_as_every_request_of_the_run_and_asks_for_nothing() {
        for brief in ["a brief", ""] {
            let shared = SharedPrefix::new(Vec::new(), "system", brief).unwrap();
            let options = RequestOptions {
                model: "m".to_owned(),
                max_tokens: 9,
                effort: None,
                stream: true,
                prefix_ttl: PrefixTtl::FiveMinutes,
                min_cache_tokens: 0,
            };
            let rendered = render(&shared, "worker", &[], &options);
            let part = &rendered.bytes[..rendered.prefix_len];
            let warm = prewarm(part);
            assert!(warm.starts_with(part));
            let body: Value = serde_json::from_slice(&warm).unwrap();
            assert_eq!((&body["max_tokens"], &body["stream"]), (&0.into(), &Value::Null));
            let content = body["messages"][0]["content"].as_array().unwrap();
            assert_eq!(content.len(), if brief.is_empty() { 1 } else { 2 });
            assert_eq!(content.last().unwrap()["text"], ".");
        }
    }
}
