//! Opening: what is found, what is refused, which id a repository has.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::fixture::Fixture;

#[test]
fn a_repository_is_found_from_any_folder_of_any_worktree() {
    let f = Fixture::with(&[("dir/a", "1\n")]);
    let second = f.root().join("second");
    f.git(&["worktree", "add", "-q", second.to_str().unwrap()]);
    let repo = Repo::open(&f.main().join("dir"), &f.options()).unwrap();
    assert_eq!((repo.worktree(), repo.common_dir()), (Some(f.main().as_path()), f.main().join(".git").as_path()));
    let other = Repo::open(&second, &f.options()).unwrap();
    assert_eq!((other.worktree(), other.common_dir()), (Some(second.as_path()), repo.common_dir()));
    assert_eq!(other.id(), repo.id());
    let inside = Repo::open(&f.main().join(".git"), &f.options()).unwrap();
    assert_eq!(inside.worktree(), Some(f.main().as_path()));
    let mode = repo.state_dir().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(f.git(&["status", "--porcelain", "--ignored"]), "");
    assert_eq!(repo.identity(), Signature { name: "Ada".into(), email: "ada@example.org".into() });
    fs::remove_file(f.root().join("home/.gitconfig")).unwrap();
    assert_eq!(f.open().identity(), Signature { name: "Wattle".into(), email: "wattle@localhost".into() });
}

#[test]
fn what_cannot_be_opened_says_why() {
    let f = Fixture::with(&[("a", "1\n")]);
    let nowhere = Repo::open(&f.root().join("home"), &f.options()).unwrap_err();
    assert!(matches!(nowhere, OpenError::NotARepository { .. }), "{nowhere}");
    let absent = Repo::open(&f.root().join("absent"), &f.options()).unwrap_err();
    assert!(matches!(absent, OpenError::NotARepository { .. }), "{absent}");
    let missing = Repo::open(&f.main(), &OpenOptions { path: "/nowhere".into(), ..f.options() }).unwrap_err();
    assert!(matches!(missing, OpenError::GitMissing), "{missing}");
    let blocked = f.root().join("home/.gitconfig/state");
    let state = Repo::open(&f.main(), &OpenOptions { state_dir: blocked.clone(), ..f.options() }).unwrap_err();
    assert!(matches!(&state, OpenError::StateDir { path, .. } if path.starts_with(&blocked)), "{state}");
    let id = Repo::open(&f.main(), &OpenOptions { repo_id: Some("../x".into()), ..f.options() }).unwrap_err();
    assert!(matches!(id, OpenError::Id { .. }), "{id}");
    let old = f.root().join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("git"), "#!/bin/sh\necho git version 2.30.2\n").unwrap();
    fs::set_permissions(old.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let old = Repo::open(&f.main(), &OpenOptions { path: old.into(), ..f.options() }).unwrap_err();
    assert_eq!(old.to_string(), "use git 2.30.2: 2.38 or newer is needed");
}

#[test]
fn a_moved_repository_keeps_its_id_and_a_copied_one_does_not() {
    let f = Fixture::with(&[("a", "1\n")]);
    let id = f.open().id().clone();
    assert_eq!(f.open().id(), &id);
    fs::rename(f.main(), f.root().join("moved")).unwrap();
    let open = |name: &str| Repo::open(&f.root().join(name), &f.options()).unwrap().id().clone();
    assert_eq!(open("moved"), id);
    let moved = Repo::open(&f.root().join("moved"), &f.options()).unwrap();
    let head = moved.resolve("HEAD").unwrap().unwrap();
    assert!(moved.has_commit(&head).unwrap());
    copy(&f.root().join("moved"), &f.root().join("copied"));
    assert_ne!(open("copied"), id);
    assert_eq!(open("moved"), id);
    let given = OpenOptions { repo_id: Some("mine".into()), ..f.options() };
    assert_eq!(Repo::open(&f.root().join("moved"), &given).unwrap().id().as_str(), "mine");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            _ = fs::copy(entry.path(), target).unwrap()
        }
    }
}

#[test]
fn first_openings_at_once_agree_on_the_id() {
    let f = Fixture::with(&[("a", "1\n")]);
    let ids: std::collections::BTreeSet<RepoId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| f.open().id().clone())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1);
}

#[test]
fn the_repositorys_own_configuration_does_not_reach_what_decides_content() {
    let f = Fixture::with(&[("a", "1\n")]);
    let base = f.head();
    let repo = f.open();
    let witness = f.root().join("witness");
    repo.configure(&base).unwrap();
    // As a worker could do during a run.
    f.git(&["config", "filter.evil.clean", &format!("touch {}; cat", witness.display())]);
    f.git(&["config", "core.fsmonitor", &format!("touch {}", witness.display())]);
    fs::write(f.main().join(".git/info/attributes"), "* filter=evil\n").unwrap();
    f.write("a", "2\n");
    repo.capture(&f.main(), &base, &crate::CaptureOptions::default()).unwrap();
    assert!(!witness.exists());
}

#[test]
fn a_personal_ignore_file_counts() {
    let f = Fixture::with(&[("a", "1\n")]);
    fs::create_dir_all(f.root().join("home/.config/git")).unwrap();
    fs::write(f.root().join("home/.config/git/ignore"), "*.swp\n").unwrap();
    f.write("a.swp", "x");
    let repo = f.open();
    let captured = repo.capture(&f.main(), &f.head(), &crate::CaptureOptions::default()).unwrap();
    assert_eq!(captured.changes, []);
}
