//! Steps that behave badly, checks that are red by themselves, and a disk that is full.

use insta::assert_snapshot;
use serde_json::Value;

use super::{ONE, Theirs, run, scrub, their_refs};
use crate::env::{Output, TestEnv};

/// A plan of one step without retries.
fn plan(step: &str) -> String {
    format!("version: 1\ntask: bad\nchecks: []\ndefaults: {{ retries: 0 }}\nsteps:\n  - {step}\n")
}

/// The last state of a step, with its reason.
#[track_caller]
fn last(output: &Output, step: &str) -> (String, String) {
    let events = output.events();
    let last = events.iter().rev().find(|e| e["type"] == "step_state" && e["step"] == step).expect("it has a state");
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("why"))
}

/// Is a process whose command line holds this alive?
fn alive(mark: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(mark))
}

#[test]
fn a_command_that_hangs_is_ended_at_its_timeout_with_all_its_children() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let theirs = Theirs::of(&repo);
    let hang = "{ id: one, touches: [a], timeout: 1s, run: \"echo 2 > a; trap '' TERM; sleep 86431 & sleep 86431\" }";
    let done = run(&env, &repo, &plan(hang), &["--json"]).code(1);
    assert_eq!(last(&done, "one"), ("failed".into(), "timeout".into()));
    assert!(!alive("sleep\x0086431"), "a child is left");
    let said = scrub(&repo.wattle(&["status"]).ok().out);
    assert!(
        said.contains("one                          failed              the command ran longer than 1 s"),
        "{said}"
    );
    assert_eq!(Theirs::of(&repo), theirs);
    let restored = repo.wattle(&["restore", "one"]).ok().out;
    assert_eq!(repo.git(&["show", &format!("{}:a", restored.trim())]), "2", "what it had written is kept");
}

#[test]
fn a_command_that_is_silent_too_long_is_ended() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let done = run(&env, &repo, &plan("{ id: one, mode: scratch, idle: 1s, run: sleep 86432 }"), &["--json"]).code(1);
    assert_eq!(last(&done, "one"), ("failed".into(), "idle".into()));
}

#[test]
fn a_gigabyte_of_output_is_bounded_and_the_bound_is_said() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let flood = "{ id: one, mode: scratch, run: \"echo first; head -c 1000000000 /dev/zero; echo last\" }";
    drop(run(&env, &repo, &plan(flood), &["--json"]).ok());
    let log = repo.wattle(&["log", "one"]).ok().out;
    assert!(log.len() < 1_000_000, "{} bytes", log.len());
    assert!(log.contains("first") && log.contains("last") && log.contains("bytes left out"));
    let kept: u64 = super::files(&env.root().join("state"), &[]).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(kept < 10_000_000, "{kept} bytes of state");
}

#[test]
fn a_command_that_kills_itself_has_failed_by_that_signal() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    assert_snapshot!(run(&env, &repo, &plan("{ id: one, touches: [a], run: \"echo 2 > a; kill -9 $$\" }"), &[]).shown(), @"
    exit 1
    --- stdout
    failed bad: 0 of 1 step landed on main, cost: nothing
    failed: one: wattle log one shows why, wattle retry one tries again
    --- stderr
    run RUN (bad) on main at COMMIT
    one: running
    one: failed: signal 9 ended the command
    ");
}

#[test]
fn background_children_do_not_outlive_their_step_even_in_sessions_of_their_own() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let children = "{ id: one, touches: [a], run: \"sleep 86433 & setsid sleep 86433 & setsid setsid sleep 86433 >/dev/null 2>&1 & echo 2 > a\" }";
    drop(run(&env, &repo, &plan(children), &["--approve", "auto"]).ok());
    assert!(!alive("sleep\x0086433"), "a child is left");
    assert_eq!(repo.read("a"), "2\n");
}

