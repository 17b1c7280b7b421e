//! What checks have said of trees.

use std::collections::HashMap;

use wattle_worker::outcome::Verdict;
use wattle_workspace::TreeId;

use crate::ids::Blob;

/// What a check said of a tree.
#[derive(Debug, Clone)]
pub(crate) struct VerdictRecord {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Its evidence.
    pub(crate) output: Option<Blob>,
    /// How often in a row it was a timeout or an error.
    pub(crate) unsure: u32,
    /// How often in a row it was red.
    pub(crate) reds: u32,
}

/// Verdicts by tree and check.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdicts {
    /// A tree has a few checks: they are looked for by name.
    of: HashMap<TreeId, Vec<(String, VerdictRecord)>>,
    changes: u64,
}

impl Verdicts {
    /// What a check has said of a tree.
    pub(crate) fn get(&self, tree: &TreeId, check: &str) -> Option<&VerdictRecord> {
        self.of.get(tree)?.iter().find(|(name, _)| name == check).map(|(_, record)| record)
    }

    /// Keeps what it says now.
    pub(super) fn insert(&mut self, tree: &TreeId, check: &str, record: VerdictRecord) {
        self.changes += 1;
        let said = self.of.entry(tree.clone()).or_default();
        match said.iter_mut().find(|(name, _)| name == check) {
            Some((_, before)) => *before = record,
            None => said.push((check.to_owned(), record)),
        }
    }

    /// Forgets what does not hold any more, of every tree.
    pub(super) fn retain(&mut self, holds: impl Fn(&VerdictRecord) -> bool) {
        self.changes += 1;
        self.of.retain(|_, said| {
            said.retain(|(_, record)| holds(record));
            !said.is_empty()
        });
    }

    /// The same of one tree.
    pub(super) fn retain_of(&mut self, tree: &TreeId, holds: impl Fn(&VerdictRecord) -> bool) {
        self.changes += 1;
        if let Some(said) = self.of.get_mut(tree) {
            said.retain(|(_, record)| holds(record));
        }
    }

    /// A number that is another one whenever anything has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }
}
