//! The safety promises: what may be removed, when, and how it comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use serde_json::Value;

use crate::env::{TestEnv, TestRepo};

mod random;

const PLAN: &str = r#"
version: 1
task: Change the files
checks: []
steps:
  - { id: a, touches: ["a/**"], run: "echo new >a/f; echo try $WATTLE_ATTEMPT >a/g" }
  - { id: b, touches: ["b/**"], run: "echo new >b/f" }
"#;

fn reviewed(env: &TestEnv) -> TestRepo<'_> {
    let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n"), ("c/f", "old\n")]);
    std::fs::write(env.root().join("plan.yaml"), PLAN).unwrap();
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    repo
}

/// The branch of a step of the newest run.
fn branch(repo: &TestRepo<'_>, step: &str) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let run = status["run"].as_str().unwrap();
    format!("wattle/{run}/{step}")
}

/// Kind, name and reason of what was freed and kept.
fn rows(cleaned: &Value, which: &str) -> Vec<(String, String, String)> {
    let word = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let items = cleaned[which].as_array().unwrap().iter();
    items.map(|item| (word(item, "kind"), word(item, "name"), word(item, "why"))).collect()
}

/// Cleans, after a test that a dry run says the same of everything but what is put aside meanwhile.
fn cleaned(repo: &TestRepo<'_>) -> Value {
    let refs = || repo.git(&["for-each-ref"]);
    let before = refs();
    let would = repo.wattle(&["clean", "--dry-run", "--json"]).ok().json();
    assert_eq!(refs(), before, "a dry run changes nothing");
    let did = repo.wattle(&["clean", "--json"]).ok().json();
    assert_eq!(rows(&would, "freed"), rows(&did, "freed"), "a dry run says what will be freed");
    let aside = |value: &Value| rows(value, "kept").into_iter().filter(|row| row.0 != "salvage").collect::<Vec<_>>();
    assert_eq!(aside(&would), aside(&did), "and what will be kept");
    did
}

fn why(cleaned: &Value, which: &str, name: &str) -> Option<String> {
    rows(cleaned, which).into_iter().find(|(_, found, _)| found.ends_with(name)).map(|(_, _, why)| why)
}

#[test]
fn a_branch_goes_only_when_what_it_holds_is_in_the_target() {
    let landed: [(&str, &[&str]); 7] = [
        ("merged", &["merge --quiet --no-ff -m m BRANCH"]),
        ("fast-forward", &["merge --quiet --ff-only BRANCH"]),
        ("squashed", &["merge --quiet --squash BRANCH", "commit --quiet -m squashed"]),
        ("picked", &["cherry-pick BRANCH"]),
        ("rebased", &["commit --quiet --allow-empty -m x", "cherry-pick --no-commit BRANCH", "commit --quiet -m r"]),
        ("changed since", &["cherry-pick BRANCH", "mv a/f a/h", "commit --quiet -am moved"]),
        ("undone since", &["merge --quiet --squash BRANCH", "commit --quiet -m s", "revert --no-edit HEAD"]),
    ];
    let open: [(&str, &[&str]); 3] = [
        ("nothing", &["commit --quiet --allow-empty -m x"]),
        ("half", &["checkout --quiet BRANCH -- a/f", "commit --quiet -m half"]),
        ("other", &["rm --quiet -r a", "commit --quiet -m other"]),
    ];
    let cases = landed.iter().map(|case| (case, true)).chain(open.iter().map(|case| (case, false)));
    for ((way, commands), gone) in cases {
        let env = TestEnv::new();
        let repo = reviewed(&env);
        let name = branch(&repo, "a");
        for command in *commands {
            let command = command.replace("BRANCH", &name);
            repo.git(&command.split(' ').collect::<Vec<_>>());
        }
        let tree = repo.git(&["rev-parse", &format!("{name}^{{tree}}")]);
        let cleaned = cleaned(&repo);
        let found = if gone { why(&cleaned, "freed", "/a") } else { why(&cleaned, "kept", "/a") };
        let found = found.unwrap_or_else(|| panic!("{way}: {cleaned:#}"));
        let expected = if gone { "its work is in main" } else { "its step is review; not landed: 1 commit" };
        assert!(found.starts_with(expected), "{way}: {found}");
        assert_eq!(why(&cleaned, "kept", "/b").unwrap(), "its step is review; not landed: 1 commit", "{way}");
        // Whatever the target does not hold itself comes back, byte for byte.
        if found.contains("put aside") {
            let back = repo.wattle(&["restore", "a"]).ok().out;
            assert_eq!(repo.git(&["rev-parse", &format!("{}^{{tree}}", back.trim())]), tree, "{way}");
        }
    }
}

