//! Is all of a commit there? Between the making of objects and the ref that keeps them, somebody's `git gc --prune=now`
//! takes them away without a word; so whoever is about to give up the only other copy asks, once the ref is there.

use crate::git::GitError;
use crate::ids::CommitId;
use crate::lookup::MODE_GITLINK;
use crate::refs::{Expect, RefChange, RefError};
use crate::repo::Repo;

/// How often something is made whose objects somebody prunes before their ref is there. A prune lists what there is once, so
/// a second one would have to meet the same few milliseconds.
const TRIES_MAX: u32 = 3;

/// Makes something and has a ref keep it, once more if somebody has pruned what no ref kept yet, here or under the git that
/// was to read it. What fails for another reason fails again.
pub fn until_whole<T>(mut make: impl FnMut() -> Result<T, GitError>) -> Result<T, GitError> {
    for _ in 1..TRIES_MAX {
        match make() {
            Err(GitError::Pruned { .. } | GitError::Failed { .. } | GitError::Output { .. }) => {}
            made => return made,
        }
    }
    make()
}

impl Repo {
    /// Whether all is there by which each of these commits differs from the one before it, the first from `base`; else
    /// [`GitError::Pruned`].
    pub fn require_whole(&self, base: &CommitId, commits: &[CommitId]) -> Result<(), GitError> {
        let mut from = base;
        for commit in commits {
            let whole = match self.objects().has_between(self.git(), from.as_str(), commit.as_str())? {
                Some(whole) => whole,
                None => self.is_whole(from, commit)?,
            };
            if !whole {
                return Err(GitError::Pruned { commit: commit.to_string() });
            }
            from = commit;
        }
        Ok(())
    }

    /// Points a ref at the last of these commits, and then requires them to be whole. What is not is kept by no ref: with
    /// one, the owner's next `git gc` would refuse to work.
    pub fn keep_whole(&self, name: &str, base: &CommitId, commits: &[CommitId], reason: &str) -> Result<(), GitError> {
        let Some(last) = commits.last() else { return Ok(()) };
        let keep = RefChange { name: name.to_owned(), new: Some(last.clone()), old: Expect::Any };
        match self.update_refs(&[keep], reason) {
            Ok(()) => {}
            // git points no ref at what is gone: that is looked for first.
            Err(RefError::Git(error)) => return self.require_whole(base, commits).and(Err(error)),
            Err(RefError::Moved { .. } | RefError::Occupied { .. }) => {}
        }
        let whole = self.require_whole(base, commits);
        if whole.is_err() {
            self.unkeep(name, last);
        }
        whole
    }

    /// Removes a ref that kept a commit. Where it cannot be removed, or names another commit by now, it stays.
    pub fn unkeep(&self, name: &str, commit: &CommitId) {
        let change = RefChange { name: name.to_owned(), new: None, old: Expect::Is(commit.clone()) };
        drop(self.update_refs(&[change], "wattle: let go"));
    }

    /// Whether every tree and blob by which `commit` differs from `base`, which is kept by others, is in the repository.
    /// Asked of a fresh git: a process that has read an object still has it when it is gone.
    pub fn is_whole(&self, base: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
        if self.fetches_lazily() {
            // What is missing there is the server's to give, and asking for it would fetch it.
            return Ok(true);
        }
        let diff = ["diff-tree", "-r", "-t", "-z", "--raw", "--no-abbrev", "--no-renames"];
        let ran = self.store().args(diff).args([base.as_str(), commit.as_str()]).accept(128).run()?;
        if ran.code != 0 {
            return Ok(false);
        }
        let gitlink = format!("{MODE_GITLINK:06o}");
        let mut input = Vec::new();
        for info in ran.fields().step_by(2) {
            // `:mode-before mode-after id-before id-after status`
            let info = String::from_utf8_lossy(info);
            let mut words = info.split(' ').skip(1);
            let (mode, id) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            if mode != gitlink && id.bytes().any(|digit| digit != b'0') {
                input.extend_from_slice(id.as_bytes());
                input.push(b'\n');
            }
        }
        if input.is_empty() {
            return Ok(true);
        }
        let asked = self.store().args(["cat-file", "--batch-check=%(objecttype)"]).stdin(input).run()?;
        Ok(asked.stdout.split(|byte| *byte == b'\n').all(|line| !line.ends_with(b" missing")))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn a_commit_is_whole_until_somebody_prunes_it() {
        let f = Fixture::with(&[("a", "1\n"), ("dir/b", "1\n")]);
        let repo = f.open();
        let base = f.head();
        let worktree = f.main();
        std::fs::write(worktree.join("dir/b"), "2\n").unwrap();
        let captured = repo.capture(&worktree, &base, &crate::CaptureOptions::default()).unwrap();
        let who = repo.identity();
        let spec = crate::CommitSpec {
            tree: captured.tree.clone(),
            parents: vec![base.clone()],
            message: "made".to_owned(),
            author: who.clone(),
            committer: who,
            time_s: 1,
        };
        let commit = repo.commit(&spec).unwrap();
        assert!(repo.is_whole(&base, &commit).unwrap());
        assert!(repo.is_whole(&base, &base).unwrap());
        let required = || repo.require_whole(&base, std::slice::from_ref(&commit)).is_ok();
        assert!(required());
        let blob = repo.blob_of(&captured.tree, "dir/b").unwrap().unwrap();
        let (head, rest) = blob.as_str().split_at(2);
        std::fs::remove_file(repo.common_dir().join("objects").join(head).join(rest)).unwrap();
        assert!(!repo.is_whole(&base, &commit).unwrap());
        // Not to be taken in by what has been read before.
        assert!(!required());
        f.git(&["prune", "--expire=now"]);
        assert!(!repo.is_whole(&base, &commit).unwrap());
    }
}
