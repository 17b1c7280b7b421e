//! Both readers give the same answers; changes name both sides of a rename.

use super::*;
use crate::commit::CommitSpec;
use crate::fixture::Fixture;
use crate::ids::Signature;
use crate::objects::Objects;
use crate::objects::batch::Batch;

#[test]
fn git2_and_the_coprocess_agree_on_every_object() {
    let f = Fixture::with(&[("a", "1\n"), ("dir/b", "2\n"), ("dir/deep/c", "")]);
    f.commit(&[("a", "changed\n")]);
    f.git(&["tag", "-a", "-m", "tagged", "v1"]);
    f.git(&["gc", "-q"]);
    f.commit(&[("loose", "loose\n")]);
    let repo = f.open();
    assert_eq!(repo.objects_backend(), "git2");
    let batch = Batch::default();
    let listed = f.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let mut count = 0;
    for id in listed.lines().chain(["0123456789012345678901234567890123456789"]) {
        let through_git = batch.read(repo.git(), id).unwrap();
        assert_eq!(repo.objects().read(repo.git(), id).unwrap(), through_git, "{id}");
        count += usize::from(through_git.is_some());
    }
    assert_eq!(count, listed.lines().count());
}

#[test]
fn commits_trees_and_files() {
    let f = Fixture::with(&[("a", "1\n"), ("dir/b", "2\n"), ("dir.x", "3\n"), ("dir/deep/c", "")]);
    let one = f.head();
    let two = f.commit(&[("a", "changed\n")]);
    let repo = f.open();
    let tree = repo.tree_of(&two).unwrap();
    assert_eq!(repo.files(&tree).unwrap(), ["a", "dir.x", "dir/b", "dir/deep/c"]);
    assert_eq!(repo.files(&tree).unwrap().join("\n"), f.git(&["ls-tree", "-r", "--name-only", "HEAD"]));
    assert_eq!(repo.read_file(&tree, "dir/b").unwrap().unwrap(), b"2\n");
    assert_eq!(repo.blob_of(&tree, "a").unwrap().unwrap().as_str(), f.git(&["rev-parse", "HEAD:a"]));
    for absent in ["dir", "dir/absent", "a/b", "", "dir/"] {
        assert_eq!(repo.read_file(&tree, absent).unwrap(), None, "{absent}");
    }
    assert_eq!((repo.parents(&two).unwrap(), repo.parents(&one).unwrap()), (vec![one.clone()], vec![]));
    assert_eq!(repo.message(&two).unwrap(), "files\n");
    assert!(repo.is_ancestor(&one, &two).unwrap() && !repo.is_ancestor(&two, &one).unwrap());
    let side = f.side(&one, &[("a", Some("side\n"))]);
    assert_eq!(repo.merge_base(&side, &two).unwrap(), Some(one.clone()));
    assert!(repo.has_commit(&side).unwrap());
    assert!(!repo.has_commit(&tree.as_str().parse().unwrap()).unwrap());
    assert!(repo.diff(&repo.tree_of(&one).unwrap(), &tree, false).unwrap().contains("+changed"));
    assert!(repo.diff(&repo.tree_of(&one).unwrap(), &tree, true).unwrap().contains("1 file changed"));
    assert_eq!(repo.files(&repo.empty_tree().unwrap()).unwrap(), Vec::<String>::new());
}

