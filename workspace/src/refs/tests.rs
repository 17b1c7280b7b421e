//! Transactions: all or nothing, only from where a ref is expected.

use super::*;
use crate::fixture::Fixture;

fn change(name: &str, new: Option<&CommitId>, old: Expect) -> RefChange {
    RefChange { name: name.to_owned(), new: new.cloned(), old }
}

#[test]
fn a_transaction_is_all_or_nothing_and_names_who_moved() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let two = f.commit(&[("a", "2")]);
    let repo = f.open();
    let (x, y) = ("refs/wattle/attempt/r/x/1", "refs/heads/wattle/r/x");
    let make = [change(x, Some(&one), Expect::Absent), change(y, Some(&one), Expect::Absent)];
    repo.update_refs(&make, "made").unwrap();
    let refs = repo.list_refs("refs/wattle/").unwrap();
    assert_eq!(refs, [(x.to_owned(), one.clone())]);

    let half = [change(x, Some(&two), Expect::Is(one.clone())), change(y, Some(&two), Expect::Is(two.clone()))];
    match repo.update_refs(&half, "half").unwrap_err() {
        RefError::Moved { name, found } => {
            assert_eq!((name.as_str(), found), (y, Some(one.clone())))
        }
        e => panic!("{e}"),
    }
    assert_eq!(repo.read_ref(x).unwrap(), Some(one.clone()));
    match repo.update_refs(&make, "again").unwrap_err() {
        RefError::Moved { name, found } => {
            assert_eq!((name.as_str(), found), (x, Some(one.clone())))
        }
        e => panic!("{e}"),
    }
    let drop = [change(x, None, Expect::Is(one.clone())), change(y, Some(&two), Expect::Any)];
    repo.update_refs(&drop, "dropped").unwrap();
    assert_eq!((repo.read_ref(x).unwrap(), repo.read_ref(y).unwrap()), (None, Some(two.clone())));
    repo.update_refs(&[change(x, None, Expect::Absent)], "still absent").unwrap();
    let absent = repo.update_refs(&[change(y, None, Expect::Absent)], "not absent").unwrap_err();
    assert!(matches!(absent, RefError::Moved { .. }), "{absent}");
}

#[test]
fn a_users_branch_in_the_way_is_named() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let repo = f.open();
    f.git(&["branch", "wattle"]);
    let make = change("refs/heads/wattle/r/s", Some(&one), Expect::Absent);
    let error = repo.update_refs(&[make], "step").unwrap_err();
    let text = "create refs/heads/wattle/r/s: refs/heads/wattle exists, and a ref cannot be both a name and a folder";
    assert_eq!(error.to_string(), text);
    let below = change("refs/heads/a", Some(&one), Expect::Absent);
    f.git(&["branch", "a/b"]);
    match repo.update_refs(&[below], "step").unwrap_err() {
        RefError::Occupied { name, by } => assert_eq!((name.as_str(), by.as_str()), ("refs/heads/a", "refs/heads/a/b")),
        e => panic!("{e}"),
    }
}

#[test]
fn one_of_many_racing_for_a_ref_wins() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let repo = f.open();
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (repo, one) = (&repo, &one);
                scope.spawn(move || {
                    let make = change("refs/wattle/race", Some(one), Expect::Absent);
                    match repo.update_refs(&[make], "race") {
                        Ok(()) => 1,
                        Err(RefError::Moved { .. }) => 0,
                        Err(e) => panic!("{e}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum::<u32>()
    });
    assert_eq!(won, 1);
}

#[test]
fn resolve_knows_commits_and_nothing_else() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let repo = f.open();
    f.git(&["tag", "-a", "-m", "tagged", "v1"]);
    for rev in ["HEAD", "main", "v1", "refs/heads/main", &one.as_str()[..8], "@"] {
        assert_eq!(repo.resolve(rev).unwrap(), Some(one.clone()), "{rev}");
    }
    for rev in [
        "absent",
        "HEAD~7",
        "HEAD:a",
        "HEAD^{tree}",
        "--all",
        "",
        "a..b",
        "@{upstream}",
        "0123456789012345678901234567890123456789",
    ] {
        assert_eq!(repo.resolve(rev).unwrap(), None, "{rev}");
    }
}

