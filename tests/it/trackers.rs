//! What other tools' users reported of worktrees, and must not happen here: each test has the number of its report
//! (`spec/runtime.md` 1.7).

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use serde_json::Value;

use crate::agent::{file, run};
use crate::env::{TestEnv, TestRepo};

/// A plan of steps that are written as YAML flow maps.
fn plan(steps: &[String]) -> String {
    let list: String = steps.iter().map(|step| format!("  - {{ {step} }}\n")).collect();
    format!("version: 1\ntask: t\nchecks: []\ndefaults: {{ retries: 0 }}\nsteps:\n{list}")
}

fn runs(env: &TestEnv, repo: &TestRepo<'_>, steps: &[String], more: &[&str], code: i32) -> Vec<Value> {
    let path = file(env, "plan.yaml", &plan(steps));
    repo.wattle(&[&["run", "-f", &path, "--approve", "auto", "--json"], more].concat()).code(code).events()
}

fn step<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

/// anthropics/claude-code#47266, #34645 and berenddeboer/ready-for-agent#614: with a branch to track, worktrees that are
/// added at once fail on the lock of the configuration, and leave branches behind.
#[test]
fn claude_code_47266_34645_ready_for_agent_614_many_worktrees_at_once() {
    let env = TestEnv::new();
    let origin = env.repo("origin", &[("a.txt", "a\n")]);
    env.git(env.root(), &["clone", "--quiet", "origin", "r"]);
    let folder = env.root().join("r");
    env.git(&folder, &["config", "branch.autoSetupMerge", "always"]);
    let config = std::fs::read_to_string(folder.join(".git/config")).unwrap();
    let steps: Vec<String> = (0..16).map(|n| format!("id: s{n}, touches: [f{n}], run: echo x > f{n}")).collect();
    let path = file(&env, "plan.yaml", &plan(&steps));
    drop(env.wattle(&folder, &["run", "-f", &path, "--approve", "auto", "--jobs", "16", "--base", "origin/main"]).ok());
    assert_eq!(std::fs::read_to_string(folder.join(".git/config")).unwrap(), config, "no upstream, no stray section");
    assert!(!folder.join(".git/config.lock").exists());
    let branches = env.git(&folder, &["for-each-ref", "--format=%(refname)", "refs/heads/"]);
    let ours = branches.lines().filter(|name| name.contains("wattle/")).count();
    assert!(ours <= 16 && env.git(&folder, &["ls-tree", "--name-only", "main"]).lines().count() == 17, "{branches}");
    drop(origin);
}

/// anthropics/claude-code#55724: the commit fails, and the clean-up deletes what was not committed.
#[test]
fn claude_code_55724_what_could_not_be_committed_is_kept() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let nested = "echo precious > work.txt && git init -q sub && echo x > sub/x".to_owned();
    runs(&env, &repo, &[format!("id: s, touches: [\"**\"], run: \"{nested}\"")], &[], 1);
    assert_eq!(step(&repo.wattle(&["status", "--json"]).json(), "s")["why"], "uncommittable");
    drop(repo.wattle(&["clean"]).ok());
    // More work in as many slots as there are: none of it takes the place of what is kept.
    runs(&env, &repo, &["id: t, touches: [t], run: echo t > t".to_owned()], &[], 0);
    let kept = walk(&env.state()).into_iter().filter(|path| path.ends_with("work.txt")).collect::<Vec<_>>();
    let aside = repo.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/salvage/", "refs/wattle/attempt/"]);
    let in_refs = aside.lines().any(|name| repo.git(&["ls-tree", "-r", "--name-only", name]).contains("work.txt"));
    assert!(in_refs || kept.iter().any(|path| std::fs::read_to_string(path).unwrap() == "precious\n"), "{aside}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// anthropics/claude-code#48927: the clean-up of a worktree destroys the repository's `.git`.
#[test]
fn claude_code_48927_a_slot_that_points_at_the_real_git_folder_takes_nothing_with_it() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n"), ("b.txt", "b\n")]);
    let real = env.root().join("r/.git");
    let before = std::fs::read(real.join("config")).unwrap();
    let link = format!("rm -f .git && ln -s {} .git && echo x > b.txt", real.display());
    let path = file(&env, "plan.yaml", &plan(&[format!("id: s, touches: [b.txt], run: \"{link}\"")]));
    let ended = repo.wattle(&["run", "-f", &path, "--approve", "auto"]);
    assert!([0, 1].contains(&ended.code), "{}", ended.err);
    drop(repo.wattle(&["clean"]).ok());
    runs(&env, &repo, &["id: t, touches: [t], run: echo t > t".to_owned()], &[], 0);
    assert_eq!(std::fs::read(real.join("config")).unwrap(), before);
    repo.git(&["fsck", "--strict", "--no-dangling"]);
    assert_eq!((repo.git(&["status", "--porcelain"]), repo.read("a.txt")), (String::new(), "a\n".to_owned()));
}

/// anthropics/claude-code#41010: what is removed by the beginning of an id takes its neighbours with it.
#[test]
fn claude_code_41010_ids_that_begin_alike_are_told_apart() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let ids = ["a", "a-b", "ab", "a1", "a11"];
    let steps: Vec<String> =
        ids.iter().map(|id| format!("id: {id}, touches: [{id}.f], run: echo x > {id}.f")).collect();
    let path = file(&env, "plan.yaml", &plan(&steps));
    drop(repo.wattle(&["run", "-f", &path, "--jobs", "5"]).code(4));
    drop(repo.wattle(&["reject", "a", "a1"]).ok());
    drop(repo.wattle(&["clean"]).ok());
    let status = repo.wattle(&["status", "--json"]).ok().json();
    for id in ["a-b", "ab", "a11"] {
        assert_eq!(step(&status, id)["state"], "review", "{id}");
        let branch = step(&status, id)["branch"].as_str().unwrap().to_owned();
        assert_eq!(repo.git(&["show", &format!("{branch}:{id}.f")]), "x");
    }
}

