//! What of a user's own makes a difference to `git merge` makes the same to ours: settings, and submodules.

use std::collections::BTreeSet;

use super::history::git_merge;
use super::*;
use crate::repo::OpenOptions;

/// Ours and `git merge` agree; what it is.
#[track_caller]
fn agree(f: &Fixture, ours: &CommitId, theirs: &CommitId) -> Result<String, Vec<String>> {
    let expected = git_merge(f, ours, theirs).expect("git can write it");
    let repo = f.open();
    repo.configure(ours).unwrap();
    let shown = |merged: Merged| match merged {
        Merged::Clean { tree } => Ok(tree.to_string()),
        Merged::Conflicts { paths, .. } => Err(paths),
    };
    assert_eq!(shown(repo.merge(&spec(ours, theirs)).unwrap()), expected, "as a step lands");
    let tried = repo.merge_pairs(&[(ours.clone(), theirs.clone())]).unwrap();
    assert_eq!(shown(tried[0].clone()), expected, "as a trial");
    expected
}

#[test]
fn settings_for_renames_and_lines_count_as_for_git_merge() {
    let text = |n| (0..20).map(|line| format!("file {n} line {line}\n")).collect::<String>();
    let edited = |n, line| text(n).replace(&format!("file {n} line {line}\n"), "edited\n");
    let f = Fixture::with(&[("dir/a", &text(1)), ("dir/b", &text(2)), ("dir/c", &text(3))]);
    let base = f.head();
    let (a, b, c) = (edited(1, 3), edited(2, 3), edited(3, 3));
    let gone = ["dir/a", "dir/b", "dir/c"].map(|path| (path, None));
    // No name stays: files of one name are held against each other whatever the limit is.
    let new = [("new/x", Some(a.as_str())), ("new/y", Some(&b)), ("new/z", Some(&c))];
    let moved = f.side(&base, &[gone, new].concat());
    let grown = f.side(&base, &[("dir/a", Some(&edited(1, 15))), ("dir/d", Some("d\n"))]);
    let settings = [
        ("merge.verbosity", "2"),
        ("diff.renames", "false"),
        ("merge.renames", "false"),
        ("diff.renameLimit", "1"),
        ("merge.renameLimit", "1"),
        ("merge.directoryRenames", "true"),
        ("merge.directoryRenames", "false"),
        ("diff.algorithm", "patience"),
    ];
    let mut answers = Vec::new();
    for (key, value) in settings {
        f.git(&["config", key, value]);
        answers.push(agree(&f, &moved, &grown));
        f.git(&["config", "--unset", key]);
    }
    // Whether `renames` is heeded at all depends on git's version; the limits are by every one.
    assert_eq!(answers[1], answers[2]);
    assert_ne!(answers[3], answers[0], "past the limit no edited file is found to be renamed");
    assert_eq!(answers[3], answers[4]);
    assert_eq!(answers[3..7].iter().map(|answer| format!("{answer:?}")).collect::<BTreeSet<_>>().len(), 3);
    // A setting for merges goes before the one for diffs.
    f.git(&["config", "diff.renameLimit", "1"]);
    f.git(&["config", "merge.renameLimit", "9"]);
    assert_eq!(agree(&f, &moved, &grown), answers[0]);
}

#[test]
fn a_submodule_that_both_sides_move_forward_merges_as_far_as_the_checkout_has_it() {
    let sub = Fixture::with(&[("s", "one\n")]);
    let commits = ["one\n", "two\n", "three\n"].map(|text| sub.commit(&[("s", text)]));
    let aside = sub.side(&commits[0], &[("t", Some("aside\n"))]);
    sub.git(&["branch", "aside", aside.as_str()]);
    let f = Fixture::with(&[("a", "a\n")]);
    let url = sub.main();
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    f.git(&[&add[..], &["--name", "the sub", url.to_str().unwrap(), "vendor/sub"]].concat());
    let at = |commit: &CommitId, path: &str| {
        f.run(&f.main().join("vendor/sub"), &["checkout", "-q", commit.as_str()]);
        f.commit(&[(path, "x\n")])
    };
    let base = at(&commits[0], "base");
    let on = |commit: &CommitId, path: &str| {
        f.git(&["checkout", "-q", "--detach", base.as_str()]);
        at(commit, path)
    };
    let (near, far, other) = (on(&commits[1], "near"), on(&commits[2], "far"), on(&aside, "other"));
    for (ours, theirs) in [(&near, &far), (&far, &near)] {
        let tree = agree(&f, ours, theirs).expect("one is in the other's history");
        assert_eq!(f.git(&["rev-parse", &format!("{tree}:vendor/sub")]), commits[2].to_string());
    }
    assert_eq!(agree(&f, &near, &other), Err(vec!["vendor/sub".to_owned()]));
    // What merges once the checkout has the commits was not remembered as a conflict.
    let away = f.root().join("away");
    std::fs::rename(f.main().join(".git/modules"), &away).unwrap();
    std::fs::remove_file(f.main().join("vendor/sub/.git")).unwrap();
    assert!(agree(&f, &near, &far).is_err());
    std::fs::rename(&away, f.main().join(".git/modules")).unwrap();
    std::fs::write(f.main().join("vendor/sub/.git"), "gitdir: ../../.git/modules/the sub\n").unwrap();
    assert!(agree(&f, &near, &far).is_ok());
}

