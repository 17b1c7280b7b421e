//! `git merge` in a checkout, as a user runs it: what the product has to give.
//!
//! By default the checkout is sparse and holds the files of attributes alone, which decide merges; the rest is in the
//! index, and git writes out what conflicts. That takes a quarter of the time and is the same merge: `--whole` has
//! everything checked out, to show that.

use std::fs;
use std::path::{Path, PathBuf};

use wattle_workspace::CommitId;

use crate::history::borrowing;
use crate::place::Scene;
use crate::{End, Res};

/// A checkout to merge in.
pub(crate) struct Oracle<'a> {
    scene: &'a Scene,
    path: PathBuf,
    /// Something may lie about in the checkout that no commit has.
    littered: bool,
}

impl<'a> Oracle<'a> {
    /// Makes the checkout, empty as yet.
    pub(crate) fn new(scene: &'a Scene, repository: &Path, whole: bool) -> Res<Oracle<'a>> {
        let path = borrowing(scene, repository, "checkout", &[])?;
        if !whole {
            scene.git(&path, &["config", "core.sparseCheckout", "true"])?;
            fs::create_dir_all(path.join(".git/info"))?;
            fs::write(path.join(".git/info/sparse-checkout"), ".gitattributes\n")?;
        }
        Ok(Oracle { scene, path, littered: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Merges `theirs` into a checkout of `ours`.
    pub(crate) fn merge(&mut self, ours: &CommitId, theirs: &CommitId) -> Res<End> {
        if self.littered {
            _ = fs::remove_file(self.path.join(".git/index.lock"));
            self.git(&["reset", "-q", "--hard"])?;
            self.git(&["clean", "-q", "-ffdx"])?;
        }
        self.git(&["checkout", "-q", "-f", "--detach", ours.as_str()])?;
        let args = ["merge", "-q", "--no-ff", "--no-commit", "--allow-unrelated-histories", theirs.as_str()];
        let output = self.scene.command("git", &self.path, &args).output()?;
        self.littered = !output.status.success();
        if output.status.success() {
            // A copy of a history may lack what no merge reads.
            return Ok(End::Clean(self.git(&["write-tree", "--missing-ok"])?));
        }
        let unmerged = self.scene.command("git", &self.path, &["ls-files", "-u", "-z"]).output()?.stdout;
        let path = |entry: &[u8]| {
            let tab = entry.iter().position(|byte| *byte == b'\t')?;
            Some(wattle_workspace::shown(&entry[tab + 1..]))
        };
        let mut paths: Vec<String> = unmerged.split(|byte| *byte == 0).filter_map(path).collect();
        paths.dedup();
        if output.status.code() == Some(1) && !paths.is_empty() {
            return Ok(End::Conflicts(paths));
        }
        Ok(End::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn git(&self, args: &[&str]) -> Res<String> {
        self.scene.git(&self.path, args)
    }
}