/// anthropics/claude-code#52958 and #81333: a command's directory drifts to the main checkout, and the next one resets it.
#[test]
fn claude_code_52958_81333_a_command_starts_in_its_worktree_wherever_the_last_one_went() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    repo.write("a.txt", "the user's\n");
    let checkout = env.root().join("r");
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ turn: 0 }}
    blocks: [{{ tool: Bash, input: {{ command: "cd {} && pwd" }} }}]
  - match: {{ turn: 1 }}
    blocks: [{{ tool: Bash, input: {{ command: "git rev-parse --show-toplevel > where.txt && pwd >> where.txt && git reset -q --hard" }} }}]
  - match: {{ turn: 2 }}
    blocks: [{{ tool: Bash, input: {{ command: "git rev-parse --show-toplevel > where.txt && pwd >> where.txt" }} }}]
  - match: {{ turn: 3 }}
    blocks: [{{ text: Done. }}]
"##,
        checkout.display()
    );
    let model = format!("script:{}", file(&env, "script.yaml", &script));
    let text = plan(&["id: s, touches: [where.txt], agent: { prompt: Look around. }".to_owned()]);
    drop(run(&env, &repo, &text, &model, &["--approve", "auto"]).ok());
    let where_it_was = repo.git(&["show", "main:where.txt"]);
    let state = env.state();
    assert!(
        where_it_was.lines().count() == 2 && where_it_was.lines().all(|at| at.starts_with(state.to_str().unwrap()))
    );
    assert_eq!(repo.read("a.txt"), "the user's\n", "no reset has met the checkout");
}

/// anthropics/claude-code#70456 and #80156: started from a worktree, nobody is kept apart any more.
#[test]
fn claude_code_70456_80156_a_run_from_a_worktree_is_kept_apart_from_it() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    repo.git(&["worktree", "add", "--quiet", "-b", "side", "../linked"]);
    let linked = env.root().join("linked");
    std::fs::write(linked.join("mine.txt"), "mine\n").unwrap();
    let steps: Vec<String> = ["p", "q"].map(|id| format!("id: {id}, touches: [{id}.txt], run: pwd > {id}.txt")).into();
    let path = file(&env, "plan.yaml", &plan(&steps));
    drop(env.wattle(&linked, &["run", "-f", &path, "--approve", "auto", "--jobs", "2"]).ok());
    let at = ["p", "q"].map(|id| std::fs::read_to_string(linked.join(format!("{id}.txt"))).unwrap());
    assert!(at.iter().all(|at| at.starts_with(env.state().to_str().unwrap())), "{at:?}");
    assert_eq!(env.git(&linked, &["status", "--porcelain"]), "?? mine.txt");
    assert_eq!(repo.git(&["status", "--porcelain"]), "", "main's checkout is somebody else's");
}

/// anthropics/claude-code#45108: `git add -A` commits deletions that nobody meant.
#[test]
fn claude_code_45108_a_stray_deletion_does_not_land() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n"), ("keep.txt", "keep\n")]);
    runs(&env, &repo, &["id: s, touches: [a.txt], run: \"rm keep.txt; echo b > a.txt\"".to_owned()], &[], 4);
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert_eq!(
        (&step(&status, "s")["state"], &step(&status, "s")["why"]),
        (&"review".into(), &"outside_touches".into())
    );
    assert_eq!(repo.git(&["show", "main:keep.txt"]), "keep");
}

/// anthropics/claude-code#95644: trees that hold nothing are never removed.
#[test]
fn claude_code_95644_trees_are_used_again_and_go_when_they_are_asked_to() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    for turn in 0..3 {
        let steps: Vec<String> =
            (0..4).map(|n| format!("id: s{n}, touches: [f{n}], run: echo {turn} > f{n}")).collect();
        runs(&env, &repo, &steps, &["--jobs", "2"], 0);
    }
    let listed = repo.git(&["worktree", "list"]);
    // The checkout, a slot for each job, and one for the queue's trees.
    assert!(listed.lines().count() <= 4, "{listed}");
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

/// OpenAgentsInc/openagents#5818: the wait for a lock ends, and the work goes on without it.
#[test]
fn openagents_5818_without_the_lock_nothing_is_done() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let gate = env.root().join("gate");
    let hold = format!("id: hold, touches: [h], run: \"until test -e {}; do sleep 0.02; done\"", gate.display());
    let path = file(&env, "hold.yaml", &plan(&[hold]));
    let mut live = repo.spawn(&["run", "-f", &path, "--approve", "auto", "--json"]);
    live.wait_for(|event| event["type"] == "step_state" && event["state"] == "running");
    let refs = repo.git(&["for-each-ref"]);
    let second = file(&env, "plan.yaml", &plan(&["id: s, touches: [s], run: echo x > s".to_owned()]));
    let refused = repo.wattle(&["run", "-f", &second, "--approve", "auto"]).code(8);
    assert!(refused.err.contains("another wattle is live"), "{}", refused.err);
    assert_eq!(repo.git(&["for-each-ref"]), refs);
    std::fs::write(&gate, "").unwrap();
    drop(live.end().ok());
}
