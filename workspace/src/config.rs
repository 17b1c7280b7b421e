//! What of the user's git configuration reaches our git: a file of admitted settings, and the folder that stands for the
//! repository (`store`), so that the repository's own configuration, which a worker could write to, is never read where
//! the content of files is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::git::GitError;
use crate::ids::Signature;

/// Names the repository's objects to git2, which knows no environment.
pub(crate) const ALTERNATES: &str = "objects/info/alternates";
/// The repository's common directory that the folder stands for, as bytes and nothing else.
const COMMON: &str = "common-dir";
/// By this the admitted configuration shows that LFS is in use.
const LFS_SECTION: &[u8] = b"[filter \"lfs\"]";
/// The identity used where the user has none.
const DEFAULT_NAME: &str = "Wattle";
const DEFAULT_EMAIL: &str = "wattle@localhost";

/// Sections whose settings are admitted whole: who the user is, how content is converted and merged, how it is signed.
const SECTIONS: &[&str] = &["user", "author", "committer", "filter", "merge", "gpg", "lfs"];
/// Single settings that are admitted: line ends, files that tell what is ignored, and how renames and changed lines are
/// found, which `git merge` takes from the settings for diffs where there is none for merges.
const KEYS: &[&str] = &[
    "commit.gpgsign",
    "core.attributesfile",
    "core.autocrlf",
    "core.bigfilethreshold",
    "core.compression",
    "core.eol",
    "core.excludesfile",
    "core.filemode",
    "core.sharedrepository",
    "core.symlinks",
    "diff.algorithm",
    "diff.renamelimit",
    "diff.renames",
];

/// The user's effective configuration, as `git config --list -z` gives it: the last value of a key wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effective {
    entries: Vec<(String, Option<Vec<u8>>)>,
}

impl Effective {
    pub(crate) fn parse(list: &[u8]) -> Effective {
        let key = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        let entries = list.split(|b| *b == 0).filter(|e| !e.is_empty()).map(|e| {
            let mut parts = e.splitn(2, |b| *b == b'\n');
            (key(parts.next().unwrap_or_default()), parts.next().map(<[u8]>::to_vec))
        });
        Effective { entries: entries.collect() }
    }

    /// A setting's value, if it is set and text.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        self.entries.iter().rev().find(|(k, _)| k == key).and_then(|(_, v)| v.as_deref())
    }

    pub(crate) fn identity(&self) -> Signature {
        let given = |key: &str| self.get(key).map(str::trim).filter(|v| !v.is_empty());
        Signature {
            name: given("user.name").unwrap_or(DEFAULT_NAME).to_owned(),
            email: given("user.email").unwrap_or(DEFAULT_EMAIL).to_owned(),
        }
    }

    /// Whether objects may have to be fetched when they are read.
    pub(crate) fn partial(&self) -> bool {
        let promisor = |key: &str| key.starts_with("remote.") && key.ends_with(".promisor");
        let extension = self.get("extensions.partialclone").is_some();
        extension || self.entries.iter().any(|(key, _)| promisor(key))
    }
}

/// What of a commit slots hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Submodules hold their files, as far as the repository has them.
    pub submodules: bool,
    /// Files of Git LFS hold their content, not pointers to it.
    pub lfs: bool,
    /// Only these folders, and the files of those above them; empty is everything.
    pub sparse: Vec<String>,
}

/// Everything but submodules.
impl Default for Shape {
    fn default() -> Self {
        Self { submodules: false, lfs: true, sparse: Vec::new() }
    }
}

fn admitted(key: &str, remotes: bool) -> bool {
    let section = key.split('.').next().unwrap_or(key);
    SECTIONS.contains(&section) || KEYS.contains(&key) || (remotes && section == "remote")
}

/// `section.sub.name` → the three, the subsection being all between the outer dots.
fn split(key: &str) -> Option<(&str, Option<&str>, &str)> {
    let (section, rest) = key.split_once('.')?;
    match rest.rsplit_once('.') {
        Some((sub, name)) => Some((section, Some(sub), name)),
        None => Some((section, None, rest)),
    }
}

