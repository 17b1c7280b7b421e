//! Tests of Glob and Grep.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Bench, bench, stop};
use crate::tool::walk::Stop;
use crate::tool::{ToolResult, glob, grep};

fn searched() -> Bench {
    bench(&[
        (".gitignore", "target/\n"),
        (".hidden/c.rs", "fn gamma() {}\n"),
        ("src/a.rs", "fn alpha() {\n    beta();\n}\n"),
        ("src/b.txt", "Alpha\n"),
        ("src/deep/d.rs", "fn alpha2() {}\n"),
        ("src/deep/.gitignore", "e.rs\n"),
        ("src/deep/e.rs", "fn alpha3() {}\n"),
        ("target/t.rs", "fn alpha4() {}\n"),
        (".git/x.rs", "fn alpha5() {}\n"),
    ])
}

fn globbed(bench: &Bench, input: &Value) -> ToolResult {
    glob::call(&bench.worktree, &input.to_string(), &stop())
}

#[test]
fn glob_lists_what_git_does_not_ignore() {
    let bench = searched();
    let check = |input: Value, expected: &str| {
        let result = globbed(&bench, &input);
        assert_eq!(result.content, expected, "{input}");
    };
    check(json!({"pattern": "**/*.rs"}), ".hidden/c.rs\nsrc/a.rs\nsrc/deep/d.rs");
    check(json!({"pattern": "*.rs", "path": "src"}), "src/a.rs");
    check(json!({"pattern": "**/*.rs", "path": "src/deep"}), "src/deep/d.rs");
    check(json!({"pattern": format!("{}/src/*", bench.worktree.root().display())}), "src/a.rs\nsrc/b.txt");
    check(json!({"pattern": "src/**/*.rs"}), "src/a.rs\nsrc/deep/d.rs");
    check(json!({"pattern": "./src/deep/?.rs"}), "src/deep/d.rs");
    check(json!({"pattern": "deep/*.rs", "path": "src"}), "src/deep/d.rs");
    check(json!({"pattern": "src/a.rs"}), "src/a.rs");
    check(json!({"pattern": "{src,none}/{a,b}.*"}), "src/a.rs\nsrc/b.txt");
    check(
        json!({"pattern": "**/*.rs", "include_ignored": true}),
        ".hidden/c.rs\nsrc/a.rs\nsrc/deep/d.rs\nsrc/deep/e.rs\ntarget/t.rs",
    );
    check(json!({"pattern": "*.zig"}), "No file matches. (What .gitignore excludes was left out.)");
    check(json!({"pattern": ".git/*", "include_ignored": true}), "No file matches.");
    for (input, part) in [
        (json!({"pattern": "a[b"}), "unclosed"),
        (json!({"pattern": "*", "path": ".."}), "outside the worktree"),
        (json!({"pattern": "*", "path": "src/a.rs"}), "no folder"),
        (json!({"pattern": "{a,b}".repeat(1000)}), "more than 4096 bytes"),
    ] {
        let bad = globbed(&bench, &input);
        assert!(bad.is_error && bad.content.contains(part), "{bad:?}");
    }
}

#[test]
fn glob_says_how_many_there_are() {
    let bench = bench(&[]);
    for number in 0..700 {
        let folder = bench.dir.path().join(format!("d{}", number % 7));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("f{number:03}")), "").unwrap();
    }
    let first = globbed(&bench, &json!({"pattern": "**"})).content;
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[199]), (201, "d0/f000", "d1/f694"));
    assert_eq!(lines[200], "(200 of 700 files are shown; narrow the pattern, or name a folder with path.)");
    for _ in 0..20 {
        assert_eq!(globbed(&bench, &json!({"pattern": "**"})).content, first);
    }
}

