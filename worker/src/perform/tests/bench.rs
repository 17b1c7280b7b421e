//! A repository, a slot, and the host of these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use wattle_workspace::{
    CaptureOptions, Class, CommitId, Lease, OpenOptions, Pool, PoolOptions, Repo, Signature, TreeId, Want,
};

use crate::assignment::{
    Assignment, Bounds, Command, CommitForm, Mode, NeedReport, Owner, Place, Resume, StepAssignment, Work,
};
use crate::host::{Host, Intent, Message, Pending, Reply, StepResult};
use crate::outcome::Outcome;
use crate::perform::{Tools, perform};
use crate::process::{self, Job};

pub(super) const ATTEMPT_REF: &str = "refs/wattle/attempt/r1/s1/1";
pub(super) const TIME_S: i64 = 1_700_000_000;

/// A host that keeps what it is told, and says stop or no at one message.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) messages: Mutex<Vec<Message>>,
    pub(super) cancel: CancellationToken,
    /// The answer to the message with this index, in place of an `Ack`.
    pub(super) at: Option<(usize, Reply)>,
}

impl Host for Recorder {
    fn send(&self, message: Message) -> Pending<'_> {
        let mut messages = self.messages.lock().unwrap();
        let index = messages.len();
        messages.push(message);
        let reply = match &self.at {
            Some((at, reply)) if *at == index => reply.clone(),
            Some(_) | None => Reply::Ack { seq: index as u64 },
        };
        Box::pin(std::future::ready(reply))
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

impl Recorder {
    /// The kinds of the messages, in order.
    pub(super) fn told(&self) -> Vec<&'static str> {
        let kind = |message: &Message| match message {
            Message::Intent(Intent::Execute) => "execute",
            Message::Intent(Intent::Commit { failed: None, .. }) => "commit",
            Message::Intent(Intent::Commit { failed: Some(_), .. }) => "commit of a failure",
            Message::Intent(Intent::Check { .. }) => "check",
            Message::Intent(Intent::Repair { .. }) => "repair",
            Message::Result(StepResult::Executed { .. }) => "executed",
            Message::Result(StepResult::Checked { .. }) => "checked",
            _ => "other",
        };
        self.messages.lock().unwrap().iter().map(kind).collect()
    }

    pub(super) fn commits(&self) -> Vec<CommitId> {
        let messages = self.messages.lock().unwrap();
        let commit = |message: &Message| match message {
            Message::Intent(Intent::Commit { commit, .. }) => Some(commit.clone()),
            _ => None,
        };
        messages.iter().filter_map(commit).collect()
    }
}

/// A repository with some files, and tools for workers on it.
pub(super) struct Bench {
    dir: tempfile::TempDir,
    pub(super) tools: Arc<Tools>,
    pool: Pool,
    pub(super) base: CommitId,
}

/// The path under test must not depend on where tests run.
pub(super) fn search_path() -> &'static str {
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

