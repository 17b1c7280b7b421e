//! What is left on the disk of a folder.

use std::io;
use std::path::Path;

/// What is left on the disk of a folder for whoever is not root, in bytes.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
