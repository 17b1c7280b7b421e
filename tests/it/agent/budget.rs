//! Money, tokens and turns: what happens when a bound is reached, and how to go on.

use super::{MODEL, Service, of, run, script, sound, standing};
use crate::env::TestEnv;

/// A worker whose first reply is long: forty thousand bytes are about ten thousand tokens, ten cents.
fn wordy() -> String {
    format!(
        r##"
version: 1
replies:
  - match: {{ turn: 0 }}
    blocks: [{{ tool: Write, input: {{ file_path: long.txt, content: "{}\n" }} }}]
  - match: {{ turn: 1 }}
    blocks: [{{ tool: Edit, input: {{ file_path: long.txt, old_string: "xyz", new_string: "end" }} }}]
  - match: {{ turn: 2 }}
    blocks: [{{ text: It is long. }}]
"##,
        "word ".repeat(8000) + "xyz"
    )
}

const PLAN: &str = r#"
version: 1
task: Write a lot
checks: []
steps:
  - { id: write, touches: [long.txt], agent: { prompt: Write a lot. } }
"#;

#[test]
fn a_cap_in_money_ends_the_run_and_a_higher_one_goes_on() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &wordy());
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto", "--max-usd", "0.20"]).code(6).events();
    let hit = of(&events, "bound_hit");
    assert_eq!((&hit[0]["bound"], &hit[0]["step"]), (&"budget".into(), &"write".into()));
    assert!(hit[0]["message"].as_str().unwrap().contains("$0.20"), "{}", hit[0]);
    let end = events.last().unwrap();
    assert_eq!((&end["state"], &end["exit"]), (&"budget".into(), &6.into()));
    assert!(end["usd"].as_f64().unwrap() > 0.05, "{end}");
    assert_eq!(standing(&repo, "write"), ("parked".to_owned(), Some("budget".to_owned())));
    assert_eq!(service.requests().len(), 1);

    drop(repo.wattle(&["resume"]).code(6));
    assert_eq!(service.requests().len(), 1, "the cap still holds");
    drop(repo.wattle(&["resume", "--max-usd", "5"]).ok());
    assert_eq!(service.requests().len(), 3, "it went on after its last completed turn");
    assert!(repo.read("long.txt").ends_with("word end\n"), "what was written before is kept, the rest is done");
    sound(&repo);
    service.stop();
}

#[test]
fn a_cap_in_tokens_ends_the_run_too() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &wordy());
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN.replace("checks: []", "checks: []\nlimits: { tokens: 30000 }");
    let events = run(&env, &repo, &plan, MODEL, &["--approve", "auto"]).code(6).events();
    assert!(of(&events, "bound_hit")[0]["message"].as_str().unwrap().contains("30000 tokens"));
    assert_eq!(service.requests().len(), 1);
    service.stop();
}

#[test]
fn a_step_over_its_own_cap_fails_alone_and_its_work_is_kept() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &wordy());
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN.replace("prompt: Write a lot.", "prompt: Write a lot., max_usd: 0.20")
        + "  - { id: other, touches: [b.txt], run: echo b > b.txt }\n";
    let events = run(&env, &repo, &plan, MODEL, &["--approve", "auto"]).code(1).events();
    assert_eq!(of(&events, "bound_hit")[0]["bound"], "max_usd");
    assert_eq!(standing(&repo, "write"), ("failed".to_owned(), Some("budget".to_owned())));
    assert_eq!(standing(&repo, "other").0, "landed");
    assert_eq!(service.requests().len(), 1, "a budget is not tried again");
    let kept = repo.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/attempt"]);
    let of_write = kept.lines().find(|name| name.contains("/write/")).expect("its work has a ref");
    assert!(repo.git(&["show", &format!("{of_write}:long.txt")]).ends_with("xyz"));
    sound(&repo);
    service.stop();
}

#[test]
fn a_cap_of_a_step_counts_what_was_spent_before_an_interruption() {
    let mut env = TestEnv::new();
    let words = "word ".repeat(8000);
    // Two long replies, and a third one that would be cheap; the second waits for ever.
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ turn: 0 }}
    blocks: [{{ tool: Write, input: {{ file_path: long.txt, content: "{words}\n" }} }}]
  - match: {{ turn: 1 }}
    blocks:
      - {{ tool: Write, input: {{ file_path: long.txt, content: "{words}\n" }} }}
      - {{ tool: Bash, input: {{ command: "while :; do sleep 0.05; done" }} }}
  - match: {{ turn: 2 }}
    blocks: [{{ text: It is long. }}]
