//! The indexes beside the slots: git's knowledge of a slot's files, by which it skips those that nobody touched.
//!
//! `<n>.index` is of the commit that a slot was brought to. `<n>.captured-<tree>` is of the worker's files as they were last
//! made a tree; while the slot still is as this index says, nothing in it is new. What the pool makes of them is its own
//! business (`pool`); here is what capturing shares with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ids::{CommitId, TreeId};

/// The folder of the slots in the state directory.
pub(crate) const SLOTS: &str = "slots";

/// Of a slot's record (`pool/record`), what says where its index is.
#[derive(Deserialize)]
struct Whereabouts {
    base: CommitId,
    #[serde(default)]
    left: Option<TreeId>,
    ready: bool,
    #[serde(default)]
    moving: Option<CommitId>,
}

/// Whether the index of the slot is known to be at `base`.
pub(crate) fn at_base(slot: &Path, base: &CommitId) -> bool {
    let bytes = fs::read(slot.with_extension("json")).unwrap_or_default();
    let found = serde_json::from_slice::<Whereabouts>(&bytes).ok();
    found.is_some_and(|w| w.ready && w.moving.is_none() && w.left.is_none() && w.base == *base)
}

/// Where the index of what was captured in a slot goes.
pub(crate) fn captured_of(slot: &Path, tree: &TreeId) -> PathBuf {
    slot.with_extension(format!("captured-{tree}"))
}

/// The captured index of a slot, with its tree.
pub(crate) fn captured(slot: &Path) -> Option<(PathBuf, TreeId)> {
    let prefix = format!("{}.captured-", slot.file_name()?.to_str()?);
    fs::read_dir(slot.parent()?).ok()?.filter_map(Result::ok).find_map(|entry| {
        let name = entry.file_name();
        let tree = name.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
        Some((entry.path(), tree))
    })
}

/// Forgets what was captured in a slot.
pub(crate) fn forget_captured(slot: &Path) -> io::Result<()> {
    while let Some((path, _)) = captured(slot) {
        fs::remove_file(path)?;
    }
    Ok(())
}
