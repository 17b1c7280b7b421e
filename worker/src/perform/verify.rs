//! Checks and setup: one process, one verdict.

use std::sync::Arc;

use wattle_workspace::{CaptureOptions, TreeId};

use super::restore;
use super::{Halt, Tools, blocking, failed, outcome};
use crate::assignment::{CheckAssignment, Command, Place, SetupAssignment};
use crate::exec::command::{Scene, report};
use crate::host::Host;
use crate::outcome::{Cause, CheckResult, End, Evidence, Outcome, Verdict};
use crate::process::{Ended, How};

/// Runs an assigned check on the tree in its slot.
pub(super) async fn check(check: &CheckAssignment, host: &Arc<dyn Host>, tools: &Arc<Tools>) -> Outcome {
    let scene = Scene {
        owner: &check.owner,
        place: &check.place,
        env: &std::collections::BTreeMap::new(),
        needs: &[],
        tree: Some(check.tree.as_str()),
        changed: Some(&check.changed),
        timeout_ms_max: None,
    };
    if let Err(halt) = holds(check, tools).await {
        return not_run(halt);
    }
    let checked = run(&scene, &check.command, &check.tree, host, tools).await;
    let (result, report) = match checked {
        Ok(checked) => checked,
        Err(halt) => return not_run(halt),
    };
    let report = format!("Check `{}`: {}.\n\n{report}", check.name, word(result.verdict));
    let evidence = result.evidence.clone();
    Outcome { check: Some(result), ..outcome(End::Done, report, evidence) }
}

/// Runs the setup of a slot.
pub(super) async fn setup(setup: &SetupAssignment, host: &Arc<dyn Host>, tools: &Arc<Tools>) -> Outcome {
    let scene = Scene {
        owner: &setup.owner,
        place: &setup.place,
        env: &std::collections::BTreeMap::new(),
        needs: &[],
        tree: None,
        changed: None,
        timeout_ms_max: None,
    };
    let ended = match scene.run(&setup.command, host, tools).await {
        Ok(ended) => ended,
        Err(error) => return failed(Cause::Environment, error.to_string()),
    };
    let report = report(&setup.command, &ended);
    let end = match ended.failure(&setup.command.ok_exit, &setup.command.bounds) {
        _ if ended.how == How::Cancelled => End::Parked,
        Some((cause, message)) => {
            End::Failed { cause, message: format!("set up slot {}: {message}", setup.place.slot) }
        }
        None => End::Done,
    };
    outcome(end, report, ended.evidence)
}

/// The word of a verdict in a report.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "green",
        Verdict::Red => "red",
        Verdict::Timeout => "stopped at its time limit",
        Verdict::Error => "could not be run",
    }
}

fn not_run(halt: Halt) -> Outcome {
    match halt {
        Halt::Parked => outcome(End::Parked, String::new(), Evidence::default()),
        Halt::Failed(cause, message) => {
            let evidence = Evidence { output: message.clone(), ..Evidence::default() };
            let result = CheckResult { verdict: Verdict::Error, evidence, changed_by_check: Vec::new() };
            Outcome { check: Some(result), ..failed(cause, message) }
        }
    }
}

/// Is the tree under test what the slot holds? Of a slot just proved only its base is asked: reading all its files once
/// more would say the same.
async fn holds(check: &CheckAssignment, tools: &Arc<Tools>) -> Result<(), Halt> {
    let (tools, place, tree, proved) = (Arc::clone(tools), check.place.clone(), check.tree.clone(), check.proved);
    blocking(move || {
        if proved && tools.repo.tree_of(&place.base).map_err(Halt::environment)? == tree {
            return Ok(());
        }
        let captured = tools.repo.capture(&place.path, &place.base, &CaptureOptions::default());
        let found = captured.map_err(Halt::environment)?.tree;
        if found == tree {
            return Ok(());
        }
        let why = format!("check {}: slot {} holds {}", tree.short(), place.slot, found.short());
        Err(Halt::Failed(Cause::Environment, why))
    })
    .await
}

/// Runs a check on a worktree that holds exactly `tree`, puts back what the check changed, and gives
/// its result with the report of its process.
pub(super) async fn run(
    scene: &Scene<'_>,
    command: &Command,
    tree: &TreeId,
    host: &Arc<dyn Host>,
    tools: &Arc<Tools>,
) -> Result<(CheckResult, String), Halt> {
    let ended = scene.run(command, host, tools).await.map_err(Halt::environment)?;
    let restored = put_back(scene.place, tree, tools).await;
    if ended.how == How::Cancelled {
        return Err(Halt::Parked);
    }
    let mut report = report(command, &ended);
    // The process ran on the exact tree: its verdict holds even if what it left (a socket, say) cannot be
    // discarded. Whoever uses the slot next meets that, and it is said here.
    let changed = match restored {
        Ok(changed) => changed,
        Err(Halt::Parked) => return Err(Halt::Parked),
        Err(Halt::Failed(_, why)) => {
            tracing::warn!(slot = scene.place.slot, why, "a check left what cannot be discarded");
            report.push_str(&format!("\nWhat the check left could not be discarded: {why}.\n"));
            Vec::new()
        }
    };
    if !changed.is_empty() {
        report.push_str(&format!("\nThe check changed files; that was discarded: {}.\n", some(&changed)));
    }
    let verdict = verdict(&ended, command);
    let mut evidence = ended.evidence;
    if let How::NotStarted(why) = ended.how {
        evidence.output = why;
    }
    evidence.tree = Some(tree.clone());
    Ok((CheckResult { verdict, evidence, changed_by_check: changed }, report))
}

/// Brings the worktree to `tree` and gives the paths that were different.
pub(super) async fn put_back(place: &Place, tree: &TreeId, tools: &Arc<Tools>) -> Result<Vec<String>, Halt> {
    let (tools, place, tree) = (Arc::clone(tools), place.clone(), tree.clone());
    blocking(move || restore::restore(&tools.repo, &place.path, &place.base, &tree).map_err(Halt::environment)).await
}

fn verdict(ended: &Ended, command: &Command) -> Verdict {
    match ended.failure(&command.ok_exit, &command.bounds) {
        None => Verdict::Green,
        Some((Cause::Timeout | Cause::Idle, _)) => Verdict::Timeout,
        Some((Cause::Environment, _)) => Verdict::Error,
        Some(_) => Verdict::Red,
    }
}

/// A bounded list of paths for one line.
pub(super) fn some(paths: &[String]) -> String {
    /// Paths in a line of a report; the evidence has them all.
    const SHOWN_MAX: usize = 10;
    let mut text = paths.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN_MAX {
        text.push_str(&format!(" and {} more", paths.len() - SHOWN_MAX));
    }
    text
}
