//! Unfriendly repositories and steps: each has a defined outcome and a mend, and loses nothing.

use crate::env::TestEnv;

const PLAN: &str = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: a, touches: [\"f\"], run: \"echo new >f\" }\n";

fn plan(env: &TestEnv, text: &str) {
    std::fs::write(env.root().join("plan.yaml"), text).expect("the folder is ours");
}

/// Runs the plan and gives the code of the error.
#[track_caller]
fn check(repo: &std::path::Path, env: &TestEnv, flags: &[&str], exit: i32, code: &str) {
    let answer = env.wattle(repo, &[&["run", "-f", "../plan.yaml", "--json"], flags].concat()).code(exit).json();
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert!(answer["error"]["hint"].is_string(), "{answer}");
}

#[test]
fn repositories_that_no_run_can_begin_in() {
    let env = TestEnv::new();
    plan(&env, PLAN);
    let empty = env.root().join("empty");
    std::fs::create_dir(&empty).unwrap();
    env.git(&empty, &["init", "--quiet"]);
    check(&empty, &env, &[], 5, "empty");

    let taken = env.repo("taken", &[("f", "old\n")]);
    taken.git(&["branch", "wattle"]);
    check(&taken.path, &env, &[], 5, "branch_in_the_way");
    let doctor = taken.wattle(&["doctor"]).code(5);
    assert!(doctor.out.contains("git branch -m wattle"), "{}", doctor.out);

    let detached = env.repo("detached", &[("f", "old\n")]);
    detached.git(&["checkout", "--quiet", "--detach"]);
    check(&detached.path, &env, &[], 3, "no_target");
    check(&detached.path, &env, &["--base", "nope", "--target", "main"], 2, "usage");
}

#[test]
fn a_bare_repository_and_a_missing_target_just_work() {
    let env = TestEnv::new();
    plan(&env, PLAN);
    let repo = env.repo("r", &[("f", "old\n")]);
    env.git(env.root(), &["clone", "--quiet", "--bare", "r", "bare"]);
    let bare = env.root().join("bare");
    drop(env.wattle(&bare, &["run", "-f", "../plan.yaml", "--approve", "auto"]).ok());
    assert_eq!(env.git(&bare, &["show", "main:f"]), "new");
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--target", "made"]).ok());
    assert_eq!(repo.git(&["show", "made:f"]), "new");
    assert_eq!(repo.read("f"), "old\n", "the checkout is of another branch");
}

#[test]
fn a_dirty_checkout_in_the_way_holds_the_landing() {
    let env = TestEnv::new();
    plan(&env, PLAN);
    let repo = env.repo("r", &[("f", "old\n"), ("g", "old\n")]);
    repo.write("f", "mine\n");
    repo.write("g", "mine\n");
    let tip = repo.git(&["rev-parse", "main"]);
    let events = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).code(4).events();
    let held = events.iter().find(|event| event["type"] == "landing_held").unwrap();
    assert_eq!(held["paths"], serde_json::json!(["f"]));
    assert_eq!((repo.git(&["rev-parse", "main"]), repo.read("f")), (tip, "mine\n".to_owned()));
    repo.git(&["checkout", "--quiet", "f"]);
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("f"), repo.read("g")), ("new\n".to_owned(), "mine\n".to_owned()));
    assert_eq!(repo.git(&["status", "--porcelain"]), " M g", "only what was the user's");
}

#[test]
fn steps_that_misbehave_end_as_failures() {
    let env = TestEnv::new();
    plan(
        &env,
        "version: 1\ntask: t\nchecks: []\ndefaults: { retries: 0 }\nsteps:\n\
         \x20 - { id: hang, touches: [\"a\"], run: \"sleep 1000\", timeout: 300ms }\n\
         \x20 - { id: silent, touches: [\"b\"], run: \"sleep 1000\", idle: 300ms }\n\
         \x20 - { id: suicide, touches: [\"c\"], run: \"kill -9 $$\" }\n\
         \x20 - { id: flood, touches: [\"d\"], run: \"yes | head -c 300000000\" }\n\
         \x20 - { id: child, touches: [\"e\"], run: \"sleep 1000 & echo x >e\" }\n\
         \x20 - { id: nested, touches: [\"n/**\"], run: \"git init -q n && echo x >n/x\" }\n\
         \x20 - { id: outside, touches: [\"o\"], run: \"echo x >elsewhere\" }\n",
    );
    let repo = env.repo("r", &[("f", "old\n")]);
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).code(1));
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let steps = status["steps"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let states: Vec<_> =
        steps.iter().map(|s| format!("{} {} {}", text(&s["id"]), text(&s["state"]), text(&s["why"]))).collect();
    assert_eq!(
        states,
        [
            "hang failed timeout",
            "silent failed idle",
            "suicide failed signal",
            "flood unchanged -",
            "child landed -",
            "nested failed uncommittable",
            "outside review outside_touches",
        ]
    );
    let refused = repo.wattle(&["approve", "outside"]).code(2);
    assert!(refused.err.contains("--widen"), "{}", refused.err);
    drop(repo.wattle(&["approve", "outside", "--widen", "elsewhere"]).ok());
}