#[test]
fn line_ends_are_brought_under_one_rule_by_the_attributes_that_git_merge_takes() {
    let (crlf, lf) = ("1\r\n2\r\n3\r\n4\r\n5\r\n", "1\n2\n3\n4\nfive\n");
    let rules = (".gitattributes", Some("* text=auto\n"));
    let edited = crlf.replace('1', "one");
    let f = Fixture::with(&[("dir/a", crlf), ("dir/.gitattributes", "*.bin binary\n")]);
    let base = f.head();
    let before = f.side(&base, &[("dir/a", Some(&edited))]);
    let after = f.side(&base, &[rules, ("dir/a", Some(lf))]);
    assert!(agree(&f, &before, &after).is_err() && agree(&f, &after, &before).is_err());
    f.git(&["config", "merge.renormalize", "true"]);
    let trees = [agree(&f, &before, &after), agree(&f, &after, &before)];
    assert!(trees[0].is_ok() && trees[0] == trees[1], "{trees:?}");
    // With no file of attributes at all on one side, and with one that says otherwise in a folder.
    let bare = f.side(&base, &[("dir/a", Some(&edited)), ("dir/.gitattributes", None)]);
    assert!(agree(&f, &bare, &after).is_ok());
    let kept = f.side(&base, &[("dir/a", Some(&edited)), ("dir/.gitattributes", Some("a -text\n"))]);
    assert!(agree(&f, &kept, &after).is_err());
    // Normalized by the rule, its file goes again on one side.
    let gone = f.side(&after, &[(".gitattributes", None), ("dir/a", Some(&lf.replace('3', "three")))]);
    let stays = f.side(&after, &[("dir/a", Some(&lf.replace('1', "one")))]);
    assert!(agree(&f, &gone, &stays).is_ok() && agree(&f, &stays, &gone).is_ok());
    f.git(&["config", "merge.renormalize", "false"]);
    assert!(agree(&f, &before, &after).is_err());
}

#[test]
fn a_trial_in_a_run_knows_no_attributes_of_the_run() {
    let f = Fixture::with(&[("CHANGES", "first\n")]);
    let base = f.head();
    let with = f.side(&base, &[(".gitattributes", Some("CHANGES merge=union\n"))]);
    let sides = ["one", "two"].map(|text| f.side(&base, &[("CHANGES", Some(&format!("first\n{text}\n")))]));
    let repo = f.open();
    repo.configure(&with).unwrap();
    let pairs = [sides.into()];
    let clean = |rules| matches!(repo.trial(rules).unwrap().merge_all(&pairs).unwrap()[0], Merged::Clean { .. });
    assert_eq!([Rules::Run, Rules::Checkout].map(clean), [true, false]);
}

#[test]
fn personal_attributes_are_those_of_the_folder_that_the_user_has_named() {
    let f = Fixture::with(&[("CHANGES", "first\n")]);
    let base = f.head();
    let sides = ["one", "two"].map(|text| f.side(&base, &[("CHANGES", Some(&format!("first\n{text}\n")))]));
    let options = |folder: &str| OpenOptions { xdg_config_home: Some(f.root().join(folder)), ..f.options() };
    let pairs: [(CommitId, CommitId); 1] = [sides.into()];
    let clean = |folder: &str| {
        let repo = Repo::open(&f.main(), &options(folder)).unwrap();
        repo.configure(&base).unwrap();
        let landing = repo.merge(&spec(&pairs[0].0, &pairs[0].1)).unwrap();
        let trials = repo.merge_pairs(&pairs).unwrap();
        [&landing, &trials[0]].map(|merged| matches!(merged, Merged::Clean { .. }))
    };
    for folder in ["mine", "home/.config"] {
        crate::fixture::write(&f.root().join(folder), "git/attributes", "CHANGES merge=union\n");
    }
    assert_eq!(clean("none"), [false, false]);
    assert_eq!(clean("mine"), [true, true]);
    assert_eq!(clean("home/.config"), [true, true]);
}
