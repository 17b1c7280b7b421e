//! Systems without overlay mounts: every answer is no, and slots are checkouts.

use std::io;
use std::path::Path;

/// The folders of one overlay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'a> {
    /// What is shown and never changed.
    pub(crate) lower: &'a Path,
    /// What was changed.
    pub(crate) upper: &'a Path,
    /// The kernel's own.
    pub(crate) work: &'a Path,
}

/// Slots cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// What stands against it.
    pub why: String,
}

impl Refused {
    /// A refusal with its reason.
    pub fn new(why: impl Into<String>) -> Refused {
        Refused { why: why.into() }
    }
}

/// Why there are none.
const WHY: &str = "overlay mounts are Linux's";

/// Why slots cannot be mounted by this process.
pub fn refused() -> Option<&'static str> {
    Some(WHY)
}

/// Refuses.
pub fn enter(_state_dir: &Path, _probe: impl FnOnce() -> Result<(), Refused>) -> Result<(), Refused> {
    Err(Refused::new(WHY))
}

/// Refuses.
pub fn try_out(_folder: &Path) -> Result<(), Refused> {
    Err(Refused::new(WHY))
}

/// Never.
pub fn entered() -> bool {
    false
}

pub(crate) fn mounted_by(_folder: &Path) -> Option<u32> {
    None
}

pub(crate) fn mount(_layers: Layers<'_>, _at: &Path) -> io::Result<()> {
    Err(io::Error::other(WHY))
}

pub(crate) fn unmount(_at: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn is_mounted(_at: &Path) -> bool {
    false
}

pub(crate) fn freeze(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn thaw(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn flatten(_lower: &Path, _upper: &Path, _to: &Path) -> io::Result<()> {
    Err(io::Error::other(WHY))
}
