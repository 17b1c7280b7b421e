//! What a slot's own git folder must be like when somebody gets the slot: as it was when the worktree was made. What a
//! worker's git put there (a configuration of the worktree's own, hooks, a sparse checkout, a lock) would be in force for
//! the next worker's git, too. Our own git reads none of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// What git itself writes there in the course of its work. It is replaced, emptied, or tells the next holder nothing.
const USUAL: &[&str] =
    &["COMMIT_EDITMSG", "FETCH_HEAD", "HEAD", "ORIG_HEAD", "index", "logs", "modules", "refs", "reftable"];
/// The files whose content counts are a line or two; one that is longer differs already by what is read of it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The slot's `.git` file and what lies in the git folder that it names, in words.
pub(crate) fn print_of(slot: &Path, git_dir: &Path) -> io::Result<String> {
    let mut found = BTreeMap::from([("slot/.git".to_owned(), content(&slot.join(".git"))?)]);
    for entry in fs::read_dir(git_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if USUAL.contains(&&*name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            // Of `info` and of whatever else there is: the names and contents one level down.
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                let name = format!("{name}/{}", inner.file_name().to_string_lossy());
                found.insert(name, content(&inner.path())?);
            }
        }
        found.insert(name, content(&entry.path())?);
    }
    let mut text = String::new();
    for (name, content) in found {
        _ = writeln!(text, "{name} {}\n{content}", content.len());
    }
    Ok(text)
}

/// The first name whose content differs between two prints, for people.
pub(crate) fn difference(before: &str, now: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, now) = (lines(before), lines(now));
    let other = now.iter().find(|line| !before.contains(line)).or_else(|| before.iter().find(|l| !now.contains(l)));
    other.map_or("its order", String::as_str).to_owned()
}

/// What a file says; of anything else, what it is.
fn content(path: &Path) -> io::Result<String> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(format!("link to {}", fs::read_link(path)?.display()));
    }
    if !kind.is_file() {
        return Ok(if kind.is_dir() { "folder" } else { "special" }.to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
