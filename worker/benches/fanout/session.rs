//! One worker over three hundred turns in the whole loop: what its window costs against a history that only grows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::PrefixTtl;
use wattle_cache::price::Table as Prices;
use wattle_cache::warm::Policy;
use wattle_worker::assignment::{AgentWork, Assignment, Bounds, LeadAssignment, LeadTask, Owner, Place};
use wattle_worker::host::{Host, Intent, Message, Pending, Reply, StepResult, Usage};
use wattle_worker::lsp::Pool;
use wattle_worker::model::Model;
use wattle_worker::perform::{Tools, perform};
use wattle_worker::process::{self, Job};
use wattle_worker::scripted;
use wattle_workspace::{OpenOptions, Repo};

use crate::Res;
use crate::client::{MODEL, SERVED, runtime, shared};
use crate::table::{Line, Table};

const TURNS: usize = 300;
/// Files of the repository, each of about this many lines: a turn reads a part of one, or searches.
const FILES: usize = 120;
const LINES: usize = 400;
/// Bytes of a token, by the server's rule.
const TOKEN_BYTES: usize = 4;
/// What a prompt may have: 80 % of a window of 200,000 less the output of a reply, and the results of one turn.
const PEAK_TOKENS: u64 = 183_616;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Keeps what it is told, and agrees.
#[derive(Default)]
struct Listener {
    rows: Mutex<Vec<Usage>>,
    turns: Mutex<Vec<usize>>,
    edits: Mutex<Vec<String>>,
    /// When the tool that is at work was let go, and what all of them took.
    tools: Mutex<(Option<Instant>, Duration)>,
}

impl Listener {
    /// A tool begins or ends.
    fn tool(&self, begins: bool) -> Reply {
        let mut tools = self.tools.lock().expect("no holder panics");
        if let Some(since) = tools.0.take() {
            tools.1 += since.elapsed();
        }
        tools.0 = begins.then(Instant::now);
        Reply::Ack { seq: 0 }
    }
}

impl Host for Listener {
    fn send(&self, message: Message) -> Pending<'_> {
        let reply = match message {
            Message::Reserve { .. } => Reply::Granted,
            Message::Usage(row) => {
                self.rows.lock().expect("no holder panics").push(*row);
                Reply::Ack { seq: 0 }
            }
            Message::Result(StepResult::Turn { json, usage, .. }) => {
                self.turns.lock().expect("no holder panics").push(json.len());
                self.rows.lock().expect("no holder panics").extend(usage.map(|row| *row));
                Reply::Ack { seq: 0 }
            }
            Message::Result(StepResult::ViewEdit { json }) => {
                self.edits.lock().expect("no holder panics").push(json);
                Reply::Ack { seq: 0 }
            }
            Message::Intent(Intent::Tool { .. }) => self.tool(true),
            Message::Result(StepResult::Tool { .. }) => self.tool(false),
            Message::Ask { .. } => Reply::Refused { reason: "nobody is here".to_owned() },
            Message::Intent(_) | Message::Result(_) | Message::Propose(_) => Reply::Ack { seq: 0 },
        };
        Box::pin(std::future::ready(reply))
    }

    fn cancelled(&self) -> CancellationToken {
        CancellationToken::new()
    }
}

/// Replies: readings of parts of files, searches, and now and then a word of what it is at.
fn script(thinks: bool) -> String {
    let mut replies = Vec::new();
    for turn in 0..TURNS - 1 {
        let mut blocks = Vec::new();
        if thinks && turn % 3 == 0 {
            blocks.push(serde_json::json!({ "thinking": "" }));
        }
        if turn % 10 == 0 {
            blocks.push(serde_json::json!({ "text": format!("Part {turn} is next.") }));
        }
        let file = format!("src/f{}.txt", turn * 7 % FILES);
        blocks.push(match turn % 4 {
            3 => serde_json::json!({ "tool": "Grep", "input": { "pattern": format!("line {} ", turn % 100), "output_mode": "content", "head_limit": 60 } }),
            n => serde_json::json!({ "tool": "Read", "input": { "file_path": file, "offset": 1 + n * 20 + turn % 50, "limit": 90 } }),
        });
        replies.push(serde_json::json!({ "times": 1, "blocks": blocks }));
    }
    replies.push(serde_json::json!({ "blocks": [{ "tool": "SubmitPlan", "input": { "steps": [] } }] }));
    format!("version: 1\n{SERVED}\nreplies: {}\n", serde_json::Value::from(replies))
}

/// What a session gave.
struct Session {
    rows: Vec<Usage>,
    turns: Vec<usize>,
    edits: Vec<String>,
    /// Wall time of it all, and the part of it that tools took.
    wall: Duration,
    tools: Duration,
}