#[test]
fn steps_that_their_user_squashed_together_or_rebased_have_landed() {
    let ways: [(&str, &[&str]); 4] = [
        ("squashed together", &["cherry-pick --no-commit A B", "commit --quiet -m both"]),
        (
            "squashed together and changed since",
            &[
                "cherry-pick --no-commit A B",
                "commit --quiet -m both",
                "mv a/f a/h",
                "mv b/f b/h",
                "commit --quiet -am moved",
            ],
        ),
        (
            "merged and squashed",
            &["merge --quiet --squash A", "commit --quiet -m a", "merge --quiet --squash B", "commit --quiet -m b"],
        ),
        (
            "rebased in one line",
            &[
                "checkout --quiet --detach A",
                "commit --quiet --allow-empty -m x",
                "cherry-pick B",
                "checkout --quiet main",
                "merge --quiet --squash @{-1}",
                "commit --quiet -m both",
            ],
        ),
    ];
    for (way, commands) in ways {
        let env = TestEnv::new();
        let repo = reviewed(&env);
        let (a, b) = (branch(&repo, "a"), branch(&repo, "b"));
        repo.commit("before", &[("c/f", "theirs\n")]);
        for command in commands {
            let words = command.split(' ').map(|word| match word {
                "A" => a.as_str(),
                "B" => b.as_str(),
                word => word,
            });
            repo.git(&words.collect::<Vec<_>>());
        }
        let cleaned = cleaned(&repo);
        for step in ["/a", "/b"] {
            let found = why(&cleaned, "freed", step).unwrap_or_else(|| panic!("{way} {step}: {cleaned:#}"));
            assert!(found.starts_with("its work is in main"), "{way} {step}: {found}");
        }
    }
}

#[test]
fn what_somebody_uses_or_has_added_to_stays() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let (a, b) = (branch(&repo, "a"), branch(&repo, "b"));
    drop(repo.wattle(&["approve", "a"]).ok());
    drop(repo.wattle(&["merge"]).code(4));
    drop(repo.wattle(&["reject", "b"]).ok());
    let mine = env.root().join("mine");
    repo.git(&["worktree", "add", "--quiet", mine.to_str().unwrap(), &a]);
    let first = cleaned(&repo);
    assert_eq!(why(&first, "kept", "/a").unwrap(), "it is checked out at $ROOT/mine");
    std::fs::write(mine.join("a/later"), "later\n").unwrap();
    env.git(&mine, &["add", "--all"]);
    env.git(&mine, &["commit", "--quiet", "-m", "later"]);
    repo.git(&["worktree", "remove", "--force", mine.to_str().unwrap()]);
    let later = repo.git(&["rev-parse", &a]);
    let second = cleaned(&repo);
    let words = "its step is landed, and somebody has committed on its branch since; not landed: 1 commit";
    assert_eq!(why(&second, "kept", "/a").unwrap(), words);
    assert_eq!(repo.git(&["rev-parse", &a]), later);
    // The same for a rejected one: what came after the rejection was never rejected.
    let back = repo.wattle(&["restore", "b"]).ok().out;
    repo.git(&["branch", &b, back.trim()]);
    repo.git(&["checkout", "--quiet", &b]);
    repo.commit("mine", &[("b/mine", "mine\n")]);
    repo.git(&["checkout", "--quiet", "main"]);
    let third = cleaned(&repo);
    assert!(why(&third, "kept", "/b").unwrap().contains("rejected, and somebody has committed"), "{third:#}");
}

