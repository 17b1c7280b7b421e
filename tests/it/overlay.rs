//! Slots that are overlay mounts: whole plans on them, what somebody outside the mounts sees, and what is left when the
//! process that had them mounted dies.
//!
//! Where the kernel refuses such mounts, each test says so and what it tests instead is the refusal: the same plan has to
//! reach the same end on checkouts, with the reason told.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod killed;
mod refused;

use std::path::Path;

use serde_json::Value;

use crate::env::{TestEnv, TestRepo};
use crate::faults::say;

/// A world whose slots are overlay mounts, if the kernel lets this user make any.
fn world() -> (TestEnv, bool) {
    let mut env = TestEnv::new();
    let probed = env.wattle(env.root(), &["probe-slots", env.root().to_str().unwrap()]);
    let can = probed.code == 0;
    if !can {
        say(&format!("no overlay mounts here ({}): their refusal is tested", probed.out.trim()));
    }
    env.set("WATTLE_SLOTS", "overlay");
    (env, can)
}

/// Runs a plan to its end; says whether mounts were used, and if not, makes sure that the reason was told.
fn run(env: &TestEnv, repo: &TestRepo<'_>, plan: &str, can: bool) -> Vec<Value> {
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let events = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).ok().events();
    told(&events, can);
    events
}

