//! Paths of a worktree, and the only way a tool gets at a file.
//!
//! A path is resolved by our own walk: every component, those of symlinks included, has to stay in the
//! worktree and must not be `.git`. The result holds no symlink, and the file is then opened component by
//! component with "do not follow", so that a symlink which appears in between is an error and no way out.

mod exchange;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

/// Symlinks that one path may go through, the kernel's own bound.
const SYMLINKS_MAX: usize = 40;
/// Bound on a file that a tool reads: larger ones are no source text.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Mode of a new file, before the umask.
const NEW_FILE_MODE: u32 = 0o666;

/// Why a tool does not touch a path. The messages are for the model.
#[derive(Debug, Error)]
pub(super) enum PathError {
    /// It leads out of the worktree.
    #[error("{path} is outside the worktree; only files inside it can be used")]
    Outside {
        /// The path as it was given.
        path: String,
    },
    /// It leads into git's own files.
    #[error("{path} belongs to git and cannot be used")]
    Git {
        /// The path as it was given.
        path: String,
    },
    /// It is empty or holds a NUL.
    #[error("{path:?} is no path")]
    Malformed {
        /// The path as it was given.
        path: String,
    },
    /// There is nothing.
    #[error("{path} does not exist")]
    Missing {
        /// The path as it was given.
        path: String,
    },
    /// It is a folder or something special.
    #[error("{path} is {what}, not a file")]
    NotAFile {
        /// The path as it was given.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// It is larger than the bound.
    #[error("{path} has {bytes} bytes; files above {FILE_BYTES_MAX} bytes are not read")]
    TooLarge {
        /// The path as it was given.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// It changed while a tool wrote it.
    #[error("{path} changed in the meantime; read it again")]
    Changed {
        /// The path as it was given.
        path: String,
    },
    /// The system says no.
    #[error("{path}: {source}")]
    Io {
        /// The path as it was given.
        path: String,
        /// What it says.
        source: io::Error,
    },
}

/// A worktree that tools are confined to.
#[derive(Debug, Clone)]
pub(super) struct Worktree {
    /// As it was given.
    given: PathBuf,
    /// With no symlink in it.
    root: PathBuf,
}

/// A path inside the worktree, with no symlink in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// As the model wrote it, for messages.
    given: String,
    /// Relative to the root; empty for the root itself.
    relative: PathBuf,
}

impl Located {
    /// Relative to the root, with `/`; the name under which evidence knows it.
    pub(super) fn name(&self) -> String {
        self.relative.to_string_lossy().into_owned()
    }

    /// Relative to the root; empty for the root itself.
    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Worktree {
    pub(super) fn new(path: &Path) -> Result<Worktree, PathError> {
        let root = path.canonicalize().map_err(|source| PathError::Io { path: path.display().to_string(), source })?;
        Ok(Worktree { given: path.to_owned(), root })
    }

    /// The root, with no symlink in it.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Resolves a path that the model wrote: relative to the root, or absolute inside it.
    pub(super) fn locate(&self, given: &str) -> Result<Located, PathError> {
        let outside = || PathError::Outside { path: given.to_owned() };
        if given.is_empty() || given.contains('\0') {
            return Err(PathError::Malformed { path: given.to_owned() });
        }
        let path = Path::new(given);
        let inside = if path.is_absolute() {
            path.strip_prefix(&self.given).or_else(|_| path.strip_prefix(&self.root)).map_err(|_| outside())?
        } else {
            path
        };
        let mut queue = VecDeque::new();
        for component in inside.components() {
            match component {
                Component::Normal(name) => queue.push_back(name.to_owned()),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(outside());
                }
            }
        }
        let relative = self.resolve(given, queue)?;
        Ok(Located { given: given.to_owned(), relative })
    }

    /// Follows symlinks by hand; what does not exist yet is taken as it is.
    fn resolve(&self, given: &str, mut queue: VecDeque<OsString>) -> Result<PathBuf, PathError> {
        let outside = || PathError::Outside { path: given.to_owned() };
        let mut relative = PathBuf::new();
        let mut symlinks = 0;
        while let Some(name) = queue.pop_front() {
            if name == ".." {
                if !relative.pop() {
                    return Err(outside());
                }
                continue;
            }
            if name.eq_ignore_ascii_case(".git") {
                return Err(PathError::Git { path: given.to_owned() });
            }
            let full = self.root.join(&relative).join(&name);
            let link = match std::fs::symlink_metadata(&full) {
                Ok(metadata) => metadata.is_symlink(),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => false,
                Err(source) => {
                    return Err(PathError::Io { path: given.to_owned(), source });
                }
            };
            if !link {
                relative.push(name);
                continue;
            }
            symlinks += 1;
            if symlinks > SYMLINKS_MAX {
                return Err(PathError::Io { path: given.to_owned(), source: Errno::LOOP.into() });
            }
            let target =
                std::fs::read_link(&full).map_err(|source| PathError::Io { path: given.to_owned(), source })?;
            let inside = if target.is_absolute() {
                relative = PathBuf::new();
                let found = target.strip_prefix(&self.root).or_else(|_| target.strip_prefix(&self.given));
                found.map_err(|_| outside())?.to_owned()
            } else {
                target
            };
            queue_link(&inside, &mut queue).ok_or_else(outside)?;
        }
        Ok(relative)
    }

