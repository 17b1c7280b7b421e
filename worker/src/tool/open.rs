//! Opens the files that a walk has found, with no symlink on the way.
//!
//! Between finding and opening, a command of the same step may put a link in a folder's place. The kernel refuses
//! such a path as a whole where it can (`openat2`, Linux 5.6); elsewhere each folder is opened in turn.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::confine::Worktree;

/// Files of one worktree.
pub(super) struct Opener {
    root: OwnedFd,
}

impl Opener {
    pub(super) fn new(worktree: &Worktree) -> io::Result<Opener> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Opener { root: rustix::fs::open(worktree.root(), flags, Mode::empty())? })
    }

    /// Opens a file for reading. A named pipe does not block.
    pub(super) fn open(&self, relative: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match self.whole(relative, flags) {
            Some(opened) => opened,
            None => self.stepwise(relative, flags),
        }
    }

    /// All of the path at once; `None` = the kernel cannot.
    #[cfg(target_os = "linux")]
    fn whole(&self, relative: &Path, flags: OFlags) -> Option<io::Result<File>> {
        use rustix::fs::ResolveFlags;
        use rustix::io::Errno;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.root, relative, flags, Mode::empty(), resolve) {
            Ok(file) => Some(Ok(File::from(file))),
            // An old kernel, or a filter of system calls that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => None,
            Err(errno) => Some(Err(errno.into())),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn whole(&self, _: &Path, _: OFlags) -> Option<io::Result<File>> {
        None
    }

    fn stepwise(&self, relative: &Path, flags: OFlags) -> io::Result<File> {
        let name = relative.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let on_the_way = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = self.root.try_clone()?;
        for component in relative.parent().unwrap_or(Path::new("")) {
            folder = rustix::fs::openat(&folder, component, on_the_way, Mode::empty())?;
        }
        Ok(File::from(rustix::fs::openat(&folder, name, flags, Mode::empty())?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_open_files_and_refuse_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "text").unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        let opener = Opener::new(&Worktree::new(&root).unwrap()).unwrap();
        let stepwise = |path: &Path| opener.stepwise(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC);
        for open in [&|path: &Path| opener.open(path) as io::Result<File>, &stepwise as &dyn Fn(&Path) -> _] {
            let mut text = String::new();
            open(Path::new("a/b/file")).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "text");
            for path in ["link/b/file", "out", "a/none", ""] {
                assert!(open(Path::new(path)).is_err(), "{path}");
            }
        }
    }
}
