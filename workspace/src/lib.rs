//! Everything git of Wattle: repository facts, slots, salvage, commit objects, merging, refs, the user's checkouts.
//!
//! Plain synchronous functions that several threads may call at once. The only program started is git (`git`). Nothing
//! here knows of tasks, agents or policy.

mod capture;
mod changed;
mod checkout;
mod commit;
mod config;
#[cfg(not(target_os = "linux"))]
pub mod elsewhere;
mod facts;
pub mod fault;
#[cfg(test)]
mod fixture;
mod git;
mod ids;
mod include;
mod index;
mod listing;
mod lock;
mod lookup;
mod merge;
mod modules;
mod objects;
#[cfg(not(target_os = "linux"))]
pub use elsewhere as overlay;
#[cfg(target_os = "linux")]
pub mod overlay;
mod paths;
mod pool;
mod refs;
mod repo;
mod room;
mod salvage;
mod scan;
mod shape;
mod site;
mod slot;
mod stale;
mod submodule;
mod sync;
mod torn;
mod walk;
mod warm;
mod whole;

pub use capture::{CaptureError, CaptureOptions, Captured};
pub use checkout::{Advance, HeldWhy};
pub use commit::CommitSpec;
pub use config::Shape;
pub use facts::{Facts, Head, Upstream};
pub use git::GitError;
pub use ids::{BlobId, CommitId, IdError, RepoId, Signature, TreeId};
pub use listing::Listed;
pub use lock::{LockError, LockInfo, OwnerLock, lock_holder};
pub use lookup::{Change, ChangeKind};
pub use merge::{MergeSpec, Merged, Note, Rules, Side, Stage, Trial};
pub use paths::{path_of_shown, shown};
pub use pool::{Pool, is_elsewhere};
pub use refs::{Expect, RefChange, RefError};
pub use repo::{OpenError, OpenOptions, Repo};
pub use room::free_bytes;
pub use site::Site;
pub use slot::{
    BackEnd, Class, Lease, Owner, PoolError, PoolOptions, Released, Salvaged, SlotId, SlotInfo, Want, size_text,
};
pub use stale::StaleError;
pub use whole::until_whole;