    /// Opens the folder that holds a path, one component after the other.
    fn parent(&self, at: &Located, make: bool) -> Result<(OwnedFd, OsString), PathError> {
        let io_error = |errno: Errno| match errno {
            Errno::NOENT => PathError::Missing { path: at.given.clone() },
            errno => PathError::Io { path: at.given.clone(), source: errno.into() },
        };
        let Some(name) = at.relative.file_name() else {
            return Err(PathError::NotAFile { path: at.given.clone(), what: "the worktree itself" });
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(&self.root, flags, Mode::empty()).map_err(io_error)?;
        for component in at.relative.parent().unwrap_or(Path::new("")) {
            folder = match rustix::fs::openat(&folder, component, flags, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, component, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(io_error(errno)),
                    }
                    rustix::fs::openat(&folder, component, flags, Mode::empty()).map_err(io_error)?
                }
                opened => opened.map_err(io_error)?,
            };
        }
        Ok((folder, name.to_owned()))
    }

    /// Reads a whole file.
    pub(super) fn read(&self, at: &Located) -> Result<Contents, PathError> {
        let (folder, name) = self.parent(at, false)?;
        read_at(&folder, &name, &at.given)
    }

    /// Reads a whole file, where there is one.
    pub(super) fn read_if_there(&self, at: &Located) -> Result<Option<Contents>, PathError> {
        match self.read(at) {
            Ok(contents) => Ok(Some(contents)),
            Err(PathError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file, or makes it: all of it or nothing. `before` is what the caller knows it to hold; a file
    /// that holds something else by now is left alone.
    pub(super) fn replace(&self, at: &Located, before: Option<&Contents>, bytes: &[u8]) -> Result<(), PathError> {
        self.put(at, before, bytes, before.map(|contents| contents.mode))
    }

    /// The same with the mode that the file gets; `None` = that of a new file.
    pub(super) fn put(
        &self,
        at: &Located,
        before: Option<&Contents>,
        bytes: &[u8],
        mode: Option<u32>,
    ) -> Result<(), PathError> {
        let fault = |source: io::Error| PathError::Io { path: at.given.clone(), source };
        let (folder, name) = self.parent(at, true)?;
        // One name for each file: the rest of a write that was killed is gone with the next write of the file.
        let mut partial = OsString::from(".");
        partial.push(&name);
        partial.push(".wattle-partial");
        match rustix::fs::unlinkat(&folder, &partial, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fault(errno.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, &partial, flags, Mode::from_raw_mode(NEW_FILE_MODE));
        let mut file = File::from(opened.map_err(|errno| fault(errno.into()))?);
        let mut write = || -> Result<(), PathError> {
            file.write_all(bytes).map_err(fault)?;
            if let Some(mode) = mode {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|errno| fault(errno.into()))?;
            }
            exchange::into_place(&folder, (&partial, &name), before, &at.given)
        };
        write().inspect_err(|_| {
            // Best effort: the error that led here is the one to report.
            let _ = rustix::fs::unlinkat(&folder, &partial, AtFlags::empty());
        })
    }
}

impl Worktree {
    /// Removes a file that holds these bytes; one that holds others by now is left alone.
    pub(super) fn remove(&self, at: &Located, bytes: &[u8]) -> Result<(), PathError> {
        let (folder, name) = self.parent(at, false)?;
        if read_at(&folder, &name, &at.given)?.bytes != bytes {
            return Err(PathError::Changed { path: at.given.clone() });
        }
        let fault = |errno: Errno| PathError::Io { path: at.given.clone(), source: errno.into() };
        rustix::fs::unlinkat(&folder, &name, AtFlags::empty()).map_err(fault)
    }

    /// The folders of a path that are not there, the innermost first.
    pub(super) fn missing_folders(&self, at: &Located) -> Vec<Located> {
        let folders = at.relative.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let missing = folders.take_while(|folder| self.root.join(folder).symlink_metadata().is_err());
        missing.map(|folder| Located { given: at.given.clone(), relative: folder.to_owned() }).collect()
    }

    /// Removes a folder if nothing is in it.
    pub(super) fn remove_folder(&self, at: &Located) -> Result<(), PathError> {
        let (folder, name) = self.parent(at, false)?;
        let fault = |errno: Errno| PathError::Io { path: at.given.clone(), source: errno.into() };
        rustix::fs::unlinkat(&folder, &name, AtFlags::REMOVEDIR).map_err(fault)
    }
}

/// Puts the components of a link's target before those that are left; `None` = it starts at some other root.
fn queue_link(target: &Path, queue: &mut VecDeque<OsString>) -> Option<()> {
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => queue.push_front(name.to_owned()),
            Component::ParentDir => queue.push_front(OsString::from("..")),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(())
}

fn read_at(folder: &OwnedFd, name: &OsStr, given: &str) -> Result<Contents, PathError> {
    let fault = |source: io::Error| PathError::Io { path: given.to_owned(), source };
    // Not blocking: a named pipe must not hang the tool before it is recognised.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => {
            return Err(PathError::Missing { path: given.to_owned() });
        }
        Err(Errno::NXIO) => {
            return Err(PathError::NotAFile { path: given.to_owned(), what: "a socket or device" });
        }
        Err(errno) => return Err(fault(errno.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| fault(errno.into()))?;
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::Fifo => Some("a named pipe"),
        FileType::Symlink
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Socket
        | FileType::Unknown => Some("something special"),
    };
    if let Some(what) = what {
        return Err(PathError::NotAFile { path: given.to_owned(), what });
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > FILE_BYTES_MAX {
        return Err(PathError::TooLarge { path: given.to_owned(), bytes: size });
    }
    let mut bytes = Vec::new();
    File::from(file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PathError::TooLarge { path: given.to_owned(), bytes: bytes.len() as u64 });
    }
    Ok(Contents { bytes, mode: stat.st_mode & 0o7777 })
}

#[cfg(test)]
mod tests;
