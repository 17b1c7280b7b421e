//! Language servers as processes: real ones, and a scripted one for what goes wrong.

mod freshness;
mod lives;
mod questions;
mod real;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tool::host::InProcess;
use crate::tool::{ToolCall, ToolHost as _, ToolResult};

/// Where programs are; a test's environment has nothing else.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The scripted server.
const SERVER: &str = include_str!("../../../fixtures/lsp/server.py");
/// No test waits for this; it only ends one that hangs.
const LONG: Duration = Duration::from_secs(60);

/// Bounds that no test reaches but one that wants to.
fn patient() -> Limits {
    Limits { quiet: LONG, request: LONG, room: LONG, idle: LONG }
}

/// A moment: for what is expected not to come.
fn hasty() -> Limits {
    Limits { quiet: Duration::from_millis(300), ..patient() }
}

/// A worktree, a pool of servers and a lease.
struct Bench {
    dir: tempfile::TempDir,
    pool: Arc<Pool>,
    cancel: CancellationToken,
    lease: Arc<Lease>,
    tools: InProcess,
}

impl Bench {
    /// With the scripted server for `.toy` files.
    fn new(script: Value, limits: Limits, files: &[(&str, &str)]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let settings = json!({"toy": scripted(dir.path(), &script, ".toy")});
        Bench::with(dir, &settings, limits, files)
    }

    fn with(dir: tempfile::TempDir, settings: &Value, limits: Limits, files: &[(&str, &str)]) -> Bench {
        std::fs::write(dir.path().join("server.py"), SERVER).unwrap();
        let root = dir.path().join("w");
        for (name, text) in files {
            write(&root, name, text);
        }
        let pool = Pool::with_limits(servers(settings).unwrap(), limits);
        let cancel = CancellationToken::new();
        let (lease, tools) = leased(&pool, &root, &cancel);
        Bench { dir, pool, cancel, lease, tools }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.root(), name, text);
    }

    async fn call(&self, name: &str, input: Value) -> ToolResult {
        call(&self.tools, name, input).await
    }

    async fn lsp(&self, input: Value) -> String {
        self.call("Lsp", input).await.content
    }

    async fn problems(&self, file: &str) -> String {
        self.lsp(json!({"operation": "diagnostics", "file_path": file})).await
    }

    /// What the servers have logged.
    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Numbers of the processes that were started, in their order.
    fn pids(&self) -> Vec<u64> {
        let log = self.log();
        log.iter().filter(|line| line["got"] == "start").map(|line| line["pid"].as_u64().unwrap()).collect()
    }

    /// How often a method was called.
    fn count(&self, method: &str) -> usize {
        self.log().iter().filter(|line| line["got"] == method).count()
    }
}

fn leased(pool: &Arc<Pool>, root: &Path, cancel: &CancellationToken) -> (Arc<Lease>, InProcess) {
    let env = BTreeMap::from([("PATH".into(), SEARCH_PATH.into())]);
    let lease = pool.lease(root, env, cancel.clone());
    let tools = InProcess::new(root, None, &std::env::temp_dir()).unwrap().with_servers(Arc::clone(&lease));
    (lease, tools)
}

/// The settings of a scripted server.
fn scripted(dir: &Path, script: &Value, extension: &str) -> Value {
    json!({
        "command": "python3",
        "args": [dir.join("server.py"), script.to_string(), dir.join("log")],
        "extensionToLanguage": {extension: "toy"},
        "settings": {"toy": {"level": 7}},
    })
}

async fn call(tools: &InProcess, name: &str, input: Value) -> ToolResult {
    let seen = BTreeMap::new();
    let call = ToolCall { id: "t".to_owned(), name: name.to_owned(), input: input.to_string(), seen, again: false };
    tools.call(call).await
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Is a process with this number there, other than as a zombie?
fn alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next().unwrap_or('X'));
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits for something that happens elsewhere.
async fn comes(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > LONG {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}
