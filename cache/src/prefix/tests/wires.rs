//! The same conversation on the OpenAI wires, and turns that came from elsewhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{BriefPlace, Codec, Dialect, RawMessage, Rendered, Target, render_for};
use super::{messages, options, shared, user};

fn target(codec: Codec, dialect: Dialect) -> Target {
    Target { codec, provider: "p".to_owned(), dialect }
}

fn body(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.bytes).unwrap()
}

/// A turn of an OpenAI wire, as it is journaled.
fn told(codec: Codec, model: &str, blocks: &Value) -> String {
    let origin = json!({"codec": codec, "provider": "p", "model": model});
    json!({"role": "assistant", "content": blocks, "origin": origin}).to_string()
}

fn call(raw: &Value) -> Value {
    json!({"type": "tool_use", "id": "c1", "name": "Read", "input": {"a": 1}, "raw": raw})
}

fn answer() -> String {
    user(&json!([
        {"type": "tool_result", "tool_use_id": "c1", "content": "gone", "is_error": true},
        {"type": "text", "text": "go on"},
    ]))
}

const MODEL: &str = "claude-sonnet-5-5";

#[test]
fn a_chat_request_is_laid_out_as_the_essay_says() {
    let chat = target(Codec::OpenaiChat, Dialect::plain());
    let raw =
        json!({"id": "c1", "type": "function", "function": {"name": "Read", "arguments": "{\"a\": 1}"}, "x": 1.5});
    let blocks =
        json!([{"type": "opaque", "raw": {"reasoning_content": "hm"}}, {"type": "text", "text": "so"}, call(&raw)]);
    let history = messages(&[told(Codec::OpenaiChat, MODEL, &blocks), answer()]);
    let rendered = render_for(&chat, &shared(), "step", &history, &options(100));
    let body = body(&rendered);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "be exact"},
            {"role": "user", "content": "the brief\n\nstep"},
            {"role": "assistant", "content": "so", "reasoning_content": "hm", "tool_calls": [raw]},
            {"role": "tool", "tool_call_id": "c1", "content": "Error: gone"},
            {"role": "user", "content": "go on"},
        ])
    );
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["model", "reasoning_effort", "tools", "messages", "max_tokens", "stream", "stream_options"]);
    let prefix = std::str::from_utf8(&rendered.bytes[..rendered.prefix_len]).unwrap();
    assert!(prefix.ends_with("\"the brief\\n\\n"), "{prefix}");
    assert_eq!(rendered.dropped_blocks, 0);
}

#[test]
fn a_responses_request_echoes_every_item() {
    let responses = target(Codec::OpenaiResponses, Dialect::openai("gpt-6-sol"));
    let reasoning = json!({"type": "reasoning", "id": "rs", "encrypted_content": "x"});
    let item = json!({"type": "function_call", "id": "fc", "call_id": "c1", "name": "Read", "arguments": "{\"a\": 1}"});
    let blocks = json!([{"type": "opaque", "raw": reasoning}, call(&item)]);
    let history = messages(&[told(Codec::OpenaiResponses, MODEL, &blocks), answer()]);
    let body = body(&render_for(&responses, &shared(), "step", &history, &options(100)));
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "the brief", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_text", "text": "step"},
            ]},
            reasoning,
            item,
            {"type": "function_call_output", "call_id": "c1", "output": "Error: gone"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]},
        ])
    );
    assert_eq!((&body["store"], &body["instructions"]), (&json!(false), &json!("be exact")));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
}

#[test]
fn a_breakpoint_stands_only_where_the_shared_part_can_be_cached() {
    for codec in [Codec::OpenaiChat, Codec::OpenaiResponses] {
        let target = target(codec, Dialect::openai("gpt-6-sol"));
        for (min_cache_tokens, expected) in [(0, true), (100, true), (1024, false)] {
            let options = super::super::RequestOptions { min_cache_tokens, ..options(7) };
            let body = render_for(&target, &shared(), "w", &[], &options).bytes;
            let marked = String::from_utf8(body).unwrap().contains("prompt_cache_breakpoint");
            assert_eq!(marked, expected, "{codec:?} {min_cache_tokens}");
        }
    }
}

