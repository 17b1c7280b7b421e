//! A branch and its checkouts move together or not at all, and nothing of the user's is touched.

use std::os::unix::fs::symlink;

use super::*;
use crate::fixture::Fixture;

/// A repository on `main` at `old`, and `new`, a commit on it that changes `a.txt`, adds `added.txt` and drops `gone.txt`.
fn start() -> (Fixture, Repo, CommitId, CommitId) {
    let f = Fixture::with(&[("a.txt", "a\n"), ("b.txt", "b\n"), ("gone.txt", "gone\n")]);
    let old = f.head();
    let new = f.side(&old, &[("a.txt", Some("landed\n")), ("added.txt", Some("added\n")), ("gone.txt", None)]);
    let repo = f.open();
    (f, repo, old, new)
}

fn held(advance: Advance) -> (PathBuf, Vec<String>, HeldWhy) {
    match advance {
        Advance::Held { worktree, paths, why } => (worktree, paths, why),
        Advance::Moved { .. } | Advance::TargetMoved { .. } => panic!("{advance:?}"),
    }
}

/// The whole of what a user sees: where the branch is, the status, the files.
fn seen(f: &Fixture, dir: &Path) -> String {
    let mut out = f.run(dir, &["rev-parse", "refs/heads/main"]);
    out.push_str(&f.run(dir, &["status", "--porcelain", "--ignored"]));
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            out.push_str(&format!("{}: {}", path.display(), fs::read_to_string(&path).unwrap()));
        }
    }
    out
}

#[test]
fn a_clean_checkout_moves_with_its_branch_and_a_repeat_does_nothing() {
    let (f, repo, old, new) = start();
    let moved = Advance::Moved { checkouts: vec![f.main()] };
    assert_eq!(repo.advance("main", &old, &new, "landing").unwrap(), moved);
    assert_eq!(f.head(), new);
    assert_eq!(f.git(&["status", "--porcelain"]), "");
    assert!(!f.main().join("gone.txt").exists());
    assert_eq!(f.git(&["reflog", "-1", "--format=%gs", "main"]), "landing");
    let before = seen(&f, &f.main());
    assert_eq!(repo.advance("main", &old, &new, "landing").unwrap(), moved);
    assert_eq!(seen(&f, &f.main()), before);
}

#[test]
fn changes_beside_the_landing_stay() {
    let (f, repo, old, new) = start();
    f.write("b.txt", "mine\n");
    f.write("staged.txt", "mine\n");
    f.git(&["add", "staged.txt"]);
    f.write("untracked.txt", "mine\n");
    // Touched is not changed.
    f.write("a.txt", "a\n");
    assert!(matches!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { .. }));
    let status = f.git(&["status", "--porcelain"]);
    assert_eq!(status, " M b.txt\nA  staged.txt\n?? untracked.txt");
    assert_eq!(fs::read_to_string(f.main().join("a.txt")).unwrap(), "landed\n");
}

#[test]
fn a_worktree_that_somebody_is_just_adding_is_waited_for() {
    let (f, repo, old, new) = start();
    f.git(&["worktree", "add", "--quiet", "--detach", "../other"]);
    // git makes the two files one after the other, and each empty at first.
    let half = ["HEAD", "commondir"].map(|name| repo.common_dir().join("worktrees/other").join(name));
    let whole = half.clone().map(|file| fs::read(file).unwrap());
    half.iter().for_each(|file| fs::write(file, "").unwrap());
    let moved = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(250));
            half.iter().zip(whole).for_each(|(file, whole)| fs::write(file, whole).unwrap());
        });
        repo.advance("main", &old, &new, "landing")
    });
    assert_eq!(moved.unwrap(), Advance::Moved { checkouts: vec![f.main()] });
    assert_eq!(f.git(&["status", "--porcelain"]), "");
}

/// Makes `change` stand in the way, and checks that nothing moved and why.
fn check_held(change: impl FnOnce(&Fixture), paths: &[&str], why: HeldWhy) {
    let (f, repo, old, new) = start();
    change(&f);
    let before = seen(&f, &f.main());
    let result = held(repo.advance("main", &old, &new, "landing").unwrap());
    assert_eq!(result, (f.main(), paths.iter().map(|p| (*p).to_owned()).collect(), why));
    assert_eq!(seen(&f, &f.main()), before);
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(old));
}

#[test]
fn changes_in_the_way_hold_the_landing() {
    let changed = |f: &Fixture| {
        f.write("a.txt", "mine\n");
        fs::remove_file(f.main().join("gone.txt")).unwrap();
        f.write("gone.txt", "rewritten\n");
    };
    check_held(changed, &["a.txt", "gone.txt"], HeldWhy::Dirty);
    let staged = |f: &Fixture| {
        f.write("a.txt", "mine\n");
        f.git(&["add", "a.txt"]);
        f.write("a.txt", "a\n");
    };
    check_held(staged, &["a.txt"], HeldWhy::Dirty);
    check_held(|f| f.write("added.txt", "untracked, mine\n"), &["added.txt"], HeldWhy::Dirty);
    check_held(|f| f.write("added.txt/inside", "untracked, mine\n"), &["added.txt"], HeldWhy::Dirty);
    check_held(|f| symlink("/nowhere", f.main().join("added.txt")).unwrap(), &["added.txt"], HeldWhy::Dirty);
}