impl Bench {
    pub(super) async fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo");
        for (name, text) in files {
            write(&path, name, text);
        }
        let script = "git init -q -b main . && git add -A && git commit -q -m base";
        sh(&path, script).await;
        let state_dir = dir.path().join("state");
        let home = dir.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let options = OpenOptions {
            state_dir,
            repo_id: None,
            path: search_path().into(),
            home: Some(home),
            xdg_config_home: None,
        };
        let repo = Repo::open(&path, &options).unwrap();
        let base = repo.resolve("HEAD").unwrap().unwrap();
        repo.configure(&base).unwrap();
        let temp = dir.path().join("temp");
        std::fs::create_dir_all(&temp).unwrap();
        let base_env = BTreeMap::from([("PATH".into(), search_path().into())]);
        let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
        let tools =
            Arc::new(Tools { repo, model: None, temp, base_env, servers: crate::lsp::Pool::new(BTreeMap::new()) });
        Self { dir, tools, pool, base }
    }

    pub(super) fn lease(&self, class: Class, holder: &str) -> Lease {
        let want = Want { class, base: self.base.clone(), holder: holder.to_owned(), setup_key: None };
        self.pool.lease(&want).unwrap()
    }

    pub(super) fn place(&self, class: Class, holder: &str) -> Place {
        let lease = self.lease(class, holder);
        Place { path: lease.path, slot: lease.slot.0, base: lease.base }
    }

    /// A step with nothing but its work.
    pub(super) fn step(&self, mode: Mode, work: Work) -> StepAssignment {
        let class = if mode == Mode::Read { Class::Snapshot } else { Class::Work };
        let commit = (mode == Mode::Write).then(form);
        StepAssignment {
            owner: owner(),
            title: "a step".to_owned(),
            mode,
            place: self.place(class, "r1/s1/1"),
            work,
            commit,
            check: None,
            repair: None,
            env: BTreeMap::from([("OF_STEP".to_owned(), "yes".to_owned())]),
            needs: vec![NeedReport { step: "survey".to_owned(), markdown: "found it\n".to_owned() }],
            feedback: Vec::new(),
            resume: Resume::default(),
            timeout_ms: 60_000,
        }
    }

    pub(super) async fn perform(&self, step: StepAssignment, host: &Arc<Recorder>) -> Outcome {
        let host: Arc<dyn Host> = Arc::clone(host) as Arc<dyn Host>;
        perform(Assignment::Step(Box::new(step)), host, Arc::clone(&self.tools)).await
    }

    pub(super) fn kept(&self) -> Option<CommitId> {
        self.tools.repo.read_ref(ATTEMPT_REF).unwrap()
    }

    /// The files in a worktree as git sees them.
    pub(super) fn tree_in(&self, place: &Place) -> TreeId {
        self.tools.repo.capture(&place.path, &place.base, &CaptureOptions::default()).unwrap().tree
    }

    pub(super) fn file(&self, tree: &TreeId, path: &str) -> String {
        String::from_utf8(self.tools.repo.read_file(tree, path).unwrap().unwrap()).unwrap()
    }

    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub(super) fn owner() -> Owner {
    Owner { run: "r1".to_owned(), step: "s1".to_owned(), attempt: 1 }
}

pub(super) fn form() -> CommitForm {
    let who = |name: &str| Signature { name: name.to_owned(), email: format!("{name}@example.com") };
    CommitForm {
        message: "s1: a step\n\nWattle-Run: r1\nWattle-Step: s1\n".to_owned(),
        author: who("ann"),
        committer: who("wattle"),
        time_s: TIME_S,
        attempt_ref: ATTEMPT_REF.to_owned(),
        discard: Vec::new(),
        touches: vec![".*".to_owned()],
    }
}

pub(super) fn command(run: &str) -> Command {
    Command {
        run: run.to_owned(),
        ok_exit: vec![0],
        env: BTreeMap::new(),
        bounds: Bounds { timeout_ms: 60_000, idle_ms: None, output_bytes_max: 64 * 1024 },
    }
}

pub(super) fn run(text: &str) -> Work {
    Work::Run(command(text))
}

pub(super) fn host() -> Arc<Recorder> {
    Arc::new(Recorder::default())
}

pub(super) fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    if name.ends_with(".sh") {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs a script in an environment that is the same everywhere.
pub(super) async fn sh(dir: &Path, script: &str) -> String {
    let env = [
        ("PATH", search_path()),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "t"),
        ("GIT_AUTHOR_EMAIL", "t@example.com"),
        ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ("GIT_COMMITTER_NAME", "t"),
        ("GIT_COMMITTER_EMAIL", "t@example.com"),
        ("GIT_COMMITTER_DATE", "1700000000 +0000"),
    ];
    let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let bounds = Bounds { timeout_ms: 60_000, idle_ms: None, output_bytes_max: 1 << 20 };
    let job = Job { run: script.to_owned(), dir: dir.to_path_buf(), env, bounds };
    let ended = process::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.evidence.exit, Some(0), "{script}: {}", ended.evidence.output);
    ended.evidence.output
}

/// Paths of changes, for comparison.
pub(super) fn set(paths: &[String]) -> BTreeSet<&str> {
    paths.iter().map(String::as_str).collect()
}
