//! Slots against real repositories: what is leased is exact, what is left is kept, nothing races.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::record::file_of;
use super::*;
use crate::capture::CaptureOptions;
use crate::fixture::{Fixture, write};
use crate::refs::{Expect, RefChange};

fn start() -> (Fixture, Repo, Pool) {
    let f = Fixture::with(&[(".gitignore", "*.log\n.env\n"), ("a.txt", "a\n"), ("dir/b.txt", "b\n")]);
    let repo = f.open();
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    (f, repo, pool)
}

fn want(class: Class, base: &CommitId, holder: &str) -> Want {
    Want { class, base: base.clone(), holder: holder.to_owned(), setup_key: None }
}

fn read(lease: &Lease, path: &str) -> String {
    fs::read_to_string(lease.path.join(path)).unwrap()
}

#[test]
fn a_slot_is_a_detached_worktree_and_is_recycled_in_its_class() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let first = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    assert_eq!(read(&first, "dir/b.txt"), "b\n");
    assert_eq!(f.run(&first.path, &["status", "--porcelain", "--branch"]), "## HEAD (no branch)");
    assert_eq!(f.run(&first.path, &["rev-parse", "HEAD"]), base.as_str());
    let check = pool.lease(&want(Class::Check, &base, "check")).unwrap();
    assert_ne!(first.slot, check.slot);
    assert_eq!(pool.release(first.clone()).unwrap(), Released::default());
    assert_eq!(pool.release(check.clone()).unwrap(), Released::default());

    let newer = f.commit(&[("a.txt", "newer\n"), ("c.txt", "c\n")]);
    write(&first.path, "kept.log", "build output");
    let again = pool.lease(&want(Class::Work, &newer, "r/t/1")).unwrap();
    assert_eq!((again.slot, again.generation), (first.slot, first.generation + 1));
    assert_eq!((read(&again, "a.txt"), read(&again, "c.txt")), ("newer\n".into(), "c\n".into()));
    assert_eq!(read(&again, "kept.log"), "build output");
    assert_eq!(f.run(&again.path, &["status", "--porcelain"]), "");
    assert_eq!(f.run(&again.path, &["rev-parse", "HEAD"]), newer.as_str());
    // A lease of an earlier generation can change nothing.
    let stale = pool.reset(&first, &base).unwrap_err();
    assert!(matches!(stale, PoolError::NotHeld { .. }), "{stale}");
    assert_eq!(pool.list().iter().map(|s| s.class).collect::<Vec<_>>(), [Class::Work, Class::Check]);
}

#[test]
fn salvage_brings_files_commits_and_stashes_back() {
    let (f, repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "run/step/1")).unwrap();
    write(&lease.path, "a.txt", "stashed\n");
    f.run(&lease.path, &["stash", "-q"]);
    write(&lease.path, "committed.txt", "committed\n");
    f.run(&lease.path, &["add", "-A"]);
    f.run(&lease.path, &["commit", "-q", "-m", "a worker's own"]);
    write(&lease.path, "untracked/new.txt", "untracked\n");
    write(&lease.path, "dir/b.txt", "changed\n");
    symlink("a.txt", lease.path.join("link")).unwrap();
    let slot = lease.slot;
    let released = pool.release(lease.clone()).unwrap();
    let salvaged = released.salvaged.unwrap();
    assert_eq!((salvaged.slot, salvaged.name.as_str()), (slot, "refs/wattle/salvage/run/step/1/1"));
    assert!(released.retired.is_none());
    let show = |what: &str| f.git(&["show", what]);
    assert_eq!(show(&format!("{}:untracked/new.txt", salvaged.name)), "untracked");
    assert_eq!(show(&format!("{}:dir/b.txt", salvaged.name)), "changed");
    assert_eq!(show(&format!("{}:link", salvaged.name)), "a.txt");
    assert_eq!(show(&format!("{}^:committed.txt", salvaged.name)), "committed");
    assert_eq!(show("refs/wattle/salvage/run/step/1/2:a.txt"), "stashed");
    assert!(repo.message(&salvaged.commit).unwrap().contains("run/step/1"));
    // The slot is clean again, and its next holder sees nothing of it.
    let next = pool.lease(&want(Class::Work, &base, "run/step/2")).unwrap();
    assert_eq!(next.slot, slot);
    assert_eq!(f.run(&next.path, &["status", "--porcelain"]), "");
    assert_eq!(pool.release(next).unwrap().salvaged, None);
    assert_eq!(f.git(&["fsck", "--strict"]), "");
}