#[test]
fn commands_under_way_hold_the_landing() {
    let conflict = |f: &Fixture| {
        let base = f.head();
        let other = f.side(&base, &[("b.txt", Some("other\n"))]);
        (base, other)
    };
    let merging = |f: &Fixture| {
        let (_, other) = conflict(f);
        f.git(&["merge", "-q", "--no-commit", "--no-ff", other.as_str()]);
    };
    check_held(merging, &[], HeldWhy::MergeInProgress);
    let picking = |f: &Fixture| fs::write(f.main().join(".git/CHERRY_PICK_HEAD"), format!("{}\n", f.head())).unwrap();
    check_held(picking, &[], HeldWhy::CherryPickInProgress);
    let bisecting = |f: &Fixture| _ = f.git(&["bisect", "start"]);
    check_held(bisecting, &[], HeldWhy::BisectInProgress);
}

#[test]
fn a_rebase_of_the_branch_holds_it_although_its_worktree_is_detached() {
    let (f, repo, old, new) = start();
    let upstream = f.side(&old, &[("b.txt", Some("upstream\n"))]);
    let mine = f.commit(&[("b.txt", "mine\n")]);
    assert!(!f.succeeds(&f.main(), &["rebase", "-q", upstream.as_str()]));
    let next = f.side(&mine, &[("a.txt", Some("landed\n"))]);
    let (worktree, _, why) = held(repo.advance("main", &mine, &next, "landing").unwrap());
    assert_eq!((worktree, why), (f.main(), HeldWhy::RebaseInProgress));
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(mine));
    assert_ne!(new, next);
}

#[test]
fn a_locked_index_is_named() {
    let (f, repo, old, new) = start();
    let lock = f.main().join(".git/index.lock");
    fs::write(&lock, "").unwrap();
    let (_, paths, why) = held(repo.advance("main", &old, &new, "landing").unwrap());
    assert_eq!((paths, why), (vec![lock.display().to_string()], HeldWhy::IndexLocked));
}

#[test]
fn all_checkouts_move_or_none() {
    let (f, repo, old, new) = start();
    let second = f.root().join("second");
    f.git(&["worktree", "add", "-q", "--force", second.to_str().unwrap(), "main"]);
    let elsewhere = f.root().join("elsewhere");
    f.git(&["worktree", "add", "-q", "-b", "other", elsewhere.to_str().unwrap()]);
    fs::write(second.join("a.txt"), "mine\n").unwrap();
    let before = (seen(&f, &f.main()), seen(&f, &second));
    let (worktree, paths, _) = held(repo.advance("main", &old, &new, "landing").unwrap());
    assert_eq!((worktree, paths), (second.clone(), vec!["a.txt".to_owned()]));
    assert_eq!((seen(&f, &f.main()), seen(&f, &second)), before);
    fs::write(second.join("a.txt"), "a\n").unwrap();
    let moved = repo.advance("main", &old, &new, "landing").unwrap();
    assert_eq!(moved, Advance::Moved { checkouts: vec![f.main(), second.clone()] });
    for dir in [&f.main(), &second] {
        assert_eq!(f.run(dir, &["status", "--porcelain"]), "");
        assert_eq!(fs::read_to_string(dir.join("a.txt")).unwrap(), "landed\n");
    }
    assert_eq!(fs::read_to_string(elsewhere.join("a.txt")).unwrap(), "a\n");
    assert_eq!(repo.checkouts_of("main"), [f.main(), second]);
}

#[test]
fn a_branch_that_moved_meanwhile_is_left_where_it_is() {
    let (f, repo, old, new) = start();
    let theirs = f.commit(&[("b.txt", "theirs\n")]);
    let result = repo.advance("main", &old, &new, "landing").unwrap();
    assert_eq!(result, Advance::TargetMoved { found: Some(theirs.clone()) });
    let result = repo.advance("absent", &old, &new, "landing").unwrap();
    assert_eq!(result, Advance::TargetMoved { found: None });
    assert_eq!((f.head(), f.git(&["status", "--porcelain"])), (theirs, String::new()));
}

#[test]
fn a_bare_repository_has_only_the_branch_to_move() {
    let (f, _, old, new) = start();
    let bare = f.root().join("bare.git");
    f.git(&["push", "-q", ".", &format!("{new}:refs/heads/side")]);
    f.run(&f.root(), &["clone", "-q", "--bare", "main", "bare.git"]);
    let repo = Repo::open(&bare, &f.options()).unwrap();
    assert!(repo.facts().unwrap().bare);
    assert_eq!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { checkouts: vec![] });
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(new));
}

#[test]
fn a_landing_cut_off_after_the_branch_moved_is_completed() {
    let (f, repo, old, new) = start();
    f.git(&["update-ref", "refs/heads/main", new.as_str(), old.as_str()]);
    f.write("b.txt", "mine\n");
    assert!(f.git(&["status", "--porcelain"]).contains("M  a.txt"));
    assert!(matches!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { .. }));
    assert_eq!(f.git(&["status", "--porcelain"]), " M b.txt");
}

