//! Where a repository and its state lie, found without starting git: for those who only read what is known already, often
//! and while others work.
//!
//! It finds what [`Repo::open`](crate::Repo::open) has found before and nothing else. Whatever is not as usual (no state
//! yet, a bare repository, one of another user, a mount in between) is no site, and git is asked.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ids::CommitId;
use crate::lock::{LockInfo, holder_of};
use crate::paths::gitdir;
use crate::pool::holders_in;
use crate::refs::refs_in_files;
use crate::repo::{OpenOptions, known_id};

/// A repository that was opened before, to look at.
#[derive(Debug, Clone)]
pub struct Site {
    common: PathBuf,
    state: PathBuf,
}

impl Site {
    /// The site that `start` lies in, if there is one beyond doubt.
    pub fn find(start: &Path, o: &OpenOptions) -> Option<Site> {
        let common = common_dir(&start.canonicalize().ok()?)?;
        let id = known_id(&common, o)?;
        let state = o.state_dir.join("repos").join(id.as_str()).canonicalize().ok()?;
        state.to_str()?;
        Some(Site { common, state })
    }

    /// Where this repository's state lies, as [`Repo::state_dir`](crate::Repo::state_dir) says.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Who owns the repository, if anybody does now.
    pub fn lock_holder(&self) -> Option<LockInfo> {
        holder_of(&self.common)
    }

    /// What branches and refs of ours are at, in their order; none where the files do not say it beyond doubt.
    pub fn read_refs(&self, names: &[String]) -> Option<Vec<Option<CommitId>>> {
        refs_in_files(&self.common, names)
    }

    /// Who holds slots; none where that cannot be read.
    pub fn slot_holders(&self) -> Option<Vec<String>> {
        holders_in(&self.state)
    }
}

/// The common git directory of the checkout that a folder lies in.
fn common_dir(start: &Path) -> Option<PathBuf> {
    let us = rustix::process::geteuid().as_raw();
    let device = start.metadata().ok()?.dev();
    for dir in start.ancestors() {
        let here = dir.metadata().ok()?;
        // git does not look beyond a mount.
        if here.dev() != device || dir.join("HEAD").exists() {
            return None;
        }
        let dot = dir.join(".git");
        let found = match dot.symlink_metadata() {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        let git_dir = match found.file_type() {
            kind if kind.is_dir() => dot.clone(),
            kind if kind.is_file() => dir.join(gitdir(&fs::read(&dot).ok()?)?),
            _ => return None,
        };
        let common = match fs::read(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(std::str::from_utf8(text.strip_suffix(b"\n")?).ok()?),
            Err(e) if e.kind() == ErrorKind::NotFound => git_dir.clone(),
            Err(_) => return None,
        };
        let common = common.canonicalize().ok()?;
        // Whether another user's is to be trusted is git's to say (`safe.directory`).
        let ours = [dir, &dot, &git_dir, &common].iter().all(|path| path.metadata().is_ok_and(|m| m.uid() == us));
        return (ours && git_dir.join("HEAD").exists() && common.join("objects").is_dir()).then_some(common);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::lock::OwnerLock;
    use crate::refs::{Expect, RefChange};

    #[test]
    fn what_was_opened_before_is_found_and_nothing_else() {
        let f = Fixture::with(&[("dir/a", "1\n")]);
        assert!(Site::find(&f.main(), &f.options()).is_none(), "nobody has opened it");
        let second = f.root().join("second");
        f.git(&["worktree", "add", "-q", second.to_str().unwrap()]);
        let repo = f.open();
        for start in [f.main(), f.main().join("dir"), second] {
            let site = Site::find(&start, &f.options()).unwrap();
            assert_eq!(site.state_dir(), repo.state_dir(), "{}", start.display());
        }
        for start in [f.main().join(".git"), f.root(), f.root().join("absent")] {
            assert!(Site::find(&start, &f.options()).is_none(), "{}", start.display());
        }
        // A moved or copied one gets its id when it is opened.
        fs::rename(f.main(), f.root().join("moved")).unwrap();
        assert!(Site::find(&f.root().join("moved"), &f.options()).is_none());
    }

    #[test]
    fn it_tells_what_the_repository_tells() {
        let f = Fixture::with(&[("a", "1\n")]);
        let repo = f.open();
        let site = Site::find(&f.main(), &f.options()).unwrap();
        let info = LockInfo { pid: 1, host: "here".into(), since: "2026-01-02T03:04:05Z".into(), run: None };
        assert_eq!(site.lock_holder(), None);
        let lock = OwnerLock::acquire(&repo, &info).unwrap();
        assert_eq!(site.lock_holder(), Some(info));
        drop(lock);
        let head = repo.resolve("HEAD").unwrap().unwrap();
        let name = |text: &str| format!("refs/heads/wattle/r/{text}");
        let make = |text: &str| RefChange { name: name(text), new: Some(head.clone()), old: Expect::Absent };
        repo.update_refs(&[make("packed")], "test").unwrap();
        f.git(&["pack-refs", "--all"]);
        repo.update_refs(&[make("loose")], "test").unwrap();
        let names = [name("loose"), name("none"), name("packed")];
        assert_eq!(site.read_refs(&names), Some(vec![Some(head.clone()), None, Some(head)]));
        assert_eq!(site.read_refs(&["refs/tags/x".to_owned()]), None, "it may be a tag object");
        assert_eq!(site.slot_holders(), Some(Vec::new()));
    }
}
