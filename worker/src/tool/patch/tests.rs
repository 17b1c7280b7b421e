//! Tests of [`super`]: the patches in `fixtures/patches`, and what a patch that fails half way leaves behind.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::{call, paths};
use crate::tool::confine::Worktree;
use crate::tool::evidence::blob_id;
use crate::tool::{ToolCall, ToolResult};

type Files = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    files: Files,
    /// Files that were not read before.
    #[serde(default)]
    unread: Vec<String>,
    #[serde(default)]
    again: bool,
    patch: String,
    /// All files afterwards; on an error they are as before.
    want: Option<Files>,
    said: String,
}

fn files_in(root: &Path) -> Files {
    let walk = ignore::WalkBuilder::new(root).standard_filters(false).build().map(Result::unwrap);
    let files = walk.filter(|entry| entry.path().is_file());
    let named = files.map(|entry| {
        let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    });
    named.collect()
}

fn bench(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// A call that has read all files as they are, but for some.
fn run(root: &Path, patch: &str, unread: &[String], again: bool) -> ToolResult {
    let read = files_in(root).into_iter().filter(|(name, _)| !unread.contains(name));
    let seen = read.map(|(name, text)| (name, blob_id(text.as_bytes()))).collect();
    let input = json!({"patch": patch}).to_string();
    let tool_call = ToolCall { id: "t".to_owned(), name: "ApplyPatch".to_owned(), input, seen, again };
    call(&Worktree::new(root).unwrap(), &tool_call)
}

fn check(case: &Case) -> Option<String> {
    let dir = bench(&case.files);
    let result = run(dir.path(), &case.patch, &case.unread, case.again);
    let after = files_in(dir.path());
    let fits = result.content == case.said
        && result.is_error == case.want.is_none()
        && after == *case.want.as_ref().unwrap_or(&case.files)
        && evidence_fits(&result, &case.files, &after);
    (!fits).then(|| format!("## {}\nafter {after:?}\nsaid {}", case.name, result.content))
}

/// The evidence names every file that changed, and no other.
fn evidence_fits(result: &ToolResult, before: &Files, after: &Files) -> bool {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let blob = |files: &Files, name: &String| files.get(name).map(|text| blob_id(text.as_bytes()));
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let mut changed: Vec<_> = changed.map(|name| (name.clone(), blob(before, name), blob(after, name))).collect();
    let mut wrote = result.evidence.wrote.clone();
    changed.sort();
    wrote.sort();
    changed == wrote
}

#[test]
fn every_patch_gives_exactly_the_files_or_the_error_that_its_case_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/patches");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let cases: Vec<Case> = serde_yaml::from_str(&text).unwrap();
        count += cases.len();
        wrong.extend(cases.iter().filter_map(check));
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 50, "{count} cases");
}

#[test]
fn a_write_that_fails_takes_back_those_before_it() {
    let files: Files = [("a".to_owned(), "old\n".to_owned()), ("gone".to_owned(), "bye\n".to_owned())].into();
    let dir = bench(&files);
    std::fs::set_permissions(dir.path().join("gone"), std::fs::Permissions::from_mode(0o750)).unwrap();
    // Nothing is wrong with any of them alone: `x` is a file by the time that `x/y` is to be made.
    let patch = "*** Begin Patch\n*** Update File: a\n-old\n+new\n*** Delete File: gone\n*** Add File: deep/er/n\n+n\n\
                 *** Add File: x\n+x\n*** Add File: x/y\n+y\n*** End Patch\n";
    let result = run(dir.path(), patch, &[], false);
    assert!(result.is_error && result.content.starts_with("nothing was changed: x/y: "), "{result:?}");
    assert!(result.evidence.wrote.is_empty(), "{result:?}");
    assert_eq!(files_in(dir.path()), files);
    assert!(!dir.path().join("deep").exists(), "folders that were made are gone, too");
    assert_eq!(std::fs::metadata(dir.path().join("gone")).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn a_patch_that_was_half_made_is_finished_by_the_next_call() {
    let files: Files = ["a", "b", "c", "m"].map(|name| (name.to_owned(), format!("{name} old\n"))).into();
    let patch = "*** Begin Patch\n*** Update File: a\n-a old\n+a new\n*** Delete File: b\n*** Add File: d\n+d\n\
                 *** Update File: m\n*** Move to: n\n-m old\n+m new\n*** Update File: c\n-c old\n+c new\n*** End Patch\n";
    let whole = bench(&files);
    let done = run(whole.path(), patch, &[], false);
    assert!(!done.is_error, "{done:?}");
    let after = files_in(whole.path());
    // Every state that a kill can leave: the first so many writes made.
    let writes: [&dyn Fn(&Path); 6] = [
        &|root| std::fs::write(root.join("a"), "a new\n").unwrap(),
        &|root| std::fs::remove_file(root.join("b")).unwrap(),
        &|root| std::fs::write(root.join("d"), "d\n").unwrap(),
        &|root| std::fs::write(root.join("n"), "m new\n").unwrap(),
        &|root| std::fs::remove_file(root.join("m")).unwrap(),
        &|root| std::fs::write(root.join("c"), "c new\n").unwrap(),
    ];
    for made in 0..=writes.len() {
        let dir = bench(&files);
        writes[..made].iter().for_each(|write| write(dir.path()));
        let result = run(dir.path(), patch, &[], true);
        assert!(!result.is_error, "{made}: {result:?}");
        assert_eq!(files_in(dir.path()), after, "{made}");
    }
}

#[test]
fn modes_stay_and_a_stale_file_stops_all() {
    let files: Files = [("run.sh".to_owned(), "echo a\n".to_owned()), ("b".to_owned(), "b\n".to_owned())].into();
    let dir = bench(&files);
    std::fs::set_permissions(dir.path().join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let patch = "*** Begin Patch\n*** Update File: run.sh\n*** Move to: bin/run.sh\n-echo a\n+echo b\n*** End Patch\n";
    assert!(!run(dir.path(), patch, &[], false).is_error);
    assert_eq!(std::fs::metadata(dir.path().join("bin/run.sh")).unwrap().permissions().mode() & 0o7777, 0o755);
    let input = json!({"input": "*** Begin Patch\n*** Update File: b\n-b\n+c\n*** End Patch"}).to_string();
    let seen = [("b".to_owned(), blob_id(b"as it was\n"))].into();
    let stale = ToolCall { id: "t".to_owned(), name: "ApplyPatch".to_owned(), input, seen, again: false };
    let result = call(&Worktree::new(dir.path()).unwrap(), &stale);
    assert_eq!(result.content, "nothing was changed:\nb has changed since you read it; read it again");
    assert_eq!(files_in(dir.path())["b"], "b\n");
}

#[test]
fn the_files_of_a_patch_are_known_from_its_text() {
    let patch =
        "*** Begin Patch\n*** Add File: a\n+x\n*** Update File: b\n*** Move to: c\n*** Delete File: d\n*** End Patch";
    assert_eq!(paths(&json!({"patch": patch}).to_string()), ["a", "b", "c", "d"]);
    assert_eq!(crate::tool::named::files_of("ApplyPatch", &json!({"input": patch}).to_string()), ["a", "b", "c", "d"]);
    assert_eq!(crate::tool::named::files_of("Edit", r#"{"file_path":"e","old_string":"x"}"#), ["e"]);
    assert!(crate::tool::named::files_of("Bash", r#"{"file_path":"e"}"#).is_empty());
    assert!(paths("{}").is_empty());
}
