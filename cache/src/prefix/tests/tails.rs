//! Tails: what stands behind the last mark, once or for good.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    BriefPlace, Codec, Dialect, RawMessage, Rendered, RequestOptions, Target, render_for, replies_since_tail, with_tail,
};
use super::{arb_turn, assistant, marks, messages, options, shared, user};

const TAIL: &str = "the card: \"now\"";

fn tailed(tail: &str) -> RequestOptions {
    RequestOptions { tail: tail.to_owned(), ..options(9) }
}

fn body(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.bytes).unwrap()
}

fn text_of(rendered: &Rendered) -> String {
    String::from_utf8(rendered.bytes.clone()).unwrap()
}

/// A request without its marks.
fn bare(rendered: &Rendered) -> String {
    text_of(rendered).replace(super::super::MARK, "")
}

/// All wires, with every place of the brief.
fn targets() -> Vec<Target> {
    let chat = |brief| Target {
        codec: Codec::OpenaiChat,
        provider: "p".to_owned(),
        dialect: Dialect { brief, ..Dialect::plain() },
    };
    let responses =
        Target { codec: Codec::OpenaiResponses, provider: "p".to_owned(), dialect: Dialect::openai("gpt-6-sol") };
    let places = [BriefPlace::Part, BriefPlace::Joined, BriefPlace::Message].map(chat);
    [Target::anthropic("p"), responses].into_iter().chain(places).collect()
}

/// How many bytes two requests have in common at their start.
fn common(a: &Rendered, b: &Rendered) -> usize {
    a.bytes.iter().zip(&b.bytes).take_while(|(a, b)| a == b).count()
}

/// Where the conversation of a request ends: before the brackets that close it, and the settings.
fn conversation_end(text: &str) -> usize {
    let end = text.rfind("],\"max_").unwrap();
    text[..end].trim_end_matches([']', '}', '"']).len()
}

#[test]
fn a_tail_stands_behind_the_last_mark() {
    let history = messages(&[
        assistant(&json!([{"type": "tool_use", "id": "1", "name": "Read", "input": {}}])),
        user(&json!([{"type": "tool_result", "tool_use_id": "1", "content": "ok"}])),
    ]);
    let target = Target::anthropic("p");
    let tail = json!({"type": "text", "text": TAIL});
    let first = render_for(&target, &shared(), "step", &[], &tailed(TAIL));
    assert_eq!(body(&first)["messages"][0]["content"][2], tail);
    assert_eq!(marks(&first).last().unwrap(), "/messages/0/content/1");
    let second = render_for(&target, &shared(), "step", &history, &tailed(TAIL));
    assert_eq!(body(&second)["messages"][2]["content"][1], tail);
    assert_eq!(body(&second)["messages"][0]["content"].as_array().unwrap().len(), 2, "the old one is gone");
    assert_eq!(marks(&second)[2..], ["/messages/0/content/1", "/messages/2/content/0"]);
    assert_eq!(first.prefix_sha, second.prefix_sha);
}

#[test]
fn a_tail_that_a_reply_needs_is_sent_with_it_for_good() {
    let reply = with_tail(&assistant(&json!([{"type": "thinking", "thinking": "", "signature": "s"}])), TAIL);
    let history = messages(&[reply, user(&json!([{"type": "text", "text": "go on"}]))]);
    assert_eq!(history[0].as_str().matches("the card").count(), 1);
    let target = Target::anthropic("p");
    let first = render_for(&target, &shared(), "step", &[], &tailed(TAIL));
    let later = render_for(&target, &shared(), "step", &history, &tailed(""));
    let (first, later) = (bare(&first), bare(&later));
    assert!(later.starts_with(&first[..first.find("],\"max_tokens\"").unwrap()]), "{later}");
    assert_eq!(later.matches("the card").count(), 1, "{later}");
    assert_eq!(replies_since_tail(&history, &target, "claude-sonnet-5-5"), Some(1));
    // Another maker has bound nothing to it.
    let chat = Target { codec: Codec::OpenaiChat, ..Target::anthropic("p") };
    let told = render_for(&chat, &shared(), "step", &history, &tailed(""));
    assert!(!String::from_utf8(told.bytes).unwrap().contains("the card"));
    assert_eq!(replies_since_tail(&history, &chat, "m"), None);
}

#[test]
fn a_user_message_has_no_tail_of_its_own() {
    let text = r#"{"role":"user","content":[{"type":"text","text":"x"}],"tail":"t"}"#;
    assert!(RawMessage::parse(text).unwrap_err().to_string().contains("tail"));
}

#[test]
fn who_needs_the_tail_kept() {
    let anthropic = Target::anthropic("p");
    assert!(anthropic.keeps_tail(true) && !anthropic.keeps_tail(false));
    let of = |codec, dialect| Target { codec, provider: "p".to_owned(), dialect }.keeps_tail(false);
    assert!(!of(Codec::OpenaiChat, Dialect::plain()));
    assert!(!of(Codec::OpenaiResponses, Dialect::openai("gpt-5.5")));
    assert!(of(Codec::OpenaiResponses, Dialect::openai("gpt-6-sol")));
    assert!(of(Codec::OpenaiChat, Dialect { brief: BriefPlace::Message, ..Dialect::plain() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_bytes_before_a_tail_are_those_without_one(
        turns in prop::collection::vec(arb_turn(), 0..4), tail in "\\PC{1,60}", other in "\\PC{0,60}",
    ) {
        let history = messages(&turns.concat());
        for target in targets() {
            let without = render_for(&target, &shared(), "w", &history, &tailed(""));
            let with = render_for(&target, &shared(), "w", &history, &tailed(&format!("t{tail}")));
            prop_assert!(common(&without, &with) >= conversation_end(&text_of(&without)), "{target:?}");
            prop_assert_eq!(&without.prefix_sha, &with.prefix_sha);
            prop_assert_eq!(marks(&without), marks(&with));
            body(&with);
            // The next request begins with what this one held, whatever stood behind it.
            let next: Vec<String> = turns.first().cloned().unwrap_or_default();
            let longer: Vec<RawMessage> = history.iter().cloned().chain(messages(&next)).collect();
            let next = bare(&render_for(&target, &shared(), "w", &longer, &tailed(&other)));
            let this = bare(&without);
            prop_assert!(next.starts_with(&this[..conversation_end(&this)]), "{target:?}");
        }
    }
}
