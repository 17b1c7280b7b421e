//! Which paths differ between two trees, read in process: equal subtrees are never entered.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::GitError;
use crate::ids::TreeId;
use crate::lookup::{Entry, MODE_TREE};
use crate::paths::shown;
use crate::repo::Repo;

impl Repo {
    /// Every path that differs between two trees, in content, mode or existence; both sides of a rename.
    pub fn changed_paths(&self, from: &TreeId, to: &TreeId) -> Result<BTreeSet<String>, GitError> {
        let mut changed = BTreeSet::new();
        // Depth is bounded by what git itself accepts in a path.
        let mut left = vec![(Vec::new(), Some(from.as_str().to_owned()), Some(to.as_str().to_owned()))];
        while let Some((prefix, from, to)) = left.pop() {
            let (mut older, newer) = (self.named(from.as_deref())?, self.named(to.as_deref())?);
            let pairs: Vec<_> = newer.into_iter().map(|(name, new)| (older.remove(&name), Some(new))).collect();
            for pair in pairs.into_iter().chain(older.into_values().map(|old| (Some(old), None))) {
                let (old, new) = match &pair {
                    (Some(old), Some(new)) if old.mode == new.mode && old.id == new.id => continue,
                    (old, new) => (old.as_ref(), new.as_ref()),
                };
                let Some(name) = new.or(old).map(|entry| &entry.name) else { continue };
                let path = [prefix.as_slice(), name].concat();
                let tree = |entry: Option<&Entry>| entry.filter(|e| e.mode == MODE_TREE).map(|e| e.id.clone());
                let is_file = |entry: Option<&Entry>| entry.is_some_and(|e| e.mode != MODE_TREE);
                let (below, above) = (tree(old), tree(new));
                if is_file(old) || is_file(new) {
                    changed.insert(shown(&path));
                }
                if below.is_some() || above.is_some() {
                    left.push(([path.as_slice(), b"/"].concat(), below, above));
                }
            }
        }
        Ok(changed)
    }

    fn named(&self, tree: Option<&str>) -> Result<BTreeMap<Vec<u8>, Entry>, GitError> {
        let entries = tree.map_or_else(|| Ok(Vec::new()), |tree| self.entries(tree))?;
        Ok(entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn as_git_names_them() {
        let f =
            Fixture::with(&[("a", "a\n"), ("d/e/f", "f\n"), ("d/g", "g\n"), ("h", "h\n"), ("i/j", "j\n"), ("k", "k")]);
        let base = f.head();
        // Changed, deleted, a file for a folder and a folder for a file, a mode, nothing.
        let next: [(&str, Option<&str>); 7] = [
            ("a", Some("b\n")),
            ("d/e/f", None),
            ("d/e", Some("now a file\n")),
            ("h", None),
            ("h/below/deep", Some("now a folder\n")),
            ("d.x", Some("sorts between\n")),
            ("i/ü", Some("ü\n")),
        ];
        // The folder has to be gone before a file can have its name.
        let gone: Vec<_> = next.into_iter().filter(|(_, text)| text.is_none()).collect();
        let without = f.side(&base, &gone);
        let rest: Vec<_> = next.into_iter().filter(|(_, text)| text.is_some()).collect();
        let side = f.side(&without, &rest);
        f.git(&["checkout", "-q", "--detach", side.as_str()]);
        f.git(&["update-index", "--chmod=+x", "k"]);
        f.git(&["commit", "-q", "-m", "mode"]);
        let repo = f.open();
        let (from, to) = (repo.tree_of(&base).unwrap(), repo.tree_of(&f.head()).unwrap());
        let git = f.git(&["diff-tree", "-r", "-z", "--no-renames", "--name-only", from.as_str(), to.as_str()]);
        let git: std::collections::BTreeSet<String> =
            git.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        assert_eq!(repo.changed_paths(&from, &to).unwrap(), git);
        assert_eq!(repo.changed_paths(&to, &from).unwrap(), git);
        assert_eq!(git.len(), 8);
        assert!(repo.changed_paths(&to, &to).unwrap().is_empty());
    }
}
