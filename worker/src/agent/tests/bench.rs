//! A repository, slots, a scripted model, and the host of these tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Codec, PrefixTtl, Target};
use wattle_workspace::{Class, CommitId, OpenOptions, Pool, PoolOptions, Repo, Signature, TreeId, Want};

use crate::assignment::{
    AgentWork, Assignment, Bounds, CommitForm, LeadAssignment, LeadTask, Mode, Owner, Place, Resume, StepAssignment,
    Work,
};
use crate::host::{Host, Message, Pending, Reply, StepResult, Usage};
use crate::instructions::Instructions;
use crate::model::transport::Pace;
use crate::model::wire::HttpModel;
use crate::model::{Auth, WireOptions};
use crate::outcome::Outcome;
use crate::perform::{Tools, perform};
use crate::process::{self, Job};
use crate::scripted::{self, Server};

pub(super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Answer = dyn Fn(usize, &Message) -> Option<Reply> + Send + Sync;

/// A host that keeps what it is told, and answers as a test wants it to.
pub(super) struct Recorder {
    pub(super) messages: Mutex<Vec<Message>>,
    pub(super) cancel: CancellationToken,
    answer: Box<Answer>,
}

impl Recorder {
    pub(super) fn new() -> Arc<Recorder> {
        Recorder::with(|_, _| None)
    }

    /// `answer` may give a reply in place of the usual one.
    pub(super) fn with(answer: impl Fn(usize, &Message) -> Option<Reply> + Send + Sync + 'static) -> Arc<Recorder> {
        let messages = Mutex::new(Vec::new());
        Arc::new(Recorder { messages, cancel: CancellationToken::new(), answer: Box::new(answer) })
    }

    fn each<T>(&self, pick: impl Fn(&Message) -> Option<T>) -> Vec<T> {
        self.messages.lock().unwrap().iter().filter_map(pick).collect()
    }

    /// The turns in the journal.
    pub(super) fn turns(&self) -> Vec<String> {
        turns(&self.messages.lock().unwrap())
    }

    /// The turns of a conversation that went on after so many messages.
    pub(super) fn turns_from(&self, first: usize) -> Vec<String> {
        let turns = self.each(|message| match message {
            Message::Result(StepResult::Turn { index, json, .. }) => Some((*index as usize, json.clone())),
            _ => None,
        });
        assert!(turns.iter().map(|turn| turn.0).eq(first..first + turns.len()), "turns are journaled in order");
        turns.into_iter().map(|turn| turn.1).collect()
    }

    pub(super) fn usages(&self) -> Vec<Usage> {
        self.each(|message| match message {
            Message::Usage(usage) => Some(usage.as_ref().clone()),
            Message::Result(StepResult::Turn { usage: Some(usage), .. }) => Some(usage.as_ref().clone()),
            _ => None,
        })
    }

    /// What the model was told of its calls: content and whether it is an error, in order.
    pub(super) fn tool_results(&self) -> Vec<(String, bool)> {
        let mut results = Vec::new();
        for turn in self.turns() {
            let turn: Value = serde_json::from_str(&turn).unwrap();
            for block in turn["content"].as_array().unwrap() {
                if block["type"] == "tool_result" {
                    let content = block["content"].as_str().unwrap().to_owned();
                    results.push((content, block["is_error"] == true));
                }
            }
        }
        results
    }
}

/// The turns in some messages; each has the index that it is told with.
pub(super) fn turns(messages: &[Message]) -> Vec<String> {
    let mut turns = Vec::new();
    for message in messages {
        if let Message::Result(StepResult::Turn { index, json, .. }) = message {
            assert_eq!(*index as usize, turns.len(), "turns are journaled in order");
            turns.push(json.clone());
        }
    }
    turns
}

impl Host for Recorder {
    fn send(&self, message: Message) -> Pending<'_> {
        let mut messages = self.messages.lock().unwrap();
        let index = messages.len();
        let usual = match &message {
            Message::Reserve { .. } => Reply::Granted,
            Message::Ask { .. } => Reply::Refused { reason: "no human here".to_owned() },
            Message::Intent(_) | Message::Result(_) | Message::Usage(_) | Message::Propose(_) => {
                Reply::Ack { seq: index as u64 }
            }
        };
        let reply = (self.answer)(index, &message).unwrap_or(usual);
        messages.push(message);
        Box::pin(std::future::ready(reply))
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

/// A repository with some files, and a scripted model for workers on it.
pub(super) struct Bench {
    _dir: tempfile::TempDir,
    pub(super) server: Server,
    pub(super) tools: Arc<Tools>,
    pool: Pool,
    base: CommitId,
}

impl Bench {
    pub(super) async fn new(script: &str, files: &[(&str, &str)]) -> Bench {
        Bench::over(Codec::AnthropicMessages, script, files).await
    }

    /// The same over another wire.
    pub(super) async fn over(codec: Codec, script: &str, files: &[(&str, &str)]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo");
        for (name, text) in files {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let home = dir.path().join("home");
        let temp = dir.path().join("temp");
        for folder in [&home, &temp] {
            std::fs::create_dir_all(folder).unwrap();
        }
        git(&path, "git init -q -b main . && git add -A && git commit -q -m base").await;
        let options = OpenOptions {
            state_dir: dir.path().join("state"),
            repo_id: None,
            path: SEARCH_PATH.into(),
            home: Some(home),
            xdg_config_home: None,
        };
        let repo = Repo::open(&path, &options).unwrap();
        let base = repo.resolve("HEAD").unwrap().unwrap();
        repo.configure(&base).unwrap();
        let pool = Pool::open(&repo, PoolOptions::default()).unwrap();
        let server = scripted::serve_text(script, 0).await.unwrap();
        let base_env = BTreeMap::from([("PATH".into(), SEARCH_PATH.into())]);
        let model = model(codec, &server);
        let tools = Arc::new(Tools {
            repo,
            model: Some(Arc::new(model)),
            temp,
            base_env,
            servers: crate::lsp::Pool::new(BTreeMap::new()),
        });
        Bench { _dir: dir, server, tools, pool, base }
    }

    fn place(&self, class: Class, holder: &str) -> Place {
        let want = Want { class, base: self.base.clone(), holder: holder.to_owned(), setup_key: None };
        let lease = self.pool.lease(&want).unwrap();
        Place { path: lease.path, slot: lease.slot.0, base: lease.base }
    }

    /// An agent step with a slot of its own.
    pub(super) fn step(&self, name: &str, mode: Mode, prompt: &str) -> StepAssignment {
        let class = if mode == Mode::Read { Class::Snapshot } else { Class::Work };
        StepAssignment {
            owner: Owner { run: "r1".to_owned(), step: name.to_owned(), attempt: 1 },
            title: format!("the step {name}"),
            mode,
            place: self.place(class, name),
            work: Work::Agent(agent_work(prompt)),
            commit: (mode == Mode::Write).then(|| form(name)),
            check: None,
            repair: None,
            env: BTreeMap::new(),
            needs: Vec::new(),
            feedback: Vec::new(),
            resume: Resume::default(),
            timeout_ms: 60_000,
        }
    }

    pub(super) fn lead(&self, request: &str, proposals_max: u32) -> LeadAssignment {
        LeadAssignment {
            owner: Owner { run: "r1".to_owned(), step: String::new(), attempt: 0 },
            place: self.place(Class::Snapshot, "lead"),
            task: LeadTask::Plan,
            request: request.to_owned(),
            agent: agent_work(""),
            plan_schema: "{}".to_owned(),
            proposals_max,
        }
    }

    pub(super) async fn perform(&self, step: &StepAssignment, host: &Arc<Recorder>) -> Outcome {
        self.perform_with(step, host, Arc::clone(&self.tools)).await
    }

    pub(super) async fn perform_with(&self, step: &StepAssignment, host: &Arc<Recorder>, tools: Arc<Tools>) -> Outcome {
        let host: Arc<dyn Host> = Arc::clone(host) as Arc<dyn Host>;
        // As a task of its own, as the orchestrator does it.
        let assignment = Assignment::Step(Box::new(step.clone()));
        tokio::spawn(perform(assignment, host, tools)).await.unwrap()
    }

    pub(super) async fn perform_lead(&self, lead: LeadAssignment, host: &Arc<Recorder>) -> Outcome {
        let host: Arc<dyn Host> = Arc::clone(host) as Arc<dyn Host>;
        perform(Assignment::Lead(lead), host, Arc::clone(&self.tools)).await
    }

    /// A file in the commit of an outcome.
    pub(super) fn file(&self, outcome: &Outcome, path: &str) -> Option<String> {
        let bytes = self.tools.repo.read_file(&tree(outcome), path).unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    /// The bodies of all requests, as text.
    pub(super) fn requests(&self) -> Vec<String> {
        let bodies = self.server.requests();
        bodies.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
    }
}

/// A client of a scripted model that does not wait as long as a real one.
pub(super) fn model(codec: Codec, server: &Server) -> HttpModel {
    let (path, auth) = match codec {
        Codec::AnthropicMessages => ("", Auth::ApiKey("secret-key".to_owned())),
        Codec::OpenaiChat | Codec::OpenaiResponses => ("/v1", Auth::Bearer("secret-key".to_owned())),
    };
    let options = WireOptions {
        target: Target { codec, ..Target::anthropic("anthropic") },
        base_url: format!("{}{path}", server.base_url()),
        auth,
        version: Some("2026-10-21".to_owned()),
        pressure: Arc::default(),
    };
    let pace = Pace { idle: Duration::from_secs(20), backoff_first: Duration::from_millis(1) };
    HttpModel::with_pace(options, pace).unwrap()
}

pub(super) fn tree(outcome: &Outcome) -> TreeId {
    outcome.commit.as_ref().unwrap_or_else(|| panic!("a commit: {outcome:?}")).tree.clone()
}

pub(super) fn agent_work(prompt: &str) -> AgentWork {
    AgentWork {
        prompt: prompt.to_owned(),
        model: "claude-sonnet-5-5".to_owned(),
        max_turns: 10,
        max_nano_usd: None,
        tools: Vec::new(),
        brief: "The repository holds a small library.".to_owned(),
        prefix_ttl: PrefixTtl::FiveMinutes,
        fork: None,
        instructions: Instructions::default(),
        definition: None,
    }
}

fn form(name: &str) -> CommitForm {
    let who = Signature { name: "A".to_owned(), email: "a@example.org".to_owned() };
    CommitForm {
        message: format!("step {name}\n"),
        author: who.clone(),
        committer: who,
        time_s: 1_700_000_000,
        attempt_ref: format!("refs/wattle/attempt/r1/{name}/1"),
        discard: Vec::new(),
        touches: vec!["^.*$".to_owned()],
    }
}

async fn git(dir: &Path, script: &str) {
    let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
    let mut env: BTreeMap<_, _> = names.into_iter().map(|name| (name.into(), "t".into())).collect();
    for (name, value) in [("PATH", SEARCH_PATH), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")] {
        env.insert(name.into(), value.into());
    }
    let bounds = Bounds { timeout_ms: 60_000, idle_ms: None, output_bytes_max: 10_000 };
    let job = Job { run: script.to_owned(), dir: PathBuf::from(dir), env, bounds };
    let ended = process::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.evidence.exit, Some(0), "{ended:?}");
}
