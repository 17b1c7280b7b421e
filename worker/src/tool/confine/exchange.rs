//! The last step of a write: a finished file takes the place of another in one move.
//!
//! What is there is compared once more with what the caller knows. Between that look and the move somebody else may
//! still write, so the two files are exchanged and what came out is looked at again: if it is not what was known,
//! they are exchanged back, and nobody's bytes are lost.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::{Contents, PathError, read_at};

/// Exchanges until what somebody else wrote is back: each needs one more write of theirs in a few microseconds.
const GIVE_BACK_MAX: usize = 16;

/// Moves `partial` to `name`. `before` is what has to be there; `None` = nothing.
pub(super) fn into_place(
    folder: &OwnedFd,
    (partial, name): (&OsStr, &OsStr),
    before: Option<&Contents>,
    given: &str,
) -> Result<(), PathError> {
    let fault = |errno: Errno| PathError::Io { path: given.to_owned(), source: errno.into() };
    let changed = || PathError::Changed { path: given.to_owned() };
    let now = match read_at(folder, name, given) {
        Ok(contents) => Some(contents),
        Err(PathError::Missing { .. }) => None,
        Err(error) => return Err(error),
    };
    if now.as_ref() != before {
        return Err(changed());
    }
    let Some(before) = before else {
        return match renameat_with(folder, partial, folder, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => Err(changed()),
            Err(errno) if unsupported(errno) => renameat(folder, partial, folder, name).map_err(fault),
            moved => moved.map_err(fault),
        };
    };
    match renameat_with(folder, partial, folder, name, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(errno) if unsupported(errno) => return renameat(folder, partial, folder, name).map_err(fault),
        Err(Errno::NOENT) => return Err(changed()),
        Err(errno) => return Err(fault(errno)),
    }
    if read_at(folder, partial, given).is_ok_and(|out| out == *before) {
        return unlinkat(folder, partial, AtFlags::empty()).map_err(fault);
    }
    // Give back what came out; if something newer stands there by now, that comes back instead.
    let mut ours = read_at(folder, name, given).ok();
    for _ in 0..GIVE_BACK_MAX {
        let held = read_at(folder, partial, given).ok();
        renameat_with(folder, partial, folder, name, RenameFlags::EXCHANGE).map_err(fault)?;
        if read_at(folder, partial, given).ok() == ours {
            break;
        }
        ours = held;
    }
    Err(changed())
}

/// Some network and overlay file systems know no such move.
fn unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}