/// A refusal is told once, with its reason; without one nothing is.
#[track_caller]
fn told(events: &[Value], can: bool) {
    let told: Vec<_> = events.iter().filter(|e| e["type"] == "bound_hit" && e["bound"] == "slots").collect();
    assert_eq!(told.len(), usize::from(!can), "{told:?}");
    let reason = |event: &&Value| event["message"].as_str().unwrap().contains("refused, so slots are checkouts: ");
    assert!(told.iter().all(reason), "{told:?}");
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The lines of a file outside the repository, that commands of a plan write.
fn lines(env: &TestEnv, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(env.root().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_whole_plan_runs_on_mounts_that_its_commands_cannot_change() {
    let (env, can) = world();
    let files = [("a.txt", "a\n"), ("dir/b.txt", "b\n"), ("key", "1\n"), (".gitignore", "*.o\n.env\n")];
    let repo = env.repo("repo", &files);
    repo.write(".worktreeinclude", ".env\n");
    repo.write(".env", "SECRET=1\n");
    let log = env.root().join("seen").display().to_string();
    let plan = format!(
        r#"
version: 1
task: Everything that a slot is for
limits: {{ jobs: 2 }}
setup: {{ run: 'echo setup >> {log}.setup; touch built.o', key: [key] }}
checks: [{{ name: whole, run: 'test -e built.o && test -e .env && grep -q . dir/b.txt' }}]
steps:
  - {{ id: look, mode: read, run: 'cat dir/b.txt; test -e built.o' }}
  - id: edit
    touches: [a.txt, "new/**"]
    run: |
      test -z "$(git status --porcelain --ignored=no)" && test "$(git rev-parse --show-toplevel)" = "$PWD" || exit 1
      echo changed > a.txt; mkdir new; echo new > new/c.txt; echo kept > worker.o
      mount | grep -c "on $PWD type overlay" > {log}.mounted
      mount -t tmpfs none "$PWD" 2> /dev/null && echo could mount >> {log}.bad
      umount "$PWD" 2> /dev/null && echo could unmount >> {log}.bad
      for below in ../../templates/*/files/a.txt; do echo x 2> /dev/null > "$below" && echo could write >> {log}.bad; done
      test "$(stat -c %u a.txt dir/b.txt . | sort -u)" = "$(id -u)" || echo not mine >> {log}.bad
      git commit -q -a -m mine && git stash list
  - {{ id: remove, needs: [edit], touches: ["dir/**", new], run: 'test -e worker.o; git rm -q dir/b.txt; mkdir dir; echo again > dir/b.txt' }}
  - {{ id: play, mode: scratch, run: 'rm -r *; ls' }}
"#
    );
    let events = run(&env, &repo, &plan, can);
    let counts = &events.last().unwrap()["counts"];
    assert_eq!((&counts["landed"], &counts["done"]), (&2.into(), &2.into()), "{counts}");
    assert_eq!((repo.read("dir/b.txt"), repo.read("new/c.txt")), ("again\n".into(), "new\n".into()));
    assert_eq!(lines(&env, "seen.mounted"), [if can { "1" } else { "0" }]);
    let allowed = if can { vec![] } else { lines(&env, "seen.bad") };
    assert_eq!(lines(&env, "seen.bad"), allowed);
    // The class of a slot is for life, so one each for reading, working and checking, and one more to work in at a time.
    let (slots, setups) = (names(&env.state().join("slots")), lines(&env, "seen.setup").len());
    let made = slots.iter().filter(|name| name.parse::<u32>().is_ok()).count();
    assert!((3..=4).contains(&made) && setups == made, "{slots:?}, {setups} setups");
    if can {
        assert_eq!(names(&env.state().join("templates")), ["1"], "all of them lie over one");
        assert_eq!(repo.git(&["status", "--porcelain"]), "?? .worktreeinclude");
        // Nothing that a user does to the repository meanwhile makes git forget the worktrees that it cannot see.
        repo.git(&["worktree", "prune", "--expire=now"]);
        repo.git(&["gc", "--quiet", "--prune=now"]);
    }
    // The slots serve the next run, whatever that wants new ones to be.
    let next = plan.replace("echo changed", "echo changed again").replace("mkdir new; ", "");
    std::fs::write(env.root().join("plan.yaml"), next).unwrap();
    let args = ["run", "-f", "../plan.yaml", "--approve", "auto", "--json"];
    let again = env.wattle_with(&repo.path, &[("WATTLE_SLOTS", "checkout")], &args).ok().events();
    told(&again, true);
    assert_eq!(repo.read("a.txt"), "changed again\n");
    assert_eq!(names(&env.state().join("slots")), slots, "no other slots");
    assert_eq!(lines(&env, "seen.setup").len(), setups, "build output stays");
    _ = repo.wattle(&["clean"]).ok();
    let left = ["layers", "templates"].map(|folder| names(&env.state().join(folder)));
    assert_eq!(left, [vec![], vec![]] as [Vec<String>; 2]);
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_disk_bound_counts_what_slots_share_once() {
    let (env, can) = world();
    let repo = env.repo("repo", &[("big.txt", &"x".repeat(2_000_000))]);
    let step = |n: usize| {
        let wait = format!(
            "touch {0}/here.{n}; until test -e {0}/here.1 && test -e {0}/here.2; do :; done",
            env.root().display()
        );
        format!("  - {{ id: s{n}, touches: [out/s{n}], run: '{wait}; mkdir -p out; echo x > out/s{n}' }}\n")
    };
    let steps = [step(1), step(2)].concat();
    // Two checkouts of 2 MB do not fit: the steps, which wait for each other, would never end.
    let disk = if can { "3MB" } else { "5MB" };
    let plan = format!(
        "version: 1\ntask: t\nchecks: []\nlimits: {{ jobs: 2, disk: {disk} }}\ndefaults: {{ timeout: 60s }}\nsteps:\n{steps}"
    );
    let events = run(&env, &repo, &plan, can);
    assert_eq!(events.last().unwrap()["counts"]["landed"], 2);
    let preview = repo.wattle(&["run", "-f", "../plan.yaml", "--dry-run"]).ok();
    assert!(preview.err.contains("mounted over one checkout of 2.0 MB"), "{}", preview.err);
    let refused = plan.replace(disk, "1MB");
    std::fs::write(env.root().join("plan.yaml"), refused).unwrap();
    _ = repo.wattle(&["clean"]).ok();
    let refused = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).code(1);
    assert!(refused.err.contains("limits.disk"), "{}", refused.err);
}

#[test]
fn a_far_commit_gets_a_template_of_its_own_and_a_near_one_does_not() {
    let (env, can) = world();
    let text = |n: usize, round: &str| (format!("d{}/f{n}.txt", n % 20), format!("{round} {n}\n"));
    let files: Vec<_> = (0..900).map(|n| text(n, "first")).collect();
    let borrowed: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let repo = env.repo("repo", &borrowed);
    let templates = || names(&env.state().join("templates"));
    let plan = |n: u32| {
        let look = "test -z \"$(git status --porcelain)\"";
        format!(
            "version: 1\ntask: t\nchecks: []\nsteps:\n  - {{ id: s, touches: [out], run: '{look} && echo {n} > out' }}\n"
        )
    };
    run(&env, &repo, &plan(1), can);
    _ = repo.wattle(&["clean"]).ok();
    run(&env, &repo, &plan(2), can);
    let change = |count: usize, round: &str| {
        let files: Vec<_> = (0..count).map(|n| text(n, round)).collect();
        let borrowed: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        repo.commit(round, &borrowed);
        // A second slot, since the first is of a parked run's: a snapshot of the new commit.
        let read = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: look, mode: read, run: 'git status --porcelain; cat d0/f0.txt' }\n";
        let events = run(&env, &repo, read, can);
        assert_eq!(events.last().unwrap()["counts"]["done"], 1);
        let said = repo.wattle(&["log", "look"]).ok().out;
        assert!(said.contains(&format!("{round} 0")) && !said.contains(" M "), "{said}");
    };
    change(200, "near");
    let near = templates();
    change(800, "far");
    if can {
        assert_eq!(near.len(), 1, "{near:?}");
        // The snapshot that was free is recycled; a work slot beside it would be laid over the old template.
        assert!(templates().len() <= 2, "{:?}", templates());
    }
}
