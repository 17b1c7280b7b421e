//! Tests of [`super`]; the corpus of edits has its cases of whole calls.

use std::path::Path;

use proptest::prelude::*;

use super::refusal;

#[test]
fn the_first_error_is_named_and_shown() {
    let before = "fn a() {\n    one();\n}\n\nfn b() {\n    two();\n}\n";
    let after = before.replace("one();\n}", "one(;\n}");
    insta::assert_snapshot!(refusal(Path::new("src/a.rs"), before.as_bytes(), after.as_bytes()).unwrap(), @"
src/a.rs parses now and would not afterwards, so nothing was written: a syntax error near line 2 of the result:
     1	fn a() {
>    2	    one(;
     3	}
     4	
     5	fn b() {
Mend the edit; sending it again changes nothing.
");
    let missing = before.replace("two();\n}\n", "two();\n");
    insta::assert_snapshot!(refusal(Path::new("src/a.rs"), before.as_bytes(), missing.as_bytes()).unwrap(), @"
src/a.rs parses now and would not afterwards, so nothing was written: a syntax error near line 6 of the result:
     3	}
     4	
     5	fn b() {
>    6	    two();
Mend the edit; sending it again changes nothing.
");
}

#[test]
fn what_is_not_judged_passes() {
    let large = format!("fn a() {{}}\n{}", "// x\n".repeat(300_000));
    let deep = "(".repeat(200_000);
    for (path, before, after) in [
        ("a.txt", "fn a() {}", "fn a() {"),
        ("a", "fn a() {}", "fn a() {"),
        ("a.h", "int a;", "class A {"),
        ("a.zsh", "a", "if"),
        ("a.rs", "fn a( {}", "fn a( {"),
        ("a.rs", "fn a() {}", "fn b() {}"),
        ("a.rs", large.as_str(), "fn a() {"),
        ("a.rs", "", ""),
    ] {
        assert_eq!(refusal(Path::new(path), before.as_bytes(), after.as_bytes()), None, "{path}: {after}");
    }
    assert!(refusal(Path::new("a.rs"), b"fn a() {}", b"fn a() {\xff").is_none(), "bytes that are no text");
    // Whatever comes of it, it comes.
    let _ = refusal(Path::new("a.rs"), b"fn a() {}", deep.as_bytes());
}

fn code() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["fn a()", "{", "}", "(", ")", ";", "let x = 1", "\n", " ", "\"", "b"]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn refused_is_clean_to_broken_and_nothing_else(before in code(), after in code()) {
        let path = Path::new("a.rs");
        // A text is clean if the gate would refuse to break it, and broken if it would be refused after a clean one.
        let clean = |text: &str| refusal(path, text.as_bytes(), b"fn (").is_some();
        let broken = |text: &str| refusal(path, b"fn a() {}", text.as_bytes()).is_some();
        prop_assert_ne!(clean(&before), broken(&before));
        prop_assert_eq!(refusal(path, before.as_bytes(), after.as_bytes()).is_some(), clean(&before) && broken(&after));
    }
}
