//! Tests of the file tools, on a folder of real files.

mod ast;
mod search;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::confine::Worktree;
use super::walk::Stop;
use super::{ToolCall, ToolResult, definitions, edit, evidence, grep, read, write};

struct Bench {
    dir: tempfile::TempDir,
    worktree: Worktree,
}

/// A search that nobody stops.
fn stop() -> Stop {
    Stop::new(CancellationToken::new())
}

fn bench(files: &[(&str, &str)]) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let worktree = Worktree::new(dir.path()).unwrap();
    Bench { dir, worktree }
}

impl Bench {
    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// A call that has seen the named files as they are now.
    fn call(&self, name: &str, input: &Value, seen: &[&str]) -> ToolCall {
        let blob = |path: &str| evidence::blob_id(&std::fs::read(self.dir.path().join(path)).unwrap());
        let seen: BTreeMap<_, _> = seen.iter().map(|path| ((*path).to_owned(), blob(path))).collect();
        ToolCall { id: "t".to_owned(), name: name.to_owned(), input: input.to_string(), seen, again: false }
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> ToolResult {
        let input = json!({"file_path": path, "old_string": old, "new_string": new});
        edit::call(&self.worktree, &self.call("Edit", &input, &[path]))
    }

    fn grep(&self, input: &Value) -> ToolResult {
        grep::call(&self.worktree, &input.to_string(), &stop())
    }
}

#[test]
fn schemas_are_objects_and_refuse_what_they_do_not_know() {
    let names: Vec<String> = definitions().into_iter().map(|tool| tool.name).collect();
    assert_eq!(
        names,
        [
            "ApplyPatch",
            "Ask",
            "AstGrep",
            "Bash",
            "BashOutput",
            "Edit",
            "Glob",
            "Grep",
            "KillShell",
            "Lsp",
            "Read",
            "Report",
            "SubmitPlan",
            "Symbols",
            "Write"
        ]
    );
    for tool in definitions() {
        let schema: Value = serde_json::from_str(&tool.input_schema).unwrap();
        assert_eq!(schema["type"], "object", "{}", tool.name);
    }
    let bench = bench(&[]);
    let unknown = read::call(&bench.worktree, r#"{"file_path":"a","lines":3}"#);
    assert!(unknown.is_error && unknown.content.contains("unknown field `lines`"), "{unknown:?}");
    let broken = read::call(&bench.worktree, r#"{"invalid_json":"{\"file_path\":"}"#);
    assert!(broken.is_error && broken.content.contains("was not valid JSON"), "{broken:?}");
}

#[test]
fn a_blob_has_the_id_that_git_gives_it() {
    assert_eq!(evidence::blob_id(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
}

#[test]
fn read_numbers_lines_and_says_what_it_left_out() {
    let long: String = (1..=2500).map(|number| format!("line {number}\n")).collect();
    let wide = format!("{}\n", "x".repeat(150)).repeat(2000);
    let bench = bench(&[("a", "one\r\ntwo\n"), ("long", &long), ("empty", ""), ("wide", &wide), ("bin", "a\0b")]);
    let read = |input: Value| read::call(&bench.worktree, &input.to_string());
    insta::assert_snapshot!(read(json!({"file_path": "a"})).content, @"
         1	one
         2	two
    ");
    let page = read(json!({"file_path": "long"}));
    assert!(page.content.ends_with("PARTIAL view: lines 1 to 2000 of 2500. Go on with offset 2001."));
    insta::assert_snapshot!(read(json!({"file_path": "long", "offset": 2499})).content, @"
      2499	line 2499
      2500	line 2500
    ");
    assert_eq!(read(json!({"file_path": "long", "offset": 7, "limit": 1})).content, "     7\tline 7\n");
    assert!(read(json!({"file_path": "empty"})).content.contains("empty"));
    assert!(read(json!({"file_path": "wide"})).content.contains("PARTIAL view"));
    for (input, part) in [
        (json!({"file_path": "long", "offset": 2501}), "no line 2501"),
        (json!({"file_path": "wide", "limit": 1900}), "too much at once"),
        (json!({"file_path": "bin"}), "binary"),
        (json!({"file_path": "none"}), "does not exist"),
        (json!({"file_path": "../x"}), "outside the worktree"),
    ] {
        let result = read(input);
        assert!(result.is_error && result.content.contains(part), "{result:?}");
    }
    assert_eq!(read(json!({"file_path": "./a"})).evidence.read[0].0, "a");
}

#[test]
fn edit_changes_what_is_unique_and_keeps_the_rest() {
    let bench = bench(&[("a", "\u{feff}one\r\ntwo\r\nthree"), ("b", "x $1 x\n")]);
    let result = bench.edit("a", "one\ntwo", "eins\nzwei");
    assert!(!result.is_error, "{result:?}");
    assert_eq!(bench.text("a"), "\u{feff}eins\r\nzwei\r\nthree");
    let (path, before, after) = result.evidence.wrote[0].clone();
    assert_eq!(path, "a");
    assert!(before.is_some() && after == Some(evidence::blob_id(bench.text("a").as_bytes())));
    assert!(!bench.edit("b", "$1", "$2 \\n").is_error);
    assert_eq!(bench.text("b"), "x $2 \\n x\n");
    let all = json!({"file_path": "b", "old_string": "x", "new_string": "y", "replace_all": true});
    let result = edit::call(&bench.worktree, &bench.call("Edit", &all, &["b"]));
    assert!(result.content.contains("2 times"), "{result:?}");
    assert_eq!(bench.text("b"), "y $2 \\n y\n");
}

#[test]
fn edit_refuses_what_it_cannot_be_sure_of() {
    let bench = bench(&[("a", "fn alpha() {}\nfn beta() {}\nfn beta() {}\n")]);
    let before = bench.text("a");
    let check = |result: ToolResult, part: &str| {
        assert!(result.is_error && result.content.contains(part), "{part}: {result:?}");
        assert!(result.evidence.wrote.is_empty());
    };
    check(bench.edit("a", "fn beta() {}", "x"), "occurs 2 times");
    check(bench.edit("a", "", "x"), "is empty");
    check(bench.edit("a", "fn alpha", "fn alpha"), "the same");
    check(bench.edit("a", "fn alpho() {}", "x"), "     1\tfn alpha() {}");
    let unread = json!({"file_path": "a", "old_string": "fn alpha", "new_string": "x"});
    check(edit::call(&bench.worktree, &bench.call("Edit", &unread, &[])), "has not been read");
    assert_eq!(bench.text("a"), before);
    // A file that changed since it was read may be edited where the text is still unique, and it is said.
    let call = bench.call("Edit", &unread, &["a"]);
    std::fs::write(bench.dir.path().join("a"), format!("// new\n{before}")).unwrap();
    let result = edit::call(&bench.worktree, &call);
    assert!(!result.is_error && result.content.contains("had changed"), "{result:?}");
}

#[test]
fn an_edit_that_was_made_before_an_interruption_is_not_made_twice() {
    // (text, old, new, the text that has to be there after any number of calls)
    for (text, old, new, expected) in
        [("a b c\n", "b", "x", "a x c\n"), ("a b c\n", "b", "b b2", "a b b2 c\n"), ("a b c\n", " b", "", "a c\n")]
    {
        let bench = bench(&[("f", text)]);
        let input = json!({"file_path": "f", "old_string": old, "new_string": new});
        for _ in 0..3 {
            let call = ToolCall { again: true, ..bench.call("Edit", &input, &["f"]) };
            let result = edit::call(&bench.worktree, &call);
            assert!(!result.is_error, "{result:?}");
            assert_eq!(bench.text("f"), expected);
        }
    }
}

#[test]
fn write_makes_files_and_replaces_only_what_was_read() {
    let bench = bench(&[("a", "old\n")]);
    let input = |path: &str| json!({"file_path": path, "content": "new\n"});
    let made = write::call(&bench.worktree, &bench.call("Write", &input("deep/er/b"), &[]));
    assert!(!made.is_error && made.evidence.wrote[0].1.is_none(), "{made:?}");
    assert_eq!(bench.text("deep/er/b"), "new\n");
    let unread = write::call(&bench.worktree, &bench.call("Write", &input("a"), &[]));
    assert!(unread.is_error && unread.content.contains("has not been read"), "{unread:?}");
    let stale = bench.call("Write", &input("a"), &["a"]);
    std::fs::write(bench.dir.path().join("a"), "changed\n").unwrap();
    let refused = write::call(&bench.worktree, &stale);
    assert!(refused.is_error && refused.content.contains("has changed"), "{refused:?}");
    assert!(!write::call(&bench.worktree, &bench.call("Write", &input("a"), &["a"])).is_error);
    assert_eq!(bench.text("a"), "new\n");
    let git = write::call(&bench.worktree, &bench.call("Write", &input(".git/hooks/pre-commit"), &[]));
    assert!(git.is_error && git.content.contains("belongs to git"), "{git:?}");
}
