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

    /// As a line.
    pub(crate) fn shown(&self) -> String {
        let Totals { merges, different, clean, conflicts, failed, recorded } = self;
        format!(
            "{merges} merges: {different} differ from git merge; {clean} clean ({recorded} as the history records them), \
             {conflicts} in conflict, {failed} that git cannot write"
        )
    }
}
