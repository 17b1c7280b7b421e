//! `wattle restore`: brings work that was put aside back on a branch.

use serde_json::json;

use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::scene;
use super::{Done, pick};
use crate::report::reason::counted;
use crate::run::salvage::{self, Kept};
use crate::ui::clean::one_line;

/// Bring work of a step back on a branch: rejected, superseded, or left in a worktree.
///
/// Without more it is the newest that is kept of the step. A branch that is there at another commit is never moved.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The step, or a whole ref below refs/wattle/.
    #[arg(required_unless_present = "list")]
    step: Option<String>,
    /// Which, where several are kept: the beginning of a commit, or the end of a ref.
    which: Option<String>,
    /// List what is kept of the step, or of everything, and change nothing.
    #[arg(long)]
    list: bool,
    /// Name of the branch [default: restored/STEP-COMMIT].
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

/// Lists, or makes the branch.
pub(crate) fn run(session: &Session, args: &RestoreArgs) -> Done {
    let typed = args.step.as_deref();
    let by_ref = typed.is_none_or(|typed| typed.starts_with("refs/wattle/"));
    let (ctx, kept, step) = if by_ref {
        // The run may be of a journal that is gone: its refs are enough.
        let ctx = session.context(session.repo()?)?;
        let kept = salvage::kept(&ctx, None)?;
        (ctx, kept, "work".to_owned())
    } else {
        let scene = scene(session, false)?;
        let step = pick::step(&scene.view, typed.unwrap_or_default())?;
        let kept = salvage::kept(&scene.ctx, Some((&scene.view.run, &step)))?;
        (scene.ctx, kept, step.to_string())
    };
    if args.list {
        list(session, &kept);
        return Ok(Exit::Reached);
    }
    let which = if by_ref { typed } else { args.which.as_deref() };
    if let Some(branch) = &args.branch
        && !crate::run::begin::is_branch_name(branch)
    {
        return Err(CliError::usage(format!("no branch can be named `{branch}`")));
    }
    let back = salvage::restore(&ctx, &kept, &step, which, args.branch.as_deref())?;
    let (branch, commit, from) = (&back.branch, &back.commit, &back.from);
    if session.ui.json {
        let others = back.others;
        session.ui.object(
            &json!({ "v": 1, "step": step, "branch": branch, "commit": commit, "from": from, "others": others }),
        );
        return Ok(Exit::Reached);
    }
    session.ui.data(&format!("{branch}\n"));
    session.ui.talk(&format!("{} from {from}", commit.short()));
    if back.others > 0 && which.is_none() {
        let others = counted(back.others, "other");
        session.ui.talk(&format!("{others} kept: wattle restore {step} --list"));
    }
    Ok(Exit::Reached)
}

fn list(session: &Session, kept: &[Kept]) {
    if session.ui.json {
        return session.ui.object(&json!({ "v": 1, "kept": kept }));
    }
    for row in kept {
        let (commit, files) = (row.commit.short(), counted(row.files, "file"));
        session.ui.data(&format!("{commit} {files:<9} {} ({})\n", one_line(&row.says, 60), row.name));
    }
    if kept.is_empty() {
        session.ui.talk("nothing is kept");
    }
}
