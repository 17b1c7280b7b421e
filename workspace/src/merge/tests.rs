//! Merging without a checkout gives what `git merge` gives with one.

mod history;
mod users;

use proptest::prelude::*;

use super::*;
use crate::fixture::Fixture;

fn spec(ours: &CommitId, theirs: &CommitId) -> MergeSpec {
    MergeSpec { base: None, ours: ours.clone(), theirs: theirs.clone() }
}

#[test]
fn clean_conflicting_and_unrelated() {
    let f = Fixture::with(&[("a", "1\n2\n3\n4\n5\n"), ("b", "b\n")]);
    let base = f.head();
    let top = f.side(&base, &[("a", Some("one\n2\n3\n4\n5\n"))]);
    let bottom = f.side(&base, &[("a", Some("1\n2\n3\n4\nfive\n"))]);
    let clash = f.side(&base, &[("a", Some("uno\n2\n3\n4\n5\n")), ("b", None)]);
    let edit = f.side(&base, &[("b", Some("edited\n")), ("a", Some("eins\n2\n3\n4\n5\n"))]);
    let repo = f.open();
    let Merged::Clean { tree } = repo.merge(&spec(&top, &bottom)).unwrap() else { panic!("it merges") };
    assert_eq!(repo.read_file(&tree, "a").unwrap().unwrap(), b"one\n2\n3\n4\nfive\n");
    let Merged::Conflicts { tree, paths, messages, stages, notes } = repo.merge(&spec(&clash, &edit)).unwrap() else {
        panic!("it does not")
    };
    assert_eq!(paths, ["a", "b"]);
    let sides: Vec<_> = stages.iter().map(|s| (s.path.as_str(), s.side, s.mode.as_str())).collect();
    let [base_a, ours_a, theirs_a] = [Side::Base, Side::Ours, Side::Theirs].map(|side| ("a", side, "100644"));
    assert_eq!(sides, [base_a, ours_a, theirs_a, ("b", Side::Base, "100644"), ("b", Side::Theirs, "100644")]);
    assert_eq!(stages[1].id, f.git(&["rev-parse", &format!("{clash}:a")]));
    let kinds: Vec<_> = notes.iter().map(|n| (n.kind.as_str(), n.paths.join(" "))).collect();
    let note = |kind, path: &str| (kind, path.to_owned());
    assert_eq!(
        kinds,
        [note("Auto-merging", "a"), note("CONFLICT (contents)", "a"), note("CONFLICT (modify/delete)", "b"),]
    );
    let marked = repo.read_file(&tree, "a").unwrap().unwrap();
    assert!(String::from_utf8(marked).unwrap().contains("<<<<<<<"));
    assert!(messages.contains("CONFLICT (content)") && messages.contains("CONFLICT (modify/delete)"), "{messages}");
    let pairs = [
        (top.clone(), bottom.clone()),
        (clash.clone(), edit.clone()),
        (bottom.clone(), top.clone()),
        (top.clone(), clash.clone()),
    ];
    let one_by_one: Vec<Merged> = pairs.iter().map(|(a, b)| repo.merge(&spec(a, b)).unwrap()).collect();
    assert_eq!(repo.trial(Rules::Checkout).unwrap().merge_all(&pairs).unwrap(), one_by_one);
    f.git(&["checkout", "-q", "--orphan", "alone"]);
    let alone = f.commit(&[("c", "c\n")]);
    assert!(matches!(repo.merge(&spec(&alone, &base)).unwrap(), Merged::Clean { .. }));
}

#[test]
fn a_given_base_replaces_that_of_the_history() {
    let f = Fixture::with(&[("a", "1\n")]);
    let base = f.head();
    let step = f.side(&base, &[("needed", Some("needed\n"))]);
    let dependent = f.side(&step, &[("own", Some("own\n"))]);
    let repo = f.open();
    // The dependent's own change on a new base that lacks what it was made on.
    let moved = MergeSpec { base: Some(step), ours: base, theirs: dependent };
    let Merged::Clean { tree } = repo.merge(&moved).unwrap() else { panic!("it merges") };
    assert_eq!(repo.files(&tree).unwrap(), ["a", "own"]);
}

