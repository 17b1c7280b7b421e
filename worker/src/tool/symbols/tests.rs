//! Tests of the tool on folders of real files.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

struct Bench {
    dir: tempfile::TempDir,
    worktree: Worktree,
    memory: Memory,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(dir.path(), name, text);
        }
        let worktree = Worktree::new(dir.path()).unwrap();
        Bench { dir, worktree, memory: Memory::default() }
    }

    fn ask(&self, input: Value) -> String {
        let stop = Stop::new(tokio_util::sync::CancellationToken::new());
        let result = call(&self.worktree, &self.memory, &input.to_string(), &stop);
        assert!(result.evidence.read.is_empty(), "an outline is no reading of a file");
        format!("{}{}", if result.is_error { "error: " } else { "" }, result.content)
    }
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn small() -> Bench {
    Bench::new(&[
        ("src/wire.rs", "pub struct Frame;\n\nimpl Frame {\n    pub fn decode(&self) -> u32 { read_all(self) }\n}\n"),
        (
            "src/io.rs",
            "use crate::wire::Frame;\nfn read_all(f: &Frame) -> u32 { 1 }\nfn read_line() { fn deep() {} }\n",
        ),
        ("tool/run.py", "def main():\n    decode(read_all(1)); read_all(2)\n"),
        ("ignored/x.rs", "fn read_all() {}\n"),
        (".gitignore", "ignored/\n"),
        ("README.md", "# read_all\n"),
    ])
}

#[test]
fn definitions_are_exact_first() {
    let bench = small();
    insta::assert_snapshot!(bench.ask(json!({"query": "read_all"})), @"src/io.rs:2-2: fn read_all(f: &Frame) -> u32");
    insta::assert_snapshot!(bench.ask(json!({"query": "Frame"})), @r"
    src/wire.rs:1-1: pub struct Frame
    src/wire.rs:3-5: impl Frame
    ");
    insta::assert_snapshot!(bench.ask(json!({"query": "decode", "path": "src"})), @"src/wire.rs:4-4: pub fn decode(&self) -> u32  [in Frame]");
    insta::assert_snapshot!(bench.ask(json!({"query": "read_"})), @r"
    No definition of `read_`; names that begin with it:
    src/io.rs:2-2: fn read_all(f: &Frame) -> u32
    src/io.rs:3-3: fn read_line()
    ");
    insta::assert_snapshot!(bench.ask(json!({"query": "_line"})), @r"
    No definition of `_line`; names that contain it:
    src/io.rs:3-3: fn read_line()
    ");
    insta::assert_snapshot!(bench.ask(json!({"query": "nowhere"})), @"No definition of `nowhere`, and none whose name contains it.");
    insta::assert_snapshot!(bench.ask(json!({"query": "read_all", "path": "ignored/x.rs"})), @"ignored/x.rs:1-1: fn read_all()");
}

#[test]
fn references_show_their_lines() {
    let bench = small();
    insta::assert_snapshot!(bench.ask(json!({"query": "read_all", "kind": "references"})), @r"
    src/wire.rs:4: pub fn decode(&self) -> u32 { read_all(self) }
    tool/run.py:2: decode(read_all(1)); read_all(2)
    ");
    assert!(bench.ask(json!({"query": "f", "kind": "references"})).starts_with("No reference to `f`."));
}

#[test]
fn outlines_of_a_file_and_of_a_folder() {
    let bench = small();
    insta::assert_snapshot!(bench.ask(json!({"path": "src/wire.rs"})), @r"
    src/wire.rs (rust)
      1-1: pub struct Frame
      3-5: impl Frame
        4-4: pub fn decode(&self) -> u32
    ");
    insta::assert_snapshot!(bench.ask(json!({"kind": "outline", "head_limit": 3, "offset": 1})), @r"
      2-2: fn read_all(f: &Frame) -> u32
      3-3: fn read_line()
        3-3: fn deep()
    (There are 6 more; narrow the path, or go on with offset 4.)
    ");
    assert!(bench.ask(json!({"offset": 50})).contains("There are 10 lines"), "{}", bench.ask(json!({"offset": 50})));
}

#[test]
fn an_edit_is_seen_at_once() {
    let bench = small();
    assert!(bench.ask(json!({"query": "renamed"})).starts_with("No definition"));
    write(bench.dir.path(), "src/io.rs", "fn renamed() {}\n");
    insta::assert_snapshot!(bench.ask(json!({"query": "renamed"})), @"src/io.rs:1-1: fn renamed()");
    assert!(bench.ask(json!({"query": "read_all"})).starts_with("No definition"));
    std::fs::remove_file(bench.dir.path().join("src/io.rs")).unwrap();
    assert!(bench.ask(json!({"query": "renamed"})).starts_with("No definition"));
}

#[test]
fn what_cannot_be_answered_is_said() {
    let large = format!("fn big() {{}}\n{}", "// x\n".repeat(300_000));
    let bench = Bench::new(&[("a.rs", "fn a() {}\n"), ("big.rs", &large), ("bin.c", "int big;\0"), ("x.txt", "")]);
    let check = |input: Value, part: &str| {
        let result = bench.ask(input);
        assert!(result.contains(part), "{part}: {result}");
    };
    check(json!({"query": "big"}), "(big.rs was not parsed: larger than 1 MiB.)");
    check(json!({"query": "big"}), "(bin.c was not parsed: not text.)");
    check(json!({"path": "x.txt"}), "error: x.txt is of no language");
    check(json!({"path": "none"}), "error: none does not exist");
    check(json!({"path": "../x"}), "outside the worktree");
    check(json!({"kind": "references"}), "error: a query is needed");
    check(json!({"kind": "outline", "query": "a"}), "error: an outline takes a path");
    check(json!({"pattern": "a"}), "unknown field `pattern`");
}

/// A repository is data: what it holds cannot pass for a line of ours.
#[test]
fn a_result_has_one_line_for_each_finding() {
    let bench = Bench::new(&[("a.py", "def f(x='\u{1b}[2J\r\u{2028}'): pass\nf(\u{202e}1)\n")]);
    for input in [json!({"query": "f"}), json!({"query": "f", "kind": "references"}), json!({"path": "a.py"})] {
        let result = bench.ask(input);
        assert!(
            !result.trim_end().contains(|c: char| c != '\n' && (c.is_control() || c == '\u{2028}' || c == '\u{202e}')),
            "{result:?}"
        );
    }
}