#[test]
fn what_a_ref_keeps_already_is_not_salvaged_again() {
    let (f, repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    write(&lease.path, "a.txt", "work\n");
    let captured = repo.capture(&lease.path, &base, &CaptureOptions::default()).unwrap();
    let id = repo.identity();
    let spec = crate::commit::CommitSpec {
        tree: captured.tree,
        parents: vec![base.clone()],
        message: "work".into(),
        author: id.clone(),
        committer: id,
        time_s: 1,
    };
    let commit = repo.commit(&spec).unwrap();
    let name = "refs/wattle/attempt/r/s/1".to_owned();
    repo.update_refs(&[RefChange { name, new: Some(commit), old: Expect::Absent }], "attempt").unwrap();
    assert_eq!(pool.release(lease).unwrap(), Released::default());
}

#[test]
fn a_slot_with_a_nested_repository_is_retired_as_it_is() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    f.run(&lease.path, &["init", "-q", "inner"]);
    write(&lease.path, "inner/work.txt", "precious");
    let released = pool.release(lease.clone()).unwrap();
    assert!(released.retired.as_ref().is_some_and(|why| why.contains("inner")), "{released:?}");
    assert_eq!(read(&lease, "inner/work.txt"), "precious");
    let other = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap();
    assert_ne!(other.slot, lease.slot);
    assert!(matches!(pool.remove(lease.slot).unwrap_err(), PoolError::Unexpressible { .. }));
    assert_eq!(read(&lease, "inner/work.txt"), "precious");
    assert_eq!(pool.list()[0].retired, released.retired);
    // In a check slot it is thrown away.
    let check = pool.lease(&want(Class::Check, &base, "check")).unwrap();
    f.run(&check.path, &["init", "-q", "inner"]);
    assert_eq!(pool.release(check.clone()).unwrap(), Released::default());
    let again = pool.lease(&want(Class::Check, &base, "check 2")).unwrap();
    assert_eq!(again.slot, check.slot);
    assert!(!check.path.join("inner").exists());
}

#[test]
fn a_slot_that_is_no_worktree_of_its_own_is_never_leased() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    fs::write(lease.path.join(".git"), format!("gitdir: {}\n", f.main().join(".git").display())).unwrap();
    let released = pool.release(lease.clone()).unwrap();
    assert!(released.retired.is_some_and(|why| why.contains(".git")));
    let other = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap();
    assert_ne!(other.slot, lease.slot);
    assert_eq!(f.git(&["status", "--porcelain"]), "");
}

#[test]
fn eight_threads_lease_ten_times_each() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let newer = f.commit(&[("a.txt", "newer\n")]);
    let leased = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let (pool, bases) = (&pool, [&base, &newer]);
                scope.spawn(move || {
                    for n in 0..10 {
                        let class = if n % 5 == 4 { Class::Snapshot } else { Class::Work };
                        let base = bases[n % 2];
                        let lease = pool.lease(&want(class, base, &format!("r/t{t}/{n}"))).unwrap();
                        let expected = if n % 2 == 0 { "a\n" } else { "newer\n" };
                        assert_eq!(read(&lease, "a.txt"), expected);
                        if class == Class::Work {
                            assert!(!lease.path.join("mine").exists());
                            write(&lease.path, "mine", &format!("{t} {n}"));
                        }
                        let released = pool.release(lease).unwrap();
                        assert_eq!(released.retired, None);
                        assert_eq!(released.salvaged.is_some(), class == Class::Work);
                    }
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).count()
    });
    assert_eq!(leased, 8);
    let salvaged = f.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/salvage"]);
    assert_eq!(salvaged.lines().count(), 64);
    let numbers: BTreeSet<SlotId> = pool.list().into_iter().map(|s| s.slot).collect();
    assert!(numbers.len() <= 10, "{numbers:?}");
    assert_eq!(f.git(&["fsck", "--strict"]), "");
    assert_eq!(f.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_snapshot_is_shared_per_base_and_proved_clean() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let one = pool.lease(&want(Class::Snapshot, &base, "r/a/1")).unwrap();
    let two = pool.lease(&want(Class::Snapshot, &base, "r/b/1")).unwrap();
    assert_eq!(one.path, two.path);
    let newer = f.commit(&[("a.txt", "newer\n")]);
    let other = pool.lease(&want(Class::Snapshot, &newer, "r/c/1")).unwrap();
    assert_ne!(one.path, other.path);
    write(&one.path, "a.txt", "a reader wrote\n");
    assert_eq!(pool.release(one).unwrap(), Released::default());
    let salvaged = pool.release(two.clone()).unwrap().salvaged.unwrap();
    assert_eq!(f.git(&["show", &format!("{}:a.txt", salvaged.name)]), "a reader wrote");
    assert_eq!(read(&two, "a.txt"), "a\n");
}

#[test]
fn a_new_owner_adopts_what_is_kept_and_salvages_the_rest() {
    let (f, repo, pool) = start();
    let base = f.head();
    let kept = pool.lease(&want(Class::Work, &base, "r/kept/1")).unwrap();
    let dead = pool.lease(&want(Class::Work, &base, "r/dead/1")).unwrap();
    let idle = pool.lease(&want(Class::Work, &base, "r/idle/1")).unwrap();
    write(&kept.path, "a.txt", "half done\n");
    write(&dead.path, "a.txt", "abandoned\n");
    drop(pool);
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    let salvaged = pool.recover(&["r/kept/1".to_owned()]).unwrap();
    assert_eq!(salvaged.iter().map(|s| s.slot).collect::<Vec<_>>(), [dead.slot]);
    assert_eq!(f.git(&["show", &format!("{}:a.txt", salvaged[0].name)]), "abandoned");
    assert_eq!(pool.adopt("r/kept/1").unwrap(), Some(kept.clone()));
    assert_eq!(read(&kept, "a.txt"), "half done\n");
    assert_eq!(pool.adopt("r/dead/1").unwrap(), None);
    assert_eq!(pool.recover(&["r/kept/1".to_owned()]).unwrap(), []);
    let free: Vec<_> = pool.list().into_iter().filter(|s| s.holder.is_none()).map(|s| s.slot).collect();
    assert_eq!(free, [dead.slot, idle.slot]);
}

