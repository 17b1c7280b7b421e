//! `wattle restore`: brings work that was put aside back on a branch.

use serde_json::json;
use wattle_workspace::{Expect, RefChange};

use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::scene;
use super::{Done, pick};

/// Bring salvaged work of a step back on a branch.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The step.
    step: String,
}

/// Makes the branch.
pub(crate) fn run(session: &Session, args: &RestoreArgs) -> Done {
    let scene = scene(session, false)?;
    let step = pick::step(&scene.view, &args.step)?;
    let repo = &scene.ctx.repo;
    let run = scene.view.run.as_str();
    let of_step = |kind: &str| repo.list_refs(&format!("refs/wattle/{kind}/{run}/{step}/"));
    let mut kept = of_step("salvage")?;
    if kept.is_empty() {
        kept = of_step("attempt")?;
    }
    let number = |name: &str| name.rsplit('/').next().and_then(|last| last.parse::<u64>().ok());
    kept.sort_by_key(|(name, _)| number(name));
    let (from, commit) = kept.pop().ok_or_else(|| {
        CliError::new(Exit::Environment, "no_work", format!("find work of {step}: nothing of it was put aside"))
            .hint("git for-each-ref refs/wattle/salvage lists all there is")
    })?;
    let branch = format!("restored/{step}-{}", commit.short());
    let name = format!("refs/heads/{branch}");
    if repo.read_ref(&name)?.as_ref() != Some(&commit) {
        let make = RefChange { name, new: Some(commit.clone()), old: Expect::Absent };
        repo.update_refs(&[make], &format!("wattle: restored from {from}"))?;
    }
    if session.ui.json {
        session.ui.object(&json!({ "v": 1, "step": step, "branch": branch, "commit": commit, "from": from }));
    } else {
        session.ui.data(&format!("{branch}\n"));
        session.ui.talk(&format!("{} from {from}", commit.short()));
    }
    Ok(Exit::Reached)
}
