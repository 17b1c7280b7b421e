//! What is written here reads back, for our reader and for another one.

use super::*;
use crate::file::node;
use crate::problem::Found;
use proptest::prelude::*;

/// `text` as our reader sees it.
fn ours(text: &str) -> Value {
    let mut found = Found::default();
    let root = node::read(text, &mut found).unwrap_or_else(|| panic!("unreadable:\n{text}"));
    assert!(found.is_empty(), "{}\n{text}", found.into_problems("yaml"));
    root.to_json()
}

fn theirs(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn writes_what_people_would() {
    let value = serde_json::json!([
        { "id": "a", "needs": ["b", "pkg-*"], "run": "line 1\n\n  line 3", "check": { "run": "yes" }, "env": {} },
        { "agent": { "prompt": "Do: it\nnow.\n" }, "ok_exit": [0, 1], "idle": null },
    ]);
    let text = super::value(&value);
    insta::assert_snapshot!(text, @r#"
    - id: a
      needs: [b, "pkg-*"]
      run: |-
        line 1

          line 3
      check:
        run: "yes"
      env: {}
    - agent:
        prompt: |
          Do: it
          now.
      ok_exit: [0, 1]
      idle: null
    "#);
    assert_eq!(ours(&text), value);
    assert_eq!(theirs(&text), value);
}

/// Texts that YAML could take for something else, and any others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\t\\n:#\\-\\[\\]{}&*!|>'\"%@`~,?a0.]{0,12}",
        prop::sample::select(vec![
            "true",
            "No",
            "~",
            "",
            "1",
            "0x1",
            "1e3",
            "---",
            "...",
            "- a",
            "a: b",
            "a #b",
            "\n",
            "a\n",
            "a\n\n",
            " a\nb",
            "a\n b\n",
            "a\r\nb",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{fffe}",
            "\u{7f}",
            "\u{10ffff}",
            "a\n\tb",
            "<<",
            "=",
        ])
        .prop_map(str::to_owned),
    ]
    // A text with a NUL can be in no plan.
    .prop_filter("NUL", |text| !text.contains('\0'))
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        hostile().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}|~|true|a: b|-", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_scalar_reads_back(text in hostile()) {
        let line = format!("k: {}\n", scalar(&text));
        prop_assert_eq!(&ours(&line)["k"], &Value::from(text.clone()), "{}", line);
        prop_assert_eq!(&theirs(&line)["k"], &Value::from(text), "{}", line);
    }

    #[test]
    fn a_block_reads_back(text in hostile(), more in "[a-z #:]{0,6}(\n[a-z #:]{0,6}){0,4}") {
        for text in [text, more] {
            let lines = format!("k: {}\nl: 1\n", block(&text, 2));
            prop_assert_eq!(&ours(&lines)["k"], &Value::from(text.clone()), "{}", lines);
            prop_assert_eq!(&theirs(&lines)["k"], &Value::from(text), "{}", lines);
        }
    }

    #[test]
    fn a_value_reads_back(value in values()) {
        let text = super::value(&value);
        prop_assert_eq!(ours(&text), value, "{}", text);
    }
}
