//! Where the program is started: no repository, half a repository, and places that are odd but good.

use insta::assert_snapshot;

use super::{ONE, Theirs, run, scrub, their_refs};
use crate::env::TestEnv;

#[test]
fn outside_a_repository_every_verb_says_so() {
    let env = TestEnv::new();
    for verb in [&["run", "-f", "-"][..], &["status"], &["runs"], &["review"], &["clean"], &["plan", "x"], &["resume"]]
    {
        let said = env.wattle_fed(env.root(), verb, ONE).code(5);
        let expected = "error: failed to find a git repository at $ROOT or above it\n  hint: go into a git repository, or give -C PATH\n";
        assert_eq!((said.err.as_str(), said.out.as_str()), (expected, ""), "{verb:?}");
    }
    assert_snapshot!(env.wattle(env.root(), &["-C", "gone", "status"]).shown(), @"
    exit 5
    --- stderr
    error: failed to open $ROOT/gone: there is no such directory
      hint: give -C PATH
    ");
}

#[test]
fn an_empty_repository_has_nothing_to_start_from() {
    let env = TestEnv::new();
    let path = env.root().join("r");
    std::fs::create_dir(&path).unwrap();
    env.git(&path, &["init", "--quiet"]);
    assert_snapshot!(env.wattle_fed(&path, &["run", "-f", "-"], ONE).shown(), @"
    exit 5
    --- stderr
    error: failed to find a base commit: the repository has no commit yet
      hint: make a first commit
    ");
    assert_eq!(env.git(&path, &["for-each-ref"]), "");
    let doctor = env.wattle(&path, &["doctor"]).code(5);
    assert!(doctor.out.contains("no commit yet\n                      make a first commit"), "{}", doctor.out);
}

#[test]
fn a_detached_head_needs_a_target_and_stays_where_it_is() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    repo.git(&["checkout", "--quiet", "--detach"]);
    let before = (Theirs::of(&repo), repo.git(&["for-each-ref"]));
    assert_snapshot!(run(&env, &repo, ONE, &[]).shown(), @"
    exit 3
    --- stderr
    error: failed to choose a target branch: HEAD is detached
      hint: --target BRANCH
    ");
    assert_eq!((Theirs::of(&repo), repo.git(&["for-each-ref"])), before);
    drop(run(&env, &repo, ONE, &["--target", "main", "--approve", "auto"]).ok());
    assert_eq!(Theirs::of(&repo), before.0, "main moved, the detached checkout did not");
    assert_eq!(repo.git(&["show", "main:a"]), "2");
}

#[test]
fn a_bare_repository_lands_without_any_checkout() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let bare = env.root().join("bare.git");
    env.git(env.root(), &["clone", "--quiet", "--bare", repo.path.to_str().unwrap(), "bare.git"]);
    drop(env.wattle_fed(&bare, &["run", "-f", "-", "--approve", "auto"], ONE).ok());
    assert_eq!(env.git(&bare, &["show", "main:a"]), "2");
    drop(env.wattle(&bare, &["clean"]).ok());
    assert_eq!(env.git(&bare, &["worktree", "list"]).lines().count(), 1);
    assert_eq!(env.git(&bare, &["config", "core.bare"]), "true");
}

#[test]
fn a_missing_target_is_made_from_the_base() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let theirs = Theirs::of(&repo);
    drop(run(&env, &repo, ONE, &["--target", "fresh", "--approve", "auto"]).ok());
    assert_eq!(repo.git(&["show", "fresh:a"]), "2");
    assert_eq!(Theirs::of(&repo), theirs);
}