#[test]
fn grep_answers_in_three_forms() {
    let bench = searched();
    let check = |input: Value, expected: &str| {
        let result = bench.grep(&input);
        assert_eq!((result.content.as_str(), result.is_error), (expected, false), "{input}");
    };
    check(json!({"pattern": "alpha"}), "src/a.rs\nsrc/deep/d.rs\n");
    check(json!({"pattern": "alpha", "-i": true}), "src/a.rs\nsrc/b.txt\nsrc/deep/d.rs\n");
    check(json!({"pattern": "alpha", "glob": "*.txt", "-i": true}), "src/b.txt\n");
    check(json!({"pattern": "alpha", "type": "rust", "path": "src/deep"}), "src/deep/d.rs\n");
    check(json!({"pattern": "alpha", "path": "src/a.rs", "output_mode": "content"}), "src/a.rs:1:fn alpha() {\n");
    check(
        json!({"pattern": "beta", "output_mode": "content", "-C": 1}),
        "src/a.rs-1-fn alpha() {\nsrc/a.rs:2:    beta();\nsrc/a.rs-3-}\n",
    );
    check(json!({"pattern": "alpha|beta", "output_mode": "count"}), "src/a.rs:2\nsrc/deep/d.rs:1\n");
    check(
        json!({"pattern": "alpha.*\\}", "multiline": true, "output_mode": "content", "-n": false, "path": "src/a.rs"}),
        "src/a.rs:fn alpha() {\nsrc/a.rs:    beta();\nsrc/a.rs:}\n",
    );
    check(json!({"pattern": "nothing"}), "No match. 6 files were searched.");
    check(
        json!({"pattern": "alpha", "head_limit": 1}),
        "src/a.rs\n(files 1 to 1 of 2 are shown. Narrow the search with path, glob or a longer pattern, or go on with offset 1.)\n",
    );
    check(json!({"pattern": "alpha", "offset": 1}), "src/deep/d.rs\n");
    check(json!({"pattern": "alpha", "offset": 2}), "Nothing is left at offset 2: there are 2 files in all.");
}

/// A filter never brings back what is ignored; what is named does not need to be brought back.
#[test]
fn grep_sees_ignored_files_only_when_asked_to() {
    let bench = searched();
    let check = |input: Value, expected: &str| assert_eq!(bench.grep(&input).content, expected, "{input}");
    check(json!({"pattern": "alpha", "glob": "*.rs"}), "src/a.rs\nsrc/deep/d.rs\n");
    check(json!({"pattern": "alpha", "glob": "!deep"}), "src/a.rs\n");
    check(json!({"pattern": "alpha", "type": "rust"}), "src/a.rs\nsrc/deep/d.rs\n");
    check(json!({"pattern": "alpha\\d", "include_ignored": true}), "src/deep/d.rs\nsrc/deep/e.rs\ntarget/t.rs\n");
    check(json!({"pattern": "alpha", "path": "target/t.rs"}), "target/t.rs\n");
    check(
        json!({"pattern": "alpha", "path": "target"}),
        "No match. 0 files were searched. What .gitignore excludes was left out; include_ignored searches it, too.",
    );
    check(json!({"pattern": "alpha", "path": "target", "include_ignored": true}), "target/t.rs\n");
}

#[test]
fn a_bad_pattern_is_an_error_and_never_no_match() {
    let bench = searched();
    for (input, part) in [
        (json!({"pattern": "fn ("}), "unclosed group"),
        (json!({"pattern": "a\nb"}), "not allowed"),
        (json!({"pattern": "a\\nb"}), "not allowed"),
        (json!({"pattern": "a", "glob": "[z"}), "unclosed"),
        (json!({"pattern": "a", "type": "klingon"}), "klingon"),
        (json!({"pattern": "a", "path": "nowhere"}), "does not exist"),
        (json!({"pattern": "a", "path": "/etc"}), "outside the worktree"),
        (json!({"pattern": "a", "path": ".git"}), "belongs to git"),
        (json!({"pattern": "a", "offset": 100_001}), "narrow the search"),
        (json!({"pattern": "((a{0,1000}){0,1000}){0,1000}"}), "exceeds size limit"),
        (json!({"pattern": "(".repeat(1000) + &")".repeat(1000)}), "nested"),
    ] {
        let result = bench.grep(&input);
        assert!(result.is_error && result.content.contains(part), "{part}: {result:?}");
    }
}

