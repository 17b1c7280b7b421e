//! A step that asks a language server: the tool is one of its own, and with the step the server is gone.

use serde_json::json;

use super::bench::{Bench, Recorder, SEARCH_PATH};
use crate::assignment::Mode;
use crate::lsp::{Pool, servers};
use crate::outcome::End;

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Lsp, input: { operation: documentSymbol, file_path: a.toy } }
      - { tool: Lsp, input: { operation: hover, file_path: a.toy, symbol: crab } }
      - { tool: Read, input: { file_path: a.toy } }
  - match: { turn: 1, tool_result: "function crab" }
    blocks: [{ text: "It is a function." }]
"##;

/// Runs the step and gives what its tools answered.
async fn results(mode: Mode, pool: std::sync::Arc<Pool>) -> Vec<(String, bool)> {
    let mut bench = Bench::new(SCRIPT, &[("a.toy", "def crab\n")]).await;
    std::sync::Arc::get_mut(&mut bench.tools).unwrap().servers = pool;
    let host = Recorder::new();
    let outcome = bench.perform(&bench.step("one", mode, "look"), &host).await;
    assert!(matches!(outcome.end, End::Done | End::Unchanged), "{outcome:?}");
    host.tool_results()
}

#[tokio::test]
async fn a_step_asks_and_leaves_no_server_behind() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("server.py");
    std::fs::write(&program, include_str!("../../../../fixtures/lsp/server.py")).unwrap();
    let log = dir.path().join("log");
    let toy = json!({
        "command": "python3", "args": [program, "{\"child\": true}", log], "extensionToLanguage": {".toy": "toy"},
        "env": {"PATH": SEARCH_PATH},
    });
    for mode in [Mode::Read, Mode::Write] {
        let pool = Pool::new(servers(&json!({"toy": toy})).unwrap());
        let results = results(mode, pool).await;
        let words: Vec<&str> = results.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(words[0], "1 symbol:\na.toy:1:5 function crab\n");
        assert_eq!(words[1], "the name crab");
        // The step is over: so is everything that was started for it.
        let logged = std::fs::read_to_string(&log).unwrap();
        let numbers = logged.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["child"].as_u64().or_else(|| (line["got"] == "start").then(|| line["pid"].as_u64()).flatten())
        });
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers.len() >= 2, "{logged}");
        for number in numbers {
            let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            assert!(matches!(state, None | Some('Z' | 'X')), "{stat}");
        }
    }
}