#[test]
fn reset_salvages_and_setup_is_asked_for_once_per_key() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let with_key =
        |key: &str, holder: &str| Want { setup_key: Some(key.to_owned()), ..want(Class::Work, &base, holder) };
    let lease = pool.lease(&with_key("k1", "r/s/1")).unwrap();
    assert!(lease.needs_setup);
    pool.setup_done(&lease, "k1").unwrap();
    write(&lease.path, "a.txt", "first try\n");
    write(&lease.path, "empty/dir/.log", "x");
    fs::create_dir(lease.path.join("hollow")).unwrap();
    let newer = f.commit(&[("dir/b.txt", "newer\n")]);
    pool.reset(&lease, &newer).unwrap();
    assert_eq!((read(&lease, "a.txt"), read(&lease, "dir/b.txt")), ("a\n".into(), "newer\n".into()));
    assert_eq!(f.git(&["show", "refs/wattle/salvage/r/s/1/1:a.txt"]), "first try");
    assert!(!lease.path.join("hollow").exists() && lease.path.join("empty/dir/.log").exists());
    pool.release(lease).unwrap();
    assert!(!pool.lease(&with_key("k1", "r/s/2")).unwrap().needs_setup);
    assert!(pool.lease(&with_key("k2", "r/s/3")).unwrap().needs_setup);
}

#[test]
fn worktreeinclude_copies_ignored_files_only_and_follows_no_link() {
    let (f, _repo, pool) = start();
    let main = f.main();
    f.write(".worktreeinclude", ".env\nnotes.txt\nlinked.log\ndeep/\n");
    f.write(".env", "SECRET=1");
    f.write("notes.txt", "untracked, not ignored");
    f.write("deep/x/settings.log", "deep");
    f.write("deep/x/plain.txt", "not ignored");
    symlink("/etc/hostname", main.join("linked.log")).unwrap();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    assert_eq!((read(&lease, ".env"), read(&lease, "deep/x/settings.log")), ("SECRET=1".into(), "deep".into()));
    for absent in ["notes.txt", "linked.log", "deep/x/plain.txt"] {
        assert!(fs::symlink_metadata(lease.path.join(absent)).is_err(), "{absent}");
    }
}

#[test]
fn remove_salvages_and_leaves_the_users_worktrees_alone() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let gone = f.root().join("gone");
    f.git(&["worktree", "add", "-q", "--detach", gone.to_str().unwrap()]);
    fs::rename(&gone, f.root().join("unplugged")).unwrap();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    let held = pool.remove(lease.slot).unwrap_err();
    assert!(matches!(&held, PoolError::Busy { why, .. } if why.contains("r/s/1")), "{held}");
    pool.release(lease.clone()).unwrap();
    write(&lease.path, "late.txt", "written after release");
    let salvaged = pool.remove(lease.slot).unwrap().unwrap();
    assert_eq!(f.git(&["show", &format!("{}:late.txt", salvaged.name)]), "written after release");
    assert!(!lease.path.exists() && pool.list().is_empty());
    let list = f.git(&["worktree", "list"]);
    assert!(list.contains("gone") && !list.contains("slots"), "{list}");
}

#[test]
fn the_disk_bound_stops_new_slots_but_not_recycling() {
    let (f, repo, _) = start();
    let base = f.head();
    let pool = Pool::open(&repo, PoolOptions { disk_bytes_max: Some(30_000), ..PoolOptions::default() }).unwrap();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    let error = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap_err();
    assert!(matches!(error, PoolError::Quota { bytes_max: 30_000, .. }), "{error}");
    pool.release(lease).unwrap();
    pool.lease(&want(Class::Work, &base, "r/s/3")).unwrap();
}

/// The whole path of a step: lease, work, capture, commit, ref, release, landing.
fn a_step_lands(f: &Fixture, repo: &Repo, base: &CommitId) {
    repo.configure(base).unwrap();
    let pool = Pool::open(repo, PoolOptions::default()).unwrap();
    let lease = pool.lease(&want(Class::Work, base, "r/s/1")).unwrap();
    write(&lease.path, "work.txt", "work\n");
    let captured = repo.capture(&lease.path, base, &CaptureOptions::default()).unwrap();
    assert_eq!(captured.changes.len(), 1, "{captured:?}");
    let id = repo.identity();
    let spec = crate::commit::CommitSpec {
        tree: captured.tree.clone(),
        parents: vec![base.clone()],
        message: "work".into(),
        author: id.clone(),
        committer: id,
        time_s: 1,
    };
    let commit = repo.commit(&spec).unwrap();
    let name = "refs/heads/wattle/r/s".to_owned();
    repo.update_refs(&[RefChange { name, new: Some(commit.clone()), old: Expect::Absent }], "step").unwrap();
    assert_eq!(pool.release(lease).unwrap(), Released::default());
    let moved = repo.advance("main", base, &commit, "landing").unwrap();
    assert!(matches!(moved, crate::Advance::Moved { .. }), "{moved:?}");
    assert_eq!(repo.read_ref("refs/heads/main").unwrap(), Some(commit));
    for slot in pool.list() {
        assert_eq!(pool.remove(slot.slot).unwrap(), None);
    }
    assert_eq!(f.run(repo.common_dir(), &["worktree", "list"]).lines().count(), 1);
    assert_eq!(f.run(repo.common_dir(), &["fsck", "--strict"]), "");
}