/// Paging gives every line once, in the same order as all at once, however threads share the files.
#[test]
fn pages_are_parts_of_one_whole() {
    let bench = bench(&[]);
    for number in 0..120 {
        let folder = bench.dir.path().join(format!("d{}/e{}", number % 5, number % 3));
        std::fs::create_dir_all(&folder).unwrap();
        let text = "x\nhit\ny\nz\nhit hit\n".repeat(number % 4);
        std::fs::write(folder.join(format!("f{number}")), text).unwrap();
    }
    for (mode, context) in [("content", 0), ("content", 1), ("count", 0), ("files_with_matches", 0)] {
        let input = |limit: usize, offset: usize| json!({"pattern": "hit", "output_mode": mode, "-C": context, "head_limit": limit, "offset": offset});
        let whole = bench.grep(&input(10_000, 0)).content;
        let total = whole.lines().count();
        assert!(total > 80 && !whole.contains("are shown"), "{whole}");
        let mut pages = String::new();
        while pages.lines().count() < total {
            let page = bench.grep(&input(37, pages.lines().count())).content;
            page.lines().filter(|line| !line.starts_with('(')).for_each(|line| {
                pages.push_str(line);
                pages.push('\n');
            });
        }
        assert_eq!(pages, whole, "{mode}");
    }
}

#[test]
fn names_are_bytes() {
    let bench = bench(&[]);
    let name = OsStr::from_bytes(b"caf\xe9 \n.txt");
    if std::fs::write(bench.dir.path().join(name), "alpha\n").is_err() {
        return; // A file system whose names are text.
    }
    assert_eq!(
        bench.grep(&json!({"pattern": "alpha", "output_mode": "content", "glob": "*.txt"})).content,
        "caf\\xe9 \n.txt:1:alpha\n"
    );
    assert_eq!(globbed(&bench, &json!({"pattern": "*.txt"})).content, "caf\\xe9 \n.txt");
}

#[test]
fn binary_files_are_named_when_asked_for_and_else_counted() {
    let bench = bench(&[("bin", "alpha\0alpha\n"), ("text", "beta\n"), ("utf16", "")]);
    let utf16: Vec<u8> = "\u{feff}alpha\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(bench.dir.path().join("utf16"), utf16).unwrap();
    assert_eq!(bench.grep(&json!({"pattern": "alpha"})).content, "utf16\n");
    assert_eq!(
        bench.grep(&json!({"pattern": "gamma"})).content,
        "No match. 2 files were searched, 1 binary file was not."
    );
    let named = bench.grep(&json!({"pattern": "alpha", "path": "bin"}));
    assert!(named.content.starts_with("No match. bin is a binary file"), "{named:?}");
}

#[test]
fn links_are_not_followed_not_even_into_loops() {
    let bench = searched();
    let root = bench.dir.path();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.rs"), "fn alpha_secret() {}\n").unwrap();
    symlink(outside.path(), root.join("src/out")).unwrap();
    symlink("..", root.join("src/loop")).unwrap();
    symlink("src/a.rs", root.join("link.rs")).unwrap();
    assert_eq!(bench.grep(&json!({"pattern": "alpha", "include_ignored": false})).content, "src/a.rs\nsrc/deep/d.rs\n");
    assert_eq!(globbed(&bench, &json!({"pattern": "src/**/*.rs"})).content, "src/a.rs\nsrc/deep/d.rs");
    assert_eq!(bench.grep(&json!({"pattern": "alpha", "path": "link.rs"})).content, "src/a.rs\n");
}

/// Does the system keep this user from what the mode forbids? It does not keep root.
fn forbids(path: &std::path::Path) -> bool {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if path.is_dir() { std::fs::read_dir(path).is_err() } else { std::fs::read(path).is_err() }
}

