//! Reads git's index, as far as it is of the plainest kind: whole files at stage 0 with nothing said about them beyond
//! their content and their stat data. Of any other index this knows nothing, and whoever asks then asks git.
//!
//! The format is git's own documentation (gitformat-index), versions 2 and 3. The checksum at the end is not verified: git
//! does not do so either when it reads an index.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the header: signature, version, number of entries.
const HEADER_BYTES: usize = 12;
/// Bytes of an entry in front of its id.
const STAT_BYTES: usize = 40;
/// Entries begin at multiples of this, counted from their own begin.
const ALIGN: usize = 8;
/// An extension has a name of four bytes and a length of four.
const EXTENSION_BYTES: usize = 8;
/// In an entry's flags all but the length of its name: assumed unchanged, more flags, a stage of a merge.
const UNUSUAL: u16 = 0xf000;
/// Extensions that say nothing about which files there are: trees, resolved conflicts, places of entries, untracked names.
const HARMLESS: &[&[u8]] = &[b"TREE", b"REUC", b"EOIE", b"IEOT", b"UNTR"];

/// What git noted of a file when it last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Seconds and nanoseconds.
    pub(crate) changed: (u32, u32),
    /// Seconds and nanoseconds.
    pub(crate) modified: (u32, u32),
    pub(crate) inode: u32,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) size: u32,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) noted: Noted,
    pub(crate) id: &'a [u8],
    pub(crate) path: &'a [u8],
}

/// An index as it lies in a file.
#[derive(Debug)]
pub(crate) struct IndexFile {
    bytes: Vec<u8>,
    /// When it was written, in seconds and nanoseconds: what was modified then or later may have been modified since.
    pub(crate) written: (u32, u32),
}

impl IndexFile {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> io::Result<IndexFile> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes)?;
        let written = (meta.mtime() as u32, meta.mtime_nsec() as u32);
        Ok(IndexFile { bytes, written })
    }

    /// All its entries, by path, where ids have so many bytes; none if it is of a kind that only git understands.
    pub(crate) fn entries(&self, id_bytes: usize) -> Option<Vec<Entry<'_>>> {
        let body = self.bytes.get(..self.bytes.len().checked_sub(id_bytes)?)?;
        let (version, count) = (word(body, 4)?, word(body, 8)? as usize);
        if body.get(..4)? != b"DIRC" || !(2..=3).contains(&version) {
            return None;
        }
        let mut entries = Vec::with_capacity(count.min(body.len() / STAT_BYTES));
        let mut at = HEADER_BYTES;
        for _ in 0..count {
            let (entry, bytes) = entry(body.get(at..)?, id_bytes)?;
            entries.push(entry);
            at += bytes;
        }
        let mut rest = body.get(at..)?;
        while !rest.is_empty() {
            let length = word(rest, 4)? as usize;
            if !HARMLESS.contains(&rest.get(..4)?) {
                return None;
            }
            rest = rest.get(EXTENSION_BYTES + length..)?;
        }
        Some(entries)
    }
}

/// The entry at the begin of `bytes`, and how long it is.
fn entry(bytes: &[u8], id_bytes: usize) -> Option<(Entry<'_>, usize)> {
    let name_at = STAT_BYTES + id_bytes + 2;
    let flags = u16::from_be_bytes(bytes.get(name_at - 2..name_at)?.try_into().ok()?);
    if flags & UNUSUAL != 0 {
        return None;
    }
    // A longer name than the flags can say ends where its first zero is, as every name does.
    let said = usize::from(flags);
    let length = match bytes.get(name_at + said) {
        Some(0) => said,
        _ => bytes.get(name_at..)?.iter().position(|b| *b == 0)?,
    };
    let at = |place: usize| word(bytes, place * 4);
    let noted = Noted {
        changed: (at(0)?, at(1)?),
        modified: (at(2)?, at(3)?),
        inode: at(5)?,
        mode: at(6)?,
        user: at(7)?,
        group: at(8)?,
        size: at(9)?,
    };
    let id = bytes.get(STAT_BYTES..STAT_BYTES + id_bytes)?;
    let path = bytes.get(name_at..name_at + length)?;
    // One zero at least ends the name.
    Some((Entry { noted, id, path }, (name_at + length + ALIGN) / ALIGN * ALIGN))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
