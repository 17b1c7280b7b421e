//! Agents end to end: the real program, real git, and the scripted model on the real wire.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod ask;
mod back;
mod budget;
mod faults;
mod fork;
mod instructions;
mod lead;
mod ledger;
mod repair;
mod servers;
mod split;
mod stream;
mod together;
mod tools;
mod warned;

use std::path::Path;

use serde_json::Value;
use wattle_worker::scripted::{self, Server};

use crate::env::{Output, TestEnv, TestRepo};

/// The model that [`Service`] is asked for: one whose price is known.
const MODEL: &str = "anthropic/claude-sonnet-5-5";
/// A key that must be found nowhere but in requests.
const CANARY: &str = "sk-canary-7f3e1b";

/// Longest wait for a first request, far above what was ever measured: it only ends a test that would hang.
const ASKED_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The scripted model as a service of its own, reached like the real one: by address and key.
struct Service {
    runtime: tokio::runtime::Runtime,
    server: Server,
}

impl Service {
    /// Starts it, and points the environment of a test at it.
    fn start(env: &mut TestEnv, script: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(scripted::serve_text(script, 0)).unwrap();
        env.set("ANTHROPIC_BASE_URL", &server.base_url());
        env.set("ANTHROPIC_API_KEY", CANARY);
        Self { runtime, server }
    }

    /// Everything that was asked so far, as text.
    fn bodies(&self) -> Vec<String> {
        self.server.requests().iter().map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    /// Everything that was asked so far.
    fn requests(&self) -> Vec<Value> {
        self.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    /// Waits until something was asked.
    fn wait_for_request(&self) {
        let start = std::time::Instant::now();
        while self.server.requests().is_empty() {
            assert!(start.elapsed() < ASKED_WAIT, "nothing was asked");
            std::thread::yield_now();
        }
    }

    /// Ends it.
    fn stop(self) {
        self.runtime.block_on(self.server.shutdown());
    }
}

/// Writes a file beside the repositories of a test and gives its path.
pub(crate) fn file(env: &TestEnv, name: &str, text: &str) -> String {
    let path = env.root().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The name of a scripted model that the program starts itself.
fn script(env: &TestEnv, text: &str) -> String {
    format!("script:{}", file(env, "script.yaml", text))
}

/// Runs a plan with a model, as JSON, with more arguments.
pub(crate) fn run(env: &TestEnv, repo: &TestRepo<'_>, plan: &str, model: &str, more: &[&str]) -> Output {
    let plan = file(env, "plan.yaml", plan);
    repo.wattle(&[&["run", "-f", &plan, "--model", model, "--json"], more].concat())
}

/// Events of a type.
fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// State and reason of a step as `status` shows them.
fn standing(repo: &TestRepo<'_>, step: &str) -> (String, Option<String>) {
    let status = repo.wattle(&["status", "--json"]).json();
    let steps = status["steps"].as_array().unwrap();
    let found = steps.iter().find(|found| found["id"] == step).unwrap();
    (found["state"].as_str().unwrap().to_owned(), found["why"].as_str().map(str::to_owned))
}

/// A message without its cache markers, which move on, and without the card, which is of one request alone.
fn bare(message: &Value) -> Value {
    let mut message = message.clone();
    let card = |block: &Value| block["text"].as_str().is_some_and(|text| text.starts_with("(A reminder"));
    message["content"].as_array_mut().unwrap().retain(|block| !card(block));
    for block in message["content"].as_array_mut().unwrap() {
        block.as_object_mut().unwrap().remove("cache_control");
    }
    message
}

/// All texts of a message of a request.
fn text_of(message: &Value) -> String {
    let text = |block: &Value| block["text"].as_str().or(block["content"].as_str()).unwrap_or_default().to_owned();
    message["content"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join("\n")
}

/// What must hold after every run: a sound repository, and a checkout that is where its branch is.
fn sound(repo: &TestRepo<'_>) {
    repo.git(&["fsck", "--strict", "--no-dangling"]);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

/// Every file below a folder that holds these bytes.
fn holding(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(holding(&path, needle));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}