/// The list of what is put aside, with times.
fn ledger(env: &TestEnv) -> PathBuf {
    env.state().join("put-aside.json")
}

/// As if so many days had passed since everything was listed.
fn later(env: &TestEnv, days: i64) {
    let mut list: Value = serde_json::from_slice(&std::fs::read(ledger(env)).unwrap()).unwrap();
    for time in list["since"].as_object_mut().unwrap().values_mut() {
        *time = (time.as_i64().unwrap() - days * 24 * 3600 * 1000).into();
    }
    std::fs::write(ledger(env), list.to_string()).unwrap();
}

#[test]
fn what_was_rejected_comes_back_until_its_days_are_over() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let commit = repo.git(&["rev-parse", &branch(&repo, "a")]);
    drop(repo.wattle(&["reject", "a"]).ok());
    let first = repo.wattle(&["clean"]).ok();
    assert!(first.out.contains("wattle restore brings it back, for 30 days more"), "{}", first.out);
    assert!(first.err.contains("what is put aside is kept for 30 days, 500 at most"), "{}", first.err);
    later(&env, 29);
    let kept = cleaned(&repo);
    assert!(rows(&kept, "kept").iter().any(|(kind, _, why)| kind == "salvage" && why.contains("for 1 days more")));
    let back = repo.wattle(&["restore", "a"]).ok().out;
    assert_eq!(repo.git(&["rev-parse", back.trim()]), commit);
    later(&env, 1);
    let gone = cleaned(&repo);
    assert!(
        rows(&gone, "freed").iter().any(|(kind, _, why)| kind == "salvage" && why == "listed 30 days ago, kept for 30"),
        "{gone:#}"
    );
    assert_eq!(repo.git(&["for-each-ref", "refs/wattle/salvage"]), "");
    assert_eq!(repo.git(&["rev-parse", back.trim()]), commit, "what was restored is its user's");
    assert_eq!(repo.wattle(&["restore", "a", "--json"]).code(5).json()["error"]["code"], "no_work");
}

#[test]
fn more_than_the_count_goes_only_once_it_was_listed_and_a_lost_list_keeps() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
    std::fs::write(env.root().join("config/wattle/config.yaml"), "keep: { count: 1 }\n").unwrap();
    drop(repo.wattle(&["reject", "a", "b"]).ok());
    let salvaged = || repo.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/salvage"]).lines().count();
    cleaned(&repo);
    assert_eq!(salvaged(), 2, "nothing goes that no clean has listed before");
    std::fs::remove_file(ledger(&env)).unwrap();
    cleaned(&repo);
    assert_eq!(salvaged(), 2, "a lost list begins anew");
    cleaned(&repo);
    assert_eq!(salvaged(), 1);
}

#[test]
fn what_an_open_step_may_need_is_kept_whatever_its_age() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let path = repo.wattle(&["path", "a"]).ok().out;
    let slot = env.root().join(path.trim().strip_prefix("$ROOT/").unwrap());
    std::fs::write(slot.join("a/draft"), "draft\n").unwrap();
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    // The worktree is of an older commit now: asking for it anew puts the draft aside.
    drop(repo.wattle(&["path", "a"]).ok());
    cleaned(&repo);
    later(&env, 400);
    let kept = cleaned(&repo);
    assert!(
        rows(&kept, "kept").iter().any(|(kind, _, why)| kind == "salvage" && why.starts_with("its step is review")),
        "{kept:#}"
    );
    let back = repo.wattle(&["restore", "a"]).ok().out;
    assert_eq!(repo.git(&["show", &format!("{}:a/draft", back.trim())]), "draft");
}

