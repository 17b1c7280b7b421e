//! What is done to every kind of repository, and what must be true afterwards.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::env::TestEnv;

/// The files that most kinds begin with.
const FILES: &str = r"
mkdir src work data
printf 'fn main() { old_name(1); keep(); }\n' >src/a.rs
printf 'fn b() { old_name(2); }\n' >src/b.rs
printf '1\n2\n3\n4\n5\n6\n7\n8\n' >work/edit.txt
echo gone >work/gone.txt
printf 'moved 1\nmoved 2\nmoved 3\n' >work/from.txt
echo left >left.txt
echo right >right.txt
printf '#!/bin/sh\necho tool\n' >tool.sh
chmod +x tool.sh
ln -s work/edit.txt link
";

/// Puts `FILES` into the folder and commits all that is there.
const FIRST: &str = "files; git add -A; git commit -qm first";

/// The plan: a rewrite, a command that edits, adds, deletes and renames, one that needs it, two that have nothing to do with
/// each other, and one that reads. The check reads files in its slot, and changes one, which must be put back.
const PLAN: &str = r#"
version: 1
task: work in every kind of repository
checks: [{ name: reads, run: "CHECK" }]
steps:
  - { id: look, run: "cat left.txt right.txt" }
  - { id: rule, touches: ["src/**"], rewrite: { pattern: "old_name($A)", fix: "new_name($A)", lang: rust } }
  - { id: hand, touches: ["work/**"], run: "HAND" }
  - { id: next, needs: [hand], touches: ["work/**"], run: "NEXT" }
  - { id: pair-a, touches: [left.txt], run: "echo A >>left.txt" }
  - { id: pair-b, touches: [right.txt], run: "echo B >>right.txt" }
"#;
const CHECK: &str = "test -f left.txt && cat left.txt work/* src/* >/dev/null && echo trace >>right.txt";
const HAND: &str =
    "printf 'edited\\n' >>work/edit.txt; echo added >work/added.txt; rm work/gone.txt; mv work/from.txt work/to.txt";
const NEXT: &str = "echo next >>work/to.txt; cp work/added.txt work/more.txt";
const RULE: &str = "sed -i 's/old_name(/new_name(/' src/a.rs src/b.rs";
const PAIR: &str = "echo A >>left.txt; echo B >>right.txt";

/// A kind of repository.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Makes it in the working directory; `files`, `first` and `up` (a repository `../up` to clone) may be used.
    pub(crate) build: &'static str,
    /// The name of its folder.
    pub(crate) folder: &'static [u8],
    /// Where the user works, from there: a checkout of `main`.
    pub(crate) work: &'static str,
    /// Where the program is started, from there.
    pub(crate) start: &'static str,
    /// What every script in the checkout begins with.
    pub(crate) prelude: &'static str,
    /// What the person runs before working by hand.
    pub(crate) before_hand: &'static str,
    /// More that the person does, in the shell.
    pub(crate) more_hand: &'static str,
    /// The same as steps of the plan.
    pub(crate) more_steps: &'static str,
    /// Top-level keys to put into the plan.
    pub(crate) keys: &'static str,
    /// More for the check to do, first; a shell command.
    pub(crate) more_check: &'static str,
    /// Whether there is a checkout that follows `main`.
    pub(crate) checked_out: bool,
    /// What is to be true in the end; a shell script in the user's checkout.
    pub(crate) proof: &'static str,
}

impl Kind {
    /// A kind with nothing special but how it is made.
    pub(crate) const fn of(build: &'static str) -> Self {
        Self {
            build,
            folder: b"r",
            work: ".",
            start: ".",
            prelude: "",
            before_hand: "",
            more_hand: "",
            more_steps: "",
            keys: "",
            more_check: "",
            checked_out: true,
            proof: "",
        }
    }
}

