//! How many requests a llama.cpp server works on at once. Each has the memory of a slot of its own, so that with more
//! workers than slots each would push another's prompt out.

use std::time::Duration;

use reqwest::Url;
use wattle_cache::prefix::{BriefPlace, Codec, Target};

use super::transport::{Pace, client};

/// Bound on the answer: who has slots has them at hand.
const ASK: Duration = Duration::from_secs(2);

/// The slots of a server, if it is one that says so. Only plain addresses are asked, which are those of users' own servers;
/// no key goes there. Whatever goes wrong means that it has none.
pub async fn slots(target: &Target, base_url: &str) -> Option<u32> {
    let own = base_url.starts_with("http://") && target.codec == Codec::OpenaiChat;
    if !own || target.dialect.brief != BriefPlace::Joined {
        return None;
    }
    let url = Url::parse(base_url).ok()?.join("/props").ok()?;
    let client = client(&url, &Pace::default()).ok()?;
    let answer = client.get(url).timeout(ASK).send().await.ok()?.error_for_status().ok()?;
    let props: serde_json::Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    props["total_slots"].as_u64().and_then(|total| u32::try_from(total).ok()).filter(|total| *total > 0)
}

#[cfg(test)]
mod tests {
    use wattle_cache::prefix::{Codec, Dialect, Target};

    use super::slots;
    use crate::scripted::serve_text;

    #[tokio::test]
    async fn a_server_says_how_many_slots_it_has_or_nothing() {
        let chat = Target { codec: Codec::OpenaiChat, provider: "local".to_owned(), dialect: Dialect::plain() };
        let server = serve_text("version: 1\nslots: 3\nreplies: [{ blocks: [{ text: ok }] }]\n", 0).await.unwrap();
        let address = format!("{}/v1", server.base_url());
        assert_eq!(slots(&chat, &address).await, Some(3));
        assert_eq!(slots(&Target::anthropic("local"), &address).await, None, "it was not asked");
        let other = serve_text("version: 1\nreplies: [{ blocks: [{ text: ok }] }]\n", 0).await.unwrap();
        assert_eq!(slots(&chat, &format!("{}/v1", other.base_url())).await, None);
        assert_eq!(slots(&chat, "http://127.0.0.1:1/v1").await, None, "nobody is there");
        assert_eq!(slots(&chat, "no address").await, None);
    }
}