#[test]
fn a_landing_cut_off_while_files_were_written_is_completed() {
    let (f, repo, old, new) = start();
    f.git(&["update-ref", "refs/heads/main", new.as_str(), old.as_str()]);
    // git writes the files before it replaces the index.
    f.write("a.txt", "landed\n");
    f.write("added.txt", "added\n");
    assert!(matches!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { .. }));
    assert_eq!(f.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_file_that_was_cut_off_while_it_was_written_is_written_again() {
    for begun in ["", "lan"] {
        let (f, repo, old, new) = start();
        f.git(&["update-ref", "refs/heads/main", new.as_str()]);
        f.write("a.txt", begun);
        f.write("added.txt", "added\n");
        assert!(matches!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { .. }), "{begun}");
        assert_eq!(f.git(&["status", "--porcelain"]), "", "{begun}");
    }
    // What is not in the landing is somebody's, and nothing beside it is touched either.
    let (f, repo, old, new) = start();
    f.git(&["update-ref", "refs/heads/main", new.as_str()]);
    f.write("a.txt", "lan, mine\n");
    f.write("added.txt", "add");
    let before = seen(&f, &f.main());
    assert_eq!(held(repo.advance("main", &old, &new, "landing").unwrap()).2, HeldWhy::Dirty);
    assert_eq!(seen(&f, &f.main()), before);
}

#[test]
fn what_the_user_staged_after_a_landing_is_not_undone_by_a_repeat() {
    let (f, repo, old, new) = start();
    repo.advance("main", &old, &new, "landing").unwrap();
    f.write("a.txt", "a\n");
    f.git(&["add", "a.txt"]);
    let before = seen(&f, &f.main());
    assert!(matches!(repo.advance("main", &old, &new, "landing").unwrap(), Advance::Moved { .. }));
    assert_eq!(seen(&f, &f.main()), before);
}

/// A search path on which git writes down what it is started with, and where it does.
fn counted(f: &Fixture) -> (std::ffi::OsString, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let options = f.options();
    let exe = crate::git::find(&options.path).unwrap();
    let (dir, log) = (f.root().join("counted"), f.root().join("counted.log"));
    fs::create_dir(&dir).unwrap();
    let script = format!("#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n", log.display(), exe.display());
    fs::write(dir.join("git"), script).unwrap();
    fs::set_permissions(dir.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    (std::env::join_paths(std::iter::once(dir).chain(std::env::split_paths(&options.path))).unwrap(), log)
}

/// Lands one branch as the queue does, and gives the commands of git that it took.
fn land_counted(f: &Fixture) -> Vec<String> {
    use crate::commit::CommitSpec;
    use crate::merge::{MergeSpec, Merged};
    let base = f.head();
    let work = f.side(&base, &[("b", Some("work\n"))]);
    let (path, log) = counted(f);
    let repo = Repo::open(&f.main(), &crate::repo::OpenOptions { path, ..f.options() }).unwrap();
    repo.configure(&base).unwrap();
    fs::write(&log, "").unwrap();
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(base.clone()));
    assert_eq!(repo.read_ref("refs/heads/wattle/r/s").unwrap(), None);
    let spec = MergeSpec { base: None, ours: base.clone(), theirs: work.clone() };
    let Merged::Clean { tree } = repo.merge(&spec).unwrap() else { panic!("it merges") };
    let who = repo.identity();
    let parents = vec![base.clone(), work];
    let message = "Land s".to_owned();
    let spec = CommitSpec { tree, parents, message, author: who.clone(), committer: who, time_s: 1 };
    let new = repo.commit(&spec).unwrap();
    let changed = repo.changed_paths(&repo.tree_of(&base).unwrap(), &repo.tree_of(&new).unwrap()).unwrap();
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b"]);
    let name = "refs/wattle/candidate/r/1".to_owned();
    repo.update_refs(&[RefChange { name, new: Some(new.clone()), old: Expect::Any }], "candidate").unwrap();
    assert!(matches!(repo.advance("main", &base, &new, "land").unwrap(), Advance::Moved { .. }));
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(new));
    let word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    fs::read_to_string(log).unwrap().lines().map(word).collect()
}

#[test]
fn one_landing_takes_three_processes() {
    let f = Fixture::with(&[("a", "a\n")]);
    f.git(&["checkout", "-q", "-b", "elsewhere"]);
    let linked = f.root().join("linked");
    f.git(&["worktree", "add", "-q", "--detach", linked.to_str().unwrap()]);
    f.git(&["pack-refs", "--all"]);
    assert_eq!(land_counted(&f), ["merge-tree", "update-ref", "update-ref"]);
}

#[test]
fn a_checkout_of_the_target_takes_the_switch_besides() {
    let f = Fixture::with(&[("a", "a\n")]);
    let expected = ["merge-tree", "update-ref", "update-ref", "read-tree"];
    assert_eq!(land_counted(&f), expected);
    assert!(f.main().join("b").exists());
}