/// Does the work twice, on a branch that is checked out nowhere and on `main`, and holds everything against what plain git
/// gives.
#[track_caller]
pub(crate) fn check(kind: &Kind) {
    let world = World::new(kind);
    let wanted = world.by_hand();
    let plan = plan(kind);
    // A branch that nobody has checked out: not a byte of the user's changes.
    let before = world.theirs(&[]);
    let run = ["run", "-f", "-", "--approve", "auto"];
    let target = ["--target", "side"];
    drop(world.fed(&[&run[..], &target].concat(), &plan).ok());
    assert_eq!(world.tree("side"), wanted, "side: {}", world.difference(&wanted, "side"));
    world.verbs();
    world.clean();
    assert_eq!(world.changed(&before, &[]), [""; 0]);
    // The branch that is checked out: its checkout follows, and nothing else changes.
    let before = world.theirs(&[]);
    let events = world.fed(&[&run[..], &["--json"]].concat(), &plan).ok().events();
    let landed = events.iter().filter(|event| event["type"] == "landed" && event["verified"] == true).count();
    assert!(landed >= 5, "{landed} landed: {events:#?}");
    assert_eq!(world.tree("main"), wanted, "main: {}", world.difference(&wanted, "main"));
    world.clean();
    assert_eq!(world.changed(&before, &["index"]), [""; 0]);
    if kind.checked_out {
        assert_eq!(world.within("theirs", "git status --porcelain --untracked-files=no"), "");
        assert_eq!(world.files("theirs"), world.files("hand"), "the checkout is what a person's would be");
    }
    world.within("theirs", kind.proof);
}

fn plan(kind: &Kind) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let check = match kind.more_check {
        "" => CHECK.to_owned(),
        more => format!("{more} && {CHECK}"),
    };
    let plan = PLAN.replace("CHECK", &quoted(&check)).replace("HAND", &quoted(HAND)).replace("NEXT", &quoted(NEXT));
    let (head, steps) = plan.split_once("steps:\n").unwrap();
    format!("{head}{}\nsteps:\n{steps}{}", kind.keys, kind.more_steps)
}

/// Two copies of a repository of some kind.
pub(crate) struct World<'k> {
    pub(crate) env: TestEnv,
    kind: &'k Kind,
}

impl<'k> World<'k> {
    /// Makes both.
    pub(crate) fn new(kind: &'k Kind) -> Self {
        let mut env = TestEnv::new();
        env.set("GIT_CONFIG_NOSYSTEM", "1");
        let world = World { env, kind };
        for who in ["theirs", "hand"] {
            let folder = world.folder(who);
            std::fs::create_dir_all(&folder).unwrap();
            let functions = format!(
                "files() {{ {FILES}\n}}\nfirst() {{ {FIRST}\n}}\n\
                 up() {{ mkdir ../up; (cd ../up; git init -q; git config uploadpack.allowFilter true; \
                 git config uploadpack.allowAnySHA1InWant true; first; echo more >>left.txt; git commit -qam more); }}\n"
            );
            world.sh(&folder, &format!("{functions}{}", kind.build));
        }
        world
    }

    fn folder(&self, who: &str) -> PathBuf {
        self.env.root().join(who).join(OsStr::from_bytes(self.kind.folder))
    }

    /// The checkout in which the user, or the person, works.
    pub(crate) fn work(&self, who: &str) -> PathBuf {
        self.folder(who).join(self.kind.work).canonicalize().unwrap()
    }

    /// Runs a shell script and gives its output.
    #[track_caller]
    pub(crate) fn sh(&self, folder: &Path, script: &str) -> String {
        let said = self.env.program("sh", folder, &["-euc", script]);
        assert_eq!(said.code, 0, "{script}\n{}{}", said.out, said.err);
        said.out.trim_end().to_owned()
    }

    /// The same in a checkout.
    #[track_caller]
    pub(crate) fn within(&self, who: &str, script: &str) -> String {
        self.sh(&self.work(who), &format!("{}\n{script}", self.kind.prelude))
    }

    /// Runs the program where the user is.
    pub(crate) fn wattle(&self, args: &[&str]) -> crate::env::Output {
        self.fed(args, "")
    }

    /// The same with something on standard input.
    pub(crate) fn fed(&self, args: &[&str], input: &str) -> crate::env::Output {
        self.env.wattle_fed(&self.folder("theirs").join(self.kind.start), args, input)
    }

    /// All the work of the plan by hand, and everything checked out anew as a landing does; gives the tree.
    #[track_caller]
    fn by_hand(&self) -> String {
        let Kind { before_hand, more_hand, .. } = self.kind;
        let script = format!(
            "{before_hand}\n{RULE}; {HAND}; {NEXT}; {PAIR}\n{more_hand}\ngit add -A\n\
             git -c commit.gpgSign=false commit -qm hand\ngit rev-parse HEAD^{{tree}}\n\
             git read-tree --empty\ngit reset -q --hard"
        );
        let said = self.within("hand", &script);
        said.lines().last().unwrap().to_owned()
    }

