//! The executor of `rewrite` steps: the worktree, restricted to what the step may touch.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use super::{Applied, Match, RuleError};
use crate::assignment::{Mode, Rewrite, StepAssignment};
use crate::equipment::Tools;
use crate::exec::{ExecEnd, Executed};
use crate::host::Host;
use crate::outcome::{Cause, Evidence};

/// Lines of files or matches that a report lists: a screen or two; the commit shows the rest.
const LISTED_MAX: usize = 100;

enum Answer {
    Applied(Applied),
    Found(Vec<Match>),
}

/// Applies the rewrite; a step that may only read fails if the rule still matches.
pub(crate) async fn run(
    step: &StepAssignment,
    rewrite: &Rewrite,
    host: &Arc<dyn Host>,
    _tools: &Arc<Tools>,
) -> Executed {
    let started = Instant::now();
    let cancel = host.cancelled();
    let root = step.place.path.clone();
    let within = step.commit.as_ref().map(|form| form.touches.clone()).unwrap_or_default();
    let (mode, owned) = (step.mode, rewrite.clone());
    let work = tokio::task::spawn_blocking(move || match mode {
        Mode::Read => super::matches(&root, &owned, &within, &cancel).map(Answer::Found),
        Mode::Write | Mode::Scratch => super::apply(&root, &owned, &within, &cancel).map(Answer::Applied),
    });
    let answer = work.await;
    let mut executed = match answer {
        Err(error) => Executed::failed(Cause::Environment, format!("run a rewrite: {error}")),
        // A deadline stops it the same way, and the pipeline knows which it was.
        Ok(Err(RuleError::Cancelled)) => Executed::parked(),
        Ok(Err(error)) if error.is_rule() => Executed::failed(Cause::BadRule, error.to_string()),
        Ok(Err(error)) => Executed::failed(Cause::Environment, error.to_string()),
        Ok(Ok(Answer::Applied(applied))) => rewrote(&name(rewrite), &applied),
        Ok(Ok(Answer::Found(found))) => remain(&name(rewrite), &found),
    };
    executed.evidence.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    executed
}

fn name(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::Rules { name, .. } => name.clone(),
        Rewrite::Pattern { pattern, fix, lang } => format!("{pattern} → {fix} ({lang})"),
    }
}

fn rewrote(name: &str, applied: &Applied) -> Executed {
    let lines = applied.files.iter().map(|file| format!("{} ({})", file.path, file.replacements));
    let list = listed(lines, applied.files.len());
    let (places, files) = (applied.replacements, applied.files.len());
    let report = format!("Rewrite `{name}`: {places} replacements in {files} files.\n\n{list}");
    Executed { end: ExecEnd::Done, report, evidence: evidence(list), partial: false }
}

fn remain(name: &str, found: &[Match]) -> Executed {
    if found.is_empty() {
        let report = format!("Rewrite `{name}`: no match is left.\n");
        return Executed { end: ExecEnd::Done, report, evidence: Evidence::default(), partial: false };
    }
    let lines = found.iter().map(|found| format!("{}:{} ({})", found.path, found.line, found.rule));
    let list = listed(lines, found.len());
    let message = format!("the rule still matches in {} places", found.len());
    let report = format!("Rewrite `{name}`: {message}.\n\n{list}");
    Executed { end: ExecEnd::Failed { cause: Cause::Exit, message }, report, evidence: evidence(list), partial: false }
}

fn evidence(list: String) -> Evidence {
    Evidence { output_bytes: list.len() as u64, output: list, ..Evidence::default() }
}

fn listed(lines: impl Iterator<Item = String>, count: usize) -> String {
    let mut text = String::new();
    for line in lines.take(LISTED_MAX) {
        let _ = writeln!(text, "- {line}");
    }
    if count > LISTED_MAX {
        let _ = writeln!(text, "- and {} more", count - LISTED_MAX);
    }
    text
}
