//! Ids of what the orchestrator makes: runs, landings and hashes of blobs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Id of a run: short, sortable by time, valid in a ref name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(crate) struct RunId(String);

impl RunId {
    /// Makes an id of a time and 20 random bits: `r`, ten base-32 digits of the time and four random ones, lower
    /// case. A repository has one owner at a time, so that the milliseconds alone hardly ever meet.
    pub(crate) fn new(now_ms: i64, random: u128) -> Self {
        let ulid = ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), random).to_string().to_lowercase();
        Self(format!("r{}{}", &ulid[..10], &ulid[ulid.len() - 4..]))
    }

    /// An id that was read from the journal.
    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole id.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Number of a landing within its run, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(crate) struct LandingId(pub(crate) u32);

/// Hash of a stored blob (an output, a report, a plan, a turn).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(crate) struct Blob(pub(crate) String);

impl Blob {
    /// The name that content has.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}