#[test]
fn of_several_one_is_chosen_and_no_branch_is_moved() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let name = branch(&repo, "a");
    let first = repo.git(&["rev-parse", &name]);
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    drop(repo.wattle(&["reject", "a"]).ok());
    let list = repo.wattle(&["restore", "a", "--list", "--json"]).ok().json();
    let kept = list["kept"].as_array().unwrap();
    assert_eq!(kept.iter().map(|row| row["files"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(kept[1]["commit"], first.as_str(), "the newest is the first");
    let chosen = repo.wattle(&["restore", "a", &first[..12], "--branch", "mine/a"]).ok();
    assert_eq!((chosen.out.as_str(), repo.git(&["rev-parse", "mine/a"])), ("mine/a\n", first.clone()));
    let taken = repo.wattle(&["restore", "a", "--branch", "mine/a"]).code(2);
    assert!(taken.err.contains("there is a branch mine/a already"), "{}", taken.err);
    assert_eq!(repo.git(&["rev-parse", "mine/a"]), first);
    let newest = repo.wattle(&["restore", "a"]).ok();
    assert!(newest.err.contains("1 other kept: wattle restore a --list"), "{}", newest.err);
    let restored = newest.out.trim().to_owned();
    repo.git(&["checkout", "--quiet", &restored]);
    let worked = repo.commit("on it", &[("a/on", "it\n")]);
    repo.git(&["checkout", "--quiet", "main"]);
    let again = repo.wattle(&["restore", "a"]).ok().out;
    assert_eq!(again.trim(), format!("{restored}-2"));
    assert_eq!(repo.git(&["rev-parse", &restored]), worked);
    // After clean, and with the journal gone, the refs alone are enough.
    drop(repo.wattle(&["clean"]).ok());
    let db = ledger(&env).with_file_name("journal.db");
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(db.with_file_name(format!("journal.db{suffix}"))).ok();
    }
    let all = repo.wattle(&["restore", "--list", "--json"]).ok().json();
    let lost = all["kept"].as_array().unwrap().iter().find(|row| row["commit"] == first.as_str()).unwrap();
    let back = repo.wattle(&["restore", lost["ref"].as_str().unwrap(), "--branch", "from/ref"]).ok().out;
    assert_eq!(repo.git(&["rev-parse", back.trim()]), first);
}

#[test]
fn what_no_run_explains_is_named_and_kept() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let state = ledger(&env).parent().unwrap().to_owned();
    repo.git(&["branch", "wattle/r0000/x", "main"]);
    repo.git(&["update-ref", "refs/wattle/attempt/r0000/x/1", "main"]);
    repo.git(&["update-ref", "refs/wattle/salvage/r0000/x/1/1", "main"]);
    std::fs::create_dir_all(state.join("slots/77")).unwrap();
    std::fs::write(state.join("slots/77/work"), "work\n").unwrap();
    std::fs::create_dir_all(state.join("tmp/wattle-dead")).unwrap();
    let first = cleaned(&repo);
    for name in ["refs/heads/wattle/r0000/x", "refs/wattle/attempt/r0000/x/1", "slots/77"] {
        assert!(why(&first, "kept", name).is_some(), "{name}: {first:#}");
    }
    assert!(why(&first, "freed", "tmp/wattle-dead").is_some() && !state.join("tmp/wattle-dead").exists());
    later(&env, 400);
    let second = cleaned(&repo);
    let salvage = why(&second, "kept", "refs/wattle/salvage/r0000/x/1/1").unwrap();
    assert!(salvage.starts_with("no run here knows whose it is"), "{salvage}");
    assert_eq!(std::fs::read_to_string(state.join("slots/77/work")).unwrap(), "work\n");
}

#[test]
fn how_long_is_kept_is_configured_within_bounds_and_a_project_only_raises_it() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    let user = env.root().join("config/wattle");
    std::fs::create_dir_all(&user).unwrap();
    let keep = |text: &str| {
        std::fs::write(user.join("config.yaml"), text).unwrap();
        repo.wattle(&["clean", "--dry-run", "--json"])
    };
    assert_eq!(keep("keep: { days: 3 }\n").ok().json()["keep"], serde_json::json!({ "days": 3, "count": 500 }));
    for bad in ["keep: { days: 0 }\n", "keep: { count: 100001 }\n", "keep: { weeks: 1 }\n", "keep: 3\n"] {
        assert_eq!(keep(bad).code(3).json()["error"]["code"], "config", "{bad}");
    }
    repo.write(".wattle/config.yaml", "keep: { days: 2, count: 600 }\n");
    assert_eq!(keep("keep: { days: 3 }\n").ok().json()["keep"], serde_json::json!({ "days": 3, "count": 600 }));
}