#[test]
fn a_step_lands_in_unusual_repositories() {
    let reftable = Fixture::empty(&["--ref-format=reftable"]);
    let base = reftable.commit(&[("a", "1\n")]);
    a_step_lands(&reftable, &reftable.open(), &base);
    assert_eq!(reftable.git(&["status", "--porcelain"]), "");

    let sha256 = Fixture::empty(&["--object-format=sha256"]);
    let base = sha256.commit(&[("a", "1\n")]);
    a_step_lands(&sha256, &sha256.open(), &base);

    let bare = Fixture::with(&[("a", "1\n")]);
    bare.run(&bare.root(), &["clone", "-q", "--bare", "main", "bare.git"]);
    let repo = Repo::open(&bare.root().join("bare.git"), &bare.options()).unwrap();
    a_step_lands(&bare, &repo, &bare.head());

    let sparse = Fixture::with(&[("in/a", "1\n"), ("out/b", "2\n")]);
    sparse.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    assert!(!sparse.main().join("out").exists());
    a_step_lands(&sparse, &sparse.open(), &sparse.head());
    assert_eq!(sparse.git(&["status", "--porcelain"]), "");
    assert!(!sparse.main().join("out").exists() && sparse.main().join("work.txt").exists());

    let shallow = Fixture::with(&[("a", "1\n")]);
    shallow.commit(&[("a", "2\n")]);
    let url = format!("file://{}", shallow.main().display());
    shallow.run(&shallow.root(), &["clone", "-q", "--depth=1", &url, "shallow"]);
    let repo = Repo::open(&shallow.root().join("shallow"), &shallow.options()).unwrap();
    a_step_lands(&shallow, &repo, &shallow.head());

    let partial = Fixture::with(&[("a", "1\n"), ("b", "2\n")]);
    partial.git(&["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", partial.main().display());
    partial.run(&partial.root(), &["clone", "-q", "--no-checkout", "--filter=blob:none", &url, "partial"]);
    let repo = Repo::open(&partial.root().join("partial"), &partial.options()).unwrap();
    assert_eq!(repo.objects_backend(), "cat-file");
    let tree = repo.tree_of(&partial.head()).unwrap();
    assert_eq!(repo.read_file(&tree, "b").unwrap().unwrap(), b"2\n");

    let lent = Fixture::with(&[("a", "1\n")]);
    lent.run(&lent.root(), &["clone", "-q", "--shared", "main", "borrower"]);
    let repo = Repo::open(&lent.root().join("borrower"), &lent.options()).unwrap();
    assert_eq!(repo.objects_backend(), "git2");
    a_step_lands(&lent, &repo, &lent.head());
}

#[test]
fn line_ends_and_filters_of_the_user_apply_in_slots_too() {
    let f = Fixture::with(&[(".gitattributes", "*.txt text\n*.up filter=up\n"), ("a.txt", "one\ntwo\n")]);
    f.git(&["config", "core.eol", "crlf"]);
    f.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    f.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
    let base = f.commit(&[("b.up", "shout\n")]);
    let repo = f.open();
    repo.configure(&base).unwrap();
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    assert_eq!((read(&lease, "a.txt"), read(&lease, "b.up")), ("one\r\ntwo\r\n".into(), "shout\n".into()));
    write(&lease.path, "b.up", "louder\n");
    write(&lease.path, "a.txt", "one\r\ntwo\r\nthree\r\n");
    let captured = repo.capture(&lease.path, &base, &CaptureOptions::default()).unwrap();
    assert_eq!(repo.read_file(&captured.tree, "b.up").unwrap().unwrap(), b"LOUDER\n");
    assert_eq!(repo.read_file(&captured.tree, "a.txt").unwrap().unwrap(), b"one\ntwo\nthree\n");
}

/// Whatever a killed owner left of a slot, the next one gets the work out and the slot back.
#[test]
fn recovery_from_every_point_at_which_an_owner_can_die() {
    type Damage = fn(&Fixture, &Lease, &Path);
    let damages: [(&str, Damage, bool); 6] = [
        (
            "while the worktree was made",
            |f, lease, root| {
                let mut r = Record::load(root, lease.slot).unwrap().unwrap();
                (r.admin, r.ready) = (None, false);
                r.store(root).unwrap();
                f.git(&["worktree", "remove", "--force", lease.path.to_str().unwrap()]);
                write(&lease.path, ".git", "gitdir: /half/made\n");
            },
            false,
        ),
        (
            "during the checkout",
            |_, lease, root| {
                let mut r = Record::load(root, lease.slot).unwrap().unwrap();
                r.ready = false;
                r.store(root).unwrap();
                fs::remove_file(lease.path.join("a.txt")).unwrap();
            },
            false,
        ),
        (
            "with a lock in the worktree",
            |f, lease, _| {
                let lock = f.main().join(".git/worktrees").join(lease.slot.to_string()).join("index.lock");
                fs::write(lock, "").unwrap();
                write(&lease.path, "a.txt", "work\n");
            },
            true,
        ),
        (
            "with a lock on our index",
            |_, lease, root| {
                fs::write(root.join(format!("{}.index.lock", lease.slot)), "").unwrap();
                write(&lease.path, "a.txt", "work\n");
            },
            true,
        ),
        (
            "with a merge under way",
            |f, lease, _| {
                let base = f.head();
                let side = f.side(&base, &[("a.txt", Some("side\n"))]);
                write(&lease.path, "a.txt", "work\n");
                f.run(&lease.path, &["commit", "-q", "-a", "-m", "work"]);
                assert!(!f.succeeds(&lease.path, &["merge", "-q", side.as_str()]));
            },
            true,
        ),
        (
            "on an unborn branch",
            |f, lease, _| {
                f.run(&lease.path, &["checkout", "-q", "--orphan", "new"]);
                write(&lease.path, "a.txt", "work\n");
            },
            true,
        ),
    ];
    for (when, damage, work) in damages {
        let (f, repo, pool) = start();
        let base = f.head();
        let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
        damage(&f, &lease, &pool.root);
        drop(pool);
        let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
        let salvaged = pool.recover(&[]).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert_eq!(salvaged.len(), usize::from(work), "{when}");
        if let Some(s) = salvaged.first() {
            assert!(f.git(&["show", &format!("{}:a.txt", s.name)]).contains("work"), "{when}");
        }
        let again = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert_eq!((again.slot, read(&again, "a.txt")), (lease.slot, "a\n".into()), "{when}");
        assert_eq!(f.run(&again.path, &["status", "--porcelain", "--branch"]), "## HEAD (no branch)", "{when}");
        assert_eq!(f.git(&["fsck", "--strict", "--no-dangling"]), "", "{when}");
    }
}

#[test]
fn a_removal_cut_off_is_finished() {
    let (f, repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    pool.release(lease.clone()).unwrap();
    let mut record = Record::load(&pool.root, lease.slot).unwrap().unwrap();
    record.holders = vec![pool.held_now(REMOVAL)];
    record.store(&pool.root).unwrap();
    fs::rename(&lease.path, lease.path.with_extension("gone-2")).unwrap();
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    assert_eq!(pool.recover(&[]).unwrap(), []);
    assert_eq!(pool.list(), []);
    assert!(!lease.path.with_extension("gone-2").exists());
    assert_eq!(f.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_slot_whose_maker_died_before_it_noted_the_worktree_leaves_none() {
    let (f, repo, pool) = start();
    let lease = pool.lease(&want(Class::Work, &f.head(), "r/s/1")).unwrap();
    let mut record = Record::load(&pool.root, lease.slot).unwrap().unwrap();
    record.admin = None;
    record.ready = false;
    record.holders.clear();
    record.store(&pool.root).unwrap();
    fs::remove_dir_all(&lease.path).unwrap();
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    assert_eq!(pool.recover(&[]).unwrap(), []);
    assert_eq!(pool.remove(lease.slot).unwrap(), None);
    assert_eq!(f.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_scrubbed_check_slot_is_as_good_as_new() {
    let (f, _repo, pool) = start();
    f.write(".worktreeinclude", ".env\n");
    f.write(".env", "SECRET=1");
    let base = f.head();
    let key = Want { setup_key: Some("k".into()), ..want(Class::Check, &base, "check") };
    let lease = pool.lease(&key).unwrap();
    pool.setup_done(&lease, "k").unwrap();
    write(&lease.path, "stale.log", "build output");
    write(&lease.path, "a.txt", "changed\n");
    fs::remove_file(lease.path.join("dir/b.txt")).unwrap();
    write(&lease.path, ".env", "SECRET=changed");
    f.run(&lease.path, &["init", "-q", "clone"]);
    pool.scrub(&lease).unwrap();
    assert!(!lease.path.join("stale.log").exists() && !lease.path.join("clone").exists());
    let files = [read(&lease, "a.txt"), read(&lease, "dir/b.txt"), read(&lease, ".env")];
    assert_eq!(files, ["a\n", "b\n", "SECRET=1"]);
    assert!(pool.adopt("check").unwrap().unwrap().needs_setup);
    let work = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    assert!(matches!(pool.scrub(&work).unwrap_err(), PoolError::Busy { .. }));
}

#[test]
fn a_placed_tree_is_there_as_changes_to_the_base() {
    let (f, repo, pool) = start();
    let base = f.head();
    let side = f.side(&base, &[("a.txt", None), ("new/c.txt", Some("c\n"))]);
    let tree = repo.tree_of(&side).unwrap();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    repo.place_tree(&lease.path, &base, &tree).unwrap();
    assert!(!lease.path.join("a.txt").exists());
    assert_eq!(f.run(&lease.path, &["rev-parse", "HEAD"]), base.as_str());
    assert_eq!(repo.capture(&lease.path, &base, &CaptureOptions::default()).unwrap().tree, tree);
    // Files that somebody has changed meanwhile are not overwritten.
    write(&lease.path, "dir/b.txt", "mine\n");
    let other = f.side(&base, &[("dir/b.txt", Some("other\n"))]);
    assert!(repo.place_tree(&lease.path, &base, &repo.tree_of(&other).unwrap()).is_err());
    assert_eq!(read(&lease, "dir/b.txt"), "mine\n");
}

#[test]
fn links_out_of_a_slot_are_salvaged_as_links_and_lead_nowhere() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let outside = f.root().join("outside");
    write(&outside, "b.txt", "not ours\n");
    write(&outside, "other.txt", "not ours\n");
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    fs::remove_dir_all(lease.path.join("dir")).unwrap();
    symlink(&outside, lease.path.join("dir")).unwrap();
    symlink(&outside, lease.path.join("untracked")).unwrap();
    let salvaged = pool.release(lease.clone()).unwrap().salvaged.unwrap();
    let listed = f.tree(&salvaged.name);
    assert_eq!(listed.lines().filter(|l| l.starts_with("120000")).count(), 2, "{listed}");
    assert_eq!(read(&lease, "dir/b.txt"), "b\n");
    assert!(!lease.path.join("dir").is_symlink());
    let left: BTreeSet<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2);
    assert_eq!(fs::read_to_string(outside.join("b.txt")).unwrap(), "not ours\n");
}

#[test]
fn a_slot_whose_files_were_left_alone_is_as_good_as_new() {
    let (f, _repo, pool) = start();
    let base = f.head();
    for (holder, git) in [("r/branch/1", "checkout -qb theirs"), ("r/staged/1", "rm -q --cached a.txt")] {
        let lease = pool.lease(&want(Class::Work, &base, holder)).unwrap();
        f.run(&lease.path, &git.split(' ').collect::<Vec<_>>());
        fs::create_dir_all(lease.path.join("empty/folder")).unwrap();
        let path = lease.path.clone();
        assert_eq!(pool.release(lease).unwrap().salvaged, None);
        assert!(!path.join("empty").exists());
        assert_eq!(f.run(&path, &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD", "it is on no branch");
        let next = pool.lease(&want(Class::Work, &base, "r/next/1")).unwrap();
        assert_eq!((&next.path, f.run(&path, &["status", "--porcelain"])), (&path, String::new()));
        pool.release(next).unwrap();
        assert_eq!(f.run(&path, &["rev-parse", "HEAD"]), base.as_str());
    }
}

#[test]
fn what_was_captured_and_is_kept_stays_in_the_slot_until_it_is_leased_again() {
    let (f, repo, pool) = start();
    let base = f.head();
    let keep = |holder: &str, lease: &Lease| {
        let captured = repo.capture(&lease.path, &base, &CaptureOptions::default()).unwrap();
        let id = repo.identity();
        let spec = crate::commit::CommitSpec {
            tree: captured.tree,
            parents: vec![base.clone()],
            message: "work".into(),
            author: id.clone(),
            committer: id,
            time_s: 1,
        };
        let commit = repo.commit(&spec).unwrap();
        let name = format!("refs/wattle/attempt/{holder}");
        repo.update_refs(&[RefChange { name, new: Some(commit), old: Expect::Absent }], "attempt").unwrap();
    };
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    write(&lease.path, "new.txt", "new\n");
    write(&lease.path, "a.txt", "changed\n");
    keep("r/s/1", &lease);
    assert_eq!(pool.release(lease.clone()).unwrap(), Released::default());
    assert!(Record::load(&pool.root, lease.slot).unwrap().unwrap().left.is_some());
    let next = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap();
    assert_eq!((read(&next, "a.txt"), next.path.join("new.txt").exists()), ("a\n".into(), false));
    // What came after the capture is not in that commit.
    write(&next.path, "a.txt", "changed again\n");
    keep("r/s/2", &next);
    write(&next.path, "late.txt", "late\n");
    let salvaged = pool.release(next).unwrap().salvaged.unwrap();
    assert_eq!(f.git(&["show", &format!("{}:late.txt", salvaged.name)]), "late");
    // Nor is what is written while the slot is free.
    let lease = pool.lease(&want(Class::Work, &base, "r/s/3")).unwrap();
    write(&lease.path, "a.txt", "third\n");
    keep("r/s/3", &lease);
    pool.release(lease.clone()).unwrap();
    write(&lease.path, "a.txt", "from outside\n");
    let again = pool.lease(&want(Class::Work, &base, "r/s/4")).unwrap();
    assert_eq!(read(&again, "a.txt"), "a\n");
    let kept = f.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/salvage/slot"]);
    assert_eq!(f.git(&["show", &format!("{kept}:a.txt")]), "from outside");
}

#[test]
fn a_lease_names_its_process_and_is_stale_when_that_is_gone() {
    let (f, repo, pool) = start();
    let base = f.head();
    let gone = Owner { pid: pool.own.pid, started: pool.own.started - 1 };
    let check = pool.lease(&want(Class::Check, &base, "check")).unwrap();
    assert_eq!(check.owner, Some(pool.own));
    let work = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    let snapshot = pool.lease(&want(Class::Snapshot, &base, "r/a/1")).unwrap();
    write(&work.path, "a.txt", "half done\n");
    write(&check.path, "left.txt", "left\n");
    write(&snapshot.path, "a.txt", "a reader wrote\n");
    for lease in [&check, &work, &snapshot] {
        let mut record = Record::load(&pool.root, lease.slot).unwrap().unwrap();
        record.holders[0].owner = Some(gone);
        record.store(&pool.root).unwrap();
    }
    // Nobody goes on in a check slot or a snapshot: they are taken over. What a work slot is, the journal knows.
    let others = [Class::Check, Class::Work, Class::Snapshot]
        .map(|class| pool.lease(&want(class, &base, &format!("new/{class:?}"))).unwrap());
    assert_eq!((others[0].slot, others[2].slot), (check.slot, snapshot.slot));
    assert_ne!(others[1].slot, work.slot);
    assert!(!check.path.join("left.txt").exists());
    assert_eq!(read(&snapshot, "a.txt"), "a\n");
    let kept = f.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/salvage"]);
    assert_eq!(f.git(&["show", &format!("{kept}:a.txt")]), "a reader wrote");
    let salvaged = pool.recover(&["new/Work".to_owned()]).unwrap();
    assert_eq!(salvaged.iter().map(|s| s.slot).collect::<Vec<_>>(), [work.slot]);
    // One that another living process holds is not touched.
    let living = pool.lease(&want(Class::Work, &base, "other/s/1")).unwrap();
    let mut record = Record::load(&pool.root, living.slot).unwrap().unwrap();
    let parent = std::os::unix::process::parent_id();
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).unwrap();
    let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    record.holders[0].owner = Some(Owner { pid: parent, started });
    record.store(&pool.root).unwrap();
    let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
    pool.recover(&["new/Work".to_owned()]).unwrap();
    let info = pool.list().into_iter().find(|info| info.slot == living.slot).unwrap();
    assert_eq!(info.holder.as_deref(), Some("other/s/1"));
}

#[test]
fn the_nearest_slot_of_the_same_setup_is_chosen() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let many: Vec<(String, String)> = (0..400).map(|n| (format!("m/{n}"), format!("{n}\n"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (&**path, &**text)).collect();
    let far = f.commit(&many);
    let near = f.commit(&[("a.txt", "near\n")]);
    let with_key = |key: &str, base: &CommitId, holder: &str| Want {
        setup_key: Some(key.to_owned()),
        ..want(Class::Work, base, holder)
    };
    let leases = [(&base, "k1"), (&far, "k1"), (&base, "k2")]
        .map(|(base, key)| pool.lease(&with_key(key, base, &format!("r/{key}/{}", base.short()))).unwrap());
    for (lease, key) in leases.iter().zip(["k1", "k1", "k2"]) {
        pool.setup_done(lease, key).unwrap();
    }
    let [one, two, three] = leases.map(|lease| {
        let slot = lease.slot;
        pool.release(lease).unwrap();
        slot
    });
    let check = |key: &str, base: &CommitId, expected: SlotId| {
        let lease = pool.lease(&with_key(key, base, "r/x/1")).unwrap();
        assert_eq!(lease.slot, expected, "{key} {base}");
        pool.release(lease).unwrap();
    };
    check("k1", &near, two);
    check("k1", &base, one);
    check("k2", &near, three);
}

#[test]
fn a_slot_with_a_configuration_or_a_lock_of_a_workers_is_made_anew() {
    for (name, text) in [("config.worktree", "[core]\n\tpager = x\n"), ("hooks/pre-commit", "x"), ("packed.lock", "")] {
        let (f, _repo, pool) = start();
        let base = f.head();
        let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
        let git_dir = f.main().join(".git/worktrees").join(lease.slot.to_string());
        write(&git_dir, name, text);
        write(&lease.path, "kept.log", "ignored");
        assert_eq!(pool.release(lease.clone()).unwrap(), Released::default(), "{name}");
        let next = pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap();
        assert!(!next.path.join("kept.log").exists(), "{name}: a new slot");
        assert_eq!(read(&next, "a.txt"), "a\n");
        let git_dir = f.run(&next.path, &["rev-parse", "--absolute-git-dir"]);
        assert!(!Path::new(&git_dir).join(name).exists(), "{name}");
        pool.release(next).unwrap();
        pool.finish();
        let left = fs::read_dir(&pool.root).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        assert_eq!((left, f.git(&["worktree", "list"]).lines().count()), (1, 2), "{name}: the old one is deleted");
    }
}

#[test]
fn a_slot_cut_off_on_its_way_is_no_work_and_work_in_it_is() {
    let (f, repo, pool) = start();
    let base = f.head();
    let newer = f.commit(&[("a.txt", "newer\n"), ("dir/b.txt", "newer\n")]);
    for work in [false, true] {
        let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
        let mut record = Record::load(&pool.root, lease.slot).unwrap().unwrap();
        record.moving = Some(newer.clone());
        record.store(&pool.root).unwrap();
        write(&lease.path, "a.txt", "newer\n");
        fs::remove_file(lease.path.join("dir/b.txt")).unwrap();
        if work {
            write(&lease.path, "late.txt", "somebody's\n");
        }
        assert_eq!(pool.adopt("r/s/1").unwrap(), None);
        let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
        let salvaged = pool.recover(&["r/s/1".to_owned()]).unwrap();
        assert_eq!(salvaged.len(), usize::from(work));
        let again = pool.lease(&want(Class::Work, &newer, "r/s/2")).unwrap();
        assert_eq!((again.slot, read(&again, "dir/b.txt")), (lease.slot, "newer\n".into()));
        assert_eq!(f.run(&again.path, &["status", "--porcelain"]), "");
        pool.release(again).unwrap();
    }
}

#[test]
fn a_check_slot_cut_off_on_its_way_is_not_taken_for_where_it_came_from() {
    for (class, recovered) in [(Class::Check, true), (Class::Check, false), (Class::Snapshot, true)] {
        let (f, repo, pool) = start();
        let base = f.head();
        let newer = f.commit(&[("a.txt", "newer\n"), ("new.txt", "newer\n")]);
        let lease = pool.lease(&want(class, &base, "r/s/1")).unwrap();
        pool.release(lease.clone()).unwrap();
        // Its next holder dies when files and index are there already, and the record does not say so yet.
        let mut record = Record::load(&pool.root, lease.slot).unwrap().unwrap();
        record.moving = Some(newer.clone());
        record.holders = vec![Held { by: "r/s/2".to_owned(), owner: None }];
        record.store(&pool.root).unwrap();
        assert!(Place::of(&repo, &pool.root, &record).shift(&newer).unwrap());
        let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
        if recovered {
            pool.recover(&[]).unwrap();
        }
        let again = pool.lease(&want(class, &base, "r/s/3")).unwrap();
        assert_eq!((again.slot, read(&again, "a.txt")), (lease.slot, "a\n".into()), "{class:?}");
        assert!(!again.path.join("new.txt").exists(), "{class:?}");
        assert_eq!(f.run(&again.path, &["status", "--porcelain"]), "");
        pool.release(again).unwrap();
    }
}

#[test]
fn a_record_that_was_lost_takes_its_slot_out_of_use_and_nothing_is_deleted() {
    let (f, _repo, pool) = start();
    let base = f.head();
    let lease = pool.lease(&want(Class::Work, &base, "r/s/1")).unwrap();
    write(&lease.path, "work.txt", "precious\n");
    fs::write(file_of(&pool.root, lease.slot), "").unwrap();
    assert!(pool.list()[0].retired.as_ref().is_some_and(|why| why.contains("lost")));
    assert_eq!(pool.recover(&[]).unwrap(), []);
    assert_ne!(pool.lease(&want(Class::Work, &base, "r/s/2")).unwrap().slot, lease.slot);
    assert!(pool.remove(lease.slot).is_err());
    assert_eq!(read(&lease, "work.txt"), "precious\n");
}

#[test]
fn a_record_of_the_first_version_is_read() {
    let text = r#"{"v":1,"slot":7,"class":"work","generation":3,"admin":"7","base":"BASE","ready":true,
        "holders":["r/s/1"],"setup":null,"wanted":null,"stash":null,"retired":null}"#;
    let record: Record = serde_json::from_str(&text.replace("BASE", &"a".repeat(40))).unwrap();
    assert!(record.whole() && record.held_by("r/s/1") && record.holders[0].owner.is_none());
}

/// Slot acquisitions of the soak, 16 at a time; the benchmark does ten thousand.
const ACQUISITIONS: usize = 320;

#[test]
fn sixteen_at_a_time_never_fail() {
    let (f, _repo, pool) = start();
    let bases = [f.head(), f.commit(&[("a.txt", "newer\n")]), f.commit(&[("c/d.txt", "d\n")])];
    let failures = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|t| {
                let (pool, bases) = (&pool, &bases);
                scope.spawn(move || {
                    let acquire = |n: usize| -> Result<(), PoolError> {
                        let class = [Class::Work, Class::Check, Class::Snapshot][(t + n) % 3];
                        let lease = pool.lease(&want(class, &bases[n % 3], &format!("r/t{t}/{n}")))?;
                        assert_eq!(read(&lease, "dir/b.txt"), "b\n");
                        assert_eq!(lease.path.join("c/d.txt").exists(), n % 3 == 2);
                        pool.release(lease).map(drop)
                    };
                    (0..ACQUISITIONS / 16).filter_map(|n| acquire(n).err()).map(|e| e.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(failures, Vec::<String>::new());
    assert!(pool.list().len() <= 16 * 3);
    assert_eq!(f.git(&["fsck", "--strict"]), "");
}

#[test]
fn a_slot_whose_folder_somebody_deleted_is_forgotten_and_another_one_made() {
    let (f, repo, pool) = start();
    let base = f.head();
    let slots = || pool.list().iter().map(|slot| slot.slot.0).collect::<Vec<_>>();
    let worktrees = || f.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count();
    let taken = |class, holder: &str| {
        let lease = pool.lease(&want(class, &base, holder)).unwrap();
        fs::remove_dir_all(&lease.path).unwrap();
        lease
    };
    // Given back.
    assert_eq!(pool.release(taken(Class::Work, "r/a/1")).unwrap(), Released::default());
    assert_eq!((slots(), worktrees()), (vec![], 1));
    // Gone on in by its holder, in the same process or by the next owner.
    taken(Class::Work, "r/b/1");
    assert_eq!(pool.adopt("r/b/1").unwrap(), None);
    taken(Class::Work, "r/b/1");
    assert_eq!(pool.recover(&["r/b/1".to_owned()]).unwrap(), []);
    assert_eq!((slots(), worktrees()), (vec![], 1));
    // Free, or shared.
    let free = pool.lease(&want(Class::Work, &base, "r/c/1")).unwrap();
    let path = free.path.clone();
    pool.release(free).unwrap();
    fs::remove_dir_all(path).unwrap();
    let shared = taken(Class::Snapshot, "r/d/1");
    for class in [Class::Work, Class::Snapshot] {
        let lease = pool.lease(&want(class, &base, "r/e/1")).unwrap();
        assert_eq!(read(&lease, "dir/b.txt"), "b\n");
        pool.release(lease).unwrap();
    }
    pool.release(shared).unwrap();
    drop(repo);
}
