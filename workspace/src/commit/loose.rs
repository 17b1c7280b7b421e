//! Writes a small object as a file of its own, as git does, without starting git.
//!
//! Git compresses such files; what we write is a zlib stream of stored blocks, which every reader of zlib takes. A commit
//! is a few hundred bytes and fills one block of the disk either way. What is written is at least as durable as git makes
//! it under `core.fsync=committed`: the file is synced before it has its name, and then the folder that holds the name.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use tempfile::Builder;

use crate::fault;
use crate::git::GitError;

/// Most bytes in a stored block.
const BLOCK_BYTES_MAX: usize = 0xffff;
/// The largest prime below 2^16, by which Adler-32 counts.
const ADLER: u32 = 65_521;
/// How often an object is written whose folder vanishes meanwhile: a collection meets it once.
const TRIES_MAX: u32 = 3;
/// How git leaves an object: nobody writes it again.
const MODE: u32 = 0o444;

/// Writes an object under its id, or finds it there and makes it young again, so that no collection takes it.
pub(super) fn write(objects: &Path, kind: &str, body: &[u8], id: &str) -> Result<(), GitError> {
    let folder = objects.join(&id[..2]);
    let path = folder.join(&id[2..]);
    place(objects, &folder, &path, kind, body).map_err(|e| GitError::io(&path, e))
}

fn place(objects: &Path, folder: &Path, path: &Path, kind: &str, body: &[u8]) -> io::Result<()> {
    fault::fails("object.before")?;
    if refreshed(path)? {
        return Ok(());
    }
    let object = zlib(&[format!("{kind} {}\0", body.len()).as_bytes(), body].concat());
    let mut left = TRIES_MAX;
    loop {
        left -= 1;
        match place_once(objects, folder, path, &object) {
            // Somebody's collection has removed the folder, which was empty.
            Err(e) if e.kind() == io::ErrorKind::NotFound && left > 0 => {}
            placed => return placed,
        }
    }
}

fn place_once(objects: &Path, folder: &Path, path: &Path, object: &[u8]) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => File::open(objects)?.sync_all()?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    // git collects files of this name when they are old.
    let mut file = Builder::new().prefix("tmp_obj_").tempfile_in(folder)?;
    file.write_all(object)?;
    file.as_file().set_permissions(Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    fault::point("object.written");
    match file.persist_noclobber(path) {
        Ok(_) => {}
        // Somebody else wrote the same bytes meanwhile.
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e.error),
    }
    fault::point("object.after");
    File::open(folder)?.sync_all()
}

/// Whether the object is there, now with the present as its age.
fn refreshed(path: &Path) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    match utimensat(CWD, path, &times, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A zlib stream of stored blocks.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    // A window of 32 KB, no dictionary, the fastest level.
    let mut out = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(BLOCK_BYTES_MAX).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).expect("a block is cut to what sixteen bits can say");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut a, mut b) = (1, 0);
    for byte in bytes {
        a = (a + u32::from(*byte)) % ADLER;
        b = (b + a) % ADLER;
    }
    out.extend_from_slice(&((b << 16) | a).to_be_bytes());
    out
}
