//! What slots hold, from the plan to the workspace.

use wattle_planner::Plan;
use wattle_workspace::{CommitId, GitError, Repo, Shape};

/// The plan's `checkout`, for slots.
pub(crate) fn shape(plan: &Plan) -> Shape {
    let checkout = plan.checkout();
    Shape { submodules: checkout.submodules, lfs: checkout.lfs, sparse: checkout.sparse.clone() }
}

/// Fixes how git is configured for a run and what its slots hold.
pub(crate) fn configure(repo: &Repo, base: &CommitId, plan: &Plan) -> Result<(), GitError> {
    repo.configure(base)?;
    let mut shape = shape(plan);
    // Where there are none nothing has to be looked for in any slot.
    shape.submodules &= repo.blob_of(&repo.tree_of(base)?, ".gitmodules")?.is_some();
    repo.check_out_as(&shape)
}