#[test]
fn the_same_commit_twice_is_one_and_git_reads_it_as_meant() {
    let f = Fixture::with(&[("a", "1\n")]);
    let repo = f.open();
    let who = |name: &str| Signature { name: name.into(), email: "x@example.org".into() };
    let spec = CommitSpec {
        tree: repo.tree_of(&f.head()).unwrap(),
        parents: vec![f.head()],
        message: "subject\n\nbody: ü\0".into(),
        author: who("Eve <evil>\ncommitter x"),
        committer: who("Bö."),
        time_s: 1_767_323_045,
    };
    let id = repo.commit_id(&spec).unwrap();
    assert!(!repo.has_commit(&id).unwrap());
    assert_eq!((repo.commit(&spec).unwrap(), repo.commit(&spec).unwrap()), (id.clone(), id.clone()));
    let shown = f.git(&["show", "-s", "--format=%an|%ae|%cn|%aI|%B", id.as_str()]);
    assert_eq!(shown.trim_end(), "Eve evilcommitter x|x@example.org|Bö|2026-01-02T03:04:05Z|subject\n\nbody: ü");
    f.git(&["update-ref", "refs/heads/made", id.as_str()]);
    assert_eq!(f.git(&["fsck", "--strict"]), "");
}

/// Everything works without git2, in a repository that it cannot open.
#[test]
fn a_sha256_repository_is_served_by_git_itself() {
    let f = Fixture::empty(&["--object-format=sha256"]);
    let one = f.commit(&[("a", "1\n"), ("dir/b", "2\n")]);
    let two = f.commit(&[("a", "2\n")]);
    let repo = f.open();
    assert_eq!(repo.objects_backend(), "cat-file");
    let (from, to) = (repo.tree_of(&one).unwrap(), repo.tree_of(&two).unwrap());
    assert_eq!(repo.files(&to).unwrap(), ["a", "dir/b"]);
    assert_eq!(repo.read_file(&to, "a").unwrap().unwrap(), b"2\n");
    let change = Change { path: "a".into(), from: None, kind: ChangeKind::Modified };
    assert_eq!(repo.changes(&from, &to).unwrap(), [change]);
    f.write("c", "3\n");
    let captured = repo.capture(&f.main(), &two, &crate::CaptureOptions::default()).unwrap();
    assert_eq!(repo.files(&captured.tree).unwrap(), ["a", "c", "dir/b"]);
    let id = repo.identity();
    let (tree, parents) = (captured.tree, vec![two.clone()]);
    let spec = CommitSpec { tree, parents, message: "m".into(), author: id.clone(), committer: id, time_s: 1 };
    let commit = repo.commit(&spec).unwrap();
    let change =
        crate::RefChange { name: "refs/wattle/x".into(), new: Some(commit.clone()), old: crate::Expect::Absent };
    repo.update_refs(&[change], "x").unwrap();
    assert_eq!(repo.read_ref("refs/wattle/x").unwrap(), Some(commit));
    assert_eq!(f.git(&["fsck", "--strict"]), "");
}

#[test]
fn parallel_readers_get_their_own_answers() {
    let f = Fixture::empty(&["--object-format=sha256"]);
    let commits: Vec<CommitId> = (0..8).map(|n| f.commit(&[("a", &format!("{n}\n"))])).collect();
    let repo = f.open();
    std::thread::scope(|scope| {
        for (n, commit) in commits.iter().enumerate() {
            let repo = &repo;
            scope.spawn(move || {
                for _ in 0..20 {
                    let tree = repo.tree_of(commit).unwrap();
                    assert_eq!(repo.read_file(&tree, "a").unwrap().unwrap(), format!("{n}\n").as_bytes());
                }
            });
        }
    });
}

/// Files of a commit, as a fixture makes them.
type Files<'a> = &'a [(&'a str, Option<&'a str>)];

