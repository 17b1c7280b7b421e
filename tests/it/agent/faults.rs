//! A model that fails: what is tried again, what is not, and what is never told to anybody.

use super::{CANARY, MODEL, Service, file, holding, of, run, script, sound, standing};
use crate::env::TestEnv;

const PLAN: &str = r#"
version: 1
task: t
checks: []
steps:
  - { id: w, touches: [b.txt], agent: { prompt: Write. } }
"#;

const WORK: &str = r##"
  - match: { turn: 0 }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "b\n" } }]
  - match: { turn: 1 }
    blocks: [{ text: Written. }]
"##;

#[test]
fn a_busy_model_and_a_broken_stream_are_tried_again() {
    let mut env = TestEnv::new();
    let faults = r##"
version: 1
replies:
  - match: { turn: 0 }
    times: 1
    fault: { status: 529, retry_after: 0 }
  - match: { turn: 0 }
    times: 1
    fault: { status: 429, retry_after: 0 }
  - match: { turn: 0 }
    times: 1
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "half a reply that is cut\n" } }]
    fault: { cut_after_bytes: 600 }
  - match: { turn: 1 }
    times: 1
    blocks: [{ text: Writ }]
    fault: { error_event: overloaded_error }
"##;
    let service = Service::start(&mut env, &format!("{faults}{WORK}"));
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).ok().events();
    assert_eq!(repo.read("b.txt"), "b\n");
    assert_eq!(service.requests().len(), 6);
    let usage = of(&events, "usage");
    let statuses: Vec<_> = usage.iter().map(|event| event["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [529, 429, 200, 200, 200, 200], "every attempt has its row");
    assert_eq!(usage[2]["exact"], false, "what a cut stream cost is not known exactly");
    assert_eq!(usage[0]["out"], 0);
    assert_eq!(
        of(&events, "step_state").iter().filter(|e| e["state"] == "ready").count(),
        1,
        "one attempt of the step"
    );
    sound(&repo);
    service.stop();
}

#[test]
fn a_refused_key_is_not_tried_again_and_names_its_mend() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, "version: 1\nreplies: [{ fault: { status: 401 } }]\n");
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).code(5).events();
    assert_eq!(standing(&repo, "w"), ("parked".to_owned(), Some("model".to_owned())));
    assert_eq!(service.requests().len(), 1, "it would be refused again");
    let message = of(&events, "bound_hit")[0]["message"].as_str().unwrap();
    assert!(message.contains("401") && message.contains("key"), "{message}");
    assert!(!message.contains(CANARY));
    let lead = repo.wattle(&["plan", "Do it", "--model", MODEL]).code(5);
    assert!(lead.err.contains("401") && lead.err.contains("hint:") && lead.err.contains("key"), "{}", lead.err);
    service.stop();
}

#[test]
fn an_agent_needs_a_model_and_a_model_its_key() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = file(&env, "plan.yaml", PLAN);
    let none = repo.wattle(&["run", "-f", &plan, "--approve", "auto"]).code(5);
    assert!(none.err.contains("none is set") && none.err.contains("--model"), "{}", none.err);
    let key = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).code(5).json();
    assert_eq!(key["error"]["code"], "no_model");
    assert_eq!(key["error"]["hint"], "export ANTHROPIC_API_KEY=…");
    let lost = run(&env, &repo, PLAN, "script:nowhere.yaml", &["--approve", "auto"]).code(5).json();
    assert!(lost["error"]["message"].as_str().unwrap().contains("nowhere.yaml"), "{lost}");
    let bad = script(&env, "version: 1\nreplies: [{ match: { txt: x } }]\n");
    let bad = run(&env, &repo, PLAN, &bad, &["--approve", "auto"]).code(5).json();
    assert!(bad["error"]["message"].as_str().unwrap().contains("line 2"), "{bad}");
    drop(repo.wattle(&["status"]).code(5));
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main", "nothing was touched");
}

#[test]
fn a_resume_without_the_key_says_so_and_changes_nothing() {
    let mut env = TestEnv::new();
    let ask = "version: 1\nreplies: [{ match: { turn: 0 }, blocks: [{ tool: Ask, input: { question: Well? } }] }, { blocks: [{ text: Done. }] }]\n";
    let service = Service::start(&mut env, ask);
    let path = env.repo("r", &[("a.txt", "a\n")]).path.clone();
    let plan = file(&env, "plan.yaml", PLAN);
    drop(env.wattle(&path, &["run", "-f", &plan, "--model", MODEL, "--approve", "auto"]).code(4));
    drop(env.wattle(&path, &["answer", "w", "-m", "yes"]).ok());
    env.set("ANTHROPIC_API_KEY", "");
    let refused = env.wattle(&path, &["--json", "resume"]).code(5).json();
    assert_eq!(refused["error"]["hint"], "export ANTHROPIC_API_KEY=…");
    env.set("ANTHROPIC_API_KEY", CANARY);
    drop(env.wattle(&path, &["resume"]).ok());
    service.stop();
}

