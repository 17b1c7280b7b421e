//! The ledger: a row for every attempt, what sharing a prefix has saved, and a provider that refuses everybody.

use serde_json::Value;

use super::{CANARY, MODEL, Service, of, run, script, sound, standing};
use crate::env::{TestEnv, TestRepo};

/// Four workers that only look; their brief is long enough to be cached.
const FOUR: &str = r#"
version: 1
task: Look at it from four sides
checks: []
limits: { jobs: 4 }
steps:
  - { id: a, mode: scratch, agent: { prompt: Look. } }
  - { id: b, mode: scratch, agent: { prompt: Look. } }
  - { id: c, mode: scratch, agent: { prompt: Look. } }
  - { id: d, mode: scratch, agent: { prompt: Look. } }
"#;

const LOOK: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    delay_ms: 100
    blocks: [{ tool: Glob, input: { pattern: "*" } }]
  - match: { turn: 1 }
    blocks: [{ text: Seen. }]
"##;

/// Instructions of about three thousand tokens.
fn instructions() -> String {
    "Every function has a test of its own.\n".repeat(320)
}

fn big(env: &TestEnv) -> TestRepo<'_> {
    env.repo("r", &[("a.txt", "a\n"), ("AGENTS.md", &instructions())])
}

fn cost(repo: &TestRepo<'_>, more: &[&str]) -> Value {
    repo.wattle(&[&["cost", "--json"], more].concat()).ok().json()
}

#[test]
fn every_attempt_is_a_row_with_the_price_it_was_paid_at() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, LOOK);
    let repo = big(&env);
    let events = run(&env, &repo, FOUR, MODEL, &["--approve", "auto"]).ok().events();
    let rows = of(&events, "usage");
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|row| row["prefix_sha"] == rows[0]["prefix_sha"]), "one prefix for all of a run");
    for row in &rows {
        let rates = &row["price"]["rates"];
        assert_eq!((&row["price"]["table"], &rates["output"]), (&"2026-11-28".into(), &10_000_000.into()));
        let priced = |key: &str, rate: &str| row[key].as_u64().unwrap() * rates[rate].as_u64().unwrap();
        let pico = priced("uncached_in", "input")
            + priced("cache_read", "cache_read")
            + priced("cache_write", "cache_write_short")
            + priced("out", "output");
        assert_eq!(row["nano_usd"].as_u64().unwrap(), pico.div_ceil(1000), "the row can be computed again: {row}");
        assert_eq!(row["http_attempt"], 1);
    }
    // The row stands right before the turn that it paid for: they were written together.
    for (index, event) in events.iter().enumerate().filter(|(_, event)| event["type"] == "usage") {
        let next = &events[index + 1];
        assert_eq!((&next["type"], &next["step"], &next["index"]), (&"turn".into(), &event["step"], &event["turn"]));
    }
    assert!(of(&events, "cache_miss").is_empty());
    sound(&repo);
    service.stop();
}

#[test]
fn cost_says_what_sharing_has_saved() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, LOOK);
    let repo = big(&env);
    let events = run(&env, &repo, FOUR, MODEL, &["--approve", "auto"]).ok().events();
    let nano: u64 = of(&events, "usage").iter().map(|row| row["nano_usd"].as_u64().unwrap()).sum();
    let cost_json = cost(&repo, &[]);
    let usd = |value: &Value| (value.as_f64().unwrap() * 1e9).round() as u64;
    assert_eq!(usd(&cost_json["total"]["usd"]), nano);
    assert_eq!(cost_json["total"]["estimated"], 0);
    let sharing = &cost_json["sharing"];
    assert_eq!(sharing["workers"], 4);
    // Three workers have read the prefix that the first one wrote; alone they would have written it.
    let first: Vec<_> = of(&events, "usage").into_iter().filter(|row| row["turn"] == 1).collect();
    let read: u64 = first.iter().map(|row| row["cache_read"].as_u64().unwrap()).sum();
    assert_eq!(first.iter().filter(|row| row["cache_read"] == 0).count(), 1);
    assert_eq!(sharing["shared_tokens"], read);
    assert_eq!(usd(&sharing["alone_usd"]), nano + read * (2500 - 100));
    let k = sharing["k"].as_f64().unwrap();
    let one = (nano + read * 2400) as f64 / 4.0;
    assert!((one * (1.0 + 3.0 * k) - nano as f64).abs() < 1.0, "{k}");
    assert!(k < 0.9, "{k}");
    let words = repo.wattle(&["cost"]).ok().out;
    assert!(words.contains("4 workers cost ") && words.contains("with a cache for each worker $"), "{words}");
    for by in ["model", "day"] {
        assert_eq!(cost(&repo, &["--by", by])["rows"].as_array().unwrap().len(), 1, "{by}");
    }
    service.stop();
}

