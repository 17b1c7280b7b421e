//! What an overlay shows, put together without a mount: from the folder below and the folder above, by the marks that the
//! kernel leaves there (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "user xattr").

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, lgetxattr, mknodat, utimensat};

/// On a folder: `y` = nothing of the folder below shows through.
const OPAQUE: &str = "user.overlay.opaque";
/// On an empty file, beside the device of number 0: there is nothing of this name.
const WHITEOUT: &str = "user.overlay.whiteout";
/// Marks of what we never switch on; with one of them, what is shown cannot be told from the folders.
const FOREIGN: [&str; 2] = ["user.overlay.redirect", "user.overlay.metacopy"];

/// Writes what an overlay of these folders shows into the empty folder `to`. Content, modes and times of files are kept;
/// hard links become files of their own.
pub(crate) fn flatten(lower: &Path, upper: &Path, to: &Path) -> io::Result<()> {
    let mut open = vec![Folder { relative: PathBuf::new(), below: true, above: true }];
    let mut modes = Vec::new();
    while let Some(folder) = open.pop() {
        let target = to.join(&folder.relative);
        let from = if folder.above { upper } else { lower }.join(&folder.relative);
        if target != to {
            fs::create_dir(&target)?;
        }
        modes.push((target, fs::symlink_metadata(from)?.permissions()));
        let mut named = BTreeSet::new();
        if folder.above {
            above(&folder, lower, upper, to, &mut named, &mut open)?;
        }
        if folder.below {
            below(&folder, lower, to, &named, &mut open)?;
        }
    }
    // Last, and the inner ones first: one may forbid writing.
    modes.into_iter().rev().try_for_each(|(path, mode): (PathBuf, Permissions)| fs::set_permissions(path, mode))
}

/// A folder of what is shown, and which of the two have it.
struct Folder {
    relative: PathBuf,
    below: bool,
    above: bool,
}

fn above(
    folder: &Folder,
    lower: &Path,
    upper: &Path,
    to: &Path,
    named: &mut BTreeSet<OsString>,
    open: &mut Vec<Folder>,
) -> io::Result<()> {
    for entry in fs::read_dir(upper.join(&folder.relative))? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        named.insert(entry.file_name());
        if FOREIGN.iter().any(|mark| marked(&path, mark).is_some()) {
            return Err(io::Error::other(format!("{} has a mark that is not ours", path.display())));
        }
        let device = meta.file_type().is_char_device() && meta.rdev() == 0;
        if device || (meta.len() == 0 && marked(&path, WHITEOUT).is_some()) {
            continue;
        }
        let relative = folder.relative.join(entry.file_name());
        if meta.is_dir() {
            let alone = marked(&path, OPAQUE).is_some_and(|mark| mark == b"y");
            let there = fs::symlink_metadata(lower.join(&relative)).is_ok_and(|meta| meta.is_dir());
            open.push(Folder { relative, below: folder.below && there && !alone, above: true });
        } else {
            copy(&path, &meta, &to.join(relative))?;
        }
    }
    Ok(())
}

fn below(
    folder: &Folder,
    lower: &Path,
    to: &Path,
    named: &BTreeSet<OsString>,
    open: &mut Vec<Folder>,
) -> io::Result<()> {
    for entry in fs::read_dir(lower.join(&folder.relative))? {
        let entry = entry?;
        if named.contains(&entry.file_name()) {
            continue;
        }
        let (meta, relative) = (entry.metadata()?, folder.relative.join(entry.file_name()));
        if meta.is_dir() {
            open.push(Folder { relative, below: true, above: false });
        } else {
            copy(&entry.path(), &meta, &to.join(relative))?;
        }
    }
    Ok(())
}

/// A mark on a file or folder.
fn marked(path: &Path, mark: &str) -> Option<Vec<u8>> {
    let mut value = [0_u8; 256];
    match lgetxattr(path, mark, &mut value[..]) {
        Ok(length) => Some(value[..length].to_vec()),
        // One that is longer is there, too.
        Err(rustix::io::Errno::RANGE) => Some(Vec::new()),
        Err(_) => None,
    }
}

fn copy(from: &Path, meta: &Metadata, to: &Path) -> io::Result<()> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        fs::copy(from, to)?;
        let time = Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        return Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?);
    }
    let node = if kind.is_fifo() {
        FileType::Fifo
    } else if kind.is_socket() {
        FileType::Socket
    } else {
        return Err(io::Error::other(format!("{} is a device", from.display())));
    };
    Ok(mknodat(CWD, to, node, Mode::from_raw_mode(meta.mode()), 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Every file with its text, every folder and link.
    fn listed(root: &Path) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let meta = fs::symlink_metadata(&path).unwrap();
                if meta.is_dir() {
                    found.push(format!("{name}/"));
                    open.push(path);
                } else if meta.is_symlink() {
                    found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                } else if meta.is_file() {
                    found.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
                } else {
                    found.push(format!("{name} special"));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn what_is_above_wins_and_what_is_whited_out_is_gone() {
        let dir = tempfile::TempDir::new().unwrap();
        let (lower, upper, to) = (dir.path().join("l"), dir.path().join("u"), dir.path().join("t"));
        for folder in [&lower, &upper, &to] {
            fs::create_dir(folder).unwrap();
        }
        for (path, text) in [("same", "1"), ("both/old", "2"), ("both/new", "3"), ("gone", "4"), ("dir/in", "5")] {
            write(&lower.join(path), text);
        }
        write(&lower.join("opaque/hidden"), "6");
        write(&lower.join("deep/a/b/c"), "7");
        write(&lower.join("folder/x"), "8");
        write(&upper.join("both/new"), "changed");
        write(&upper.join("opaque/shown"), "9");
        write(&upper.join("folder"), "a file now");
        write(&upper.join("deep/a/d"), "full");
        symlink("nowhere", upper.join("link")).unwrap();
        fs::set_permissions(upper.join("both/new"), Permissions::from_mode(0o755)).unwrap();
        // The two ways in which the kernel says that something is gone.
        mknodat(CWD, upper.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        write(&upper.join("dir"), "");
        rustix::fs::setxattr(upper.join("dir"), WHITEOUT, b"", rustix::fs::XattrFlags::empty()).unwrap();
        mknodat(CWD, upper.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        rustix::fs::setxattr(upper.join("opaque"), OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
        fs::set_permissions(upper.join("opaque"), Permissions::from_mode(0o500)).unwrap();
        flatten(&lower, &upper, &to).unwrap();
        insta::assert_snapshot!(listed(&to).join("\n"), @r"
        both/
        both/new: changed
        both/old: 2
        deep/
        deep/a/
        deep/a/b/
        deep/a/b/c: 7
        deep/a/d: full
        folder: a file now
        link -> nowhere
        opaque/
        opaque/shown: 9
        pipe special
        same: 1
        ");
        assert_eq!(fs::metadata(to.join("both/new")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(to.join("opaque")).unwrap().mode() & 0o777, 0o500);
        let time = |root: &Path| fs::metadata(root.join("same")).unwrap().modified().unwrap();
        assert_eq!(time(&to), time(&lower));
        // A folder that was renamed by somebody who may is not put together wrongly.
        rustix::fs::setxattr(upper.join("both"), FOREIGN[0], b"/x", rustix::fs::XattrFlags::empty()).unwrap();
        fs::create_dir(dir.path().join("again")).unwrap();
        assert!(flatten(&lower, &upper, &dir.path().join("again")).is_err());
    }
}
