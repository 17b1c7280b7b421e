//! Events in words: one line each, for `log` and for progress where there is no terminal.

use wattle_cache::warm::Miss;
use wattle_planner::StepId;

use crate::config::money::format_usd;
use crate::journal::Event;
use crate::journal::event::{Body, Prediction, StepChange};
use crate::report::reason::{counted, held, reason};
use crate::report::status::style_of_step;
use crate::state::step::Step;
use crate::ui::Style;
use crate::ui::clean::one_line;

/// Characters of a message that fit beside a step and its state.
const WORDS_MAX: usize = 160;

/// The event for people; `None` for what only the journal needs.
pub(crate) fn describe(event: &Event) -> Option<(Style, String)> {
    let (style, text) = match &event.body {
        Body::RunStarted(started) => {
            let base = &started.base;
            let upstream = base
                .upstream
                .as_ref()
                .map_or(String::new(), |name| format!(", {} ahead and {} behind {name}", base.ahead, base.behind));
            let dirty = match base.dirty.len() {
                0 => String::new(),
                n => format!(", {} not included", counted(n, "dirty file")),
            };
            let text = format!(
                "run {} ({}) on {} at {}{upstream}{dirty}",
                event.run,
                one_line(&started.name, WORDS_MAX),
                started.target,
                base.commit.short()
            );
            (Style::Plain, text)
        }
        Body::PlanReady { .. } => (Style::Wait, "the plan is ready".to_owned()),
        Body::PlanAmended { step, steps, .. } => (Style::Plain, amended(step, steps)),
        Body::SplitAsked { step, .. } => (Style::Wait, format!("{step}: has to be split; the lead is asked")),
        Body::StepState(change) => step(change)?,
        Body::RepairStarted { step, number, .. } => (Style::Wait, format!("{step}: repair {number}")),
        Body::CheckFinished { check, verdict, cached, .. } => {
            let verdict = format!("{verdict:?}").to_lowercase();
            let on = check.step.as_ref().map_or("the queue", |step| step.as_str());
            let cached = if *cached { " (known)" } else { "" };
            let control = if check.control { " on the base" } else { "" };
            let style = if verdict == "green" { Style::Good } else { Style::Bad };
            (style, format!("check {}{control} for {on}: {verdict}{cached}", check.check))
        }
        Body::Landed { step, commit, verified, .. } => {
            let verified = if *verified { "" } else { ", not verified" };
            (Style::Good, format!("{step}: landed as {}{verified}", commit.short()))
        }
        Body::LandingHeld { worktree, paths, why, .. } => (Style::Wait, held(why, worktree, paths)),
        Body::Ejected { step, reason, message } => {
            (Style::Bad, format!("{step}: sent back ({reason}): {}", one_line(message, WORDS_MAX)))
        }
        Body::ConflictPredicted(found) => (Style::Wait, predicted(found)),
        Body::Audited { missing, .. } if missing.is_empty() => return None,
        Body::Audited { missing, .. } => (Style::Bad, format!("not on the target: {}", missing.join("; "))),
        Body::Salvaged { name, .. } => (Style::Wait, format!("work put aside under {name}")),
        Body::CacheMiss { step, miss, .. } => (Style::Wait, missed(step, miss)),
        Body::BoundHit { step, bound, message } => {
            let step = step.as_ref().map_or(String::new(), |step| format!("{step}: "));
            (Style::Wait, format!("{step}{bound}: {message}"))
        }
        Body::NeedsInput { step, question, options, .. } => (Style::Wait, asked(step, question, options)),
        Body::LeadAsked { step, question, .. } => (Style::Plain, said(step, "its worker", "asks the lead", question)),
        Body::Answered { step, text, by, .. } => (Style::Plain, said(step, by, "answers", text)),
        Body::Approved { step, commit, by, .. } => (Style::Good, format!("{step}: {by} approves {}", commit.short())),
        Body::Comment { step, text, by, .. } => (Style::Plain, said(step, by, "notes", text)),
        Body::RunFinished { state, total, usd, .. } => {
            let usd = usd.map_or("unknown cost".to_owned(), |usd| format_usd((usd * 1e9).round() as u64));
            (Style::Plain, format!("run {state}: {}, {usd}", counted(*total, "step")))
        }
        Body::TargetMoved { tip } => (Style::Plain, format!("somebody moved the target to {}", tip.short())),
        Body::RunState { .. } | Body::Resumed { .. } | Body::AttemptState(_) | Body::Intent { .. } => return None,
        Body::Evidence { .. } | Body::Turn { .. } | Body::CheckStarted(_) | Body::LandingState(_) => return None,
        Body::ViewEdit { step, .. } => (Style::Dim, format!("{step}: old messages made shorter")),
        Body::CancelAsked { step } => (Style::Dim, format!("{step}: is to end")),
        Body::Usage { .. } | Body::Command { .. } | Body::MergeAsked { .. } => return None,
    };
    Some((style, text))
}

fn amended(step: &StepId, steps: &[StepId]) -> String {
    let names = steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ");
    format!("{step}: split; {}: {names}", counted(steps.len(), "new step"))
}

fn said(step: &StepId, by: &str, what: &str, text: &str) -> String {
    format!("{step}: {by} {what}: {}", one_line(text, WORDS_MAX))
}

fn predicted(found: &Prediction) -> String {
    let paths = one_line(&found.paths.join(", "), WORDS_MAX);
    format!("{}: will conflict with {} in {paths}", found.b, found.a)
}

fn missed(step: &StepId, miss: &Miss) -> String {
    let Miss { read, expected, cause, .. } = miss;
    format!("{step}: {read} of about {expected} shared tokens came from the cache ({cause})")
}

fn asked(step: &StepId, question: &str, options: &[String]) -> String {
    let options = if options.is_empty() { String::new() } else { format!(" [{}]", options.join(" | ")) };
    format!("{step} asks: {}{options}", one_line(question, WORDS_MAX))
}

/// A change of state in words; `None` where another event of the same moment says more.
fn step(change: &StepChange) -> Option<(Style, String)> {
    if matches!(change.state, Step::Landed | Step::Approved) || (change.state == Step::Ready && change.why.is_none()) {
        return None;
    }
    let words = change.message.as_deref().or(change.why.as_deref().map(reason)).unwrap_or_default();
    let words = if words.is_empty() { String::new() } else { format!(": {}", one_line(words, WORDS_MAX)) };
    let attempt = if change.attempt > 1 { format!(" (attempt {})", change.attempt) } else { String::new() };
    Some((style_of_step(change.state.as_str()), format!("{}: {}{attempt}{words}", change.step, change.state)))
}
