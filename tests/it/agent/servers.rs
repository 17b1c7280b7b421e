//! Language servers: what a project's file would start is started only after `wattle trust`, and nothing of it is left.

use serde_json::json;

use super::{MODEL, Service, run, sound, standing, text_of};
use crate::env::{TestEnv, sources};

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Lsp, input: { operation: documentSymbol, file_path: a.toy } }]
  - match: { turn: 1 }
    blocks: [{ text: Seen. }]
"##;
const PLAN: &str = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: look, mode: read, agent: { prompt: Look. } }]\n";

#[test]
fn a_projects_language_server_is_started_only_when_it_is_trusted() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let log = env.root().join("log");
    let servers = json!({"toy": {
        "command": "python3",
        "args": [sources().join("fixtures/lsp/server.py"), "{}", log],
        "extensionToLanguage": {".toy": "toy"},
        "env": {"PATH": "/usr/local/bin:/usr/bin:/bin"},
    }});
    let repo = env.repo("r", &[("a.toy", "def crab\n"), (".lsp.json", &servers.to_string())]);
    let answer = |turns: usize| {
        let requests = service.requests();
        assert_eq!(requests.len(), turns);
        text_of(requests.last().unwrap()["messages"].as_array().unwrap().last().unwrap())
    };
    let untrusted = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).ok();
    assert!(untrusted.err.contains("warning: .lsp.json ignored: it is not trusted"), "{}", untrusted.err);
    assert!(answer(2).starts_with("no language server is set up"), "{}", answer(2));
    assert!(!log.exists());
    let trusted = repo.wattle(&["trust"]).ok();
    assert!(trusted.out.starts_with(".lsp.json: {\"toy\":"), "{}", trusted.out);
    let second = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).ok();
    assert!(!second.err.contains("warning"), "{}", second.err);
    assert!(answer(4).starts_with("1 symbol:\na.toy:1:5 function crab\n"), "{}", answer(4));
    assert_eq!(standing(&repo, "look").0, "done");
    let logged = std::fs::read_to_string(&log).unwrap();
    let pid = logged.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["pid"].as_u64());
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.unwrap())).exists(), "{logged}");
    sound(&repo);
    service.stop();
}
