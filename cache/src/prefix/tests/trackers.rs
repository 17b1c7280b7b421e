//! What was reported of other tools' prompt caches, and must not happen here: each test has the number of its report
//! (`spec/runtime.md` 1.2).

use proptest::prelude::*;
use serde_json::json;

use super::super::{RawMessage, SharedPrefix, render};
use super::{assistant, options, tool, user};

const NAMES: [&str; 7] = ["Ask", "Bash", "Edit", "Glob", "Grep", "Read", "Write"];

fn shared_of(names: &[&str]) -> SharedPrefix {
    SharedPrefix::new(names.iter().map(|name| tool(name)).collect(), "be exact", "the brief").unwrap()
}

/// The conversation of a worker that thinks and calls tools, so many turns long.
fn history(turns: usize) -> Vec<RawMessage> {
    let turn = |n: usize| {
        let id = format!("t{n}");
        let thought = json!({"type": "thinking", "thinking": format!("thought {n}"), "signature": format!("sig{n}")});
        let call = json!({"type": "tool_use", "id": id, "name": "Read", "input": {"file_path": format!("f{n}")}});
        let result = json!({"type": "tool_result", "tool_use_id": id, "content": "text"});
        [assistant(&json!([thought, call])), user(&json!([result]))]
    };
    (0..turns).flat_map(turn).map(|json| RawMessage::parse(&json).unwrap()).collect()
}

/// What a provider hashes: the body without its marks and without what comes after the messages.
fn hashed(turns: usize) -> String {
    let rendered = render(&shared_of(&NAMES), "step", &history(turns), &options(100));
    let text = String::from_utf8(rendered.bytes).unwrap().replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let end = text.rfind(r#"],"max_tokens""#).unwrap();
    text[..end].to_owned()
}

proptest! {
    /// can1357/oh-my-pi#890, langchain-ai/deepagents#2497 and QwenLM/qwen-code#6338: tools come in another order, and
    /// every cache entry is lost.
    #[test]
    fn oh_my_pi_890_deepagents_2497_qwen_code_6338_tools_have_one_order(names in Just(NAMES.to_vec()).prop_shuffle()) {
        let (one, other) = (shared_of(&NAMES), shared_of(&names));
        prop_assert_eq!(render(&one, "s", &[], &options(9)).bytes, render(&other, "s", &[], &options(9)).bytes);
    }
}

/// QwenLM/qwen-code#4777: the list of tools is told again inside the system text, which changes with it.
#[test]
fn qwen_code_4777_the_system_text_knows_no_tool() {
    let system = |names: &[&str]| {
        let body = render(&shared_of(names), "step", &[], &options(9)).bytes;
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["system"].clone()
    };
    assert_eq!(system(&NAMES), system(&NAMES[..2]));
}

/// NousResearch/hermes-agent#100336: what is sent with one turn is not how the next one begins.
#[test]
fn hermes_agent_100336_a_request_begins_with_the_one_before_it() {
    for turns in 1..40 {
        let (before, after) = (hashed(turns - 1), hashed(turns));
        assert!(after.starts_with(&before), "turn {turns}");
    }
}

/// NousResearch/hermes-agent#27339: blocks of thinking are dropped from earlier turns, which rewrites the history.
#[test]
fn hermes_agent_27339_thinking_of_earlier_turns_stays() {
    let text = hashed(30);
    for turn in 0..30 {
        assert!(text.contains(&format!(r#""thinking":"thought {turn}","signature":"sig{turn}""#)), "turn {turn}");
    }
}
