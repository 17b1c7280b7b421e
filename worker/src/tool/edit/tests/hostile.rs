//! Files that change under an edit, are no files, or are made to take forever.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::run;
use crate::tool::confine::{PathError, Worktree};

/// Bound on a call that is made to take forever: far above what it takes in a build without optimisation on a busy
/// machine, far below what quadratic work would take.
const CALL_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_link_that_comes_and_goes_is_never_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    std::fs::create_dir(&root).unwrap();
    let (secret, file, link) = (dir.path().join("secret"), root.join("f"), root.join("link"));
    std::fs::write(&secret, "old\n").unwrap();
    std::fs::write(&file, "old\n").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400 {
                if round % 2 == 0 {
                    symlink("../secret", &link).unwrap();
                } else {
                    std::fs::write(&link, "old\n").unwrap();
                }
                std::fs::rename(&link, &file).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            run(&root, "f", "old", "new", false);
        }
    });
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "old\n");
}

#[test]
fn what_somebody_else_writes_in_between_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (file, next) = (dir.path().join("f"), dir.path().join("next"));
    std::fs::write(&file, "start").unwrap();
    let worktree = Worktree::new(dir.path()).unwrap();
    let at = worktree.locate("f").unwrap();
    let done = AtomicBool::new(false);
    let mut replaced = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000 {
                std::fs::write(&next, format!("theirs {round}")).unwrap();
                std::fs::rename(&next, &file).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let before = worktree.read(&at).unwrap();
            if worktree.replace(&at, Some(&before), b"ours").is_ok() {
                replaced.push(before.bytes);
            }
        }
    });
    // Their last text is there, unless we knew it when we replaced it.
    let last = b"theirs 1999".to_vec();
    let now = std::fs::read(&file).unwrap();
    assert!(now == last || replaced.contains(&last), "{:?}", String::from_utf8_lossy(&now));
}

#[test]
fn a_file_that_changed_after_it_was_read_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let worktree = Worktree::new(dir.path()).unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "one").unwrap();
    let at = worktree.locate("f").unwrap();
    let before = worktree.read(&at).unwrap();
    for change in ["two", "one "] {
        std::fs::write(&file, change).unwrap();
        assert!(matches!(worktree.replace(&at, Some(&before), b"three"), Err(PathError::Changed { .. })));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), change);
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(worktree.replace(&at, Some(&before), b"three"), Err(PathError::Changed { .. })));
    std::fs::write(&file, "new").unwrap();
    assert!(matches!(worktree.replace(&at, None, b"three"), Err(PathError::Changed { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn special_files_and_modes() {
    let dir = tempfile::tempdir().unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let worktree = Worktree::new(dir.path()).unwrap();
    let input = r#"{"file_path":"pipe","old_string":"a","new_string":"b"}"#.to_owned();
    let call = crate::tool::ToolCall { id: String::new(), name: String::new(), input, seen: [].into(), again: false };
    let result = crate::tool::edit::call(&worktree, &call);
    assert!(result.is_error && result.content.contains("named pipe"), "{result:?}");
    for mode in [0o444, 0o755, 0o600] {
        let path = dir.path().join(format!("m{mode:o}"));
        std::fs::write(&path, "old\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let result = run(dir.path(), &format!("m{mode:o}"), "old", "new", false);
        assert!(!result.is_error, "{result:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    }
}

/// Runs an edit that has to end in time, and gives what it says.
fn timed(root: &Path, file: &[u8], old: &str, new: &str, all: bool) -> String {
    std::fs::write(root.join("f"), file).unwrap();
    let since = Instant::now();
    let result = run(root, "f", old, new, all);
    assert!(since.elapsed() < CALL_MAX, "{:?}: {}", since.elapsed(), result.content);
    result.content.chars().take(200).collect()
}

#[test]
fn nothing_takes_forever() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let large = 1024 * 1024;
    // One byte over and over: every place matches almost to its end.
    let ones = "a".repeat(large);
    assert!(timed(root, ones.as_bytes(), &"a".repeat(large / 2), "b", true).contains("they overlap"));
    assert!(
        timed(root, ones.as_bytes(), &format!("{}b", "a".repeat(large / 2)), "c", false).contains("does not occur")
    );
    let many = timed(root, ones.as_bytes(), "a", &"b".repeat(1000), true);
    assert!(many.contains("more than 100000 times"), "{many}");
    let grown = timed(root, &ones.as_bytes()[..50_000], "a", &"b".repeat(1000), true);
    assert!(grown.contains("the result would have more than"), "{grown}");
    // One line over and over, and a text that differs from it in the last one.
    let lines = "a \n".repeat(large / 4);
    let old = format!("{}b\n", "a\n".repeat(large / 16));
    let given_up = timed(root, lines.as_bytes(), &old, "c", false);
    assert!(given_up.contains("repeats itself too much"), "{given_up}");
    // A text longer than the file, and one with nothing but line ends.
    assert!(timed(root, b"a\n", &lines, "c", false).contains("does not occur"));
    assert!(timed(root, "\n".repeat(large).as_bytes(), " \n", "c", false).contains("does not occur"));
}

#[test]
fn similar_lines_of_a_long_file_are_found_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: usize| format!("    let value_{n} = compute_something(input_{n}, {n}); // number {n}\n");
    let file: String = (0..20_000).map(line).collect();
    let old: String = (15_000..15_100).map(line).collect();
    let old = old.replace("value_15050", "velue_15050");
    let lines = crate::tool::text::Lines::new(file.as_bytes());
    let since = Instant::now();
    let report = crate::tool::edit::closest(&lines, old.as_bytes());
    let took = since.elapsed();
    assert!(report.starts_with("\nthis looks like it (lines 15001 to 15012):"), "{report}");
    assert!(report.contains("first difference, in line 15051:"), "{report}");
    // 50 ms in a build with optimisation, on one core that is not busy.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let result = timed(dir.path(), file.as_bytes(), "let velue_777 = compute_something(", "x", false);
    assert!(result.contains("does not occur"), "{result}");
}