/// Refs that hold the work of steps: of which kind, and of which step.
fn refs(repo: &TestRepo<'_>) -> String {
    let roots = ["refs/heads/wattle", "refs/wattle/attempt", "refs/wattle/salvage"];
    let all = repo.git(&[&["for-each-ref", "--format=%(refname)"], &roots[..]].concat());
    let kind = |name: &str| {
        let parts: Vec<&str> = name.split('/').collect();
        format!("{} {}", parts[2], parts[4])
    };
    all.lines().map(kind).collect::<Vec<_>>().join(", ")
}

const NEXT: &str =
    "version: 1\ntask: Next\nchecks: []\nsteps: [{ id: n, touches: [\"c/**\"], run: \"date +%N >c/f\" }]\n";

fn next(env: &TestEnv, repo: &TestRepo<'_>) -> String {
    std::fs::write(env.root().join("next.yaml"), NEXT).unwrap();
    repo.wattle(&["run", "-f", "../next.yaml", "--approve", "auto"]).ok().err
}

#[test]
fn a_completed_run_frees_what_is_kept_no_longer_and_says_so() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    // `a` lands at its second attempt, `b` is rejected: the run is completed.
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    let rejected = repo.git(&["rev-parse", &branch(&repo, "b")]);
    drop(repo.wattle(&["reject", "b"]).ok());
    drop(repo.wattle(&["approve", "a"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    let first = next(&env, &repo);
    assert!(!first.contains("freed"), "{first}");
    let all = "wattle a, wattle b, wattle n, attempt a, attempt a, attempt b, attempt n";
    assert_eq!(refs(&repo), all, "thirty days are not over");
    // As if there were room for two only: the newest run has them.
    std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
    std::fs::write(env.root().join("config/wattle/config.yaml"), "keep: { count: 2 }\n").unwrap();
    let second = next(&env, &repo);
    let words = "freed the refs of 2 steps and 0 salvaged commits of completed runs: kept for 30 days, 2 at most";
    assert!(second.contains(words), "{second}");
    assert_eq!(refs(&repo), "wattle n, wattle n, attempt n, attempt n, salvage a, salvage b");
    let back = repo.wattle(&["restore", "--list", "--json"]).ok().json();
    let kept = back["kept"].as_array().unwrap();
    assert!(kept.iter().any(|row| row["commit"] == rejected.as_str()), "what was rejected is put aside first: {back}");
    // It has its days from then on; after them it goes, too.
    let third = next(&env, &repo);
    assert!(third.contains("freed the refs of 1 step and 0 salvaged commits"), "{third}");
    later(&env, 30);
    let fourth = next(&env, &repo);
    assert!(fourth.contains("freed the refs of 1 step and 2 salvaged commits"), "{fourth}");
    assert_eq!(refs(&repo), "wattle n, wattle n, attempt n, attempt n");
    repo.git(&["fsck", "--strict"]);
}

#[test]
fn what_waits_or_has_failed_is_never_freed_unasked() {
    let env = TestEnv::new();
    let repo = reviewed(&env);
    std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
    std::fs::write(env.root().join("config/wattle/config.yaml"), "keep: { count: 1, days: 1 }\n").unwrap();
    let failing = NEXT.replace("date +%N >c/f", "echo x >c/f; exit 1").replace("id: n", "id: f, retries: 0");
    std::fs::write(env.root().join("failing.yaml"), failing).unwrap();
    drop(repo.wattle(&["run", "-f", "../failing.yaml", "--approve", "auto"]).code(1));
    let before = refs(&repo);
    assert!(before.starts_with("wattle a, wattle b"), "{before}");
    for _ in 0..2 {
        drop(next(&env, &repo));
        if ledger(&env).exists() {
            later(&env, 400);
        }
    }
    let after = refs(&repo);
    for kept in before.split(", ") {
        assert!(after.contains(kept), "{kept} is gone: {before} -> {after}");
    }
}
