//! Whatever is done in whatever order: no byte that a worker or a user committed on a step's branch, or left in a
//! worktree of ours, is lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::env::{TestEnv, TestRepo};

/// Histories that are tried, and verbs in each. Each verb is a process or more: this is what fits a test run.
const SEEDS: u64 = 5;
const VERBS: usize = 14;

const STEPS: [&str; 4] = ["a", "b", "c", "d"];

const PLAN: &str = r#"
version: 1
task: Random
checks: []
defaults: { retries: 0 }
steps:
  - { id: a, touches: ["a/**"], run: "echo $WATTLE_RUN $WATTLE_ATTEMPT >a/f; echo $WATTLE_ATTEMPT a >a/new" }
  - { id: b, needs: [a], touches: ["b/**"], run: "echo $WATTLE_RUN $WATTLE_ATTEMPT b >b/f" }
  - { id: c, touches: ["c/**"], run: "echo $WATTLE_RUN $WATTLE_ATTEMPT c >c/f; test $WATTLE_ATTEMPT -gt 1" }
  - { id: d, touches: ["d/**"], run: "mkdir d; echo $WATTLE_RUN $WATTLE_ATTEMPT d >d/f" }
"#;

/// A small generator with a seed, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

struct World<'e> {
    env: &'e TestEnv,
    repo: TestRepo<'e>,
    /// Every blob that must be there, with who made it.
    must: BTreeMap<String, String>,
    said: Vec<String>,
    count: usize,
}