"##
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    // Enough for the first two requests, and for the third one if the first two were forgotten.
    let plan = PLAN.replace("prompt: Write a lot.", "prompt: Write a lot., max_usd: 0.38");
    let plan = super::file(&env, "plan.yaml", &plan);
    let mut live = repo.spawn(&["run", "-f", &plan, "--model", MODEL, "--approve", "auto", "--json"]);
    live.wait_for(|event| event["type"] == "intent" && event["intent"]["name"] == "Bash");
    live.interrupt();
    drop(live.end().code(130));
    let events = repo.wattle(&["resume", "--json"]).code(1).events();
    assert_eq!(of(&events, "bound_hit")[0]["bound"], "max_usd");
    assert_eq!(service.requests().len(), 2);
    assert_eq!(standing(&repo, "write"), ("failed".to_owned(), Some("budget".to_owned())));
    service.stop();
}

#[test]
fn turns_are_bounded() {
    let mut env = TestEnv::new();
    let endless = "version: 1\nreplies: [{ blocks: [{ tool: Glob, input: { pattern: '*' } }] }]\n";
    let service = Service::start(&mut env, endless);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN
        .replace("prompt: Write a lot.", "prompt: Write a lot., max_turns: 3")
        .replace("touches: [long.txt]", "touches: [long.txt], retries: 0");
    let events = run(&env, &repo, &plan, MODEL, &["--approve", "auto"]).code(1).events();
    assert_eq!(of(&events, "bound_hit")[0]["bound"], "max_turns");
    assert_eq!(standing(&repo, "write"), ("failed".to_owned(), Some("turns".to_owned())));
    assert_eq!(service.requests().len(), 3);
    service.stop();
}

#[test]
fn a_cap_in_money_needs_a_known_price() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, "version: 1\nreplies: [{ blocks: [{ text: Done. }] }]\n");
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let unknown = "anthropic/claude-nobody";
    for more in [&["--max-usd", "1"][..], &[]] {
        let refused = run(&env, &repo, PLAN, unknown, &[&["--approve", "auto"], more].concat()).code(3).json();
        assert_eq!(refused["error"]["code"], "unknown_price");
        assert!(refused["error"]["hint"].as_str().unwrap().contains("tokens"));
    }
    let repair = r#"
version: 1
task: t
checks: []
steps:
  - { id: a, touches: [b.txt], run: touch b.txt, check: { run: "false" }, repair: { agent: { prompt: Mend. } } }
"#;
    drop(run(&env, &repo, repair, unknown, &["--approve", "auto"]).code(3));
    let planned = repo.wattle(&["--json", "plan", "Do it", "--model", unknown, "--max-usd", "1"]).code(3).json();
    assert_eq!(planned["error"]["code"], "unknown_price");
    assert!(service.requests().is_empty());
    drop(repo.wattle(&["status"]).code(5));

    let plan = PLAN.replace("checks: []", "checks: []\nlimits: { tokens: 100000 }");
    let events = run(&env, &repo, &plan, unknown, &["--approve", "auto"]).ok().events();
    assert!(events.last().unwrap()["usd"].is_null(), "a price that is not known is not 0");
    assert!(of(&events, "usage")[0]["nano_usd"].is_null());
    service.stop();
}

#[test]
fn a_scripted_model_costs_an_unknown_price() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let model = script(&env, "version: 1\nreplies: [{ blocks: [{ text: Done. }] }]\n");
    let events = run(&env, &repo, PLAN, &model, &["--approve", "auto"]).ok().events();
    assert_eq!(standing(&repo, "write").0, "unchanged");
    assert!(events.last().unwrap()["usd"].is_null());
}

#[test]
fn workers_wait_for_each_others_reservations() {
    let mut env = TestEnv::new();
    let cheap = r##"
version: 1
replies:
  - match: { turn: 0 }
    delay_ms: 100
    blocks: [{ tool: Write, input: { file_path: long.txt, content: "short\n" } }]
  - match: { turn: 1 }
    delay_ms: 100
    blocks: [{ text: Done. }]
"##;
    let service = Service::start(&mut env, cheap);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN.replace("touches: [long.txt]", "mode: scratch")
        + "  - { id: other, mode: scratch, agent: { prompt: Write. } }\n";
    // Enough for one request under way, not for two: what is reserved and not spent is free again.
    let events = run(&env, &repo, &plan, MODEL, &["--approve", "auto", "--max-usd", "0.25"]).ok().events();
    assert!(of(&events, "bound_hit").is_empty());
    assert_eq!(service.requests().len(), 4);
    let usd = events.last().unwrap()["usd"].as_f64().unwrap();
    assert!(usd < 0.03, "{usd}");
    service.stop();
}

