//! Tests of [`super`]: the corpus of edits in `fixtures/edits`, properties, and files that fight back.

mod hostile;
mod properties;

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::tool::confine::Worktree;
use crate::tool::edit::{Tier, call};
use crate::tool::evidence::blob_id;
use crate::tool::{ToolCall, ToolResult};

/// One case of the corpus.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "usual_path")]
    path: String,
    file: Text,
    old: Text,
    new: Text,
    #[serde(default)]
    all: bool,
    tier: Option<TierName>,
    want: Option<Text>,
    error: Option<String>,
}

fn usual_path() -> String {
    "f.txt".to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Pieces(Vec<Piece>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Plain(String),
    /// `{n}` in the text is the number of the repetition.
    Times {
        times: usize,
        text: String,
    },
}

impl Text {
    fn whole(&self) -> String {
        match self {
            Text::Plain(text) => text.clone(),
            Text::Pieces(pieces) => pieces.iter().map(Piece::whole).collect(),
        }
    }
}

impl Piece {
    fn whole(&self) -> String {
        match self {
            Piece::Plain(text) => text.clone(),
            Piece::Times { times, text } => (0..*times).map(|n| text.replace("{n}", &n.to_string())).collect(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TierName {
    Exact,
    LineEnds,
    TrailingSpace,
    Indent,
    Unicode,
}

impl TierName {
    fn tier(self) -> Tier {
        match self {
            TierName::Exact => Tier::Exact,
            TierName::LineEnds => Tier::LineEnds,
            TierName::TrailingSpace => Tier::TrailingSpace,
            TierName::Indent => Tier::Indent,
            TierName::Unicode => Tier::Unicode,
        }
    }
}

/// A call on a file that has been read as it is.
fn run(root: &Path, path: &str, old: &str, new: &str, all: bool) -> ToolResult {
    let seen = [(path.to_owned(), blob_id(&std::fs::read(root.join(path)).unwrap_or_default()))].into();
    let input = json!({"file_path": path, "old_string": old, "new_string": new, "replace_all": all}).to_string();
    let tool_call = ToolCall { id: "t".to_owned(), name: "Edit".to_owned(), input, seen, again: false };
    call(&Worktree::new(root).unwrap(), &tool_call)
}

/// What differs from the expected, if anything does.
fn check(case: &Case) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let (path, before) = (dir.path().join(&case.path), case.file.whole());
    std::fs::write(&path, &before).unwrap();
    let result = run(dir.path(), &case.path, &case.old.whole(), &case.new.whole(), case.all);
    let after = std::fs::read_to_string(&path).unwrap();
    let (said, wrote) = (&result.content, result.evidence.wrote.len());
    let fits = match (&case.want, &case.error) {
        (Some(want), None) => {
            let tier = case.tier.expect("a case that succeeds names its tier").tier();
            let matched = format!("matched {}.", tier.told());
            !result.is_error && after == want.whole() && said.ends_with(&matched) && wrote == 1
        }
        (None, Some(error)) => {
            // The gate names the file by itself.
            let named = [format!("{}: {error}", case.path), format!("{} {error}", case.path)];
            result.is_error && after == before && named.contains(said) && wrote == 0
        }
        (Some(_), Some(_)) | (None, None) => panic!("{}: a case has `want` or `error`", case.name),
    };
    (!fits).then(|| format!("## {}\nafter {after:?}\nsaid {said}", case.name))
}

#[test]
fn the_corpus_gives_exactly_the_file_or_the_error_that_it_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/edits");
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let cases: Vec<Case> = serde_yaml::from_str(&text).unwrap();
        count += cases.len();
        wrong.extend(cases.iter().filter_map(check));
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 300, "{count} cases");
}

#[test]
fn an_empty_text_makes_a_file_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(dir.path(), "new/f.txt", "", "text\n", false);
    assert!(!made.is_error, "{made:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("new/f.txt")).unwrap(), "text\n");
    let missing = run(dir.path(), "none.txt", "a", "b", false);
    assert_eq!(missing.content, "none.txt does not exist");
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("latin");
    for (before, old, new, after) in [
        (&b"caf\xe9 \nb\n"[..], "b", "c", &b"caf\xe9 \nc\n"[..]),
        (b"\xff\xfe \nab\ncd\xe9\n", "ab\ncd", "ab\nxy", b"\xff\xfe \nab\nxy\xe9\n"),
        (b"\xe9\xe2\x80 \xe2\x80\x93 x\n", "- x", "- y", b"\xe9\xe2\x80 \xe2\x80\x93 y\n"),
        (b"\xe9 \r\nb\r\n", "b", "c\nd", b"\xe9 \r\nc\r\nd\r\n"),
    ] {
        std::fs::write(&path, before).unwrap();
        let result = run(dir.path(), "latin", old, new, false);
        assert!(!result.is_error, "{result:?}");
        assert_eq!(std::fs::read(&path).unwrap(), after);
    }
}

#[test]
fn a_change_that_is_there_already_is_found_by_every_tier() {
    let dir = tempfile::tempdir().unwrap();
    for (before, old, new, after) in [
        ("a\r\nb\r\n", "a\nb", "a\nc", "a\r\nc\r\n"),
        ("a \nb\n", "a\nb", "a\nc", "a \nc\n"),
        ("    a\n    b\n", "  a\n  b", "  a\n  b\n  c", "    a\n    b\n    c\n"),
        ("a \u{2013} b\n", "a - b", "a - b\nc", "a \u{2013} b\nc\n"),
    ] {
        std::fs::write(dir.path().join("f"), before).unwrap();
        for _ in 0..3 {
            let seen = [("f".to_owned(), blob_id(b""))].into();
            let input = json!({"file_path": "f", "old_string": old, "new_string": new}).to_string();
            let again = ToolCall { id: "t".to_owned(), name: "Edit".to_owned(), input, seen, again: true };
            let result = call(&Worktree::new(dir.path()).unwrap(), &again);
            assert!(!result.is_error, "{result:?}");
            assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), after);
        }
    }
}