#[test]
fn a_ref_reads_the_same_wherever_git_keeps_it() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let repo = f.open();
    f.git(&["branch", "loose"]);
    f.git(&["symbolic-ref", "refs/heads/symbolic", "refs/heads/loose"]);
    let read = |name: &str| repo.read_ref(name).unwrap();
    assert_eq!((read("refs/heads/loose"), read("refs/heads/symbolic")), (Some(one.clone()), Some(one.clone())));
    f.git(&["pack-refs", "--all"]);
    assert_eq!(read("refs/heads/loose"), Some(one.clone()));
    let two = f.commit(&[("a", "2")]);
    f.git(&["branch", "--force", "loose", two.as_str()]);
    assert_eq!(read("refs/heads/loose"), Some(two.clone()), "what is loose wins over what is packed");
    f.git(&["branch", "-D", "loose"]);
    assert_eq!(read("refs/heads/loose"), None);
    assert_eq!((read("refs/heads"), read("refs/heads/../heads/main"), read("refs/heads/")), (None, None, None));
}

#[test]
fn the_files_say_of_a_ref_what_git_says() {
    let f = Fixture::with(&[("a", "1")]);
    let one = f.head();
    let two = f.commit(&[("a", "2")]);
    for (name, id) in [("packed", &one), ("both", &one), ("dir/packed", &two), ("xpacked", &two)] {
        f.git(&["update-ref", &format!("refs/heads/{name}"), id.as_str()]);
    }
    f.git(&["tag", "-a", "-m", "tag", "packed", two.as_str()]);
    f.git(&["pack-refs", "--all"]);
    f.git(&["update-ref", "refs/heads/both", two.as_str()]);
    f.git(&["update-ref", "refs/heads/loose", one.as_str()]);
    f.git(&["symbolic-ref", "refs/heads/symbolic", "refs/heads/loose"]);
    // A folder without a ref in it is left where a ref was.
    f.git(&["update-ref", "refs/heads/gone/below", one.as_str()]);
    f.git(&["update-ref", "-d", "refs/heads/gone/below"]);
    std::fs::create_dir_all(f.main().join(".git/refs/heads/gone")).unwrap();
    let repo = f.open();
    for name in
        ["main", "packed", "both", "dir/packed", "dir", "xpacked", "loose", "symbolic", "gone", "loose/x", "none"]
    {
        let full = format!("refs/heads/{name}");
        let git = f.git(&["for-each-ref", "--format=%(refname) %(objectname)", &full]);
        let git = git.lines().find_map(|line| line.strip_prefix(&format!("{full} ")).map(|id| id.parse().unwrap()));
        assert_eq!(repo.read_ref(&full).unwrap(), git, "{name}");
        assert_eq!(
            refs_in_files(repo.common_dir(), std::slice::from_ref(&full)).is_none(),
            name == "symbolic",
            "{name}"
        );
    }
}

#[test]
fn names_are_resolved_at_once_as_one_by_one() {
    let f = Fixture::with(&[("a", "1")]);
    f.commit(&[("a", "2")]);
    f.git(&["tag", "-a", "-m", "tag", "v1", "HEAD~1"]);
    let repo = f.open();
    let check = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let single: Vec<_> = names.iter().map(|name| repo.resolve(name).unwrap()).collect();
        assert_eq!(repo.resolve_all(&names).unwrap(), single, "{names:?}");
        single.iter().flatten().count()
    };
    let head = f.head();
    let short = &head.as_str()[..7];
    assert_eq!(
        check(&["HEAD", "main~1", "v1", short, head.as_str(), "nope", "HEAD:a", "HEAD^{tree}", "-x", "main~9"]),
        5
    );
    assert_eq!(check(&["HEAD", "", "a\nb", "main"]), 2);
    // A name that ends the whole process.
    assert_eq!(check(&["HEAD", "main@{u}", "main"]), 2);
    assert_eq!(check(&[]), 0);
}
