//! One owner, known by name, and free again when it is gone.

use super::*;
use crate::fixture::Fixture;

#[test]
fn one_owner_at_a_time() {
    let f = Fixture::with(&[("a", "1\n")]);
    let repo = f.open();
    let info = |pid: u32| LockInfo { pid, host: "here".into(), since: "2026-01-02T03:04:05Z".into(), run: None };
    assert_eq!(lock_holder(&repo), None);
    let lock = OwnerLock::acquire(&repo, &info(1)).unwrap();
    assert_eq!(lock_holder(&repo), Some(info(1)));
    // Whatever the state directory: the lock is the repository's.
    let elsewhere = crate::OpenOptions { state_dir: f.root().join("other state"), ..f.options() };
    let same = Repo::open(&f.main(), &elsewhere).unwrap();
    match OwnerLock::acquire(&same, &info(2)).unwrap_err() {
        LockError::Held(holder) => assert_eq!(holder, Some(info(1))),
        e @ LockError::Io { .. } => panic!("{e}"),
    }
    lock.describe(&LockInfo { run: Some("r1".into()), ..info(1) }).unwrap();
    assert_eq!(lock_holder(&repo).and_then(|i| i.run), Some("r1".into()));
    assert_eq!(lock.died(), None);
    // As a crash leaves it: what it says stays.
    let said = std::fs::read(repo.common_dir().join("wattle/lock")).unwrap();
    drop(lock);
    assert_eq!(lock_holder(&repo), None);
    let lock = OwnerLock::acquire(&repo, &info(2)).unwrap();
    assert_eq!(lock.died(), None);
    drop(lock);
    std::fs::write(repo.common_dir().join("wattle/lock"), said).unwrap();
    // Who could not see to what was left leaves that to the next.
    assert!(OwnerLock::acquire(&repo, &info(2)).unwrap().died().is_some());
    let mut lock = OwnerLock::acquire(&repo, &info(2)).unwrap();
    assert!(lock.died().is_some());
    lock.settle();
    drop(lock);
    assert_eq!(OwnerLock::acquire(&repo, &info(2)).unwrap().died(), None);
    let _lock = OwnerLock::acquire(&repo, &info(2)).unwrap();
    assert_eq!(lock_holder(&repo), Some(info(2)));
}
