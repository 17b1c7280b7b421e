//! `wattle log`: the events of a run; with a step its transcript, commands and check output.

use std::time::Duration;

use serde_json::{Value, json};
use wattle_planner::StepId;
use wattle_worker::ledger::Ledger;
use wattle_workspace::lock_holder;

use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::{Scene, scene};
use super::{Done, pick};
use crate::ids::{Blob, LandingId};
use crate::journal::Event;
use crate::journal::event::Body;
use crate::journal::record::AttemptRecord;
use crate::report::events::describe;
use crate::report::review::proof;
use crate::run::conversation::Conversation;
use crate::ui::Style;

/// How often a followed run is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Lines of output that a log shows of one command: all that a capture keeps.
const LINES_MAX: usize = 100_000;

/// Show the events of a run, or everything about one step.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// The step: its transcript, commands and check output.
    step: Option<String>,
    /// Go on until nobody drives the run.
    #[arg(long)]
    follow: bool,
    /// Only events after this one.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// The working ledger of the step's agent: its task, files, commands, errors and where it stands.
    #[arg(long, requires = "step")]
    ledger: bool,
}

/// Shows them.
pub(crate) fn run(session: &Session, args: &LogArgs) -> Done {
    let scene = scene(session, false)?;
    let step = args.step.as_deref().map(|typed| pick::step(&scene.view, typed)).transpose()?;
    if let (Some(step), true) = (&step, args.ledger) {
        ledger(session, &scene, step);
        return Ok(Exit::Reached);
    }
    if let (Some(step), false) = (&step, session.ui.json || args.follow) {
        transcript(session, &scene, step);
        return Ok(Exit::Reached);
    }
    let mut after = args.after;
    loop {
        let owned = lock_holder(&scene.ctx.repo).is_some();
        let events = scene.found.reader.events(&scene.found.run, after).map_err(CliError::from)?;
        for event in &events {
            after = event.seq;
            if step.as_ref().is_none_or(|step| is_of(event, step)) {
                show(session, event);
            }
        }
        if !args.follow || (!owned && events.is_empty()) {
            return Ok(Exit::Reached);
        }
        std::thread::sleep(LOOK);
    }
}

fn is_of(event: &Event, step: &StepId) -> bool {
    let body = serde_json::to_value(event).unwrap_or_default();
    body["step"] == json!(step) || body["steps"].as_array().is_some_and(|steps| steps.contains(&json!(step)))
}

fn show(session: &Session, event: &Event) {
    if session.ui.json {
        return session.ui.object(event);
    }
    if let Some((style, text)) = describe(event) {
        let head = format!("{:>6} {} ", event.seq, event.ts);
        session.ui.line(&[(Style::Dim, &head), (style, &text)]);
    } else if session.ui.loudness > 0 {
        let kind = serde_json::to_value(event).unwrap_or_default();
        session.ui.line(&[(Style::Dim, &format!("{:>6} {} {}", event.seq, event.ts, kind["type"]))]);
    }
}

/// The working ledger of a step, made anew from the journal.
fn ledger(session: &Session, scene: &Scene, step: &StepId) {
    let record = &scene.view.steps[step];
    let blobs = &scene.found.reader.blobs;
    let conversation = Conversation::of(&record.attempts);
    let messages: Vec<String> = conversation.messages.iter().filter_map(|blob| blobs.text(blob).ok()).collect();
    let ledger = Ledger::of(messages.iter().map(String::as_str), &conversation.evidence(blobs));
    if session.ui.json {
        session.ui.object(&ledger);
    } else if messages.is_empty() {
        session.ui.data(&format!("{step} has no conversation\n"));
    } else {
        session.ui.data(&ledger.markdown());
    }
}

fn transcript(session: &Session, scene: &Scene, step: &StepId) {
    let record = &scene.view.steps[step];
    session.ui.data(&format!("{step}: {}\n", record.state));
    for attempt in &record.attempts {
        session.ui.data(&format!("\nattempt {}: {} since {}\n", attempt.number, attempt.state, attempt.since));
        conversation(session, scene, attempt);
        for proof in attempt.evidence.iter().filter_map(|(of, blob)| proof(&scene.found.reader.blobs, of, blob)) {
            session.ui.data(&proof.text(LINES_MAX));
        }
    }
    for (check, output) in queue_checks(scene, step) {
        session.ui.data(&format!("\n{check}\n"));
        if let Some(proof) = output.and_then(|blob| proof(&scene.found.reader.blobs, "check", &blob)) {
            session.ui.data(&proof.text(LINES_MAX));
        }
    }
    let command = record.attempts.iter().flat_map(|attempt| &attempt.evidence).any(|(of, _)| of == "execute");
    if let Some(report) =
        record.report.as_ref().filter(|_| !command).and_then(|blob| scene.found.reader.blobs.text(blob).ok())
    {
        session.ui.data(&format!("\nreport\n{report}\n"));
    }
}

/// What the queue's checks said of the landings that a step was in, and where their evidence is.
fn queue_checks(scene: &Scene, step: &StepId) -> Vec<(String, Option<Blob>)> {
    let landings = &scene.view.landings;
    let is_in = |id: &LandingId| landings.get(id).is_some_and(|r| r.entries.iter().any(|entry| entry.step == *step));
    let events = scene.found.reader.events(&scene.found.run, 0).unwrap_or_default();
    let finished = events.iter().filter_map(|event| match &event.body {
        Body::CheckFinished { check, output, .. } if check.landing.as_ref().is_some_and(is_in) => {
            Some((describe(event)?.1, output.clone()))
        }
        _ => None,
    });
    finished.collect()
}

fn conversation(session: &Session, scene: &Scene, attempt: &AttemptRecord) {
    for blob in attempt.messages.values().chain(&attempt.repairs) {
        let Ok(text) = scene.found.reader.blobs.text(blob) else { continue };
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        let role = message["role"].as_str().unwrap_or("?");
        let blocks = match &message["content"] {
            Value::Array(blocks) => blocks.clone(),
            other => vec![json!({ "type": "text", "text": other })],
        };
        for block in blocks {
            session.ui.data(&format!("[{role}] {}\n", words(&block)));
        }
    }
}

/// One block of a message, for people.
fn words(block: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match block["type"].as_str() {
        Some("text") => text(&block["text"]),
        Some("tool_use") => format!("{} {}", text(&block["name"]), block["input"]),
        Some("tool_result") => format!("result: {}", text(&block["content"])),
        Some(other) => format!("({other})"),
        None => block.to_string(),
    }
}
