//! What a run tells of the repository before it starts: where HEAD is, how it stands to its upstream, what is dirty.

use serde::{Deserialize, Serialize};

use crate::git::{GitError, Ran};
use crate::ids::CommitId;
use crate::paths::shown;
use crate::repo::Repo;

/// What is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// A branch.
    Branch {
        /// Its short name, as in `main`.
        name: String,
        /// Where it is; none in a repository without commits.
        commit: Option<CommitId>,
    },
    /// No branch.
    Detached {
        /// The commit.
        commit: CommitId,
    },
}

/// The branch that a branch follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its short name, as in `origin/main`.
    pub name: String,
    /// Commits that the upstream lacks.
    pub ahead: u32,
    /// Commits that the upstream has besides.
    pub behind: u32,
}

/// How the repository stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What is checked out.
    pub head: Head,
    /// What it follows, where both exist.
    pub upstream: Option<Upstream>,
    /// Changed and untracked paths of the checkout, which no base includes.
    pub dirty: Vec<String>,
    /// Whether there is no checkout at all.
    pub bare: bool,
}

impl Repo {
    /// How the repository stands now.
    pub fn facts(&self) -> Result<Facts, GitError> {
        if self.worktree().is_none() {
            let bare = self.common().args(["rev-parse", "--is-bare-repository"]).text()? == "true";
            return Ok(Facts { head: self.head()?, upstream: None, dirty: Vec::new(), bare });
        }
        let args = ["status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--ahead-behind"];
        let ran = self.checkout().args(args).run()?;
        read(&ran)
    }

    fn head(&self) -> Result<Head, GitError> {
        let commit = self.resolve("HEAD")?;
        let ran = self.checkout().args(["symbolic-ref", "--quiet", "--short", "HEAD"]).accept(1).run()?;
        match (ran.code, commit) {
            (0, commit) => Ok(Head::Branch { name: ran.text(), commit }),
            (_, Some(commit)) => Ok(Head::Detached { commit }),
            (_, None) => Err(ran.unreadable("HEAD is neither a branch nor a commit")),
        }
    }
}

fn read(ran: &Ran) -> Result<Facts, GitError> {
    let (mut commit, mut branch, mut upstream, mut counts) = (None, None, None, None);
    let mut dirty = Vec::new();
    for field in ran.fields() {
        let field = shown(field);
        if let Some(header) = field.strip_prefix("# branch.") {
            match header.split_once(' ') {
                Some(("oid", oid)) => commit = oid.parse::<CommitId>().ok(),
                Some(("head", name)) => branch = Some(name.to_owned()).filter(|n| n != "(detached)"),
                Some(("upstream", name)) => upstream = Some(name.to_owned()),
                Some(("ab", ab)) => counts = ab.strip_prefix('+').and_then(|ab| ab.split_once(" -")).map(parse_counts),
                Some(_) | None => {}
            }
            continue;
        }
        // `1 XY sub mH mI mW hH hI path`, `u` with two more fields before the path, `? path`.
        let skip = match field.as_bytes().first() {
            Some(b'1') => 8,
            Some(b'u') => 10,
            Some(b'?') => 1,
            _ => continue,
        };
        dirty.extend(field.splitn(skip + 1, ' ').nth(skip).map(str::to_owned));
    }
    let head = match (branch, commit) {
        (Some(name), commit) => Head::Branch { name, commit },
        (None, Some(commit)) => Head::Detached { commit },
        (None, None) => return Err(ran.unreadable("no branch and no commit")),
    };
    let upstream = upstream.zip(counts).map(|(name, (ahead, behind))| Upstream { name, ahead, behind });
    dirty.sort();
    Ok(Facts { head, upstream, dirty, bare: false })
}

fn parse_counts((ahead, behind): (&str, &str)) -> (u32, u32) {
    (ahead.parse().unwrap_or(0), behind.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests;
