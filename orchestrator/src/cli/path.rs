//! `wattle path`: a worktree with a step's work, made if need be.

use std::path::PathBuf;

use wattle_workspace::{Class, Pool, PoolOptions, Want};

use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::{Scene, scene};
use super::{Done, pick};
use crate::state::Machine;

/// Print the path of a worktree with a step's work, made if need be.
#[derive(Debug, clap::Args)]
pub(crate) struct PathArgs {
    /// The step.
    step: String,
}

/// Finds or makes it.
pub(crate) fn run(session: &Session, args: &PathArgs) -> Done {
    let scene = scene(session, false)?;
    let step = pick::step(&scene.view, &args.step)?;
    let path = kept(&scene, &step).map_or_else(|| make(&scene, &step), Ok)?;
    if session.ui.json {
        session.ui.object(&serde_json::json!({ "v": 1, "step": step, "path": path }));
    } else {
        session.ui.data(&format!("{}\n", path.display()));
    }
    Ok(Exit::Reached)
}

/// The slot of an attempt that is not over.
fn kept(scene: &Scene, step: &wattle_planner::StepId) -> Option<PathBuf> {
    let attempt = scene.view.steps[step].attempts.last().filter(|attempt| !attempt.state.terminal())?;
    let path = scene.ctx.repo.state_dir().join("slots").join(attempt.slot?.to_string());
    path.is_dir().then_some(path)
}

fn make(scene: &Scene, step: &wattle_planner::StepId) -> Result<PathBuf, CliError> {
    let work = scene.view.steps[step].work.as_ref().ok_or_else(|| {
        CliError::new(Exit::Environment, "no_work", format!("find work of {step}: it has no commit"))
            .hint("wattle status")
    })?;
    scene.ctx.repo.configure(&scene.view.started.base.commit)?;
    let pool = Pool::open(&scene.ctx.repo, PoolOptions::default())?;
    // The holder names the commit: another attempt gets a worktree of its own, and this one stays as it is.
    let holder = format!("path/{}/{step}/{}", scene.view.run, work.commit.short());
    if let Some(lease) = pool.adopt(&holder)? {
        return Ok(lease.path);
    }
    let want = Want { class: Class::Work, base: work.commit.clone(), holder, setup_key: None };
    Ok(pool.lease(&want)?.path)
}