#[test]
fn what_is_read_in_process_is_what_git_says() {
    let f =
        Fixture::with(&[("a.txt", "a\n"), ("d/b.txt", "b\n"), ("d/e/c.txt", "c\n"), ("d.txt", "d\n"), ("z/l", "l\n")]);
    let repo = f.open();
    let base = f.head();
    let sides: [(Files<'_>, bool); 7] = [
        (&[("a.txt", Some("A\n")), ("d/e/c.txt", Some("C\n")), ("d.txt", Some("D\n"))], true),
        (&[("d/e/n/new.txt", Some("n\n")), ("d-1.txt", Some("n\n")), ("d/b.txt", Some("B\n"))], true),
        (&[("d/b.txt", None), ("d/e/c.txt", None), ("a.txt", Some("A\n"))], true),
        (&[], true),
        // Moved, a folder where a file was, a name that is shown otherwise: git is asked.
        (&[("d/b.txt", None), ("moved.txt", Some("b\n"))], false),
        (&[("d.txt", None), ("d.txt/x", Some("x\n"))], false),
        (&[("back\\slash", Some("x\n"))], false),
    ];
    for (files, here) in sides {
        let side = f.side(&base, files);
        let (from, to) = (repo.tree_of(&base).unwrap(), repo.tree_of(&side).unwrap());
        let plain = repo.plain_changes(&from, &to).unwrap();
        assert_eq!(plain.is_some(), here, "{files:?}");
        let said = f.git(&[
            "-c",
            "core.quotePath=false",
            "diff-tree",
            "-r",
            "-M",
            "--name-status",
            from.as_str(),
            to.as_str(),
        ]);
        let letter = |change: &Change| match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
            ChangeKind::TypeChanged => 'T',
            ChangeKind::Renamed => 'R',
        };
        if let Some(plain) = plain {
            let lines: Vec<_> = plain.iter().map(|change| format!("{}\t{}", letter(change), change.path)).collect();
            assert_eq!(lines.join("\n"), said, "{files:?}");
        }
    }
}

#[test]
fn kinds_and_modes_are_told_as_git_does() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let f = Fixture::with(&[("run.sh", "x\n"), ("link", "y\n"), ("same", "z\n")]);
    let from = f.open().tree_of(&f.head()).unwrap();
    std::fs::set_permissions(f.main().join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::remove_file(f.main().join("link")).unwrap();
    symlink("run.sh", f.main().join("link")).unwrap();
    let to = f.open().tree_of(&f.commit(&[])).unwrap();
    let plain = f.open().plain_changes(&from, &to).unwrap().unwrap();
    let kinds: Vec<_> = plain.iter().map(|change| (change.path.as_str(), change.kind)).collect();
    assert_eq!(kinds, [("link", ChangeKind::TypeChanged), ("run.sh", ChangeKind::Modified)]);
    assert_eq!(f.git(&["diff-tree", "-r", "--name-status", from.as_str(), to.as_str()]), "T\tlink\nM\trun.sh");
}

#[test]
fn ancestors_are_told_near_and_far() {
    let f = Fixture::with(&[("a.txt", "a\n")]);
    let first = f.head();
    let side = f.side(&first, &[("b.txt", Some("b\n"))]);
    f.commit(&[("c.txt", "c\n")]);
    f.git(&["merge", "-q", "--no-ff", "-m", "merge", side.as_str()]);
    let (repo, merge) = (f.open(), f.head());
    let cases = [(&first, &merge, true), (&side, &merge, true), (&merge, &merge, true), (&merge, &side, false)];
    for (a, b, expected) in cases {
        assert_eq!(repo.is_ancestor(a, b).unwrap(), expected);
        assert_eq!(f.succeeds(&f.main(), &["merge-base", "--is-ancestor", a.as_str(), b.as_str()]), expected);
    }
    assert!(repo.is_near(&side, &merge) && !repo.is_near(&merge, &first));
    // Farther than is looked in process: git says it.
    let tree = repo.tree_of(&merge).unwrap();
    let who = repo.identity();
    let mut tip = merge.clone();
    for n in 0..=super::NEAR_MAX {
        let (author, committer) = (who.clone(), who.clone());
        let spec = CommitSpec {
            tree: tree.clone(),
            parents: vec![tip],
            message: format!("{n}"),
            author,
            committer,
            time_s: 1,
        };
        tip = repo.commit(&spec).unwrap();
    }
    assert!(!repo.is_near(&first, &tip));
    assert!(repo.is_ancestor(&first, &tip).unwrap());
}