pub(crate) fn push_entry(out: &mut Vec<u8>, key: &str, value: Option<&[u8]>) {
    let Some((section, sub, name)) = split(key) else {
        return;
    };
    match sub {
        Some(sub) => {
            let sub = sub.replace('\\', "\\\\").replace('"', "\\\"");
            out.extend_from_slice(format!("[{section} \"{sub}\"]\n\t{name}").as_bytes());
        }
        None => out.extend_from_slice(format!("[{section}]\n\t{name}").as_bytes()),
    }
    if let Some(value) = value {
        out.extend_from_slice(b" = \"");
        for byte in value {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\t' => out.extend_from_slice(b"\\t"),
                plain => out.push(*plain),
            }
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

/// Files of the user's that git reads when no setting names others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Personal {
    /// What is ignored.
    pub(crate) excludes: Option<PathBuf>,
    /// Attributes of files.
    pub(crate) attributes: Option<PathBuf>,
}

/// The text of the admitted configuration.
fn admitted_text(effective: &Effective, common: &Path, personal: &Personal) -> Vec<u8> {
    let mut out = b"# Written by wattle at the start of a run from the effective git configuration.\n".to_vec();
    let files = [("core.excludesfile", &personal.excludes), ("core.attributesfile", &personal.attributes)];
    for (key, path) in files {
        if let Some(path) = path.as_ref().filter(|_| effective.value(key).is_none()) {
            push_entry(&mut out, key, Some(path.as_os_str().as_bytes()));
        }
    }
    let lfs = effective.value("filter.lfs.smudge").or(effective.value("filter.lfs.process")).is_some();
    if lfs {
        // Else it would keep its objects in the folder that stands for the repository.
        push_entry(&mut out, "lfs.storage", Some(common.join("lfs").as_os_str().as_bytes()));
    }
    let remotes = lfs || effective.partial();
    for (key, value) in &effective.entries {
        if admitted(key, remotes) {
            push_entry(&mut out, key, value.as_deref());
        }
    }
    out
}

/// The configuration of `store`: the object format of the real repository and nothing else of it.
fn store_text(effective: &Effective) -> Vec<u8> {
    let mut out = b"[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tlogAllRefUpdates = false\n".to_vec();
    for key in ["extensions.objectformat", "extensions.partialclone"] {
        if let Some(value) = effective.value(key) {
            push_entry(&mut out, key, Some(value));
        }
    }
    out
}

/// Writes `text` to `path` whole or not at all, and only if it is not there already.
pub(crate) fn place(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    write_whole(path, text)
}

/// Replaces a file whole: written beside it, synced, renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().expect("every file of ours is in a folder of ours");
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    fs::File::open(dir)?.sync_all()
}

/// Whether `store` was made for the repository whose common directory is `common` now: it may have been moved since.
pub(crate) fn stands_for(store: &Path, common: &Path) -> bool {
    let stands = fs::read(store.join(COMMON)).unwrap_or_default();
    store.join("user.config").exists() && stands == common.as_os_str().as_bytes()
}

/// Makes `store` stand for the repository whose common directory is `common`, with the configuration admitted now.
pub(crate) fn write_store(
    store: &Path,
    common: &Path,
    effective: &Effective,
    personal: &Personal,
) -> Result<(), GitError> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    files.insert(store.join("HEAD"), b"ref: refs/heads/none\n".to_vec());
    files.insert(store.join(COMMON), common.as_os_str().as_bytes().to_vec());
    files.insert(store.join("config"), store_text(effective));
    files.insert(store.join("user.config"), admitted_text(effective, common, personal));
    let objects = common.join("objects").into_os_string().into_vec();
    // The file has no way to write a line end that libgit2 could read; then git serves the objects.
    if objects.contains(&b'\n') {
        remove_stale(&store.join(ALTERNATES))?;
    } else {
        files.insert(store.join(ALTERNATES), [objects.as_slice(), b"\n"].concat());
    }
    for name in ["info/exclude", "info/attributes", "shallow"] {
        let from = common.join(name);
        match fs::read(&from) {
            Ok(text) => _ = files.insert(store.join(name), text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => remove_stale(&store.join(name))?,
            Err(e) => return Err(GitError::io(&from, e)),
        }
    }
    for dir in ["objects/info", "refs/heads", "info"] {
        let dir = store.join(dir);
        fs::create_dir_all(&dir).map_err(|e| GitError::io(&dir, e))?;
    }
    for (path, text) in files {
        place(&path, &text).map_err(|e| GitError::io(&path, e))?;
    }
    Ok(())
}