#[test]
fn a_server_of_the_users_own_is_a_model() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &format!("version: 1\nreplies:{WORK}"));
    let url = service.server.base_url();
    env.set("ANTHROPIC_BASE_URL", "http://127.0.0.1:1");
    // The key that its entry names, and never Anthropic's.
    env.set("LOCAL_KEY", "local");
    std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
    let config = format!(
        "models: {{ local: {{ base_url: \"{url}\", wire: anthropic, key: LOCAL_KEY }} }}\nmodel: local/some\nlimits: {{ tokens: 1000000 }}\n"
    );
    std::fs::write(env.root().join("config/wattle/config.yaml"), config).unwrap();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = file(&env, "plan.yaml", PLAN);
    let events = repo.wattle(&["run", "-f", &plan, "--approve", "auto", "--json"]).ok().events();
    assert_eq!(of(&events, "usage")[0]["provider"], "local");
    assert_eq!(service.requests()[0]["model"], "some");
    assert_eq!(repo.read("b.txt"), "b\n");
    assert!(service.bodies().iter().all(|body| !body.contains(CANARY)));
    service.stop();
}

#[test]
fn a_server_of_the_users_own_may_want_no_key() {
    for (wire, below) in [("anthropic", ""), ("openai", "/v1"), ("openai-responses", "/v1")] {
        for (script, code) in [("keyless: true\nreplies:", 0), ("replies:", 5)] {
            let mut env = TestEnv::new();
            let service = Service::start(&mut env, &format!("version: 1\n{script}{WORK}"));
            let url = service.server.base_url();
            std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
            let config = format!(
                "models: {{ local: {{ base_url: \"{url}{below}\", wire: {wire} }} }}\nmodel: local/some\nlimits: {{ tokens: 1000000 }}\n"
            );
            std::fs::write(env.root().join("config/wattle/config.yaml"), config).unwrap();
            let path = env.repo("r", &[("a.txt", "a\n")]).path.clone();
            let plan = file(&env, "plan.yaml", PLAN);
            // The vendors' keys are in the environment, and none of them is for this server.
            env.set("OPENAI_API_KEY", CANARY);
            let ran = env.wattle(&path, &["run", "-f", &plan, "--approve", "auto", "--json"]).code(code);
            if code == 5 {
                let events = ran.events();
                let hit = of(&events, "bound_hit")[0]["message"].as_str().unwrap();
                assert!(hit.contains("set a key"), "{wire}: {hit}");
            }
            assert!(service.server.journal().iter().all(|record| record.status == if code == 0 { 200 } else { 401 }));
            service.stop();
        }
    }
}

#[test]
fn a_key_is_told_to_nobody() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Bash, input: { command: "env; cat /proc/self/environ; cat /proc/$PPID/cmdline" } }]
  - match: { turn: 1 }
    blocks: [{ tool: Bash, input: { command: "env > env.txt" } }]
  - match: { turn: 2 }
    blocks: [{ text: Done. }]
"##;
    let service = Service::start(&mut env, script);
    env.set("OPENAI_API_KEY", CANARY);
    env.set("CANARY_OF_ITS_OWN", "seen by children");
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: t
checks: [{ name: env, run: env }]
setup: { run: env, key: [a.txt] }
notify: { run: "env; cat > $HOME/notified", on: [finished] }
steps:
  - { id: w, touches: [env.txt], agent: { prompt: Write. }, check: { run: env } }
  - { id: r, mode: read, run: env }
"#;
    let ran = run(&env, &repo, plan, MODEL, &["--approve", "auto", "-v"]).ok();
    assert!(!ran.whole().contains(CANARY));
    let log = repo.wattle(&["log", "w"]).ok();
    assert!(log.out.contains("seen by children") && !log.out.contains(CANARY), "{}", log.out);
    assert!(repo.read("env.txt").contains("seen by children"), "children have an environment");
    assert!(service.bodies().iter().all(|body| !body.contains(CANARY)), "it is in no body of a request");
    assert_eq!(holding(env.root(), CANARY), Vec::<String>::new());
    service.stop();
}

#[test]
fn a_key_that_a_provider_repeats_is_told_to_nobody() {
    let mut env = TestEnv::new();
    let script = format!(
        r##"
version: 1
replies:
  - {{ times: 2, fault: {{ status: 500, message: "no upstream for {CANARY}", kind: "error of {CANARY}" }} }}
  - {{ fault: {{ status: 401, message: "Incorrect API key provided: {CANARY}." }} }}
"##
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let ran = run(&env, &repo, PLAN, MODEL, &["--approve", "auto", "-v"]).code(5);
    assert!(ran.out.contains("Incorrect API key provided: (hidden)."), "{}", ran.out);
    assert_eq!(service.requests().len(), 3);
    let planned = repo.wattle(&["-v", "plan", "Do it", "--model", MODEL]).code(5);
    let doctor = repo.wattle(&["--json", "doctor", "--model", MODEL]);
    let shown = [ran, planned, doctor, repo.wattle(&["log", "w"]), repo.wattle(&["--json", "status"])];
    for output in shown {
        assert!(!output.whole().contains(CANARY), "{}", output.whole());
    }
    assert_eq!(holding(env.root(), CANARY), Vec::<String>::new());
    service.stop();
}
