//! What of a worktree's files is not as an index says: one walk over all of them, in process.
//!
//! It is a quick "all as it was", which is what a slot is nearly always found to be, and never more: what it cannot vouch
//! for (an index of an unusual kind, a file whose stat data differ in anything, a name that the index does not have) is
//! git's to judge. A file is vouched for where every number that git noted of it is the same, nanoseconds included, and it
//! was last modified before the index was written; else its content is read, and only if that is the blob's byte for byte
//! is it vouched for. git itself compares less, so nothing passes here that git would find changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use git2::{ObjectType, Oid};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use crate::git::{GitError, Run};
use crate::index::{Entry, IndexFile, Noted};
use crate::walk::{Walked, walk_from};

/// Most threads: past this they wait for each other in the kernel.
const LANES_MAX: usize = 8;
/// Least folders worth a thread of their own: a folder takes about 20 µs, a thread 50.
const LANE_FOLDERS_MIN: usize = 64;
/// Folders that a thread takes at one time.
const BITE: usize = 16;
/// Modes of an entry.
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_000;
/// In a file's mode: its owner may execute it.
const EXECUTABLE: u32 = 0o100;

/// What a walk found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Paths of the index that cannot be vouched for: changed, missing, or merely touched. Sorted.
    pub(crate) doubtful: Vec<Vec<u8>>,
    /// Names that the index does not have, folders as one. Sorted.
    pub(crate) untracked: Vec<Vec<u8>>,
    /// What git's own listings leave out (see [`Walked`]).
    pub(crate) walked: Walked,
}

impl Scan {
    /// Whether a commit of the files would be one of the index: nothing differs and nothing is beside it.
    pub(crate) fn is_clean(&self) -> bool {
        self.doubtful.is_empty() && self.untracked.is_empty() && self.walked.suspects.is_empty()
    }
}

/// Which of some untracked names are ignored; `git` is a command on their worktree. A folder is ignored as a whole, or not.
pub(crate) fn ignored(git: Run, names: &[Vec<u8>]) -> Result<BTreeSet<Vec<u8>>, GitError> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut input = names.join(&0);
    input.push(0);
    // The names are literal, and check-ignore refuses to be told so. The index has none of them, so it need not be read.
    let run = git.args(["check-ignore", "--no-index", "-z", "--stdin"]).env("GIT_LITERAL_PATHSPECS", "0");
    Ok(run.stdin(input).accept(1).run()?.fields().map(<[u8]>::to_vec).collect())
}

/// Walks the files below `root` beside an index. `None` = the index is of a kind that only git understands.
pub(crate) fn scan(root: &Path, index: &Path, id_bytes: usize) -> Result<Option<Scan>, GitError> {
    let io = |e| GitError::io(index, e);
    let file = match IndexFile::read(index) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let Some(entries) = file.entries(id_bytes) else { return Ok(None) };
    if entries.iter().any(|entry| !matches!(entry.noted.mode, FILE | PROGRAM | LINK)) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(rustix::fs::CWD, root, flags, Mode::empty()).map_err(|e| GitError::io(root, e.into()))?;
    let folders = folders(&entries);
    let walk = Walk { root, top, entries: &entries, folders: &folders, written: file.written };
    let mut found = walk.all()?;
    found.doubtful.sort();
    found.untracked.sort();
    found.walked.suspects.sort();
    Ok(Some(found))
}

/// A folder that the index has files in.
#[derive(Debug, Default)]
struct Folder<'a> {
    path: &'a [u8],
    /// Places of its own files among the entries.
    files: Vec<usize>,
    /// Names of the folders in it.
    folders: BTreeSet<&'a [u8]>,
}

/// The folder and the name of a path.
fn parted(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// The folders of all entries, the root first.
fn folders<'a>(entries: &[Entry<'a>]) -> Vec<Folder<'a>> {
    let mut found: Vec<Folder<'a>> = vec![Folder::default()];
    // Sorted paths: whatever is open is a folder of the present path, outermost first.
    let mut open: Vec<usize> = vec![0];
    for (n, entry) in entries.iter().enumerate() {
        let (path, _) = parted(entry.path);
        let holds = |outer: &[u8]| {
            outer.is_empty() || path == outer || (path.starts_with(outer) && path.get(outer.len()) == Some(&b'/'))
        };
        while open.len() > 1 && !holds(found[open[open.len() - 1]].path) {
            open.pop();
        }
        loop {
            let at = open[open.len() - 1];
            let depth = found[at].path.len();
            if depth == path.len() {
                found[at].files.push(n);
                break;
            }
            let from = if depth == 0 { 0 } else { depth + 1 };
            let to = path[from..].iter().position(|b| *b == b'/').map_or(path.len(), |slash| from + slash);
            found[at].folders.insert(&path[from..to]);
            open.push(found.len());
            found.push(Folder { path: &path[..to], ..Folder::default() });
        }
    }
    found
}

struct Walk<'a> {
    root: &'a Path,
    top: OwnedFd,
    entries: &'a [Entry<'a>],
    folders: &'a [Folder<'a>],
    written: (u32, u32),
}

