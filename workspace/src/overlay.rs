//! Overlay mounts for slots, on Linux: a slot shows a template (a checkout that never changes, see `pool/template`) and
//! keeps what differs from it in a folder of its own. A fresh slot costs a mount and not a checkout.
//!
//! Mounting takes a mount namespace of this process's own, and where it has no privilege a user namespace too
//! (`namespace`). Only this process and what it starts see the mounts. To everybody else a slot's folder holds a note, and
//! what was written lies in the upper folder: with the template it can be put together without any mount (`flatten`), so no
//! kernel that refuses and no process that dies takes work away.
//!
//! What differs from a plain folder: renaming a folder that the template has fails with `EXDEV`, as across disks (`mv`
//! copies then; the kernel's remedy is not to be had without privilege, and one behaviour for everybody is worth more); a
//! file's times and inode are those of the template's until it is first written, so git's index of the template holds for
//! every slot over it; hard links of the template break when they are written.

mod flatten;
mod namespace;
mod unshare;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, open, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_at, mount_bind, mount_remount, unmount as unmount_at};

pub(crate) use flatten::flatten;
pub(crate) use namespace::mounted_by;
pub use namespace::{Refused, enter, entered, refused, try_out};

/// The folders of one overlay, all on one file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'a> {
    /// What is shown and never changed.
    pub(crate) lower: &'a Path,
    /// What was changed.
    pub(crate) upper: &'a Path,
    /// The kernel's own.
    pub(crate) work: &'a Path,
}

/// Mounts an overlay.
pub(crate) fn mount(layers: Layers<'_>, at: &Path) -> io::Result<()> {
    // By descriptor: a path may hold what the option's own grammar gives a meaning to.
    let folder = |path: &Path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let (lower, upper, work) = (folder(layers.lower)?, folder(layers.upper)?, folder(layers.work)?);
    let named = |fd: &rustix::fd::OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let options =
        format!("lowerdir={},upperdir={},workdir={},userxattr,index=off", named(&lower), named(&upper), named(&work));
    let options = CString::new(options).expect("digits and letters have no zero byte");
    mount_at("wattle", at, "overlay", MountFlags::empty(), options.as_c_str())?;
    // The kernel makes a folder there that not even its owner may enter, and then `rm -r` fails on it.
    let inner = layers.work.join("work");
    match fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Takes a mount away, at once where nobody has a file of it open, else as soon as nobody has.
pub(crate) fn unmount(at: &Path) -> io::Result<()> {
    match unmount_at(at, UnmountFlags::empty()) {
        Err(rustix::io::Errno::BUSY) => Ok(unmount_at(at, UnmountFlags::DETACH)?),
        done => Ok(done?),
    }
}

/// Whether something is mounted on a folder, as this process sees it.
pub(crate) fn is_mounted(at: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| meta.dev());
    let (here, above) = (device(at), at.parent().and_then(device));
    here.is_some() && here != above
}

/// Makes a folder unchangeable for this process and all that it starts.
pub(crate) fn freeze(folder: &Path) -> io::Result<()> {
    let now = statvfs(folder)?.f_flag;
    if now.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    mount_bind(folder, folder)?;
    // Whoever has no privilege may add a restriction to a mount and take none away: those that are there are said again.
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (there, again) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        flags.set(again, now.contains(there));
    }
    Ok(mount_remount(folder, flags, "")?)
}

/// The opposite of [`freeze`], for a folder that is to be deleted.
pub(crate) fn thaw(folder: &Path) -> io::Result<()> {
    match unmount_at(folder, UnmountFlags::DETACH) {
        // Nothing is mounted there.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => Ok(()),
        done => Ok(done?),
    }
}
