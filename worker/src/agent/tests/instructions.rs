//! Instructions in a conversation: on the card, and when their place is touched.

use std::sync::Arc;

use serde_json::Value;
use wattle_cache::ledger::estimate_tokens;
use wattle_cache::prefix::{Codec, Dialect, Target};

use super::bench::{Bench, Recorder, agent_work, turns};
use super::long::send;
use crate::agent::touch::Touch;
use crate::agent::transcript::Transcript;
use crate::assignment::{Mode, StepAssignment, Work};
use crate::host::{Reply, Usage};
use crate::instructions::{About, Held, Instructions, load};
use crate::model::transport::Pace;
use crate::model::wire::HttpModel;
use crate::model::{Auth, WireOptions};
use crate::outcome::End;
use crate::perform::Tools;

const FILES: &[(&str, &str)] = &[
    ("src/lib.rs", "fn alpha() {}\n"),
    ("src/api/get.rs", "fn get() {}\n"),
    ("docs/a.md", "AGENTS.md: canary-data\n"),
];

const RULE: &str = "- canary-rule: never touch the lock file";

fn held(source: &str, about: About, text: &str) -> Held {
    Held { source: source.to_owned(), about, text: text.to_owned() }
}

fn instructions() -> Instructions {
    Instructions {
        rules: RULE.to_owned(),
        held: vec![
            held(".claude/rules/md.md", About::Paths(vec!["**/*.md".to_owned()]), "canary-md"),
            held("src/AGENTS.md", About::Folder("src".to_owned()), "canary-outer"),
            held("src/api/AGENTS.md", About::Folder("src/api".to_owned()), "canary-inner"),
            held("other/AGENTS.md", About::Folder("other".to_owned()), "canary-never"),
        ],
    }
}

fn instructed(mut step: StepAssignment) -> StepAssignment {
    let Work::Agent(work) = &mut step.work else { panic!() };
    work.instructions = instructions();
    step
}

/// Gets to one place after the other; the matchers see what the model was told.
const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0, not_text: canary-outer }
    blocks:
      - { tool: Glob, input: { pattern: "src/**" } }
      - { tool: Read, input: { file_path: other/gone.rs } }
  - match: { turn: 1, not_text: canary-outer }
    blocks: [{ tool: Read, input: { file_path: src/api/get.rs } }, { tool: Read, input: { file_path: src/lib.rs } }]
  - match: { turn: 2, text: canary-inner, not_text: canary-md }
    blocks:
      - { tool: Edit, input: { file_path: src/api/get.rs, old_string: get, new_string: put } }
      - { tool: Write, input: { file_path: new/b.md, content: "b\n" } }
  - match: { turn: 3, text: canary-md }
    blocks: [{ tool: Read, input: { file_path: src/lib.rs } }]
  - match: { turn: 4, not_text: canary-never }
    blocks: [{ text: "Done." }]
"##;

/// The blocks of text in the journaled turns after the first one.
fn told(turns: &[String]) -> Vec<String> {
    let mut texts = Vec::new();
    for turn in &turns[1..] {
        let turn: Value = serde_json::from_str(turn).unwrap();
        let blocks = turn["content"].as_array().unwrap();
        let user = turn["role"] == "user";
        texts.extend(blocks.iter().filter(|_| user).filter_map(|block| block["text"].as_str()).map(str::to_owned));
        let results = blocks.iter().take_while(|block| block["type"] == "tool_result").count();
        assert!(!user || results > 0, "results come first: {turn}");
    }
    texts
}

const TOLD: [&str; 3] = [
    "# Instructions for what lies in src/ (from src/AGENTS.md)\n\ncanary-outer",
    "# Instructions for what lies in src/api/ (from src/api/AGENTS.md)\n\ncanary-inner",
    "# Instructions for **/*.md (from .claude/rules/md.md)\n\ncanary-md",
];

#[tokio::test]
async fn a_place_is_explained_when_it_is_first_touched_and_once() {
    let bench = Bench::new(SCRIPT, FILES).await;
    let whole = Recorder::new();
    let step = instructed(bench.step("whole", Mode::Write, "go"));
    let outcome = bench.perform(&step, &whole).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_eq!(told(&whole.turns()), TOLD);
    let transcript = Transcript::open("", "", None, &whole.turns(), &[]).unwrap();
    let touch = Touch::new(&instructions(), "", &transcript);
    assert_eq!(touch.given(), [TOLD[2], TOLD[0], TOLD[1]], "what a shorter conversation has to be told again");
    let count = whole.messages.lock().unwrap().len();
    for at in (0..count).step_by(2) {
        let mut step = instructed(bench.step(&format!("cut-{at}"), Mode::Write, "go"));
        let host = Recorder::with(move |index, _| (index == at).then_some(Reply::Cancel));
        bench.perform(&step, &host).await;
        step.resume.messages = turns(&host.messages.lock().unwrap()[..=at]);
        let again = Recorder::new();
        let outcome = bench.perform(&step, &again).await;
        assert_eq!(outcome.end, End::Committed, "cut at {at}: {outcome:?}");
        let later = again.turns_from(step.resume.messages.len());
        let all: Vec<String> = step.resume.messages.iter().chain(&later).cloned().collect();
        assert_eq!(told(&all), TOLD, "cut at {at}");
    }
}