#[test]
fn what_cannot_be_read_is_told_and_fails_nothing() {
    let bench = searched();
    let root = bench.dir.path();
    std::fs::create_dir(root.join("closed")).unwrap();
    std::fs::write(root.join("closed/c.rs"), "fn alpha() {}\n").unwrap();
    std::fs::write(root.join("src/shut.rs"), "fn alpha() {}\n").unwrap();
    let forbidden = [forbids(&root.join("closed")), forbids(&root.join("src/shut.rs"))];
    let found = bench.grep(&json!({"pattern": "alpha"}));
    let listed = globbed(&bench, &json!({"pattern": "**/*.rs"}));
    assert!(!found.is_error && found.content.contains("src/a.rs\nsrc/deep/d.rs\n"), "{found:?}");
    std::fs::set_permissions(root.join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    if forbidden == [true, true] {
        let note = "(2 paths could not be looked at: closed: Permission denied (os error 13); src/shut.rs: Permission denied (os error 13))";
        assert!(found.content.ends_with(note), "{found:?}");
        assert!(
            listed.content.ends_with("(1 path could not be looked at: closed: Permission denied (os error 13))"),
            "{listed:?}"
        );
    } else {
        assert_eq!(found.content, "closed/c.rs\nsrc/a.rs\nsrc/deep/d.rs\nsrc/shut.rs\n");
        assert!(listed.content.starts_with(".hidden/c.rs\nclosed/c.rs\n"), "{listed:?}");
    }
}

#[test]
fn a_file_that_is_one_line_is_told_when_it_is_too_long() {
    let bench = bench(&[("a", "needle\n")]);
    let mut file = std::fs::File::create(bench.dir.path().join("line")).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    (0..100).for_each(|_| file.write_all(&chunk).unwrap());
    file.write_all(b"needle\n").unwrap();
    let found = bench.grep(&json!({"pattern": "needle", "output_mode": "content"})).content;
    assert!(
        found.starts_with("a:1:needle\n(1 path could not be looked at: line: ") && found.contains("limit"),
        "{found}"
    );
    // What fits is found, and shown in part.
    file.set_len(20 << 20).unwrap();
    let found = bench.grep(&json!({"pattern": "x", "output_mode": "content", "path": "line"})).content;
    assert!(found.starts_with("line:1:xxx") && found.ends_with("… (the line goes on)\n") && found.len() < 1000);
}

#[test]
fn a_million_lines_are_counted_and_a_page_of_them_is_shown() {
    let bench = bench(&[]);
    std::fs::write(bench.dir.path().join("lines"), "a line\n".repeat(1_000_000)).unwrap();
    let found = bench.grep(&json!({"pattern": "line", "output_mode": "content", "offset": 99_990})).content;
    assert!(found.starts_with("lines:99991:a line\n"), "{}", &found[..40]);
    assert!(found.contains("(lines 99991 to 100240 of 1000000 in 1 file are shown."), "{found}");
    assert_eq!(bench.grep(&json!({"pattern": "line", "output_mode": "count"})).content, "lines:1000000\n");
    let flood = bench.grep(&json!({"pattern": "line", "output_mode": "content", "head_limit": 9_999})).content;
    assert!(flood.len() < 31_000 && flood.contains(" of 1000000 in "), "{}", flood.len());
}

#[test]
fn a_search_that_is_stopped_says_so() {
    let bench = searched();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stop = Stop::new(cancel);
    for input in [json!({"pattern": "alpha"}), json!({"pattern": "alpha", "path": "src/a.rs"})] {
        let result = grep::call(&bench.worktree, &input.to_string(), &stop);
        assert!(result.is_error && result.content.contains("was stopped"), "{result:?}");
    }
    let result = glob::call(&bench.worktree, r#"{"pattern":"*"}"#, &stop);
    assert!(result.is_error && result.content.contains("was stopped"), "{result:?}");
}