#[test]
fn a_nested_repository_in_a_slot_is_kept_and_named() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let nested = "{ id: one, touches: [\"n/**\"], run: \"git init -q n && cd n && echo z > z && git add z && git -c user.name=x -c user.email=y commit -qm z\" }";
    assert_snapshot!(run(&env, &repo, &plan(nested), &[]).shown(), @"
    exit 1
    --- stdout
    failed bad: 0 of 1 step landed on main, cost: nothing
    failed: one: wattle log one shows why, wattle retry one tries again
    --- stderr
    run RUN (bad) on main at COMMIT
    one: running
    slot_retired: $ROOT/state/repos/ID/slots/1 is kept as it is and not used again: salvage slot 1: no commit can hold n (a repository of its own, or a special file)
    one: failed: commit n: a repository of its own or a special file is no content of a commit
    ");
    let kept = |out: &str| {
        let lines: Vec<&str> = out.lines().filter(|line| line.contains("slots/")).collect();
        scrub(&lines.join("\n"))
    };
    assert_snapshot!(kept(&repo.wattle(&["clean", "--dry-run"]).ok().out), @"kept slot $ROOT/state/repos/ID/slots/1: salvage slot 1: no commit can hold n (a repository of its own, or a special file); take out what you want to keep, delete that, and clean again");
    assert_snapshot!(kept(&repo.wattle(&["clean"]).ok().out), @"kept slot $ROOT/state/repos/ID/slots/1: salvage slot 1: no commit can hold n (a repository of its own, or a special file); take out what you want to keep, delete that, and clean again");
    assert!(repo.wattle(&["doctor"]).ok().out.contains("warn  slots"));
    let worktrees = repo.git(&["worktree", "list", "--porcelain"]);
    let slot = worktrees.lines().filter_map(|line| line.strip_prefix("worktree ")).find(|path| path.contains("slots/"));
    let slot = std::path::PathBuf::from(slot.expect("the slot is still there"));
    assert_eq!(env.git(&slot.join("n"), &["log", "--format=%s"]), "z", "nothing of it is lost");
    std::fs::remove_dir_all(slot.join("n")).unwrap();
    assert_snapshot!(kept(&repo.wattle(&["clean"]).ok().out), @"freed slot $ROOT/state/repos/ID/slots/1: nobody works in it, N bytes");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_check_that_is_red_on_the_base_blames_nobody_and_says_why() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("ok", "")]);
    let theirs = (Theirs::of(&repo), their_refs(&repo));
    let gate = env.root().join("tool");
    let red = ONE.replace("[]", &format!("[{{ name: tool, run: \"echo looking; test -e {}\" }}]", gate.display()));
    assert_snapshot!(run(&env, &repo, &red, &["--approve", "auto"]).shown(), @"
    exit 7
    --- stdout
    base_red change a: 0 of 1 step landed on main, cost: nothing
    waits: a check is red on main itself (wattle log one shows how); mend it there, then wattle resume
    --- stderr
    run RUN (change a) on main at COMMIT
    one: running
    one: queued
    one: landing
    check tool for the queue: red
    check tool on the base for the queue: red
    check tool on the base for the queue: red
    base_red: check tool is red on the base itself
    one: queued: a check is red on the base itself
    ");
    assert_eq!((Theirs::of(&repo), their_refs(&repo)), theirs);
    let log = repo.wattle(&["log", "one"]).ok().out;
    assert!(log.contains("check tool on the base for the queue: red") && log.contains("\n  looking\n"), "{log}");
    // What was red is asked again: the mend need not be in the tree.
    drop(repo.wattle(&["resume"]).code(7));
    std::fs::write(gate, "").unwrap();
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(repo.read("a"), "2\n");
}

