//! A kernel that refuses: asked of a real one, in a namespace in which nobody may make another.

use super::{names, run, told, world};
use crate::env::{Output, TestEnv, TestRepo, program};
use crate::faults::say;

/// Runs the program where namespaces are used up; none where this user cannot even make such a place, so that the kernel
/// refuses without our help.
pub(super) fn wattle(env: &TestEnv, repo: &TestRepo<'_>, args: &[&str]) -> Output {
    let line =
        "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_mnt_namespaces && exec \"$@\"";
    let program = program();
    let mut all = vec!["-U", "-r", "sh", "-c", line, "sh", program.to_str().expect("a plain name")];
    all.extend(args);
    if env.program("unshare", &repo.path, &["-U", "-r", "true"]).code == 0 {
        return env.program("unshare", &repo.path, &all);
    }
    say("no user namespaces here: the kernel refuses by itself");
    repo.wattle(args)
}

const PLAN: &str = "version: 1\ntask: t\nchecks: [{ name: c, run: test -e a.txt }]\nsteps:\n  - { id: s, touches: [out], run: 'echo x > out' }\n";

#[test]
fn a_refusal_is_told_with_its_reason_and_checkouts_serve() {
    let (env, _) = world();
    let repo = env.repo("repo", &[("a.txt", "a\n")]);
    std::fs::write(env.root().join("plan.yaml"), PLAN).expect("the folder is ours");
    let said = wattle(&env, &repo, &["run", "-f", "../plan.yaml", "--approve", "auto"]).ok();
    let words =
        ["slots: overlay mounts were asked for and are refused, so slots are checkouts: make a ", "namespace: "];
    assert!(words.iter().all(|word| said.err.contains(word)), "{}", said.err);
    assert_eq!(repo.read("out"), "x\n");
    assert!(names(&env.state().join("slots/1")).contains(&".git".to_owned()));
    let doctor = wattle(&env, &repo, &["doctor"]).whole();
    assert!(doctor.contains("checkouts, since overlay mounts are refused: "), "{doctor}");
}

#[test]
fn slots_that_were_mounts_are_put_together_where_mounts_are_refused() {
    let (env, can) = world();
    let repo = env.repo("repo", &[("a.txt", "a\n"), ("dir/b.txt", "b\n"), (".gitignore", "*.o\n")]);
    let log = env.root().join("seen").display().to_string();
    let plan = format!(
        "version: 1\ntask: t\nchecks: []\nsteps:\n  - {{ id: s, touches: [out], run: 'ls *.o >> {log}; rm dir/b.txt; touch w.o; date +%N > out; git checkout -q dir' }}\n"
    );
    run(&env, &repo, &plan, can);
    let events = wattle(&env, &repo, &["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).ok().events();
    told(&events, false);
    assert_eq!(events.last().map(|last| last["counts"]["landed"].clone()), Some(1.into()));
    // The old slot is for whoever can mount it; nothing of it is touched until somebody wants it gone.
    _ = wattle(&env, &repo, &["clean"]).ok();
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    for folder in ["layers", "templates"] {
        assert_eq!(names(&env.state().join(folder)), [] as [&str; 0]);
    }
}
