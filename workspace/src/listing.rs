//! The files of a tree with their blobs and sizes, and those blobs: for who reads most of a commit.

use serde::{Deserialize, Serialize};

use crate::git::GitError;
use crate::ids::{BlobId, TreeId};
use crate::paths::shown;
use crate::repo::Repo;

/// A file or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its path, shown by the rule of `paths`.
    pub path: String,
    /// Its content.
    pub blob: BlobId,
    /// Size of that in bytes; none if the repository does not hold it, as a partial clone may not.
    pub bytes: Option<u64>,
    /// Is it a file, and no link?
    pub regular: bool,
}

impl Repo {
    /// Every file and link of a tree, in git's order; submodules are left out. Nothing is fetched for it.
    pub fn listing(&self, tree: &TreeId) -> Result<Vec<Listed>, GitError> {
        // One process for all: a tree does not say how large its files are, and git reads only the headers of blobs.
        let args = ["ls-tree", "-r", "-z", "--long", "--full-tree", tree.as_str()];
        let ran = self.store().env("GIT_NO_LAZY_FETCH", "1").args(args).run()?;
        let mut listed = Vec::new();
        for line in ran.fields() {
            // `mode type id size<TAB>path`, the size padded on its left.
            let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(|| ran.unreadable("no path"))?;
            let head = String::from_utf8_lossy(&line[..tab]);
            let mut words = head.split_ascii_whitespace();
            let (Some(mode), Some(kind), Some(id)) = (words.next(), words.next(), words.next()) else {
                return Err(ran.unreadable(format!("`{head}`")));
            };
            if kind != "blob" {
                continue;
            }
            listed.push(Listed {
                path: shown(&line[tab + 1..]),
                blob: id.parse().map_err(|error| ran.unreadable(format!("{error}")))?,
                bytes: words.next().and_then(|size| size.parse().ok()),
                regular: mode != "120000",
            });
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn a_listing_is_what_the_tree_holds() {
        let f = Fixture::with(&[("a", "1\n"), ("dir/b", ""), ("dir/deep/ü c", "longer\n")]);
        std::os::unix::fs::symlink("a", f.main().join("link")).unwrap();
        let commit = f.commit(&[]);
        let repo = f.open();
        let listed = repo.listing(&repo.tree_of(&commit).unwrap()).unwrap();
        let shown: Vec<_> = listed.iter().map(|l| (l.path.as_str(), l.bytes, l.regular)).collect();
        let expected =
            [("a", Some(2), true), ("dir/b", Some(0), true), ("dir/deep/ü c", Some(7), true), ("link", Some(1), false)];
        assert_eq!(shown, expected);
        for file in &listed {
            let blob = repo.blob(&file.blob).unwrap();
            assert_eq!(Some(blob.len() as u64), file.bytes);
        }
        assert!(repo.blob(&"0123456789012345678901234567890123456789".parse().unwrap()).is_err());
        assert!(repo.listing(&repo.empty_tree().unwrap()).unwrap().is_empty());
    }
}