#[test]
fn an_empty_account_parks_the_run_and_resume_goes_on() {
    let mut env = TestEnv::new();
    let empty = LOOK.replace("replies:", "replies:\n  - { times: 1, delay_ms: 200, fault: { status: 402 } }");
    let service = Service::start(&mut env, &empty);
    let repo = big(&env);
    let plan = FOUR.replace("jobs: 4", "jobs: 2");
    let events = run(&env, &repo, &plan, MODEL, &["--approve", "auto"]).code(6).events();
    assert_eq!(service.requests().len(), 1, "the first refusal is the only one");
    let hit = of(&events, "bound_hit");
    assert!(hit.iter().all(|event| event["bound"] == "provider_money") && !hit.is_empty(), "{hit:?}");
    assert!(hit[0]["message"].as_str().unwrap().contains("402"));
    let started: Vec<_> = of(&events, "step_state").into_iter().filter(|event| event["state"] == "running").collect();
    assert!(started.len() <= 2, "nothing more is given out");
    assert_eq!(events.last().unwrap()["state"], "budget");
    assert_eq!(standing(&repo, "a"), ("parked".to_owned(), Some("budget".to_owned())));
    let sha = of(&events, "usage")[0]["prefix_sha"].clone();
    let events = repo.wattle(&["resume", "--json"]).ok().events();
    assert_eq!(events.last().unwrap()["state"], "completed");
    assert!(of(&events, "usage").iter().all(|row| row["prefix_sha"] == sha), "the same prefix after a resume");
    assert_eq!(service.requests().len(), 9);
    sound(&repo);
    service.stop();
}

#[test]
fn a_wrong_key_parks_the_run_once_for_all() {
    let mut env = TestEnv::new();
    let wrong = LOOK.replace("replies:", "replies:\n  - { times: 1, delay_ms: 200, fault: { status: 401 } }");
    let service = Service::start(&mut env, &wrong);
    let repo = big(&env);
    let events = run(&env, &repo, FOUR, MODEL, &["--approve", "auto"]).code(5).events();
    assert_eq!(service.requests().len(), 1);
    assert_eq!(events.last().unwrap()["state"], "parked");
    assert_eq!(standing(&repo, "a"), ("parked".to_owned(), Some("model".to_owned())));
    let message = of(&events, "bound_hit")[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("401") && message.contains("key") && !message.contains(CANARY), "{message}");
    drop(repo.wattle(&["resume"]).ok());
    service.stop();
}

#[test]
fn what_a_failed_lead_has_spent_is_not_lost() {
    let mut env = TestEnv::new();
    let stubborn = r#"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks: [{ tool: Glob, input: { pattern: "*" } }]
  - match: { role: lead }
    blocks: [{ text: I have no plan. }]
"#;
    let service = Service::start(&mut env, stubborn);
    let repo = env.repo("r", &[("a.txt", "old\n")]);
    drop(repo.wattle(&["plan", "Renew it", "--model", MODEL]).code(1));
    let spent = cost(&repo, &["--all-runs"]);
    assert_eq!(spent["total"]["requests"], 2);
    assert!(spent["total"]["usd"].as_f64().unwrap() > 0.0);
    assert_eq!(spent["rows"][0]["name"], "(lead)");
    drop(repo.wattle(&["cost"]).code(5));
    service.stop();
}

