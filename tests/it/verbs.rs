//! Verbs that need no run: configuration, trust, doctor, conflicts, and what every verb says when it is wrong.

use insta::assert_snapshot;
use serde_json::json;

use crate::env::TestEnv;

#[test]
fn reserved_names_answer_that_they_are_not_built() {
    let env = TestEnv::new();
    let answer = env.wattle(env.root(), &["publish", "--to", "x"]).code(2);
    assert_snapshot!(answer.whole(), @"
    exit 2
    --- stderr
    error: wattle publish is not built yet
      hint: its name is reserved; `wattle --help` lists what there is
    ");
    for name in ["policy", "gate", "mcp"] {
        let answer = env.wattle(env.root(), &["--json", name]).code(2).json();
        assert_eq!(answer["error"]["code"], "usage");
    }
}

#[test]
fn bad_usage_is_json_where_json_is_asked_for() {
    let env = TestEnv::new();
    let answer = env.wattle(env.root(), &["conflicts", "--json", "--nope"]).code(2);
    assert_eq!(
        answer.json(),
        json!({ "v": 1, "error": { "code": "usage", "message": "unexpected argument '--nope' found", "hint": null, "at": null } })
    );
    assert_eq!(answer.err, "");
}

#[test]
fn no_repository_is_an_environment_error_with_its_mend() {
    let env = TestEnv::new();
    let answer = env.wattle(env.root(), &["init"]).code(5);
    assert_snapshot!(answer.whole(), @"
    exit 5
    --- stderr
    error: failed to find a git repository at $ROOT or above it
      hint: go into a git repository, or give -C PATH
    ");
    let elsewhere = env.wattle(env.root(), &["-C", "nowhere", "doctor"]).code(5);
    assert!(elsewhere.out.contains("there is no such directory"), "{}", elsewhere.out);
}

#[test]
fn init_then_trust_then_a_change_needs_trust_again() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("Cargo.toml", "[workspace]\n"), ("Cargo.lock", "")]);
    let written = repo.wattle(&["init"]).ok();
    assert_eq!(written.out, "$ROOT/r/.wattle/config.yaml\n");
    let again = repo.wattle(&["init"]).code(2);
    assert!(again.err.contains("it exists already"), "{}", again.err);

    let untrusted = repo.wattle(&["doctor", "--json"]).code(5).json();
    let finding = untrusted["findings"].as_array().unwrap().iter().find(|f| f["what"] == "configuration").unwrap();
    assert_eq!(finding["mend"], "read it, then `wattle trust` (in CI: WATTLE_TRUST=1)");

    let shown = repo.wattle(&["trust", "--show", "--json"]).ok().json();
    assert_eq!(shown["trusted"], false);
    assert_eq!(shown["runs"]["checks"][0]["run"], "cargo check --workspace --all-targets");
    assert_eq!(repo.wattle(&["trust", "--json"]).ok().json()["trusted"], true);
    drop(repo.wattle(&["doctor"]).ok());

    repo.write(".wattle/config.yaml", "checks: [{ name: other, run: make }]\n");
    drop(repo.wattle(&["doctor"]).code(5));
    repo.write(".wattle/config.yaml", "checks: [{ name: other, rnu: make }]\nlimits: { usd: some }\n");
    let mistakes = repo.wattle(&["trust"]).code(3);
    assert!(mistakes.err.contains(".wattle/config.yaml:1:"), "{}", mistakes.err);
    assert!(mistakes.err.contains(".wattle/config.yaml:2:16: `usd`: `some` is not an amount"), "{}", mistakes.err);
}