#[test]
fn fields_of_openais_own_go_to_openai_alone() {
    for (dialect, expected) in [(Dialect::openai("gpt-6-sol"), true), (Dialect::openai("gpt-5.5"), false)] {
        let rendered = render_for(&target(Codec::OpenaiChat, dialect), &shared(), "w", &[], &options(7));
        let text = String::from_utf8(rendered.bytes.clone()).unwrap();
        assert_eq!(text.contains("prompt_cache_breakpoint"), expected, "{text}");
        assert!(text.contains("\"max_completion_tokens\":7"), "{text}");
    }
    let keyed = Dialect { cache_key: Some("run-1".to_owned()), ..Dialect::openai("gpt-6-sol") };
    let rendered = render_for(&target(Codec::OpenaiChat, keyed), &shared(), "w", &[], &options(7));
    let text = String::from_utf8(rendered.bytes).unwrap();
    assert!(text.find("prompt_cache_key").unwrap() > rendered.prefix_len, "a key may differ between workers");
}

#[test]
fn turns_from_elsewhere_are_told_again_without_what_only_their_maker_knows() {
    let foreign = json!([
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "c1", "name": "Read", "input": {"a": 1.0}},
    ]);
    let history = messages(&[json!({"role": "assistant", "content": foreign}).to_string(), answer()]);
    let chat = render_for(&target(Codec::OpenaiChat, Dialect::plain()), &shared(), "w", &history, &options(7));
    let call = json!({"id": "call_0_2", "type": "function", "function": {"name": "Read", "arguments": "{\"a\":1.0}"}});
    assert_eq!(body(&chat)["messages"][2], json!({"role": "assistant", "content": "so", "tool_calls": [call]}));
    assert_eq!(body(&chat)["messages"][3]["tool_call_id"], "call_0_2");
    assert_eq!(chat.dropped_blocks, 1);

    // Another family of models on the same wire: no thinking, and ids as they are told there.
    let origin = json!({"codec": "anthropic-messages", "provider": "p", "model": "claude-opus-5-5"});
    let other = json!({"role": "assistant", "content": foreign, "origin": origin}).to_string();
    let history = messages(&[other, answer()]);
    let target = Target::anthropic("p");
    let again = render_for(&target, &shared(), "w", &history, &options(7));
    let text = String::from_utf8(again.bytes.clone()).unwrap();
    assert!(!text.contains("signature") && !text.contains("origin"), "{text}");
    assert_eq!(body(&again)["messages"][2]["content"][0]["tool_use_id"], "call_0_2");
    assert_eq!(again.dropped_blocks, 1);
    let same = super::super::RequestOptions { model: "claude-opus-5-5-20261001".to_owned(), ..options(7) };
    let kept = render_for(&target, &shared(), "w", &history, &same);
    let text = String::from_utf8(kept.bytes.clone()).unwrap();
    assert!(text.contains("\"signature\":\"s\"") && !text.contains("origin"), "{text}");
    assert_eq!(kept.dropped_blocks, 0);
}

#[test]
fn an_origin_stands_at_the_end_of_an_assistants_message() {
    for text in [
        r#"{"role":"assistant","origin":{"codec":"openai-chat","provider":"p","model":"m"},"content":[{"type":"text","text":"x"}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"x"}],"origin":{"codec":"openai-chat","provider":"p","model":"m"}}"#,
    ] {
        assert!(RawMessage::parse(text).unwrap_err().to_string().contains("origin"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_shared_bytes_do_not_depend_on_the_worker(
        worker in "\\PC{1,40}", other in "\\PC{1,40}", place in 0usize..3, responses in any::<bool>(),
    ) {
        let brief = [BriefPlace::Part, BriefPlace::Joined, BriefPlace::Message][place];
        let codec = if responses { Codec::OpenaiResponses } else { Codec::OpenaiChat };
        let target = target(codec, Dialect { brief, ..Dialect::plain() });
        let history = messages(&[told(codec, MODEL, &json!([{"type": "text", "text": "x"}])), answer()]);
        let one = render_for(&target, &shared(), &worker, &history, &options(9));
        let two = render_for(&target, &shared(), &other, &[], &options(7));
        prop_assert_eq!(&one.bytes[..one.prefix_len], &two.bytes[..two.prefix_len]);
        prop_assert_eq!(&one.prefix_sha, &two.prefix_sha);
        let text = String::from_utf8_lossy(&one.bytes[..one.prefix_len]).into_owned();
        prop_assert!(text.contains("the brief"), "{text}");
        body(&one);
    }
}
