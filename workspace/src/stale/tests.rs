//! Of the locks in the way of a new owner go those that a dead git of ours has left, and no other.

use super::*;
use crate::fixture::Fixture;

#[test]
fn a_claimed_lock_goes_once_nobody_holds_it_and_any_other_stays() {
    let f = Fixture::with(&[("a", "1\n")]);
    let repo = f.open();
    let at = |name: &str| {
        let path = repo.common_dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let [packed, index, step] = ["packed-refs.lock", "index.lock", "refs/heads/wattle/r/one.lock"].map(at);
    let [theirs, open] = ["refs/heads/main.lock", "HEAD.lock"].map(at);
    // As a killed owner leaves it: what its git was to lock is said, and the locks are there.
    let claims = repo.git().claims();
    let claim = claim::Claim::make(&claims, &[packed.clone(), index.clone(), open.clone()]).unwrap();
    std::mem::forget(claim);
    let held = fs::File::create(&open).unwrap();
    for path in [&packed, &index, &step, &theirs] {
        fs::write(path, "").unwrap();
    }
    repo.bury().unwrap();
    let there = [&packed, &index, &step, &theirs, &open].map(|path| path.exists());
    assert_eq!(there, [false, false, false, true, true]);
    assert_eq!(claim::left(&claims), []);
    drop(held);
    // Nothing says any more whose it was.
    repo.bury().unwrap();
    assert!(open.exists());
}

#[test]
fn what_a_git_locks_is_claimed_while_it_runs_and_not_longer() {
    use crate::refs::{Expect, RefChange};
    let f = Fixture::with(&[("a", "1\n")]);
    let repo = f.open();
    let change = |name: &str, new| RefChange { name: name.to_owned(), new, old: Expect::Any };
    let head = f.head();
    repo.update_refs(&[change("refs/heads/side", Some(head.clone()))], "made").unwrap();
    repo.update_refs(&[change("refs/heads/side", None)], "gone").unwrap();
    assert_eq!(claim::left(&repo.git().claims()), []);
    assert!(repo.git().claims().exists(), "each was claimed");
    fs::remove_dir(repo.git().claims()).unwrap();
    repo.update_refs(&[change("refs/wattle/attempt/r/one/1", Some(head))], "kept").unwrap();
    assert!(!repo.git().claims().exists(), "nobody else locks a ref of ours");
}