#[test]
fn conflicts_are_found_in_memory_for_every_pair() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    repo.branch("x", "main", &[("a", "2\n")]);
    repo.branch("y", "main", &[("a", "3\n")]);
    repo.branch("z", "main", &[("b", "2\n")]);
    let refs = repo.git(&["for-each-ref"]);
    let answer = repo.wattle(&["conflicts", "x", "y", "z", "--json", "--exit-code"]).code(1).json();
    let pairs = answer["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    assert_eq!(pairs[0], json!({ "a": "x", "b": "y", "clean": false, "paths": ["a"] }));
    assert_eq!((&pairs[1]["clean"], &pairs[2]["clean"]), (&json!(true), &json!(true)));
    repo.git(&["merge", "--quiet", "-m", "m", "x"]);
    repo.git(&["merge", "--quiet", "-m", "m", "z"]);
    assert_eq!(pairs[1]["tree"], repo.git(&["rev-parse", "HEAD^{tree}"]), "the tree is the one git makes");
    repo.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    assert_eq!(repo.git(&["for-each-ref"]), refs);

    let fed = env.wattle_fed(&repo.path, &["conflicts", "--stdin"], "x z\n\ny z\n").ok();
    assert_eq!(fed.out, "merges    x  z\nmerges    y  z\n");
    let unknown = repo.wattle(&["conflicts", "x", "nope"]).code(2);
    assert!(unknown.err.contains("find the revision `nope`"), "{}", unknown.err);
}

#[test]
fn completions_and_manual_are_made_of_the_grammar() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = env.wattle(env.root(), &["completions", shell]).ok();
        assert!(script.out.contains("conflicts"), "{shell}");
    }
    assert!(env.wattle(env.root(), &["man"]).ok().out.contains(".TH wattle 1"));
    assert!(env.wattle(env.root(), &["man", "conflicts"]).ok().out.contains("stdin"));
    assert!(env.wattle(env.root(), &["man", "nope"]).code(2).err.contains("no command `nope`"));
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let mut env = TestEnv::new();
    std::fs::write(env.root().join("file"), "in the way").unwrap();
    let inside = env.root().join("file/state");
    env.set("WATTLE_STATE_DIR", inside.to_str().unwrap());
    let repo = env.repo("r", &[("a", "1\n")]);
    let answer = repo.wattle(&["--json", "conflicts", "main", "main"]).code(5).json();
    assert_eq!(answer["error"]["code"], "state_dir");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("--state-dir"));
}

#[test]
fn a_rule_is_sharded_over_the_files_that_match_in_the_commit() {
    let env = TestEnv::new();
    let rust = "fn main() { old(1); }\n";
    let repo = env.repo("r", &[("a/x.rs", rust), ("b/y.rs", rust), ("b/z.rs", "fn z() {}\n"), ("c/w.rs", rust)]);
    repo.write("dirty/v.rs", rust);
    let made = repo.wattle(&["plan", "-p", "old($A)", "--rewrite", "new($A)", "-l", "rust", "--by", "dir"]).ok();
    for folder in ["a/", "b/", "c/"] {
        assert!(made.out.contains(folder), "{}", made.out);
    }
    assert!(!made.out.contains("dirty"), "what is not committed is not seen: {}", made.out);
    assert!(made.err.contains("4 steps: 3 write, 1 read"), "{}", made.err);
    assert!(made.err.contains("cost: nothing, no step asks a model"), "{}", made.err);
    let none = repo.wattle(&["plan", "-p", "gone($A)", "--rewrite", "x", "-l", "rust"]).code(3);
    assert!(none.err.contains("the rule matches no file"), "{}", none.err);
    let language = repo.wattle(&["--json", "plan", "-p", "x", "--rewrite", "y", "-l", "cobol"]).code(3).json();
    assert_eq!(language["error"]["code"], "rule");
}

#[test]
fn the_schema_of_a_plan_is_json_schema() {
    let env = TestEnv::new();
    let schema = env.wattle(env.root(), &["schema", "plan"]).ok().json();
    assert_eq!(schema["type"], "object");
    assert!(schema["properties"]["steps"].is_object());
    for name in ["event", "status", "review", "log", "cost"] {
        let schema = env.wattle(env.root(), &["schema", name]).ok().json();
        let version = &schema["properties"]["v"];
        assert!(version["const"] == 1 || version["type"] == "integer", "{name}: {version}");
    }
    assert!(env.wattle(env.root(), &["schema", "nope"]).code(2).err.contains("invalid value"));
}
