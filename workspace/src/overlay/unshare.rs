//! The one system call that has no safe name: leaving the namespaces that this process shares with others.
//!
//! It is `unsafe` in `rustix` for the sake of one flag, by which a thread stops sharing its open files with the others; that
//! flag is not used here, so nothing that any thread holds changes its meaning.
#![expect(unsafe_code, reason = "unshare has no safe wrapper; see above")]

use rustix::io::Result;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves this process into a mount namespace of its own.
pub(super) fn mounts() -> Result<()> {
    // SAFETY: the descriptor table stays shared (`UnshareFlags::FILES` is not given).
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
}

/// The same, and into a user namespace in which it has every capability; only for a process of one thread.
pub(super) fn user_and_mounts() -> Result<()> {
    // SAFETY: as above.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}