#[tokio::test]
async fn instructions_do_not_renew_the_turns_that_a_worker_has() {
    let bench = Bench::new(SCRIPT, FILES).await;
    let mut step = instructed(bench.step("one", Mode::Write, "go"));
    let Work::Agent(work) = &mut step.work else { panic!() };
    work.max_turns = 3;
    let outcome = bench.perform(&step, &Recorder::new()).await;
    let End::Failed { message, .. } = outcome.end else { panic!("{outcome:?}") };
    assert_eq!(message, "the model was not done after 3 turns");
}

#[tokio::test]
async fn every_request_ends_with_the_card_and_the_journal_has_none() {
    for codec in [Codec::AnthropicMessages, Codec::OpenaiChat, Codec::OpenaiResponses] {
        let bench = Bench::over(codec, SCRIPT, FILES).await;
        let host = Recorder::new();
        let outcome = bench.perform(&instructed(bench.step("one", Mode::Write, "go")), &host).await;
        assert_eq!(outcome.end, End::Committed, "{codec:?} {outcome:?}");
        let requests = bench.requests();
        assert_eq!(requests.len(), 5);
        for (index, request) in requests.iter().enumerate() {
            assert_eq!(request.matches("canary-rule").count(), 1, "{codec:?} {request}");
            let (before, card) = request.split_once("(A reminder that ends every request").unwrap();
            assert!(before.contains("go\\n") && card.contains("Current step: one (the step one)"), "{card}");
            assert!(card.contains(&format!("Left: {} of 10 replies", 10 - index)), "{card}");
            assert!(!card.contains("cache_control") && !card.contains("tool_call"), "behind everything: {card}");
            assert!(!card.contains("canary-data"), "{card}");
        }
        assert!(host.turns().iter().all(|turn| !turn.contains("canary-rule")), "{codec:?}");
    }
}

#[tokio::test]
async fn the_card_costs_no_cache_read() {
    let bench = Bench::new(SCRIPT, FILES).await;
    let host = Recorder::new();
    bench.perform(&instructed(bench.step("one", Mode::Write, "go")), &host).await;
    let usages = host.usages();
    assert!(usages.windows(2).all(|pair| pair[1].cache_read == pair[0].cache_read + pair[0].cache_write));
    assert!(usages.iter().all(|usage| usage.cache_read + usage.cache_write > 0 && usage.uncached_in < 300));
    // The same requests without their cards are charged the same, but for those.
    let bare = Bench::new(SCRIPT, FILES).await;
    for (request, with) in bench.requests().iter().zip(&usages) {
        let mut body: Value = serde_json::from_str(request).unwrap();
        let last = body["messages"].as_array_mut().unwrap().last_mut().unwrap();
        let card = last["content"].as_array_mut().unwrap().pop().unwrap();
        assert!(card["text"].as_str().unwrap().contains("canary-rule"));
        let without = send(&bare, &body).await.usage;
        assert_eq!((without.cache_read, without.cache_write()), (with.cache_read, with.cache_write));
        assert_eq!((without.uncached_in, with.uncached_in), (0, card.to_string().len().div_ceil(4) as u64));
    }
}

/// Thinks where it is told to, and looks for something else each time, so many times.
fn looking(times: usize, thinking: &str) -> String {
    let look = |turn| {
        let call = format!("{{ tool: Glob, input: {{ pattern: \"{turn}*\" }} }}");
        format!("  - {{ match: {{ turn: {turn} }}, blocks: [{thinking}{call}] }}\n")
    };
    let looks: String = (0..times).map(look).collect();
    format!("version: 1\nreplies:\n{looks}  - {{ blocks: [{thinking}{{ text: Done. }}] }}\n")
}

fn read_everything(usages: &[Usage]) {
    let all = usages.windows(2).all(|pair| pair[1].cache_read == pair[0].cache_read + pair[0].cache_write);
    assert!(all, "{usages:?}");
}

/// Cards that a request holds.
fn cards(request: &str) -> usize {
    request.matches("(A reminder that ends").count()
}