impl World<'_> {
    /// Runs a verb; it may be refused, but it does not break.
    fn verb(&mut self, args: &[&str]) -> String {
        let output = self.repo.wattle(args);
        self.said.push(format!("{args:?} → {}", output.code));
        assert!(output.code < 9, "{:#?}\n{}{}", self.said, output.out, output.err);
        output.out
    }

    /// Branches of steps, by name of the step.
    fn branch(&self, step: &str) -> Option<String> {
        let all = self.repo.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/wattle"]);
        all.lines().find(|name| name.ends_with(&format!("/{step}"))).map(str::to_owned)
    }

    /// Everything on branches of steps and attempts must be there from now on.
    fn note(&mut self, who: &str) {
        let args = ["rev-list", "--objects", "--filter=object:type=blob", "--filter-provided-objects"];
        let globs = ["--glob=refs/heads/wattle", "--glob=refs/wattle/attempt", "--no-object-names"];
        for blob in self.repo.git(&[&args[..], &globs].concat()).lines() {
            self.must.entry(blob.to_owned()).or_insert_with(|| who.to_owned());
        }
    }

    fn unique(&mut self) -> String {
        self.count += 1;
        format!("by hand {}\n", self.count)
    }

    fn by_hand(&mut self, step: &str, amend: bool) {
        let Some(branch) = self.branch(step) else { return };
        let folder = self.env.root().join(format!("hand-{}", self.count));
        let path = folder.to_str().unwrap().to_owned();
        self.repo.git(&["worktree", "add", "--quiet", &path, &branch]);
        let text = self.unique();
        std::fs::create_dir_all(folder.join(step)).unwrap();
        std::fs::write(folder.join(step).join("hand"), text).unwrap();
        self.env.git(&folder, &["add", "--all"]);
        self.env.git(&folder, &["commit", "--quiet", "-m", "by hand"]);
        if amend {
            self.env.git(&folder, &["commit", "--quiet", "--amend", "-m", "better said"]);
        }
        self.said.push(format!("commit on {step}"));
        self.note("a commit by hand");
        self.repo.git(&["worktree", "remove", "--force", &path]);
    }

    /// Changes files in the worktree of a step, and perhaps commits some.
    fn in_slot(&mut self, step: &str, commit: bool) {
        let path = self.verb(&["path", step]);
        let Some(path) = path.trim().strip_prefix("$ROOT/") else { return };
        let folder = self.env.root().join(path);
        for name in ["hand", "draft"] {
            let text = self.unique();
            std::fs::create_dir_all(folder.join(step)).unwrap();
            // A name of its own: what a user writes over is lost by the user.
            let file = folder.join(step).join(format!("{name}-{}", self.count));
            std::fs::write(&file, &text).unwrap();
            let blob = self.repo.git(&["hash-object", file.to_str().unwrap()]);
            self.must.insert(blob, format!("{name} in a worktree of {step}"));
            if commit && name == "hand" {
                self.env.git(&folder, &["add", "--all"]);
                self.env.git(&folder, &["commit", "--quiet", "-m", "in the slot"]);
            }
        }
    }

    fn squash(&mut self, step: &str) {
        let Some(branch) = self.branch(step) else { return };
        let merged = self.env.program("git", &self.repo.path, &["merge", "--squash", "--quiet", &branch]);
        if merged.code == 0 {
            self.repo.git(&["commit", "--quiet", "--allow-empty", "-m", "squashed by hand"]);
        } else {
            self.repo.git(&["reset", "--quiet", "--hard"]);
        }
        self.said.push(format!("squash {step}: {}", merged.code));
    }

    fn turn(&mut self, dice: &mut Dice) {
        let step = STEPS[dice.roll(STEPS.len())];
        match dice.roll(13) {
            0 | 1 => drop(self.verb(&["resume"])),
            2 => drop(self.verb(&["approve", step, "--widen", "**"])),
            3 => drop(self.verb(&["merge"])),
            4 => drop(self.verb(&["reject", step])),
            5 => drop(self.verb(&["redo", step])),
            6 => self.by_hand(step, dice.roll(2) == 0),
            7 => self.in_slot(step, dice.roll(2) == 0),
            8 => self.squash(step),
            9 => drop(self.verb(&["clean"])),
            10 => drop(self.verb(&["restore", step])),
            11 => drop(self.verb(&["retry", step])),
            _ => drop(self.verb(&["approve", "--all"])),
        }
        self.note("a worker");
    }

    /// What must be there and is not: neither under a ref, nor in a slot that `clean` says it keeps.
    fn lost(&self) -> Vec<&String> {
        let reached = self.repo.git(&["rev-list", "--objects", "--all", "--no-object-names"]);
        let mut there: BTreeSet<String> = reached.lines().map(str::to_owned).collect();
        let kept = self.repo.wattle(&["clean", "--dry-run", "--json"]).ok().json();
        let slots = kept["kept"].as_array().unwrap().iter().filter(|item| item["kind"] == "slot");
        for slot in slots {
            let name = slot["name"].as_str().unwrap().strip_prefix("$ROOT/").unwrap();
            for step in STEPS {
                for file in std::fs::read_dir(self.env.root().join(name).join(step)).into_iter().flatten().flatten() {
                    there.insert(self.repo.git(&["hash-object", file.path().to_str().unwrap()]));
                }
            }
        }
        self.must.iter().filter(|(blob, _)| !there.contains(*blob)).map(|(_, who)| who).collect()
    }
}

#[test]
fn whatever_is_done_no_byte_is_lost() {
    for seed in 0..SEEDS {
        let env = TestEnv::new();
        let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n"), ("c/f", "old\n")]);
        std::fs::write(env.root().join("plan.yaml"), PLAN).unwrap();
        let mut world = World { env: &env, repo, must: BTreeMap::new(), said: Vec::new(), count: 0 };
        world.verb(&["run", "-f", "../plan.yaml"]);
        world.note("a worker");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
        for _ in 0..VERBS {
            world.turn(&mut dice);
        }
        // Slots of what is open stay with what is in them; the others are freed, and refs hold all that they held.
        for step in STEPS {
            world.verb(&["reject", step]);
        }
        world.verb(&["clean"]);
        world.verb(&["clean"]);
        assert!(world.must.len() > 3, "seed {seed}: {:#?}", world.said);
        assert_eq!(world.lost(), [] as [&String; 0], "seed {seed}: {:#?}", world.said);
        world.repo.git(&["fsck", "--strict"]);
    }
}
