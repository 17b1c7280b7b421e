//! The submodules that the user's repository has, for merges: git merges two moves of a submodule by the submodule's own
//! history, which it finds by `.gitmodules` in the checkout. Merges without a checkout find it by what is made here.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use git2::Config;

use crate::config::{place, push_entry, remove_stale};
use crate::git::GitError;

/// Where git keeps the repositories of submodules, below a git directory.
const MODULES: &str = "modules";
/// The file that says which submodule is where.
pub(crate) const LIST: &str = ".gitmodules";
/// Submodules that are looked at. Repositories with hundreds are known; beyond, moves of a submodule conflict.
const MODULES_MAX: usize = 1_000;
/// Folders in a name, as in `vendor/sub`.
const DEPTH_MAX: usize = 8;

/// Makes the submodules of the repository at `common` known to git in `store`, by where the checkout has them.
pub(crate) fn write(store: &Path, common: &Path, checkout: Option<&Path>) -> Result<(), GitError> {
    let (link, list) = (store.join(MODULES), store.join(LIST));
    let modules = common.join(MODULES);
    let mut found = Vec::new();
    if let Some(checkout) = checkout.filter(|_| modules.is_dir()) {
        let checkout = checkout.canonicalize().map_err(|e| GitError::io(checkout, e))?;
        collect(&modules, &modules, DEPTH_MAX, &checkout, &mut found);
    }
    if found.is_empty() {
        remove_stale(&list)?;
        return remove_stale(&link);
    }
    found.sort();
    let mut text = Vec::new();
    for (name, path) in found {
        push_entry(&mut text, &format!("submodule.{name}.path"), Some(path.as_os_str().as_bytes()));
    }
    let io = |e| GitError::io(&link, e);
    if fs::read_link(&link).ok().as_deref() != Some(modules.as_path()) {
        remove_stale(&link)?;
        symlink(&modules, &link).map_err(io)?;
    }
    place(&list, &text).map_err(|e| GitError::io(&list, e))
}

/// Name and place of every submodule below a folder. What cannot be read is not there: its moves conflict.
fn collect(root: &Path, folder: &Path, depth: usize, checkout: &Path, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if found.len() >= MODULES_MAX || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if !path.join("HEAD").exists() {
            if depth > 0 {
                collect(root, &path, depth - 1, checkout, found);
            }
            continue;
        }
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned);
        found.extend(name.zip(files_of(&path, checkout)));
    }
}

/// Where the files of a submodule are, below the checkout.
fn files_of(module: &Path, checkout: &Path) -> Option<PathBuf> {
    let worktree = Config::open(&module.join("config")).ok()?.get_path("core.worktree").ok()?;
    let worktree = module.join(worktree).canonicalize().ok()?;
    worktree.strip_prefix(checkout).ok().filter(|below| !below.as_os_str().is_empty()).map(Path::to_owned)
}