#[tokio::test]
async fn a_reply_that_is_bound_to_a_card_keeps_it_and_gets_a_new_one_seldom() {
    let bench = Bench::new(&looking(19, "{ thinking: hm }, "), FILES).await;
    let mut step = instructed(bench.step("one", Mode::Read, "go"));
    let Work::Agent(work) = &mut step.work else { panic!() };
    work.max_turns = 30;
    let host = Recorder::new();
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let requests = bench.requests();
    let found: Vec<usize> = requests.iter().map(|request| cards(request)).collect();
    assert_eq!(found, [vec![1; 8], vec![2; 8], vec![3; 4]].concat());
    read_everything(&host.usages());
    // It goes on elsewhere with the same bytes.
    step.resume.messages = host.turns()[..31].to_vec();
    let again = Recorder::new();
    let outcome = bench.perform(&step, &again).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    assert_eq!(cards(bench.requests().last().unwrap()), 3);
}

#[tokio::test]
async fn a_cache_of_whole_messages_is_not_robbed_of_its_last_one() {
    let bench = Bench::new(&looking(12, ""), FILES).await;
    let options = WireOptions {
        target: Target {
            codec: Codec::OpenaiResponses,
            provider: "openai".to_owned(),
            dialect: Dialect::openai("gpt-6-sol"),
        },
        base_url: format!("{}/v1", bench.server.base_url()),
        auth: Auth::Bearer("k".to_owned()),
        version: None,
        pressure: Arc::default(),
    };
    let pace = Pace { idle: std::time::Duration::from_secs(20), backoff_first: std::time::Duration::from_millis(1) };
    let model = HttpModel::with_pace(options, pace).unwrap();
    let tools = &bench.tools;
    let tools = Tools {
        repo: tools.repo.clone(),
        model: Some(Arc::new(model)),
        temp: tools.temp.clone(),
        base_env: tools.base_env.clone(),
        servers: Arc::clone(&tools.servers),
    };
    let mut step = instructed(bench.step("one", Mode::Read, "go"));
    let mut work = agent_work("go");
    (work.model, work.instructions, work.max_turns) = ("gpt-6-sol".to_owned(), instructions(), 20);
    work.brief = "A long brief. ".repeat(400);
    step.work = Work::Agent(work);
    let host = Recorder::new();
    let outcome = bench.perform_with(&step, &host, Arc::new(tools)).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let usages = host.usages();
    assert!(usages[1].cache_read > usages[0].cache_read, "{usages:?}");
    read_everything(&usages);
    let found: Vec<usize> = bench.requests().iter().map(|request| cards(request)).collect();
    assert_eq!(found, [vec![1; 8], vec![2; 5]].concat());
}

#[tokio::test]
async fn a_question_that_nobody_answers_stays_on_the_card() {
    let script = r##"
version: 1
replies:
  - { match: { turn: 0 }, blocks: [{ tool: Ask, input: { question: "Which colour?" } }] }
  - { match: { text: "Open question, nobody has answered: Which colour?" }, blocks: [{ text: "I leave it." }] }
"##;
    let bench = Bench::new(script, FILES).await;
    let outcome = bench.perform(&instructed(bench.step("one", Mode::Read, "go")), &Recorder::new()).await;
    assert_eq!((outcome.end, outcome.report.as_str()), (End::Done, "I leave it."));
}

#[tokio::test]
async fn a_long_rule_makes_no_long_card() {
    let bench = Bench::new("version: 1\nreplies: [{ blocks: [{ text: Done. }] }]\n", FILES).await;
    let mut step = bench.step("one", Mode::Read, "go");
    let mut work = agent_work("go");
    work.instructions.rules = "- canary-rule ".repeat(100 << 10);
    step.work = Work::Agent(work);
    bench.perform(&step, &Recorder::new()).await;
    let body: Value = serde_json::from_str(&bench.requests()[0]).unwrap();
    let card = body["messages"][0]["content"][2]["text"].as_str().unwrap().to_owned();
    assert!(card.contains("canary-rule") && estimate_tokens(card.len()) <= 300, "{card}");
}

#[tokio::test]
async fn the_files_of_a_commit_are_read_and_those_of_a_worktree_are_not() {
    let bench = Bench::new(SCRIPT, &[("AGENTS.md", "## Always\n- base\n"), ("src/CLAUDE.md", "inner\n")]).await;
    let step = bench.step("one", Mode::Write, "go");
    std::fs::write(step.place.path.join("AGENTS.md"), "## Always\n- forged\n").unwrap();
    let repo = &bench.tools.repo;
    let found = load(repo, &repo.tree_of(&step.place.base).unwrap()).unwrap();
    assert_eq!((found.instructions.rules.as_str(), found.instructions.held.len()), ("- base", 1));
    let json = serde_json::to_string(&found.instructions).unwrap();
    assert_eq!(serde_json::from_str::<Instructions>(&json).unwrap(), found.instructions);
    // What an older journal holds names none.
    let mut old = serde_json::to_value(agent_work("x")).unwrap();
    old.as_object_mut().unwrap().remove("instructions");
    assert_eq!(serde_json::from_value::<crate::assignment::AgentWork>(old).unwrap(), agent_work("x"));
}