/// Makes `to` what `store` is, for slots that hold less than everything.
pub(crate) fn write_shape(store: &Path, to: &Path, shape: &Shape) -> Result<(), GitError> {
    for dir in ["objects/info", "refs/heads", "info"] {
        let dir = to.join(dir);
        fs::create_dir_all(&dir).map_err(|e| GitError::io(&dir, e))?;
    }
    for name in ["HEAD", "config", COMMON, ALTERNATES, "info/exclude", "info/attributes", "shallow"] {
        let (from, to) = (store.join(name), to.join(name));
        let mut text = match fs::read(&from) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                remove_stale(&to)?;
                continue;
            }
            Err(e) => return Err(GitError::io(&from, e)),
        };
        if name == "config" {
            let user = fs::read(store.join("user.config")).unwrap_or_default();
            let lfs = user.windows(LFS_SECTION.len()).any(|part| part == LFS_SECTION);
            shape_settings(&mut text, shape, lfs);
        }
        place(&to, &text).map_err(|e| GitError::io(&to, e))?;
    }
    let cone = to.join("info/sparse-checkout");
    place(&cone, cone_text(&shape.sparse).as_bytes()).map_err(|e| GitError::io(&cone, e))
}

fn shape_settings(text: &mut Vec<u8>, shape: &Shape, lfs: bool) {
    if !shape.sparse.is_empty() {
        push_entry(text, "core.sparsecheckout", Some(b"true"));
        push_entry(text, "core.sparsecheckoutcone", Some(b"true"));
    }
    if lfs && !shape.lfs {
        push_entry(text, "filter.lfs.smudge", Some(b"git-lfs smudge --skip -- %f"));
        push_entry(text, "filter.lfs.process", Some(b"git-lfs filter-process --skip"));
    }
}

/// A cone as git writes it: the files of the root and of every folder on the way, and all of the folders named.
fn cone_text(folders: &[String]) -> String {
    let mut whole: BTreeSet<String> = BTreeSet::new();
    let mut way: BTreeSet<String> = BTreeSet::new();
    for folder in folders {
        let folder = folder.replace('\\', "\\\\");
        way.extend(folder.match_indices('/').map(|(at, _)| folder[..at].to_owned()));
        whole.insert(folder);
    }
    let inside = |path: &str| path.match_indices('/').any(|(at, _)| whole.contains(&path[..at]));
    let mut text = String::from("/*\n!/*/\n");
    // git wants a folder's line after those of the folders above it, which the order of the names gives.
    for path in way.union(&whole).filter(|path| !inside(path)) {
        text.push_str(&format!("/{path}/\n"));
        if !whole.contains(path) {
            text.push_str(&format!("!/{path}/*/\n"));
        }
    }
    text
}

pub(crate) fn remove_stale(path: &Path) -> Result<(), GitError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(GitError::io(path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_admitted_is_written_and_git_reads_it_back_unchanged() {
        let dir = tempfile::TempDir::new().unwrap();
        let f = crate::fixture::Fixture::empty(&[]);
        let values = ["plain", " spaced ; # \"quoted\" \\ back", "two\nlines\tand a tab", ""];
        for (n, value) in values.iter().enumerate() {
            f.git(&["config", &format!("filter.a.b \"{n}.clean"), value]);
        }
        f.git(&["config", "alias.evil", "!touch x"]);
        f.git(&["config", "core.sshCommand", "touch x"]);
        let list = f.git(&["config", "--list", "--local", "-z"]);
        let effective = Effective::parse(list.as_bytes());
        let path = dir.path().join("config");
        fs::write(&path, admitted_text(&effective, dir.path(), &Personal::default())).unwrap();
        let again = f.git(&["config", "--file", path.to_str().unwrap(), "--list", "-z"]);
        let again = Effective::parse(again.as_bytes());
        for (n, value) in values.iter().enumerate() {
            assert_eq!(again.get(&format!("filter.a.b \"{n}.clean")), Some(*value));
        }
        assert_eq!((again.get("alias.evil"), again.get("core.sshcommand")), (None, None));
    }
}