#[test]
fn landed_by_history_by_tree_and_by_patch() {
    let f = Fixture::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "b\n")]);
    let base = f.head();
    let work = f.side(&base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let repo = f.open();
    assert!(!repo.landed(&work, &base, &base).unwrap());
    assert!(repo.landed(&work, &base, &f.side(&work, &[("b", Some("later\n"))])).unwrap());
    // The same change made anew, as a squash or a cherry-pick does.
    let squashed = f.side(&base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n")), ("b", Some("too\n"))]);
    assert!(repo.landed(&work, &base, &squashed).unwrap());
    // Picked, and changed again in the same place: the merge would conflict, the patch is still in the history.
    let picked = f.side(&base, &[("b", Some("x\n"))]);
    let picked = f.side(&picked, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let rewritten = f.side(&picked, &[("a", Some("uno\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    assert!(repo.landed(&work, &base, &rewritten).unwrap());
    // Squashed into one commit with somebody else's change, and changed again since.
    let both = f.side(&base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n")), ("b", Some("theirs\n"))]);
    let since = f.side(&both, &[("a", Some("uno\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    assert!(repo.landed(&work, &base, &since).unwrap());
    let half = f.side(&base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\nnine\n")), ("b", Some("theirs\n"))]);
    let since = f.side(&half, &[("a", Some("uno\n2\n3\n4\n5\n6\n7\n8\nnine\n"))]);
    assert!(!repo.landed(&work, &base, &since).unwrap(), "another change of the same file is another patch");
    // Rebased onto lines that have moved, with another line in its context.
    let middle = f.side(&base, &[("a", Some("1\n2\n3\n4\nfive\n6\n7\n8\n9\n"))]);
    let moved = f.side(&base, &[("a", Some("0\n0\n1\n2\n3\n4\n5\n6\nseven\n8\n9\n"))]);
    let rebased = f.side(&moved, &[("a", Some("0\n0\n1\n2\n3\n4\nfive\n6\nseven\n8\n9\n"))]);
    assert_ne!(repo.patch_id(&base, &middle).unwrap(), repo.patch_id(&moved, &rebased).unwrap());
    assert!(repo.landed(&middle, &base, &rebased).unwrap());
    let unlike = f.side(&base, &[("a", Some("eins\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    assert!(!repo.landed(&work, &base, &unlike).unwrap());
    assert_eq!(repo.patch_id(&base, &base).unwrap(), None);
}

#[test]
fn patches_of_binary_files_renames_and_modes_are_told_apart() {
    let f = Fixture::with(&[("bin", "\0\u{1}one"), ("text", "1\n2\n3\n4\n5\n"), ("b", "b\n")]);
    let base = f.head();
    let repo = f.open();
    let id = |to: &CommitId| repo.patch_id(&base, to).unwrap().unwrap();
    let (two, three) = (f.side(&base, &[("bin", Some("\0\u{2}two"))]), f.side(&base, &[("bin", Some("\0\u{3}thr"))]));
    assert_ne!(id(&two), id(&three));
    assert_eq!(id(&two), id(&two));
    // Renamed, landed as a copy of the commit on something else, and changed again since.
    let rename: [(&str, Option<&str>); 2] = [("text", None), ("moved", Some("1\n2\n3\n4\nfive\n"))];
    let work = f.side(&base, &rename);
    let picked = f.side(&f.side(&base, &[("b", Some("x\n"))]), &rename);
    let since = f.side(&picked, &[("moved", Some("1\n2\n3\n4\nfünf\n"))]);
    assert!(repo.landed(&work, &base, &since).unwrap());
    f.git(&["update-index", "--chmod=+x", "b"]);
    f.git(&["commit", "-q", "-m", "mode"]);
    assert!(!repo.landed(&f.head(), &base, &since).unwrap());
}

#[test]
fn attributes_of_the_base_decide_how_to_merge() {
    let f = Fixture::with(&[(".gitattributes", "CHANGES merge=union\n"), ("CHANGES", "first\n")]);
    let base = f.head();
    let one = f.side(&base, &[("CHANGES", Some("first\none\n"))]);
    let two = f.side(&base, &[("CHANGES", Some("first\ntwo\n")), (".gitattributes", None)]);
    let repo = f.open();
    repo.configure(&base).unwrap();
    repo.configure(&base).unwrap();
    let Merged::Clean { tree } = repo.merge(&spec(&one, &two)).unwrap() else { panic!("union never conflicts") };
    assert_eq!(repo.read_file(&tree, "CHANGES").unwrap().unwrap(), b"first\none\ntwo\n");
}

/// What one side does to one of five files, each of eight lines.
#[derive(Debug, Clone)]
enum Edit {
    Line(usize, usize, u8),
    Delete(usize),
    Rename(usize, u8),
    Add(u8, u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..5_usize, 0..8_usize, 0..3_u8).prop_map(|(f, l, t)| Edit::Line(f, l, t)),
        1 => (0..5_usize).prop_map(Edit::Delete),
        1 => (0..5_usize, 0..2_u8).prop_map(|(f, t)| Edit::Rename(f, t)),
        1 => (0..2_u8, 0..2_u8).prop_map(|(n, t)| Edit::Add(n, t)),
    ]
}

fn path(n: usize) -> String {
    format!("dir{}/file{n}", n % 2)
}

fn start_files() -> std::collections::BTreeMap<String, String> {
    (0..5).map(|n| (path(n), (0..8).map(|l| format!("file {n} line {l}\n")).collect())).collect()
}

fn apply(edits: &[Edit]) -> std::collections::BTreeMap<String, String> {
    let mut files = start_files();
    for edit in edits {
        match edit {
            Edit::Line(file, line, text) => {
                if let Some(content) = files.get_mut(&path(*file)) {
                    let old = format!("file {file} line {line}\n");
                    *content = content.replace(&old, &format!("line {line} now {text}\n"));
                }
            }
            Edit::Delete(file) => _ = files.remove(&path(*file)),
            Edit::Rename(file, to) => {
                if let Some(content) = files.remove(&path(*file)) {
                    files.insert(format!("moved{to}/file{file}"), content);
                }
            }
            Edit::Add(name, text) => _ = files.insert(format!("dir0/new{name}"), format!("new {text}\n")),
        }
    }
    files
}

fn commit(f: &Fixture, base: &CommitId, edits: &[Edit]) -> CommitId {
    let (before, after) = (start_files(), apply(edits));
    let gone = before.keys().filter(|p| !after.contains_key(*p)).map(|p| (p.as_str(), None));
    let changes: Vec<_> = gone.chain(after.iter().map(|(p, c)| (p.as_str(), Some(c.as_str())))).collect();
    f.side(base, &changes)
}

proptest! {
    // Each case makes three worktrees; two dozen find every class of conflict that the edits can make.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_equals_git_merge(
        ours in proptest::collection::vec(edit(), 1..5),
        theirs in proptest::collection::vec(edit(), 1..5),
    ) {
        let files = start_files();
        let files: Vec<_> = files.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
        let f = Fixture::with(&files);
        let base = f.head();
        let (ours, theirs) = (commit(&f, &base, &ours), commit(&f, &base, &theirs));
        let repo = f.open();
        let merged = repo.merge(&spec(&ours, &theirs)).unwrap();
        let tried = repo.trial(Rules::Checkout).unwrap().merge_all(&[(ours.clone(), theirs.clone())]).unwrap();
        prop_assert_eq!(&tried[0], &merged);
        f.git(&["checkout", "-q", "--detach", ours.as_str()]);
        let clean = f.succeeds(&f.main(), &["merge", "-q", "--no-ff", "-m", "merge", theirs.as_str()]);
        match merged {
            Merged::Clean { tree } => {
                prop_assert!(clean);
                prop_assert_eq!(repo.tree_of(&f.head()).unwrap(), tree);
            }
            Merged::Conflicts { paths, .. } => {
                prop_assert!(!clean);
                let unmerged = f.git(&["diff", "--name-only", "--diff-filter=U"]);
                prop_assert_eq!(paths.join("\n"), unmerged);
            }
        }
    }
}
