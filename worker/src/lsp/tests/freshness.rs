//! Diagnostics are those of the files as they are now, or there are none. Each test is a way in which others have
//! misled their models.

use super::*;

const NOT_READY: &str = "not ready: the language server is still at work on the files as they are now; ask again";

/// Edits a file as a worker does.
async fn edit(bench: &Bench, file: &str, old: &str, new: &str) {
    let seen = bench.call("Read", json!({"file_path": file})).await.evidence.read.into_iter().collect();
    let input = json!({"file_path": file, "old_string": old, "new_string": new}).to_string();
    let call = ToolCall { id: "t".to_owned(), name: "Edit".to_owned(), input, seen, again: false };
    let result = bench.tools.call(call).await;
    assert!(!result.is_error, "{result:?}");
}

/// All ways to publish; with each of them an edit is followed by what is wrong with the edited file.
#[tokio::test]
async fn diagnostics_follow_the_edits() {
    let prompt = json!({"versions": false, "prompt": true});
    for script in [json!({}), json!({"versions": false}), prompt, json!({"pull": true}), json!({"lazy": true})] {
        // Only of the prompt one without versions is the last word waited for.
        let limits = if script["prompt"] == true { hasty() } else { patient() };
        let bench = Bench::new(script.clone(), limits, &[("a.toy", "def crab\n")]);
        assert_eq!(bench.problems("a.toy").await, "No problems in a.toy as it is now.", "{script}");
        edit(&bench, "a.toy", "def", "bad").await;
        let bad = "1 problem:\na.toy:1:1 error: bad thing [toy]\n    bad crab\n";
        assert_eq!(bench.problems("a.toy").await, bad, "{script}");
        edit(&bench, "a.toy", "bad", "def").await;
        assert_eq!(bench.problems("a.toy").await, "No problems in a.toy as it is now.", "{script}");
        assert_eq!(bench.pids().len(), 1);
    }
}

/// anomalyco/opencode#2694 and #5899: diagnostics of an earlier content are never passed on as those of the file.
#[tokio::test]
async fn opencode_2694_and_5899_stale_diagnostics_are_no_answer() {
    let bench = Bench::new(json!({"publish": "stale"}), hasty(), &[("a.toy", "bad\n")]);
    assert!(bench.problems("a.toy").await.contains("bad thing"));
    edit(&bench, "a.toy", "bad", "def").await;
    assert_eq!(bench.problems("a.toy").await, NOT_READY);
    let log = bench.log();
    let published: Vec<_> = log.iter().filter_map(|line| line["published"]["version"].as_i64()).collect();
    assert!(
        published.len() > 1 && published.iter().all(|version| *version == 1),
        "of the content before: {published:?}"
    );
    // Neither are they when the server says nothing at all.
    let silent = Bench::new(json!({"publish": "never"}), hasty(), &[("a.toy", "bad\n")]);
    assert_eq!(silent.problems("a.toy").await, NOT_READY);
}

/// Claude Code 2.1.111: what was published before an edit arrives after it.
#[tokio::test]
async fn claude_code_2_1_111_diagnostics_from_before_the_edit_arrive_after_it() {
    for versions in [true, false] {
        let script = json!({"publish": "stale_first", "versions": versions});
        let bench = Bench::new(script, patient(), &[("a.toy", "bad\n")]);
        assert!(bench.problems("a.toy").await.contains("bad thing"));
        edit(&bench, "a.toy", "bad", "def").await;
        assert_eq!(bench.problems("a.toy").await, "No problems in a.toy as it is now.", "{versions}");
    }
}

/// zeenix/rust-analyzer-mcp#12: what was published once is not the answer for ever. The server here does not publish
/// again for a file that has not changed itself, as real ones do not.
#[tokio::test]
async fn rust_analyzer_mcp_12_diagnostics_change_with_other_files() {
    for versions in [true, false] {
        let files = [("a.toy", "use crab\n"), ("lib.toy", "def crab\n")];
        let bench = Bench::new(json!({"lazy": true, "versions": versions}), patient(), &files);
        let undefined = "1 problem:\na.toy:1:5 warning: crab is not defined [U1]\n    use crab\n";
        let none = "No problems in a.toy as it is now.";
        assert_eq!(bench.problems("a.toy").await, none);
        // A file that the server has open.
        assert_eq!(bench.problems("lib.toy").await, "No problems in lib.toy as it is now.");
        edit(&bench, "lib.toy", "crab", "cod").await;
        assert_eq!(bench.problems("a.toy").await, undefined, "{versions}");
        // One that it has not, and that a command has made.
        bench.write("new.toy", "def crab\n");
        assert_eq!(bench.problems("a.toy").await, none);
        std::fs::remove_file(bench.root().join("new.toy")).unwrap();
        assert_eq!(bench.problems("a.toy").await, undefined);
        // The file that is open goes.
        std::fs::remove_file(bench.root().join("lib.toy")).unwrap();
        assert_eq!(bench.problems("a.toy").await, undefined);
        assert_eq!(bench.problems("lib.toy").await, "lib.toy does not exist");
        assert_eq!(bench.pids().len(), 1);
    }
}

#[tokio::test]
async fn what_has_not_changed_is_answered_without_asking_again() {
    let bench = Bench::new(json!({}), patient(), &[("a.toy", "bad\n")]);
    let first = bench.problems("a.toy").await;
    assert_eq!(bench.problems("a.toy").await, first);
    assert_eq!((bench.count("textDocument/didOpen"), bench.count("textDocument/didChange")), (1, 0));
}

#[tokio::test]
async fn an_empty_answer_of_a_server_at_work_is_no_answer() {
    let bench = Bench::new(json!({"busy": true}), hasty(), &[("a.toy", "use crab\nuse cod\ndef cod\n")]);
    let definition = |line: usize, symbol: &str| json!({"operation": "definition", "file_path": "a.toy", "line": line, "symbol": symbol});
    assert_eq!(bench.lsp(definition(1, "crab")).await, NOT_READY);
    let some = bench.lsp(definition(2, "cod")).await;
    assert_eq!(some, "1 definition:\na.toy:3:5\tdef cod\n(The server was still at work: there may be more.)\n");
}