#[test]
fn a_branch_named_wattle_is_reported_with_its_mend_and_nothing_is_made() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    repo.git(&["branch", "wattle"]);
    let before = (Theirs::of(&repo), repo.git(&["for-each-ref"]));
    assert_snapshot!(run(&env, &repo, ONE, &["--target", "fresh"]).shown(), @"
    exit 5
    --- stderr
    error: failed to make branches below wattle/: refs/heads/wattle is in the way
      hint: git branch -m wattle some-other-name
    ");
    assert_eq!((Theirs::of(&repo), repo.git(&["for-each-ref"])), before);
    assert!(repo.wattle(&["doctor"]).code(5).out.contains("git branch -m wattle some-other-name"));
    repo.git(&["branch", "-m", "wattle", "some-other-name"]);
    drop(run(&env, &repo, ONE, &["--approve", "auto"]).ok());
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_everything_first() {
    let mut env = TestEnv::new();
    // A folder cannot be made below a file, whoever asks, root too.
    std::fs::write(env.root().join("file"), "").unwrap();
    let inside = env.root().join("file/state");
    env.set("WATTLE_STATE_DIR", inside.to_str().unwrap());
    let repo = env.repo("r", &[("a", "1\n")]);
    let before = (Theirs::of(&repo), repo.git(&["for-each-ref"]));
    assert_snapshot!(run(&env, &repo, ONE, &[]).shown(), @"
    exit 5
    --- stderr
    error: failed to write the state directory $ROOT/file/state/repos/ID: Not a directory (os error 20)
      hint: make it writable, or give --state-dir PATH (or set WATTLE_STATE_DIR)
    ");
    assert_eq!((Theirs::of(&repo), repo.git(&["for-each-ref"])), before);
}

#[test]
fn a_read_only_state_directory_stops_a_normal_user() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return; // Root writes anywhere; the test above covers it.
    }
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let state = env.root().join("state");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o500)).unwrap();
    let said = run(&env, &repo, ONE, &[]).code(5);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(said.err.contains("make it writable, or give --state-dir PATH"), "{}", said.err);
}

#[test]
fn a_linked_worktree_and_a_subdirectory_are_the_same_repository() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("deep/er/x", "1\n")]);
    repo.git(&["worktree", "add", "--quiet", "../linked", "-b", "side"]);
    let linked = env.root().join("linked");
    let theirs = Theirs::of(&repo);
    let done = env.wattle_fed(&linked, &["run", "-f", "-", "--approve", "auto"], ONE).ok();
    assert!(done.out.contains("landed on side"), "{}", done.out);
    assert_eq!(std::fs::read_to_string(linked.join("a")).unwrap(), "2\n", "the checkout of the target moved with it");
    assert_eq!(env.git(&linked, &["status", "--porcelain"]), "");
    assert_eq!(Theirs::of(&repo), theirs);

    let deep = repo.path.join("deep/er");
    drop(env.wattle_fed(&deep, &["run", "-f", "-", "--approve", "auto"], ONE).ok());
    assert_eq!(repo.read("a"), "2\n");
    let (here, there) = (env.wattle(&deep, &["runs"]).ok(), env.wattle(&linked, &["runs"]).ok());
    assert_eq!(here.out, there.out);
    assert_eq!(here.out.lines().count(), 2, "{}", scrub(&here.out));
}

#[test]
fn spaces_and_other_scripts_in_the_path_are_fine() {
    let env = TestEnv::new();
    let repo = env.repo("mein Ordner/日本 'quoted' \"$HOME\"", &[("a", "1\n"), ("ä b/ö.txt", "1\n")]);
    let plan = "version: 1\ntask: grüße\nchecks: [{ name: there, run: \"test -f 'ä b/ö.txt'\" }]\nsteps:\n  - { id: one, touches: [\"ä b/**\"], run: \"echo 2 > 'ä b/ö.txt'\" }\n";
    drop(run(&env, &repo, plan, &["--approve", "auto"]).ok());
    assert_eq!(repo.read("ä b/ö.txt"), "2\n");
    let review = repo.wattle(&["review", "one"]).ok();
    assert!(review.out.contains("ä b/ö.txt"), "{}", review.out);
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(their_refs(&repo).lines().count(), 1);
}
