//! Attributes where `merge.renormalize` is set: sides that one rule of line ends or filters divides are brought under one.
//!
//! A checkout of the first commit may have no `.gitattributes` at its top, as when a branch made before they came merges
//! one that has them. git takes that file from what it merges then, but only for files: once it is told to read attributes
//! from a commit, that commit's are all. So the commit's files of attributes are put into a folder that stands for the
//! checkout.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::scratch::Scratch;
use crate::git::{GitError, Run};
use crate::ids::CommitId;
use crate::paths::bytes;
use crate::repo::Repo;

/// The file of attributes at the top, and how those of folders end.
const FILE: &str = ".gitattributes";
const BELOW: &str = "/.gitattributes";
/// How the admitted configuration shows that the setting is made; where it is made to be off, the folder does no harm.
const SETTING: &[u8] = b"[merge]\n\trenormalize";

impl Repo {
    /// Has a merge take its attributes from a checkout of `commit`, under the configuration in the folder `rules`. What is
    /// returned beside the command is needed until that has ended.
    pub(super) fn attributed(
        &self,
        run: Run,
        commit: &CommitId,
        rules: &Path,
    ) -> Result<(Run, Option<Scratch>), GitError> {
        let settings = fs::read(rules.join("user.config")).unwrap_or_default();
        let from_commit = |run: Run| Ok((run.env("GIT_ATTR_SOURCE", commit.as_str()), None));
        if !settings.windows(SETTING.len()).any(|part| part == SETTING) {
            return from_commit(run);
        }
        let tree = self.tree_of(commit)?;
        if self.blob_of(&tree, FILE)?.is_some() {
            return from_commit(run);
        }
        let folder = Scratch::in_memory().map_or_else(|| Scratch::on_disk(self.state_dir()), Ok)?;
        for path in self.files(&tree)?.iter().filter(|path| path.ends_with(BELOW)) {
            let at = folder.path().join(OsStr::from_bytes(&bytes(path)));
            let io = |e| GitError::io(&at, e);
            at.parent().map_or(Ok(()), fs::create_dir_all).map_err(io)?;
            fs::write(&at, self.read_file(&tree, path)?.unwrap_or_default()).map_err(io)?;
        }
        Ok((run.in_checkout(folder.path()), Some(folder)))
    }
}