    fn tree(&self, branch: &str) -> String {
        self.within("theirs", &format!("git rev-parse {branch}^{{tree}}"))
    }

    fn difference(&self, wanted: &str, branch: &str) -> String {
        let tree = |who: &str, of: &str| self.within(who, &format!("git ls-tree -r {of}"));
        format!("wanted\n{}\ngot\n{}", tree("hand", wanted), tree("theirs", branch))
    }

    /// Every verb that only reads works, and the repository is sound.
    #[track_caller]
    fn verbs(&self) {
        let status = self.wattle(&["status", "--json"]).ok().json();
        let states = status["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap());
        assert!(states.into_iter().all(|state| ["landed", "done"].contains(&state)), "{status:#}");
        for args in [&["review", "--json"][..], &["review", "hand"], &["log", "--json"], &["conflicts"], &["runs"]] {
            drop(self.wattle(args).ok());
        }
        let pair: Value = self.wattle(&["conflicts", "--json", "main", "side"]).ok().json();
        assert_eq!(pair["pairs"][0]["clean"], true, "{pair}");
        self.within("theirs", "git -c core.fsmonitor=false fsck --strict --no-dangling --no-progress");
    }

    /// Nothing of ours is left.
    #[track_caller]
    fn clean(&self) {
        drop(self.wattle(&["clean"]).ok());
        assert_eq!(self.within("theirs", "git for-each-ref refs/wattle refs/heads/wattle"), "");
        let worktrees = self.within("theirs", "git worktree list --porcelain");
        assert!(!worktrees.contains("/slots/"), "{worktrees}");
    }

    /// Every file of the user's repository, checkouts and configuration, but objects, logs and refs, as bytes. `but` are
    /// names of files to leave out.
    fn theirs(&self, but: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for top in ["theirs", "home"] {
            read(&self.env.root().join(top), "", but, &mut found);
        }
        let refs = self.within("theirs", "git for-each-ref --format='%(refname) %(objectname)'");
        let refs = refs.lines().filter(|line| !line.starts_with("refs/heads/main "));
        let refs: Vec<&str> = refs.filter(|line| !line.starts_with("refs/heads/side ")).collect();
        found.insert("refs".to_owned(), refs.join("\n").into_bytes());
        found
    }

    /// Which of those are not what they were; with `index` among `but`, the files that follow `main` are left out.
    fn changed(&self, before: &BTreeMap<String, Vec<u8>>, but: &[&str]) -> Vec<String> {
        let now = self.theirs(&[]);
        let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
        names.sort();
        names.dedup();
        let landing = but.contains(&"index");
        let follows = |name: &str| {
            let file = name.rsplit('/').next().unwrap_or(name);
            file == "index" || file.starts_with("sharedindex.") || !git_file(name)
        };
        let differ = |name: &&String| before.get(*name) != now.get(*name);
        names.into_iter().filter(differ).filter(|name| !(landing && follows(name))).cloned().collect()
    }

    /// The files of a checkout.
    fn files(&self, who: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        read(&self.work(who), "", &[".git"], &mut found);
        found
    }
}

/// Whether a name that `theirs` gave is inside a git directory.
fn git_file(name: &str) -> bool {
    name.split('/').any(|part| part == ".git" || part.ends_with(".git"))
}

/// Reads every file below a folder; of a link, where it points.
fn read(folder: &Path, name: &str, but: &[&str], found: &mut BTreeMap<String, Vec<u8>>) {
    /// What every git command writes.
    const MOVING: [&str; 7] = ["objects", "refs", "logs", "reftable", "wattle", "packed-refs", "lfs"];
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let file = String::from_utf8_lossy(entry.file_name().as_bytes()).into_owned();
        if but.contains(&file.as_str()) || MOVING.contains(&file.as_str()) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}/{file}"));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read(&path, &name, but, found);
        } else if kind.is_symlink() {
            found.insert(name, std::fs::read_link(&path).unwrap().into_os_string().into_vec());
        } else if kind.is_file() {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}