async fn hold(thinks: bool) -> Res<Session> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("repo");
    std::fs::create_dir_all(path.join("src"))?;
    for file in 0..FILES {
        let text: String =
            (0..LINES).map(|n| format!("line {n} of file {file}, with some words of its own\n")).collect();
        std::fs::write(path.join(format!("src/f{file}.txt")), text)?;
    }
    let git = "git init -q -b main . && git add -A && git -c user.name=t -c user.email=t commit -q -m base";
    let bounds = Bounds { timeout_ms: 60_000, idle_ms: None, output_bytes_max: 10_000 };
    let env = BTreeMap::from([("PATH".into(), PATH.into())]);
    let job = Job { run: git.to_owned(), dir: path.clone(), env, bounds };
    process::run(&job, &CancellationToken::new()).await;
    let options = OpenOptions {
        state_dir: dir.path().join("state"),
        repo_id: None,
        path: PATH.into(),
        home: None,
        xdg_config_home: None,
    };
    let repo = Repo::open(&path, &options)?;
    let base = repo.resolve("HEAD")?.ok_or("the repository has no commit")?;
    let server = scripted::serve_text(&script(thinks), 0).await?;
    let model: Arc<dyn Model> = shared(server.base_url(), Policy::default())?;
    let servers = Pool::new(BTreeMap::new());
    let tools = Tools { repo, model: Some(model), temp: dir.path().to_owned(), base_env: BTreeMap::new(), servers };
    let host = Arc::new(Listener::default());
    let lead = LeadAssignment {
        owner: Owner { run: "r".to_owned(), step: String::new(), attempt: 0 },
        place: Place { path, slot: 0, base },
        task: LeadTask::Plan,
        request: "Look at everything.".to_owned(),
        agent: AgentWork {
            prompt: String::new(),
            model: MODEL.to_owned(),
            max_turns: 2 * TURNS as u32,
            max_nano_usd: None,
            tools: Vec::new(),
            brief: "word ".repeat(4_000),
            prefix_ttl: PrefixTtl::FiveMinutes,
            fork: None,
            instructions: Default::default(),
            definition: None,
        },
        plan_schema: "{}".to_owned(),
        proposals_max: 0,
    };
    let start = Instant::now();
    let outcome = perform(Assignment::Lead(lead), Arc::clone(&host) as Arc<dyn Host>, Arc::new(tools)).await;
    let wall = start.elapsed();
    server.shutdown().await;
    let take = |list: &Mutex<Vec<usize>>| std::mem::take(&mut *list.lock().expect("no holder panics"));
    let rows = std::mem::take(&mut *host.rows.lock().expect("no holder panics"));
    let tools = host.tools.lock().expect("no holder panics").1;
    let edits = std::mem::take(&mut *host.edits.lock().expect("no holder panics"));
    if rows.len() < TURNS {
        return Err(format!("{} of {TURNS} replies: {:?}", rows.len(), outcome.end).into());
    }
    Ok(Session { rows, turns: take(&host.turns), edits, wall, tools })
}

fn prompt(row: &Usage) -> u64 {
    row.uncached_in + row.cache_read + row.cache_write
}

/// What the same messages would have cost if all of them had been sent each time, and read from the cache.
fn raw_nano_usd(session: &Session) -> Res<u64> {
    let rates = Prices::builtin().newest("anthropic", MODEL).ok_or("the model has no price")?.rates;
    let (read, write) = rates.cache_read.zip(rates.cache_write_short).ok_or("a rate is not known")?;
    let first = session.rows.first().map_or(0, prompt);
    let (mut pico, mut before, mut now) = (first * write, first, first);
    // Messages come in pairs: a reply, and the answer that the next request ends with.
    for pair in session.turns[1..].chunks(2).take(session.rows.len() - 1) {
        now += (pair.iter().sum::<usize>() / TOKEN_BYTES) as u64;
        pico += before * read + (now - before) * write;
        before = now;
    }
    pico += session.rows.iter().map(|row| row.out * rates.output).sum::<u64>();
    Ok(pico / 1000)
}

/// Measures.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    for (name, thinks) in [("", false), (", a third of them with thinking", true)] {
        let session = runtime()?.block_on(hold(thinks))?;
        let masks = session.edits.iter().filter(|edit| edit.contains("\"mask\"")).count();
        let what = format!("a session of {} turns{name}", session.rows.len());
        let edits = format!("{masks} masks, {} swaps", session.edits.len() - masks);
        let ours: u64 = session.rows.iter().filter_map(|row| row.nano_usd).sum();
        let raw = raw_nano_usd(&session)?;
        let ratio = ours as f64 / raw as f64;
        table.add(Line {
            what: format!("{what}: cost against the raw history, all of it cached ({edits})"),
            measured: format!("{ratio:.2} x (${:.2} against ${:.2})", ours as f64 / 1e9, raw as f64 / 1e9),
            goal: "≤ 0.55 x",
            reached: Some(ratio <= 0.55),
        });
        let peak = session.rows.iter().map(prompt).max().unwrap_or(0);
        table.add(Line {
            what: format!("{what}: largest prompt"),
            measured: format!("{peak} tokens"),
            goal: "≤ the window less the output of a reply (183,616)",
            reached: Some(peak <= PEAK_TOKENS),
        });
        let read: u64 = session.rows.iter().map(|row| row.cache_read).sum();
        let share = 100.0 * read as f64 / session.rows.iter().map(prompt).sum::<u64>() as f64;
        table.add(Line {
            what: format!("{what}: part of its input that is read from the cache"),
            measured: format!("{share:.1} %"),
            goal: "≥ 92 %",
            reached: Some(share >= 92.0),
        });
        let model: u64 = session.rows.iter().map(|row| row.total_ms).sum();
        let own = session.wall.saturating_sub(Duration::from_millis(model)).saturating_sub(session.tools);
        let per_turn = |time: Duration| time.as_secs_f64() * 1000.0 / session.rows.len() as f64;
        let each = per_turn(own);
        table.add(Line {
            what: format!("{what}: time of the loop per turn, beside the model's and the tools'"),
            measured: format!("{each:.2} ms (tools {:.2} ms)", per_turn(session.tools)),
            goal: "≤ 2 ms",
            reached: Some(each <= 2.0),
        });
    }
    Ok(())
}
