//! Tests of AstGrep.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Bench, bench, stop};
use crate::exec::rewrite::search::compile;
use crate::tool::walk::Stop;
use crate::tool::{ToolResult, ast};

fn found(bench: &Bench, input: &Value) -> ToolResult {
    ast::call(&bench.worktree, compile, &input.to_string(), &stop())
}

fn code() -> Bench {
    bench(&[
        (".gitignore", "gen/\n"),
        (
            "src/a.rs",
            "fn main() {\n    let a = read(1, two).unwrap();\n    // read(1).unwrap()\n    x\n        .y\n        .unwrap();\n}\n",
        ),
        ("src/deep/b.rs", "fn f() { read ( 3 , g(4) ) ; }\n"),
        ("src/c.py", "read(5)\n"),
        ("gen/d.rs", "fn g() { read(6); }\n"),
        ("src/broken.rs", "fn ( { read(7) \n"),
    ])
}

#[test]
fn code_is_found_by_its_structure() {
    let bench = code();
    let check = |input: Value, expected: &str| {
        let result = found(&bench, &input);
        assert_eq!((result.content.as_str(), result.is_error), (expected, false), "{input}");
    };
    check(
        json!({"pattern": "$X.unwrap()", "lang": "rust"}),
        "src/a.rs:2: read(1, two).unwrap()  [$X = read(1, two)]\nsrc/a.rs:4: x …  [$X = x …]\n",
    );
    check(
        json!({"pattern": "read($A, $$$REST)", "lang": "rs", "glob": "src/deep/**"}),
        "src/deep/b.rs:1: read ( 3 , g(4) )  [$A = 3, $REST = g(4)]\n",
    );
    check(json!({"pattern": "read($A)", "lang": "python"}), "src/c.py:1: read(5)  [$A = 5]\n");
    check(json!({"pattern": "read($A)", "lang": "python", "path": "src/c.py"}), "src/c.py:1: read(5)  [$A = 5]\n");
    check(json!({"pattern": "read(6)", "lang": "rust", "include_ignored": true}), "gen/d.rs:1: read(6)\n");
    check(json!({"pattern": "read(6)", "lang": "rust"}), "No match. 3 files of rust searched.\n");
    check(
        json!({"pattern": "read($$$)", "lang": "rust", "head_limit": 1}),
        "src/a.rs:2: read(1, two)\n(matches 1 to 1 of 3 in 3 files are shown. Narrow the search with path, glob or a longer pattern, or go on with offset 1.)\n",
    );
    check(
        json!({"pattern": "read($$$)", "lang": "rust", "offset": 1, "head_limit": 1, "path": "src/deep"}),
        "Nothing is left at offset 1: there are 1 matches in all.",
    );
}

#[test]
fn a_bad_pattern_names_the_mend() {
    let bench = code();
    for (input, part) in [
        (json!({"pattern": "a", "lang": "klingon"}), "there is no language `klingon`; there are bash, c,"),
        (json!({"pattern": "a", "lang": "zig"}), "not built in"),
        (json!({"pattern": "", "lang": "rust"}), "a pattern is one whole expression"),
        (json!({"pattern": "a(); b();", "lang": "rust"}), "a pattern is one whole expression"),
        (json!({"pattern": "$$$A", "lang": "rust"}), "a pattern is one whole expression"),
        (json!({"pattern": "fn (", "lang": "rust"}), "a pattern is one whole expression"),
        (json!({"pattern": "a".repeat(20_000), "lang": "rust"}), "more than 10000 bytes"),
        (json!({"pattern": "a", "lang": "rust", "path": "none"}), "does not exist"),
        (json!({"pattern": "a", "lang": "rust", "path": "/etc"}), "outside the worktree"),
        (json!({"pattern": "a", "lang": "rust", "glob": "[z"}), "unclosed"),
        (json!({"pattern": "a"}), "missing field `lang`"),
    ] {
        let result = found(&bench, &input);
        assert!(result.is_error && result.content.contains(part), "{part}: {result:?}");
    }
}

#[test]
fn what_is_too_large_or_no_text_is_passed_over_and_told() {
    let bench = bench(&[("a.rs", "fn a() { b() }\n"), ("long.rs", &"fn a() { b() }\n".repeat(250_000))]);
    std::fs::write(bench.dir.path().join("latin.rs"), b"// caf\xe9\nfn a() { b() }\n").unwrap();
    let result = found(&bench, &json!({"pattern": "b()", "lang": "rust"}));
    assert_eq!(result.content, "a.rs:1: b()\n(2 files were not searched: too large, or not UTF-8.)\n");
}

/// Each match holds the next: what is kept of them is bounded.
#[test]
fn matches_within_matches() {
    let deep = format!("fn a() {{ {}x{} }}\n", "f(".repeat(400), ")".repeat(400));
    let bench = bench(&[("a.rs", &deep)]);
    let result = found(&bench, &json!({"pattern": "f($A)", "lang": "rust", "head_limit": 10_000}));
    assert!(!result.is_error && result.content.len() < 31_000, "{}", result.content.len());
    assert!(result.content.contains(" of 400 in 1 file are shown"), "{}", result.content);
}

#[test]
fn a_search_that_is_stopped_says_so() {
    let bench = code();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let input = json!({"pattern": "read($A)", "lang": "rust"}).to_string();
    let result = ast::call(&bench.worktree, compile, &input, &Stop::new(cancel));
    assert!(result.is_error && result.content.contains("was stopped"), "{result:?}");
}
