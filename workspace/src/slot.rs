//! Slots: what a place in the pool is, what leasing one means. The pool itself is in `pool`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capture::CaptureError;
use crate::git::GitError;
use crate::ids::CommitId;
use crate::refs::RefError;

/// A place in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(pub u32);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a slot is for; it stays that for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A worker writes in it; what it leaves is salvaged.
    Work,
    /// Checks run in it; what they leave is thrown away.
    Check,
    /// Read by many at once, changed by none; one per base.
    Snapshot,
}

/// What new slots are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackEnd {
    /// A checkout of their own.
    #[default]
    Checkout,
    /// A mount over a checkout that they share, where this process can mount (see `overlay`); else a checkout.
    Overlay,
}

/// How a pool is to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolOptions {
    /// No new slot is made once the pool takes this much disk.
    pub disk_bytes_max: Option<u64>,
    /// Ignored files do not stay in a slot for its next holder.
    pub clean_ignored: bool,
    /// What new slots are made of.
    pub back_end: BackEnd,
}

/// What is wanted of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// What for.
    pub class: Class,
    /// The commit to check out.
    pub base: CommitId,
    /// Who holds it, as in `run/step/attempt`; by this it is found again after a crash.
    pub holder: String,
    /// What its setup depends on; none when there is no setup.
    pub setup_key: Option<String>,
}

/// The process that holds a slot: its id alone is used again by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's own ticks since boot; 0 where the system does not tell.
    pub started: u64,
}

/// A slot, held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that leased it, where it is known.
    pub owner: Option<Owner>,
    /// The slot.
    pub slot: SlotId,
    /// Its files.
    pub path: PathBuf,
    /// What it is for.
    pub class: Class,
    /// The commit checked out when it was leased.
    pub base: CommitId,
    /// Counts the slot's leases; a lease of an older generation can change nothing.
    pub generation: u64,
    /// Who holds it.
    pub holder: String,
    /// Whether the wanted setup has not been done in it.
    pub needs_setup: bool,
}

/// Work that was brought to safety.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// The slot it was in.
    pub slot: SlotId,
    /// The full ref that keeps it.
    pub name: String,
    /// The commit it points at.
    pub commit: CommitId,
}

/// What came of giving a slot back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// What was in it beyond what is kept elsewhere.
    pub salvaged: Option<Salvaged>,
    /// Why the slot will not be used again, if so.
    pub retired: Option<String>,
}

/// A slot as the pool lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// The slot.
    pub slot: SlotId,
    /// What it is for.
    pub class: Class,
    /// Its files.
    pub path: PathBuf,
    /// Where what it takes on disk lies: its files, or what was changed of them.
    pub stored: PathBuf,
    /// Who holds it; of a snapshot, the first of those.
    pub holder: Option<String>,
    /// Why it is not used any more, if so.
    pub retired: Option<String>,
}

/// The pool could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The disk bound is reached and no slot is free.
    #[error(
        "make another slot: {slots} take {}, one more about {}, `limits.disk` is {}",
        size_text(*bytes), size_text(*need_bytes), size_text(*bytes_max)
    )]
    Quota {
        /// How many there are.
        slots: usize,
        /// What they take.
        bytes: u64,
        /// What one more would take, build output not counted.
        need_bytes: u64,
        /// What they may take.
        bytes_max: u64,
    },
    /// The disk has no room for another slot.
    #[error("make another slot: it takes about {}, and the disk of {} has {} left", size_text(*need_bytes), path.display(), size_text(*free_bytes))]
    NoRoom {
        /// Where the slots are.
        path: PathBuf,
        /// What one more would take, build output not counted.
        need_bytes: u64,
        /// What is left.
        free_bytes: u64,
    },
    /// A slot is not provably a worktree of its own.
    #[error("prove that {} is a worktree of its own: {why}", path.display())]
    Unproven {
        /// The slot.
        path: PathBuf,
        /// What is not as it must be.
        why: String,
    },
    /// A slot's own git folder is not as it was when the slot was made.
    #[error("use {} as it is: {why}", path.display())]
    Altered {
        /// The slot.
        path: PathBuf,
        /// What is different.
        why: String,
    },
    /// The lease is of an earlier generation, or the slot is not leased.
    #[error("use slot {slot}: it is not held by {holder}")]
    NotHeld {
        /// The slot.
        slot: SlotId,
        /// Who claims it.
        holder: String,
    },
    /// There is no such slot, or it is in use.
    #[error("remove slot {slot}: {why}")]
    Busy {
        /// The slot.
        slot: SlotId,
        /// What stands against it.
        why: String,
    },
    /// Another process has the slot mounted, and only it and what it has started see the files.
    #[error("look into slot {slot}: only process {pid} and what it has started see its files (an overlay mount)")]
    Elsewhere {
        /// The slot.
        slot: SlotId,
        /// The process.
        pid: u32,
    },
    /// What a slot holds cannot be brought to safety, so the slot stays as it is.
    #[error("salvage slot {slot}: no commit can hold {} (a repository of its own, or a special file)", paths.join(", "))]
    Unexpressible {
        /// The slot.
        slot: SlotId,
        /// What no commit can hold.
        paths: Vec<String>,
    },
    /// A file of the pool cannot be used.
    #[error("access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A ref could not be made.
    #[error(transparent)]
    Ref(#[from] RefError),
}

/// Bytes as people write them, one digit behind the point: `12.3 GB`.
pub fn size_text(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", bytes / size, bytes % size / (size / 10)),
        None => format!("{bytes} bytes"),
    }
}

impl PoolError {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> PoolError {
        PoolError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn capture(slot: SlotId, error: CaptureError) -> PoolError {
        match error {
            CaptureError::Unexpressible { paths } | CaptureError::Submodules { paths } => {
                PoolError::Unexpressible { slot, paths }
            }
            CaptureError::Git(e) => PoolError::Git(e),
            CaptureError::Pattern { why } => {
                PoolError::Git(GitError::Output { command: "discard".to_owned(), what: why })
            }
        }
    }
}