#[test]
fn a_full_disk_ends_the_run_and_loses_nothing() {
    let env = TestEnv::new();
    let disk = env.root().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(_mounted) = Tmpfs::mount(&env, &disk) else {
        #[expect(clippy::print_stderr, reason = "a test that was skipped has to say so")]
        let () = eprintln!("skipped: this test needs the right to mount a tmpfs");
        return;
    };
    let state = disk.join("state");
    let more = ["--state-dir", state.to_str().unwrap(), "--approve", "auto"];
    let repo = env.repo("r", &[("a", "1\n")]);
    let theirs = (Theirs::of(&repo), their_refs(&repo));
    let fill = "{ id: one, touches: [a], run: \"echo 2 > a; rm -f filler; test -e ../go || head -c 100000000 /dev/zero > filler\" }";
    let done = run(&env, &repo, &plan(fill), &more).code(5);
    assert!(done.err.contains("No space left on device"), "{}", done.err);
    assert!(done.err.contains("then wattle resume"), "{}", done.err);
    assert_eq!((Theirs::of(&repo), their_refs(&repo)), theirs);
    let status = repo.wattle(&["status", "--state-dir", more[1]]).ok();
    assert!(status.out.ends_with("it was cut off: wattle resume\n"), "{}", status.out);
    // With room again it goes on.
    for id in std::fs::read_dir(state.join("repos")).unwrap() {
        let slots = id.unwrap().path().join("slots");
        for slot in std::fs::read_dir(&slots).unwrap() {
            std::fs::remove_file(slot.unwrap().path().join("filler")).ok();
        }
        std::fs::write(slots.join("go"), "").unwrap();
    }
    drop(repo.wattle(&["resume", "--state-dir", more[1]]).ok());
    assert_eq!(repo.read("a"), "2\n");
    repo.git(&["fsck", "--strict", "--no-dangling"]);
}

/// A file system of 24 MB, unmounted with its guard.
struct Tmpfs<'e>(&'e TestEnv, std::path::PathBuf);

impl<'e> Tmpfs<'e> {
    fn mount(env: &'e TestEnv, at: &std::path::Path) -> Option<Self> {
        let mount = format!("mount -t tmpfs -o size=24m tmpfs {}", at.display());
        (env.program("sh", env.root(), &["-c", &mount]).code == 0).then(|| Self(env, at.to_owned()))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let unmount = format!("umount -l {}", self.1.display());
        // A test that has failed must not be hidden by a mount that stays.
        drop(self.0.program("sh", self.0.root(), &["-c", &unmount]));
    }
}

#[test]
fn a_file_size_limit_fails_the_step_and_nothing_else() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let both = "version: 1\ntask: bad\nchecks: []\ndefaults: { retries: 0 }\nsteps:\n  - { id: big, touches: [a], run: \"ulimit -f 1; head -c 100000 /dev/zero > a\" }\n  - { id: small, touches: [b], run: echo 2 > b }\n";
    let done = run(&env, &repo, both, &["--json", "--approve", "auto"]).code(1);
    assert_eq!(last(&done, "big").0, "failed");
    assert_eq!((repo.read("a").as_str(), repo.read("b").as_str()), ("1\n", "2\n"));
}

#[test]
fn a_read_step_that_writes_fails_and_its_bytes_are_kept() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let done = run(&env, &repo, &plan("{ id: one, mode: read, run: echo 2 > a }"), &["--json"]).code(1);
    assert_eq!(last(&done, "one"), ("failed".into(), "wrote_in_read_mode".into()));
    let finished = done.events().pop().unwrap();
    assert_eq!((&finished["type"], &finished["exit"]), (&Value::from("run_finished"), &Value::from(1)));
}

#[test]
fn work_outside_its_touches_goes_to_review_even_under_auto() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let said =
        run(&env, &repo, &plan("{ id: one, touches: [a], run: \"echo 2 > a; echo 2 > b\" }"), &["--approve", "auto"]);
    assert_snapshot!(said.shown(), @"
    exit 4
    --- stdout
    review bad: 0 of 1 step landed on main, cost: nothing
    waits: wattle review one
    --- stderr
    run RUN (bad) on main at COMMIT
    one: running
    one: review: changes outside its touches: b
    ");
    assert_snapshot!(repo.wattle(&["approve", "one"]).shown(), @"
    exit 2
    --- stderr
    error: one changes paths outside its touches: b
      hint: wattle approve one --widen 'b' accepts it
    ");
    drop(repo.wattle(&["approve", "one", "--widen", "b"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("b"), "2\n");
}
