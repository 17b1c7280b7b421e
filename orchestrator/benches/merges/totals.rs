//! How many merges there were of which kind.

use crate::End;

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) merges: usize,
    /// Of which a merge of ours is not git's.
    pub(crate) different: usize,
    clean: usize,
    conflicts: usize,
    failed: usize,
    /// Clean, and the history records the tree that git gives.
    recorded: usize,
    /// Of these, what git was not asked about.
    unasked: usize,
}

impl Totals {
    /// Counts one: what git gives, whether ours agree, and whether the history records it.
    pub(crate) fn add(&mut self, git: &End, agree: bool, recorded: bool) {
        self.merges += 1;
        self.different += usize::from(!agree);
        self.recorded += usize::from(recorded);
        match git {
            End::Clean(_) => self.clean += 1,
            End::Conflicts(_) => self.conflicts += 1,
            End::Failed(_) => self.failed += 1,
        }
    }

    /// Counts one whose trial is what the history records.
    pub(crate) fn add_recorded(&mut self) {
        self.unasked += 1;
        self.merges += 1;
        self.recorded += 1;
        self.clean += 1;
    }

    /// As a line.
    pub(crate) fn shown(&self) -> String {
        let Totals { merges, different, clean, conflicts, failed, recorded, unasked } = self;
        let asked = merges - unasked;
        format!(
            "{merges} merges, git merge asked of {asked}: {different} differ from it; {clean} clean ({recorded} as the \
             history records them), {conflicts} in conflict, {failed} that git cannot write"
        )
    }
}