impl Walk<'_> {
    /// All folders, in a few threads.
    fn all(&self) -> Result<Scan, GitError> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Scan::default());
        let lane = || -> Result<(), GitError> {
            let mut mine = Scan::default();
            loop {
                let from = next.fetch_add(BITE, Ordering::Relaxed);
                let Some(some) = self.folders.get(from..) else { break };
                for folder in some.iter().take(BITE) {
                    self.folder(folder, &mut mine)?;
                }
                if some.len() <= BITE {
                    break;
                }
            }
            let mut all = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.doubtful.append(&mut mine.doubtful);
            all.untracked.append(&mut mine.untracked);
            all.walked.suspects.append(&mut mine.walked.suspects);
            all.walked.hollow |= mine.walked.hollow;
            Ok(())
        };
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let lanes = processors.min(LANES_MAX).min(self.folders.len() / LANE_FOLDERS_MIN).max(1);
        thread::scope(|scope| {
            let others: Vec<_> = (1..lanes).map(|_| scope.spawn(lane)).collect();
            let mine = lane();
            let theirs = others.into_iter().map(|o| o.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            theirs.fold(mine, Result::and)
        })?;
        Ok(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// One folder: its files by what git noted of them, and whether there is anything else.
    fn folder(&self, folder: &Folder<'_>, found: &mut Scan) -> Result<(), GitError> {
        let path = self.root.join(OsStr::from_bytes(folder.path));
        let failed = |e: Errno| GitError::io(&path, e.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(&self.top, if folder.path.is_empty() { b"." } else { folder.path }, flags, Mode::empty())
        {
            Ok(dir) => dir,
            // Whatever is there instead is in the folder above, and told there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                found.doubtful.extend(folder.files.iter().map(|n| self.entries[*n].path.to_vec()));
                return Ok(());
            }
            Err(e) => return Err(failed(e)),
        };
        let mut there = 0;
        for n in &folder.files {
            let entry = &self.entries[*n];
            let stat = match statat(&dir, parted(entry.path).1, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(e) => return Err(failed(e)),
            };
            let folder_now = stat.as_ref().is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
            there += usize::from(stat.is_some() && !folder_now);
            if !stat.is_some_and(|stat| vouches(self.root, entry, &stat, self.written)) {
                found.doubtful.push(entry.path.to_vec());
            }
        }
        let (mut count, mut others, mut folders) = (0, 0, 0);
        for name in Dir::read_from(&dir).map_err(failed)? {
            let name = name.map_err(failed)?;
            let text = name.file_name().to_bytes();
            if matches!(text, b"." | b"..") {
                continue;
            }
            count += 1;
            // The slot's own; git refuses the name in every spelling.
            if folder.path.is_empty() && text.eq_ignore_ascii_case(b".git") {
                continue;
            }
            match name.file_type() {
                FileType::Directory if folder.folders.contains(text) => folders += 1,
                // One too many to be among the files.
                FileType::Directory | FileType::Unknown => others = usize::MAX / 2,
                _ => others += 1,
            }
        }
        found.walked.hollow |= count == 0;
        if others == there && folders == folder.folders.len() {
            return Ok(());
        }
        self.strangers(folder, &path, found)
    }

    /// What is in a folder beside what the index has there.
    fn strangers(&self, folder: &Folder<'_>, path: &Path, found: &mut Scan) -> Result<(), GitError> {
        let files: BTreeSet<&[u8]> = folder.files.iter().map(|n| parted(self.entries[*n].path).1).collect();
        let io = |e| GitError::io(path, e);
        for entry in fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let (name, kind) = (entry.file_name(), entry.file_type().map_err(io)?);
            let name = name.as_bytes();
            let relative = [folder.path, name].join(&b'/');
            let relative = relative.strip_prefix(b"/").unwrap_or(&relative);
            let as_path = || PathBuf::from(OsStr::from_bytes(relative));
            if name.eq_ignore_ascii_case(b".git") {
                if !folder.path.is_empty() {
                    found.walked.suspects.push(PathBuf::from(OsStr::from_bytes(folder.path)));
                }
            } else if kind.is_dir() {
                if !folder.folders.contains(name) {
                    found.untracked.push(relative.to_vec());
                    let inside = walk_from(self.root, as_path())?;
                    found.walked.suspects.extend(inside.suspects);
                    found.walked.hollow |= inside.hollow;
                }
            } else if !kind.is_file() && !kind.is_symlink() {
                found.walked.suspects.push(as_path());
            } else if !files.contains(name) {
                found.untracked.push(relative.to_vec());
            }
        }
        Ok(())
    }
}

/// Whether the file of an entry, below `root`, is certainly what the entry says; `written` is when its index was.
pub(crate) fn is_as_noted(root: &Path, entry: &Entry<'_>, written: (u32, u32)) -> bool {
    let path = root.join(OsStr::from_bytes(entry.path));
    let stat = statat(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| vouches(root, entry, &stat, written))
}

fn vouches(root: &Path, entry: &Entry<'_>, stat: &Stat, written: (u32, u32)) -> bool {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & EXECUTABLE != 0 => PROGRAM,
        FileType::RegularFile => FILE,
        FileType::Symlink => LINK,
        _ => return false,
    };
    // The index keeps the lower 32 bits of everything.
    let now = Noted {
        changed: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
        modified: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
        inode: stat.st_ino as u32,
        mode: kind,
        user: stat.st_uid,
        group: stat.st_gid,
        size: stat.st_size as u32,
    };
    now == entry.noted && (now.modified < written || is_same(root, entry))
}

/// Whether a file's bytes are the blob's.
fn is_same(root: &Path, entry: &Entry<'_>) -> bool {
    let path = root.join(OsStr::from_bytes(entry.path));
    let bytes = match entry.noted.mode {
        LINK => fs::read_link(path).map(|to| to.as_os_str().as_bytes().to_vec()),
        _ => fs::read(path),
    };
    let id = bytes.ok().and_then(|bytes| Oid::hash_object(ObjectType::Blob, &bytes).ok());
    id.is_some_and(|id| id.as_bytes() == entry.id)
}

#[cfg(test)]
mod tests;
