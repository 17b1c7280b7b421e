//! What is asked and answered, in the words that a model reads.

use super::*;

/// Characters outside of the basic plane and line ends of two kinds before every name.
const LIB: &str = "# 🦀 é\r\ndef crab\r\n🦀 use crab\r\n";
const MAIN: &str = "use crab\nuse crab use elsewhere\n";

async fn check(bench: &Bench, input: Value, expected: &str) {
    assert_eq!(bench.lsp(input.clone()).await, expected, "{input}");
}

#[tokio::test]
async fn places_are_named_with_their_lines_in_either_encoding() {
    for encoding in ["utf-8", "utf-16"] {
        let files = [("lib.toy", LIB), ("src/main.toy", MAIN)];
        let bench = Bench::new(json!({"encoding": encoding}), patient(), &files);
        let definition = "1 definition:\nlib.toy:2:5\tdef crab\n";
        let at = |operation: &str, place: Value| {
            let mut input = json!({"operation": operation, "file_path": "lib.toy", "line": 3});
            input.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
            input
        };
        check(&bench, at("definition", json!({"character": 7})), definition).await;
        check(&bench, at("definition", json!({"symbol": "crab"})), definition).await;
        check(&bench, at("hover", json!({"symbol": "crab"})), "the name crab").await;
        check(&bench, at("hover", json!({"character": 1})), "The language server knows nothing about this place.")
            .await;
        let references = "4 references:\nlib.toy:2:5\tdef crab\nlib.toy:3:7\t🦀 use crab\n\
                          src/main.toy:1:5\tuse crab\nsrc/main.toy:2:5\tuse crab use elsewhere\n";
        check(&bench, at("references", json!({"symbol": "crab"})), references).await;
        let symbols = "1 symbol:\nlib.toy:2:5 function crab\n";
        check(&bench, json!({"operation": "documentSymbol", "file_path": "lib.toy"}), symbols).await;
        assert_eq!(bench.problems("lib.toy").await, "No problems in lib.toy as it is now.");
        bench.write("lib.toy", "🦀 bad\r\n🦀 use cod");
        let problems = "2 problems:\nlib.toy:1:3 error: bad thing [toy]\n    🦀 bad\n\
                        lib.toy:2:7 warning: cod is not defined [U1]\n    🦀 use cod\n";
        assert_eq!(bench.problems("lib.toy").await, problems);
        bench.lease.close().await;
    }
}

#[tokio::test]
async fn what_lies_outside_is_named_and_not_shown() {
    let bench = Bench::new(json!({}), patient(), &[("a.toy", "use elsewhere\n")]);
    std::fs::write(bench.dir.path().join("secret.toy"), "a secret\n").unwrap();
    let input = json!({"operation": "definition", "file_path": "a.toy", "line": 1, "symbol": "elsewhere"});
    let secret = bench.dir.path().canonicalize().unwrap().join("secret.toy");
    check(&bench, input, &format!("1 definition:\n{} (outside the worktree)\n", secret.display())).await;
    std::os::unix::fs::symlink(&secret, bench.root().join("link.toy")).unwrap();
    check(
        &bench,
        json!({"operation": "diagnostics", "file_path": "link.toy"}),
        "link.toy is outside the worktree; only files inside it can be used",
    )
    .await;
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_told_why() {
    let bench = Bench::new(json!({}), patient(), &[("a.toy", "def crab\n"), ("b.rs", ""), ("c.toy", "")]);
    std::fs::write(bench.root().join("c.toy"), b"\xff").unwrap();
    let ask = |place: Value| {
        let mut input = json!({"operation": "hover", "file_path": "a.toy"});
        input.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        input
    };
    check(&bench, ask(json!({})), "give `line` with `character`, or `line` with `symbol`").await;
    check(&bench, ask(json!({"line": 1})), "give `line` with `character`, or `line` with `symbol`").await;
    check(&bench, ask(json!({"line": 9, "character": 1})), "the file has 1 lines; there is no line 9").await;
    check(&bench, ask(json!({"line": 1, "character": 99})), "line 1 has 8 characters; there is no character 99").await;
    check(&bench, ask(json!({"symbol": "cod"})), "`cod` is not in the file").await;
    let file = |name: &str| json!({"operation": "diagnostics", "file_path": name});
    check(&bench, file("gone.toy"), "gone.toy does not exist").await;
    check(&bench, file("c.toy"), "c.toy is not valid UTF-8").await;
    let other = "no language server is set up for b.rs; there are some for .toy. Use Grep and Read instead";
    check(&bench, file("b.rs"), other).await;
}

#[tokio::test]
async fn with_no_server_the_tool_says_how_one_is_set_up() {
    let bench = Bench::with(tempfile::tempdir().unwrap(), &json!({}), patient(), &[("a.toy", "")]);
    let result = bench.call("Lsp", json!({"operation": "diagnostics", "file_path": "a.toy"})).await;
    assert!(result.is_error);
    for words in ["no language server is set up", "`lsp:` in .wattle/config.yaml", ".lsp.json", "extensionToLanguage"] {
        assert!(result.content.contains(words), "{words}: {}", result.content);
    }
}

#[tokio::test]
async fn a_server_gets_answers_and_its_own_notes_are_passed_over() {
    let bench = Bench::new(json!({"ask": true}), patient(), &[("a.toy", "def crab\n")]);
    assert_eq!(bench.problems("a.toy").await, "No problems in a.toy as it is now.");
    let replies = || bench.log().into_iter().filter_map(|line| line.get("reply").cloned()).collect::<Vec<_>>();
    assert!(comes(|| replies().len() == 3).await, "{:?}", bench.log());
    let replies = replies();
    assert_eq!(replies[0]["result"], json!([7]));
    assert_eq!((&replies[1]["id"], &replies[1]["result"]["applied"]), (&json!("two"), &json!(false)));
    assert_eq!(replies[2]["error"]["code"], -32601);
}
