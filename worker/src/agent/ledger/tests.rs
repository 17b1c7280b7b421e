//! Ledgers of small conversations.

use serde_json::json;

use super::{Ledger, Resolved};
use crate::outcome::Evidence;

fn first(task: &str) -> String {
    let text = format!(
        "Role: worker\nWorktree: /w\nStep: one\nTitle: the step\nMode: write (…)\nPaths you may change (regular expressions): ^src/.*$\n\n# Your task\n\n{task}\n"
    );
    json!({"role": "user", "content": [{"type": "text", "text": "brief"}, {"type": "text", "text": text}]}).to_string()
}

fn reply(said: &str, calls: &[(&str, &str, serde_json::Value)]) -> String {
    let mut blocks = vec![json!({"type": "text", "text": said})];
    blocks.extend(
        calls.iter().map(|(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input})),
    );
    json!({"role": "assistant", "content": blocks}).to_string()
}

fn results(results: &[(&str, &str, bool)]) -> String {
    let blocks: Vec<_> = results
        .iter()
        .map(
            |(id, content, bad)| json!({"type": "tool_result", "tool_use_id": id, "content": content, "is_error": bad}),
        )
        .collect();
    json!({"role": "user", "content": blocks}).to_string()
}

fn words(text: &str) -> String {
    json!({"role": "user", "content": [{"type": "text", "text": text}]}).to_string()
}

fn conversation() -> Vec<String> {
    let test = json!({"command": "cargo test"});
    vec![
        first("Rename alpha to gamma.\nKeep the docs."),
        reply("I will\n1. look\n2. rename\n3. test", &[("a", "Read", json!({"file_path": "src/lib.rs"}))]),
        results(&[("a", "     1\tfn alpha() {}\n", false)]),
        reply("", &[("b", "Bash", test.clone())]),
        results(&[("b", "running\nerror[E0425]: no gamma\nexit code 101", true)]),
        words("# Feedback 1\n\nUse the word delta instead."),
        reply("", &[("c", "Edit", json!({"file_path": "src/lib.rs", "old_string": "alpha", "new_string": "delta"}))]),
        results(&[("c", "done", false)]),
        reply("", &[("d", "Bash", test)]),
        results(&[("d", "ok\nexit code 0", false)]),
        reply(
            "",
            &[
                ("e", "Ask", json!({"question": "Rename the tests too?"})),
                ("f", "Report", json!({"markdown": "Renamed.\n\n## Left\n\n- the changelog\n"})),
            ],
        ),
        results(&[("e", "yes", false), ("f", "The report is set.", false)]),
        reply("Now the tests.", &[("g", "Grep", json!({"pattern": "alpha", "path": "tests"}))]),
    ]
}

fn of(messages: &[String], evidence: &[(String, Evidence)]) -> Ledger {
    Ledger::of(messages.iter().map(String::as_str), evidence)
}

#[test]
fn everything_is_kept_by_code() {
    let messages = conversation();
    let blob = "0123456789012345678901234567890123456789".parse().unwrap();
    let read = Evidence { read: vec![("src/lib.rs".to_owned(), blob)], ..Evidence::default() };
    let ledger = of(&messages, &[("a".to_owned(), read)]);
    assert_eq!(ledger.task, "Rename alpha to gamma.\nKeep the docs.");
    assert_eq!(ledger.acceptance.len(), 4, "{:?}", ledger.acceptance);
    assert_eq!(ledger.plan.as_ref().map(|plan| plan.message), Some(1));
    assert_eq!(ledger.read["src/lib.rs"].blob.as_deref(), Some("0123456789012345678901234567890123456789"));
    assert_eq!(ledger.changed["src/lib.rs"].times, 1);
    let exits: Vec<_> = ledger.commands.iter().map(|run| (run.command.as_str(), run.exit)).collect();
    assert_eq!(exits, [("cargo test", Some(101)), ("cargo test", Some(0))]);
    assert_eq!(ledger.errors.len(), 1);
    assert_eq!(ledger.errors[0].line, "error[E0425]: no gamma");
    assert_eq!(ledger.errors[0].resolved, Some(Resolved { message: 9, by: vec!["src/lib.rs".to_owned()] }));
    assert_eq!(ledger.corrections[0].text, "Use the word delta instead.");
    assert_eq!(ledger.decisions[0].text, "Rename the tests too? → yes");
    assert_eq!(ledger.open[0].text, "- the changelog");
    // The frontier is the call that nobody has answered (openai/codex#34095).
    assert_eq!(ledger.frontier.said, "Now the tests.");
    assert_eq!(ledger.frontier.calls[0].call, "Grep alpha");
    assert_eq!(ledger.frontier.calls[0].result, None);
    assert_eq!(ledger.messages, 13);
    let again: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(again, ledger);
    let text = ledger.markdown();
    for part in
        ["Rename alpha", "Use the word delta", "src/lib.rs 0123456789\n", "`cargo test`: exit 0", "not answered"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn its_words_are_bounded_whatever_happened() {
    let mut messages = vec![first(&"A long task. ".repeat(5_000))];
    for n in 0..600 {
        let path = format!("src/{}{n}.rs", "deep/".repeat(40));
        messages.push(reply(
            &"words ".repeat(400),
            &[
                ("a", "Write", json!({"file_path": path, "content": "x"})),
                ("b", "Bash", json!({"command": format!("make {n} {}", "y".repeat(500))})),
            ],
        ));
        messages.push(results(&[("a", "done", false), ("b", &"error: ä".repeat(200), true)]));
        messages.push(words(&format!("# Feedback {n}\n\n{}", "z".repeat(3_000))));
    }
    let text = of(&messages, &[]).markdown();
    assert!(text.len() <= 8_000 && text.contains("Where the work stands"), "{}", text.len());
}

#[test]
fn it_is_a_pure_fold() {
    let messages = conversation();
    for end in 0..messages.len() {
        assert_eq!(of(&messages[..end], &[]), of(&messages[..end], &[]), "{end}");
    }
    // What is no conversation of ours is no reason to fall over.
    of(&["".to_owned(), "{}".to_owned(), "[1]".to_owned(), results(&[("x", "y", true)])], &[]);
}