#[test]
fn a_plan_that_became_a_run_is_paid_once() {
    let mut env = TestEnv::new();
    let good = r#"
version: 1
replies:
  - match: { role: lead }
    blocks: [{ tool: SubmitPlan, input: { steps: [{ id: one, mode: scratch, agent: { prompt: Look. } }] } }]
  - blocks: [{ text: Seen. }]
"#;
    let service = Service::start(&mut env, good);
    let repo = env.repo("r", &[("a.txt", "old\n")]);
    drop(repo.wattle(&["run", "Look at it", "--model", MODEL, "--yes", "--approve", "manual"]).ok());
    let (own, all) = (cost(&repo, &[]), cost(&repo, &["--all-runs"]));
    assert_eq!((&own["total"]["requests"], &all["total"]["requests"]), (&2.into(), &2.into()));
    assert_eq!(service.requests().len(), 2);
    service.stop();
}

#[test]
fn a_price_of_the_users_own_comes_first() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, LOOK);
    let prices = "prices: { anthropic/claude-own: { input: 1, output: 2.5, cache_read: 0.125, cache_write: 1.25 } }\n";
    std::fs::create_dir_all(env.root().join("config/wattle")).unwrap();
    std::fs::write(env.root().join("config/wattle/config.yaml"), prices).unwrap();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = FOUR.split("  - { id: b").next().unwrap();
    let events = run(&env, &repo, plan, "anthropic/claude-own", &["--approve", "auto", "--max-usd", "1"]).ok().events();
    let row = of(&events, "usage")[0];
    assert_eq!((&row["price"]["table"], &row["price"]["rates"]["output"]), (&"user".into(), &2_500_000.into()));
    let unpriced = repo.wattle(&["plan", "x", "--model", "anthropic/claude-other"]).code(3);
    assert!(unpriced.err.contains("its price is not known"), "{}", unpriced.err);
    service.stop();
}

#[test]
fn a_cap_in_tokens_can_be_raised() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, LOOK);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = FOUR.split("  - { id: b").next().unwrap();
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto", "--max-tokens", "10k"]).code(6));
    assert_eq!(service.requests().len(), 0, "what could go over the cap is not sent");
    drop(repo.wattle(&["resume"]).code(6));
    drop(repo.wattle(&["resume", "--max-tokens", "1M"]).ok());
    assert_eq!(service.requests().len(), 2);
    service.stop();
}

#[test]
fn doctor_asks_the_model_and_explains_its_answer() {
    let mut env = TestEnv::new();
    let replies = r#"
version: 1
replies:
  - { times: 1, blocks: [{ text: ok }] }
  - { times: 1, fault: { status: 401 } }
  - { times: 1, fault: { status: 404, message: "model: claude-nobody" } }
  - { times: 1, fault: { status: 404, page: true } }
  - { times: 1, blocks: [{ text: ok }], fault: { whole: true } }
"#;
    let service = Service::start(&mut env, replies);
    let path = env.repo("r", &[("a.txt", "a\n")]).path.clone();
    let ask = |env: &TestEnv| env.wattle(&path, &["doctor", "--model", MODEL]);
    let good = ask(&env).ok();
    assert!(good.out.contains("claude-sonnet-5-5 answers:") && good.out.contains("tokens in"), "{}", good.out);
    let key = ask(&env).code(5);
    assert!(key.out.contains("401") && key.out.contains("set a key"), "{}", key.out);
    let unknown = ask(&env).code(5);
    assert!(unknown.out.contains("404") && unknown.out.contains("name of the model"), "{}", unknown.out);
    let page = ask(&env).code(5);
    assert!(page.out.contains("base_url"), "{}", page.out);
    let whole = ask(&env).ok();
    assert!(whole.out.contains("came whole although a stream"), "{}", whole.out);
    assert_eq!(service.requests().len(), 5, "one request each");
    let body = service.bodies().remove(0);
    assert!(body.len() < 600, "a cheap one: {body}");
    service.stop();
    env.set("ANTHROPIC_BASE_URL", "http://127.0.0.1:1");
    let nowhere = ask(&env).code(5);
    assert!(nowhere.out.contains("127.0.0.1:1") && nowhere.out.contains("fail  model"), "{}", nowhere.out);
    for output in [good, key, unknown, page, whole, nowhere] {
        assert!(!output.whole().contains(CANARY));
    }
    let scripted = script(&env, "version: 1\nreplies: [{ blocks: [{ text: ok }] }]\n");
    let scripted = env.wattle(&path, &["doctor", "--model", &scripted]).ok();
    assert!(scripted.out.contains("price of claude-scripted is not known"), "{}", scripted.out);
}