/// A reply that does not fit is asked for again with more room, and that is more than the cap has left: at that moment
/// another agent and a command are in the middle of their work.
#[test]
fn what_is_under_way_at_a_cap_is_finished_and_committed() {
    let mut env = TestEnv::new();
    let (ready, go) = (env.root().join("ready"), env.root().join("go"));
    let until = |file: &std::path::Path| format!("until test -e {}; do sleep 0.02; done", file.display());
    let script = format!(
        r##"
version: 1
models: {{ "*": {{ rates: {{ input: 2000, output: 10000, cache_read: 100, write_short: 2500, write_long: 4000 }} }} }}
replies:
  - match: {{ text: "Step: greedy", turn: 0 }}
    blocks: [{{ tool: Bash, input: {{ command: "{first}" }} }}]
  - match: {{ text: "Step: greedy", turn: 1 }}
    times: 1
    stop: max_tokens
    blocks: [{{ tool: Write, input: {{ file_path: g.txt, content: half }} }}]
  - match: {{ text: "Step: greedy", turn: 1 }}
    blocks: [{{ tool: Write, input: {{ file_path: g.txt, content: "g\n" }} }}]
  - match: {{ text: "Step: patient", turn: 0 }}
    blocks: [{{ tool: Bash, input: {{ command: "{second}; echo p > p.txt" }} }}]
  - blocks: [{{ text: Done. }}]
"##,
        first = until(&ready),
        second = until(&go),
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = format!(
        r#"
version: 1
task: Three at once
checks: []
limits: {{ jobs: 3 }}
steps:
  - {{ id: greedy, touches: [g.txt], agent: {{ prompt: Write. }} }}
  - {{ id: patient, touches: [p.txt], agent: {{ prompt: Write. }} }}
  - {{ id: command, touches: [c.txt], run: "{}; echo c > c.txt" }}
  - {{ id: later, needs: [command], touches: [l.txt], run: echo l > l.txt }}
"#,
        until(&go)
    );
    let plan = super::file(&env, "plan.yaml", &plan);
    let arguments = ["run", "-f", &plan, "--model", MODEL, "--approve", "auto", "--max-usd", "0.60", "--json"];
    let mut live = repo.spawn(&arguments);
    let waiting = std::cell::RefCell::new(std::collections::BTreeSet::new());
    live.wait_for(|event| {
        let step = event["step"].as_str().unwrap_or_default().to_owned();
        let at_work = match step.as_str() {
            "command" => event["type"] == "step_state" && event["state"] == "running",
            "patient" | "greedy" => event["type"] == "intent" && event["intent"]["name"] == "Bash",
            _ => false,
        };
        if at_work {
            waiting.borrow_mut().insert(step);
        }
        waiting.borrow().len() == 3
    });
    std::fs::write(&ready, "").unwrap();
    live.wait_for(|event| event["type"] == "bound_hit" && event["bound"] == "budget");
    std::fs::write(&go, "").unwrap();
    let events = live.end().code(6).events();

    let end = events.last().unwrap();
    assert_eq!((&end["state"], &end["exit"]), (&"budget".into(), &6.into()));
    assert_eq!(standing(&repo, "greedy"), ("parked".to_owned(), Some("budget".to_owned())));
    let refs = repo.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/attempt"]);
    for (step, name, text) in [("patient", "p.txt", "p\n"), ("command", "c.txt", "c\n")] {
        let state = standing(&repo, step).0;
        assert!(["approved", "queued", "landed"].contains(&state.as_str()), "{step} is {state}");
        let of_step = refs.lines().find(|name| name.contains(&format!("/{step}/"))).expect("its work is a commit");
        assert_eq!(repo.git(&["show", &format!("{of_step}:{name}")]), text.trim_end(), "{step}");
    }
    assert_eq!(standing(&repo, "later").0, "waiting", "nothing new was started");
    // Four requests were paid for: two of the greedy one, two of the patient one. All that they could have cost was
    // reserved before, so the bill is below the cap.
    let bill: u64 = service.server.journal().iter().map(|record| record.nano_usd.unwrap()).sum();
    let usd = end["usd"].as_f64().unwrap();
    assert_eq!((service.requests().len(), (usd * 1e9).round() as u64), (4, bill));
    assert!(bill < 600_000_000, "{bill}");

    drop(repo.wattle(&["resume", "--max-usd", "5"]).ok());
    for (name, text) in [("g.txt", "g\n"), ("p.txt", "p\n"), ("c.txt", "c\n"), ("l.txt", "l\n")] {
        assert_eq!(repo.read(name), text);
    }
    sound(&repo);
    service.stop();
}
