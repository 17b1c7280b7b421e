//! Naming runs and steps, verbs with nothing to work on, and what the commands print to a user in a hurry.

use insta::assert_snapshot;

use super::{ONE, run, scrub};
use crate::env::TestEnv;

const THREE: &str = "\
version: 1
task: change three
checks: [{ name: ok, run: 'true' }]
steps:
  - { id: pkg-a, touches: [a], run: echo 2 > a }
  - { id: pkg-b, touches: [b], run: echo 2 > b }
  - { id: look, mode: read, needs: [pkg-a, pkg-b], run: cat a b }
";

#[test]
fn without_a_run_every_verb_says_how_to_begin_one() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let verbs: [&[&str]; 13] = [
        &["status"],
        &["log"],
        &["review"],
        &["approve", "x"],
        &["comment", "x", "-m", "y"],
        &["redo", "x"],
        &["reject", "x"],
        &["retry", "x"],
        &["stop"],
        &["resume"],
        &["merge"],
        &["cost"],
        &["path", "x"],
    ];
    for verb in verbs {
        let said = repo.wattle(verb).code(5);
        let expected = "error: failed to find a run: this repository has none\n  hint: wattle run -f PLAN\n";
        assert_eq!((said.err.as_str(), said.out.as_str()), (expected, ""), "{verb:?}");
        let mut json = verb.to_vec();
        json.push("--json");
        assert_eq!(repo.wattle(&json).code(5).json()["error"]["code"], "no_run", "{verb:?}");
    }
    assert_snapshot!(repo.wattle(&["runs"]).shown(), @"
    exit 0
    --- stderr
    no run yet: wattle run -f PLAN
    ");
    assert_snapshot!(repo.wattle(&["clean"]).shown(), @"
    exit 0
    --- stderr
    nothing to free
    ");
}

#[test]
fn a_run_is_named_by_id_prefix_or_name_and_an_ambiguous_one_is_refused() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    drop(run(&env, &repo, ONE, &["--name", "first"]).code(4));
    drop(run(&env, &repo, ONE, &["--name", "second"]).code(4));
    let runs = repo.wattle(&["runs", "--json"]).ok().json();
    let id = |n: usize| runs["runs"][n]["run"].as_str().unwrap().to_owned();
    let (newest, oldest) = (id(0), id(1));
    let named =
        |name: &str| repo.wattle(&["status", "--json", "-r", name]).ok().json()["run"].as_str().unwrap().to_owned();
    assert_eq!(named("first"), oldest);
    assert_eq!(named(&newest), newest);
    let common = newest.bytes().zip(oldest.bytes()).take_while(|(a, b)| a == b).count();
    assert_eq!(named(&oldest[..=common]), oldest, "one more than what they share is enough");
    assert_snapshot!(scrub(&repo.wattle(&["status", "-r", "r0"]).code(2).err), @"
    error: more than one run begins with `r0`: RUN (second), RUN (first)
      hint: type more of the id, or the name
    ");
    assert_snapshot!(repo.wattle(&["status", "-r", "nope"]).shown(), @"
    exit 5
    --- stderr
    error: failed to find the run `nope`
      hint: wattle runs
    ");
    // A verb that changes something asks which is meant.
    assert_snapshot!(repo.wattle(&["approve", "one"]).shown(), @"
    exit 2
    --- stderr
    error: more than one run is live: RUN (second), RUN (first)
      hint: say which with --run
    ");
    drop(repo.wattle(&["approve", "one", "-r", "first"]).ok());
}

#[test]
fn steps_and_globs_that_match_nothing_are_refused_with_what_there_is() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    drop(run(&env, &repo, THREE, &[]).code(4));
    assert_snapshot!(repo.wattle(&["approve", "pkg-c"]).shown(), @"
    exit 2
    --- stderr
    error: no step is called `pkg-c`
      hint: steps: pkg-a, pkg-b, look
    ");
    assert_snapshot!(repo.wattle(&["approve", "crate-*"]).shown(), @"
    exit 2
    --- stderr
    error: no step matches `crate-*`
      hint: steps: pkg-a, pkg-b, look
    ");
    assert_snapshot!(repo.wattle(&["approve", "[pkg"]).shown(), @"
    exit 2
    --- stderr
    error: `[pkg` is no step and no glob: read the glob `[pkg`: it has an unbalanced `[`
    ");
    assert_snapshot!(repo.wattle(&["approve"]).shown(), @"
    exit 2
    --- stderr
    error: no step is named
      hint: `wattle review` lists what waits; --all approves all of it
    ");
    assert_snapshot!(repo.wattle(&["approve", "look"]).shown(), @"
    exit 2
    --- stderr
    error: look is done and cannot be approved
      hint: wattle review lists what waits for review
    ");
    assert_snapshot!(repo.wattle(&["log", "nope"]).shown(), @"
    exit 2
    --- stderr
    error: no step is called `nope`
      hint: steps: pkg-a, pkg-b, look
    ");
    assert_snapshot!(repo.wattle(&["review", "look"]).shown(), @"
    exit 4
    --- stderr
    error: failed to review look: it is done and has no commit
      hint: wattle log look
    ");
    assert_snapshot!(repo.wattle(&["answer", "look", "--allow"]).shown(), @"
    exit 2
    --- stderr
    error: look is done and cannot be answered: it has no open question
      hint: wattle status
    ");
    assert_snapshot!(repo.wattle(&["stop"]).shown(), @"
    exit 2
    --- stderr
    error: nothing runs
      hint: wattle resume goes on, wattle status shows what is left
    ");
    assert_snapshot!(repo.wattle(&["path", "look"]).shown(), @"
    exit 5
    --- stderr
    error: failed to find work of look: it has left none
      hint: wattle status shows what each step has left
    ");
    assert_snapshot!(repo.wattle(&["approve", "pkg-*", "--except", "pkg-b"]).shown(), @"
    exit 0
    --- stdout
    pkg-a: Tess Ter approves COMMIT
    --- stderr
    nothing runs: wattle resume, or wattle merge to land what is approved
    ");
}

#[test]
fn a_run_is_told_in_few_lines() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    assert_snapshot!(run(&env, &repo, THREE, &["--jobs", "1"]).shown(), @"
    exit 4
    --- stdout
    review change three: 0 of 3 steps landed on main, cost: nothing
    waits: wattle review STEP: pkg-a, pkg-b
    --- stderr
    run RUN (change three) on main at COMMIT
    pkg-a: running
    pkg-a: review: waits for your approval
    pkg-b: running
    pkg-b: review: waits for your approval
    look: running
    look: done
    ");
    assert_snapshot!(repo.wattle(&["status"]).shown(), @"
    exit 0
    --- stdout
    change three (RUN)
    review, nobody drives it
    target main at COMMIT, isolation none
    3 steps: 2 review, 1 done
      pkg-a                        review       LOW    waits for your approval
      pkg-b                        review       LOW    waits for your approval
      look                         done                
    cost: nothing
    waits: wattle review STEP: pkg-a, pkg-b
    ");
    assert_snapshot!(repo.wattle(&["review"]).shown(), @"
    exit 0
    --- stdout
    LOW    pkg-a                        COMMIT 1 file (waits for your approval)
    LOW    pkg-b                        COMMIT 1 file (waits for your approval)
    --- stderr
    wattle review STEP shows one; wattle approve STEP lets it land
    ");
    assert_snapshot!(repo.wattle(&["review", "pkg-a"]).shown(), @"
    exit 0
    --- stdout
    LOW    pkg-a                        COMMIT 1 file (waits for your approval)

    [execute] sh -c echo 2 > a → 0 (MS)

    diff --git a/a b/a
    index d00491f..0cfbf08 100644
    --- a/a
    +++ b/a
    @@ -1 +1 @@
    -1
    +2
    ");
    assert_snapshot!(repo.wattle(&["comment", "pkg-a", "-m", "why?", "--at", "a:1"]).shown(), @"
    exit 0
    --- stdout
    pkg-a: Tess Ter notes: why?
    --- stderr
    nothing runs: wattle resume
    ");
    assert_snapshot!(repo.wattle(&["approve", "--all"]).shown(), @"
    exit 0
    --- stdout
    pkg-a: Tess Ter approves COMMIT
    pkg-b: Tess Ter approves COMMIT
    --- stderr
    pkg-a@COMMIT
    pkg-b@COMMIT
    nothing runs: wattle resume, or wattle merge to land what is approved
    ");
    assert_snapshot!(repo.wattle(&["merge"]).shown(), @"
    exit 0
    --- stdout
    completed change three: 2 of 3 steps landed on main, cost: nothing
    --- stderr
    pkg-a: queued
    pkg-b: queued
    pkg-a: landing
    pkg-b: landing
    check ok for the queue: green
    pkg-a: landed as COMMIT
    pkg-b: landed as COMMIT
    ");
    assert_snapshot!(repo.wattle(&["resume"]).shown(), @"
    exit 0
    --- stderr
    nothing is left to do
    ");
    assert_snapshot!(repo.wattle(&["runs"]).shown(), @"
    exit 0
    --- stdout
    completed     RUN  TIME  change three
    ");
    assert_snapshot!(repo.wattle(&["log"]).shown(), @"
    exit 0
    --- stdout
         1 TIME run RUN (change three) on main at COMMIT
         6 TIME pkg-a: running
        13 TIME pkg-a: review: waits for your approval
        15 TIME pkg-b: running
        22 TIME pkg-b: review: waits for your approval
        25 TIME look: running
        30 TIME look: done
        32 TIME run review: 3 steps, $0.00
        34 TIME pkg-a: Tess Ter notes: why?
        36 TIME pkg-a: Tess Ter approves COMMIT
        38 TIME pkg-b: Tess Ter approves COMMIT
        44 TIME pkg-a: queued
        45 TIME pkg-b: queued
        48 TIME pkg-a: landing
        49 TIME pkg-b: landing
        52 TIME check ok for the queue: green
        54 TIME pkg-a: landed as COMMIT
        56 TIME pkg-b: landed as COMMIT
        61 TIME run completed: 3 steps, $0.00
    ");
    assert_snapshot!(repo.wattle(&["log", "pkg-a"]).shown(), @"
    exit 0
    --- stdout
    pkg-a: landed

    attempt 1: succeeded since TIME

    [execute] sh -c echo 2 > a → 0 (MS)

    check ok for the queue: green

    [check] sh -c true → 0 (MS)
    ");
    assert_snapshot!(repo.wattle(&["cost"]).shown(), @"
    exit 0
    --- stdout
                                     requests        input   cache read  cache write     output        usd
    total                                   0            0            0            0          0      $0.00
    ");
    assert_snapshot!(repo.wattle(&["clean"]).shown(), @"
    exit 0
    --- stdout
    freed branch wattle/RUN/pkg-a: its work is in main
    freed branch wattle/RUN/pkg-b: its work is in main
    freed candidate refs/wattle/candidate/RUN/: 1 landing over
    freed slot $ROOT/state/repos/ID/slots/1: nobody works in it, N bytes
    freed slot $ROOT/state/repos/ID/slots/2: nobody works in it, N bytes
    freed slot $ROOT/state/repos/ID/slots/3: nobody works in it, N bytes
    freed blobs N bytes: outputs of runs with nothing left to do
    --- stderr
    freed 7 things, kept 0
    ignored files are build output: they go with their slot and are not put aside
    ");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}
