//! Tests of the tags of one file: a sample of each language beside what is made of it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;
use crate::symbols::language::ALL;

/// Tags as text: an indented line for each definition, and the names that are referred to.
fn shown(language: Language, bytes: &[u8]) -> String {
    let tags = tags(language, bytes, None).unwrap();
    let mut out = String::new();
    for d in &tags.definitions {
        let indent = "  ".repeat(d.depth as usize);
        let container = d.container.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
        let kind = format!("{:?}", d.kind).to_lowercase();
        writeln!(out, "{indent}{}-{} {kind} {}{container} | {}", d.line, d.end_line, d.name, d.signature).unwrap();
    }
    let references: Vec<String> = tags.references.iter().map(|r| format!("{}:{}", r.line, r.name)).collect();
    writeln!(out, "refers to {}", references.join(" ")).unwrap();
    out
}

macro_rules! sample {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../fixtures/symbols/", $name)), {
            include_str!(concat!("../../../../fixtures/symbols/", $name, ".tags"))
        })
    };
}

/// Name, text and tags of a sample.
const SAMPLES: [(&str, &str, &str); 9] = [
    sample!("Sample.java"),
    sample!("sample.c"),
    sample!("sample.go"),
    sample!("sample.js"),
    sample!("sample.py"),
    sample!("sample.rs"),
    sample!("sample.sh"),
    sample!("sample.ts"),
    sample!("sample.tsx"),
];

#[test]
fn every_language_gives_the_tags_of_its_sample() {
    let mut seen = Vec::new();
    for (name, text, expected) in SAMPLES {
        let language = Language::of(name).unwrap();
        seen.push(language);
        assert_eq!(shown(language, text.as_bytes()), expected, "{name}");
    }
    seen.sort();
    assert_eq!(seen, ALL, "each language has a sample");
}

#[test]
fn queries_fit_their_grammars_and_know_their_captures() {
    for language in ALL {
        let query =
            Query::new(&language.grammar(), &language.query_text()).unwrap_or_else(|e| panic!("{language:?}: {e}"));
        for name in query.capture_names() {
            assert!(["name", "reference", "modifiers"].contains(name) || kind(name).is_some(), "{language:?}: {name}");
        }
    }
}

#[test]
fn what_is_not_source_has_no_tags() {
    assert_eq!(tags(Language::C, b"int a;\0", None), Err(Untagged::Binary));
    assert_eq!(tags(Language::C, &vec![b'\n'; (1 << 20) + 1], None), Err(Untagged::TooLarge));
    assert_eq!(tags(Language::C, b"", None), Ok(Tags::default()));
    let past = Instant::now().checked_sub(Duration::from_secs(1));
    let long = "int f(void) { return g(1); }\n".repeat(10_000);
    assert_eq!(tags(Language::C, long.as_bytes(), past), Err(Untagged::Late));
    assert_eq!(tags(Language::Rust, b"fn \xff\xfe() { caf\xc3\xa9(); }", None).unwrap().references[0].name, "café");
}

/// Text that no parser likes ends, too.
/// Aider-AI/aider#429: a grammar hangs on one file, and the map never comes.
#[test]
fn aider_429_hostile_text_ends() {
    let cases = [
        (Language::C, "(", 10_000),
        (Language::C, "{a<", 3_000),
        (Language::JavaScript, "[{`${", 3_000),
        (Language::JavaScript, "a<b>(c)=>", 2_000),
        (Language::TypeScript, "a<b<", 2_000),
        (Language::Python, "if x:\n ", 3_000),
        (Language::Bash, "$(a <<E\n", 1_000),
        (Language::Rust, "impl<", 3_000),
        (Language::Go, "func(", 3_000),
        (Language::Java, "class A { <", 2_000),
    ];
    for (language, text, count) in cases {
        let found = tags(language, text.repeat(count).as_bytes(), None);
        assert!(matches!(found, Ok(_) | Err(Untagged::TooHard)), "{language:?}: {found:?}");
    }
    // Each bracket of a heap costs a query as much as there are others: that is found out before.
    assert_eq!(tags(Language::C, "(".repeat(10_000).as_bytes(), None), Err(Untagged::TooHard));
}

#[test]
fn a_signature_and_a_name_are_one_short_line() {
    let name = "a".repeat(5_000);
    let text = format!("fn {name}(\n\tx: u8, // \u{202e}\n) {{}}\n");
    let found = &tags(Language::Rust, text.as_bytes(), None).unwrap().definitions[0];
    assert!(
        found.name.chars().count() <= NAME_CHARS_MAX + 1 && found.signature.chars().count() <= SIGNATURE_CHARS_MAX + 1
    );
    let text = "def f(a='\u{1b}[2J\u{2028}```\\n# x'):\n  pass\n";
    insta::assert_snapshot!(tags(Language::Python, text.as_bytes(), None).unwrap().definitions[0].signature,
        @r"def f(a='\u{1b}[2J\u{2028}```\n# x')");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn any_bytes_have_an_end(bytes in proptest::collection::vec(proptest::sample::select(&b"a(){}<>:;=,\"'`$\\/#*\n \xe9"[..]), 0..200)) {
        for language in ALL {
            let _ = tags(language, &bytes, None);
        }
    }
}
