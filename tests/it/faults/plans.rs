//! What is run in the matrix: two small plans that go every way there is.

use crate::env::{TestEnv, TestRepo};

/// One of the plans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Its name in what is printed.
    pub(crate) name: &'static str,
    text: &'static str,
    /// Steps that land.
    pub(crate) lands: usize,
    /// Checks that every value of the target has to have passed.
    pub(crate) checks: &'static [&'static str],
}

/// Commands, rewrites, a group, a chain, a check that sends a change back, two checks at once, a failed first attempt, a
/// slot that is left dirty.
pub(crate) const QUEUE: Plan = Plan {
    name: "queue",
    text: r#"
version: 1
task: Try everything at once
limits: { jobs: 3, checks: 2 }
checks:
  - name: whole
    run: |
      test ! -e log/retry || grep -qx good log/retry || exit 1
      if grep -q 'new(' src/a.rs; then grep -q 'new(' src/b.rs; else ! grep -q 'new(' src/b.rs; fi
  - { name: shared, run: 'test -z "$(sort shared.txt | uniq -d)"' }
groups: { api: { land: together } }
steps:
  - { id: rw-a, group: api, touches: [src/a.rs], rewrite: { pattern: old($A), fix: new($A), lang: rust } }
  - { id: rw-b, group: api, touches: [src/b.rs], rewrite: { pattern: old($A), fix: new($A), lang: rust } }
  - { id: shared-1, touches: ["shared*"], run: echo one >> shared.txt }
  - { id: shared-2, needs: [shared-1], touches: [shared.txt], run: echo two >> shared.txt, check: { run: test -s shared.txt } }
  - id: retry
    touches: [log/retry]
    run: if [ $WATTLE_ATTEMPT = 1 ]; then echo bad > log/retry; else echo good > log/retry; fi
  - id: again
    touches: [log/again]
    run: echo $WATTLE_ATTEMPT > log/left; [ $WATTLE_ATTEMPT != 1 ] && rm log/left && echo again > log/again
  - { id: play, mode: scratch, run: echo scratch > played; rm log/0 }
  - { id: last, needs: [shared-2, rw-b], touches: [log/last], run: cat shared.txt src/a.rs > log/last }
"#,
    lands: 7,
    checks: &["whole", "shared"],
};

/// Landings that gather until a final check has passed, made as single commits, with a file that the landing makes anew.
pub(crate) const FINAL: Plan = Plan {
    name: "final",
    text: r#"
version: 1
task: All at the end
limits: { jobs: 2, checks: 2 }
commit: { style: squash }
checks:
  - { name: suite, run: 'test "$(cat log/sum)" = "$(cat log/x log/y 2>/dev/null)"', at: final }
generated: [{ path: log/sum, run: "cat log/x log/y > log/sum 2>/dev/null; true" }]
discard: [log/sum]
steps:
  - { id: look, mode: read, run: cat log/0 }
  - { id: x, needs: [look], touches: [log/x], run: echo x > log/x }
  - { id: y, touches: [log/y], run: echo y > log/y; echo mine > log/sum }
  - { id: z, needs: [y], touches: [src/c.rs], rewrite: { pattern: legacy($A), fix: modern($A), lang: rust } }
"#,
    lands: 3,
    checks: &["suite"],
};

/// More files in one landing than are synced one by one.
pub(crate) const MANY: Plan = Plan {
    name: "many",
    text: r#"
version: 1
task: Many files at once
checks: []
steps:
  - { id: many, touches: ["many/**", shared.txt], run: 'mkdir many; for n in $(seq 400); do echo $n > many/$n; done; echo many > shared.txt' }
"#,
    lands: 1,
    checks: &[],
};

const FILES: [(&str, &str); 6] = [
    ("src/a.rs", "fn a() { old(1); }\n"),
    ("src/b.rs", "fn b() { old(2); }\n"),
    ("src/c.rs", "fn c() { legacy(3); }\n"),
    ("shared.txt", ""),
    ("log/0", "0\n"),
    ("log/sum", ""),
];

impl Plan {
    /// A repository with the plan beside it.
    pub(crate) fn world<'e>(&self, env: &'e TestEnv) -> TestRepo<'e> {
        self.world_at(env, "repo", "plan.yml")
    }

    /// The same at a place of the caller's.
    pub(crate) fn world_at<'e>(&self, env: &'e TestEnv, repo: &str, plan: &str) -> TestRepo<'e> {
        std::fs::write(env.root().join(plan), self.text).expect("the folder is ours");
        env.repo(repo, &FILES)
    }
}

/// How each of them is run.
pub(crate) const RUN: [&str; 6] = ["run", "-f", "../plan.yml", "--approve", "auto", "--json"];
