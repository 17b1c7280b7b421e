//! What is captured is exactly what is in the worktree.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::fixture::Fixture;
use crate::lookup::ChangeKind;

fn start() -> Fixture {
    let f = Fixture::with(&[
        (".gitignore", "*.log\n/build/\n"),
        ("gone.txt", "gone\n"),
        ("kept.txt", "kept\n"),
        ("run.sh", "#!/bin/sh\n"),
        ("src/old.rs", "fn a() {}\nfn b() {}\nfn c() {}\nfn d() {}\n"),
        ("Cargo.lock", "one\n"),
    ]);
    f.git(&["config", "core.excludesFile", "/nonexistent"]);
    f
}

fn summary(captured: &Captured) -> Vec<String> {
    let line = |c: &Change| match &c.from {
        Some(from) => format!("{:?} {from} -> {}", c.kind, c.path),
        None => format!("{:?} {}", c.kind, c.path),
    };
    captured.changes.iter().map(line).collect()
}

#[test]
fn files_links_modes_renames_and_no_ignored_ones() {
    let f = start();
    let repo = f.open();
    let base = f.head();
    let main = f.main();
    fs::remove_file(main.join("gone.txt")).unwrap();
    fs::set_permissions(main.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(main.join("src/old.rs"), main.join("src/new.rs")).unwrap();
    symlink("kept.txt", main.join("link")).unwrap();
    f.write("debug.log", "ignored");
    f.write("build/out", "ignored");
    f.write("ein Ümlaut\nund Zeile.txt", "x");
    // What the worker does to its own git state changes nothing.
    f.git(&["update-index", "--assume-unchanged", "kept.txt"]);
    f.write("kept.txt", "changed\n");
    f.git(&["rm", "-q", "--cached", "Cargo.lock"]);
    f.git(&["symbolic-ref", "HEAD", "refs/heads/elsewhere"]);

    let captured = repo.capture(&main, &base, &CaptureOptions::default()).unwrap();
    let mut lines = summary(&captured);
    lines.sort();
    let expected = [
        "Added ein Ümlaut\nund Zeile.txt",
        "Added link",
        "Deleted gone.txt",
        "Modified kept.txt",
        "Modified run.sh",
        "Renamed src/old.rs -> src/new.rs",
    ];
    assert_eq!(lines, expected);
    let listed = f.tree(captured.tree.as_str());
    assert!(listed.contains("120000 blob") && listed.contains("100755 blob"), "{listed}");
    assert!(!listed.contains("log") && !listed.contains("build"), "{listed}");
    assert!(!main.join(".git/index.lock").exists());
}

#[test]
fn same_files_give_the_same_tree_as_git_commit() {
    let f = start();
    let repo = f.open();
    let base = f.head();
    f.write("src/more/deep.rs", "x\n");
    f.write("kept.txt", "other\n");
    let captured = repo.capture(&f.main(), &base, &CaptureOptions::default()).unwrap();
    let committed = f.commit(&[]);
    assert_eq!(captured.tree, repo.tree_of(&committed).unwrap());
}

#[test]
fn discarded_paths_keep_the_base_content() {
    let f = start();
    let repo = f.open();
    let base = f.head();
    f.write("Cargo.lock", "two\n");
    f.write("src/old.rs", "changed\n");
    f.write("gen/new.rs", "generated\n");
    fs::remove_file(f.main().join("gone.txt")).unwrap();
    let discard = ["^Cargo\\.lock$", "^gen/.*$", "^gone\\.txt$"].map(String::from).to_vec();
    let captured = repo.capture(&f.main(), &base, &CaptureOptions { discard }).unwrap();
    assert_eq!(summary(&captured), ["Modified src/old.rs"]);
    let bad = CaptureOptions { discard: vec!["(".to_owned()] };
    let error = repo.capture(&f.main(), &base, &bad).unwrap_err();
    assert!(matches!(error, CaptureError::Pattern { .. }), "{error}");
}

#[test]
fn nested_repositories_and_special_files_are_named_unless_ignored() {
    let f = start();
    let repo = f.open();
    let base = f.head();
    let main = f.main();
    f.git(&["init", "-q", "vendor/dep"]);
    f.git(&["init", "-q", "build/dep"]);
    f.git(&["init", "-q", "src"]);
    let _socket = UnixListener::bind(main.join("app.sock")).unwrap();
    let _ignored = UnixListener::bind(main.join("app.log")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, main.join("pipe"), 0o600.into()).unwrap();
    let error = repo.capture(&main, &base, &CaptureOptions::default()).unwrap_err();
    let CaptureError::Unexpressible { paths } = error else { panic!("{error}") };
    assert_eq!(paths, ["app.sock", "pipe", "src", "vendor/dep"]);
}

#[test]
fn empty_files_and_a_file_that_became_a_folder() {
    let f = start();
    let repo = f.open();
    let base = f.head();
    fs::remove_file(f.main().join("kept.txt")).unwrap();
    f.write("kept.txt/inner", "");
    let captured = repo.capture(&f.main(), &base, &CaptureOptions::default()).unwrap();
    assert_eq!(summary(&captured), ["Deleted kept.txt", "Added kept.txt/inner"]);
    assert_eq!(captured.changes[1].kind, ChangeKind::Added);
}
