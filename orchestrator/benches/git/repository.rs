//! Generated repositories: thousands of text files in small folders, branches of workers and of drift, the same bytes
//! every time. Made by `git fast-import` and kept between runs until their definition changes.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::Res;
use crate::place::{Place, Scene, finish};

/// Part of the name under which a repository is kept: to be raised when anything below changes.
const DEFINITION: u32 = 1;
/// Files of one folder, as in the Linux sources.
const FOLDER_FILES: usize = 15;
/// Folders of one folder.
const FOLDER_FOLDERS: usize = 40;
/// Lines of a file: 40 to 260.
const LINES: (u64, u64) = (40, 221);
/// Branches of workers that are alive at once.
pub(crate) const WORKERS: usize = 64;
/// Files that each worker has edited; nobody else has.
const WORKER_EDITS: usize = 20;
/// Files that each worker has added.
const WORKER_ADDS: usize = 2;
/// Files in which `drift` differs from `main`.
pub(crate) const DRIFT: usize = 100;
/// What lines are made of.
const WORDS: [&str; 32] = [
    "let", "fn", "match", "return", "struct", "self", "value", "index", "buffer", "length", "result", "error", "state",
    "count", "first", "last", "next", "offset", "size", "name", "path", "entry", "node", "list", "flags", "mode",
    "read", "write", "open", "close", "lock", "free",
];

/// A small generator of numbers, seeded: the same repository everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The path of a file.
pub(crate) fn path_of(file: usize) -> String {
    let folder = file / FOLDER_FILES;
    format!("d{:02}/e{:02}/f{file:06}.txt", folder / FOLDER_FOLDERS, folder % FOLDER_FOLDERS)
}

fn text_of(file: usize) -> String {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (file as u64 + 1).wrapping_mul(0xff51_afd7_ed55_8ccd));
    let lines = LINES.0 + numbers.next() % LINES.1;
    let mut text = String::new();
    for _ in 0..lines {
        let mut bits = numbers.next();
        for _ in 0..3 + bits % 5 {
            bits >>= 5;
            text.push_str(WORDS[(bits % WORDS.len() as u64) as usize]);
            text.push(' ');
        }
        text.push_str(&format!("{:x}\n", bits & 0xfff));
    }
    text
}

/// A bare repository of so many files, at least as many as the branches need: made now, or kept from an earlier run.
pub(crate) fn template(place: &Place, files: usize) -> Res<PathBuf> {
    let kept = place.cache().join(format!("files-{files}-v{DEFINITION}.git"));
    if kept.is_dir() {
        return Ok(kept);
    }
    let scene = place.scene(place.disk())?;
    let made = scene.root().join("made.git");
    let name = made.to_str().ok_or("the scratch folder's name is no text")?;
    scene.git(scene.root(), &["init", "-q", "--bare", name])?;
    let mut import = scene.command("git", &made, &["fast-import", "--quiet", "--force"]);
    let mut child = import.stdin(Stdio::piped()).spawn()?;
    let mut stream = BufWriter::new(child.stdin.take().ok_or("fast-import has no input")?);
    write_history(&mut stream, files)?;
    stream.flush()?;
    drop(stream);
    if !child.wait()?.success() {
        return Err("git fast-import failed".into());
    }
    scene.git(&made, &["pack-refs", "--all"])?;
    fs::rename(&made, &kept)?;
    Ok(kept)
}

fn write_history(stream: &mut impl Write, files: usize) -> Res<()> {
    begin_commit(stream, "main", None)?;
    for file in 0..files {
        write_file(stream, &path_of(file), &text_of(file))?;
    }
    // The files of workers come from the front, those of the drift from the back.
    for worker in 0..WORKERS {
        begin_commit(stream, &format!("worker/{worker:02}"), Some("main"))?;
        for file in worker * WORKER_EDITS..(worker + 1) * WORKER_EDITS {
            write_file(stream, &path_of(file), &edited(file, &format!("worker {worker}")))?;
        }
        for added in 0..WORKER_ADDS {
            let path = path_of(worker * WORKER_EDITS).replace(".txt", &format!("-new{added}.txt"));
            write_file(stream, &path, "added\n")?;
        }
    }
    begin_commit(stream, "drift", Some("main"))?;
    let step = ((files - WORKERS * WORKER_EDITS) / DRIFT).max(1);
    for file in (0..DRIFT).map(|n| files - 1 - n * step) {
        write_file(stream, &path_of(file), &edited(file, "drift"))?;
    }
    writeln!(stream, "done")?;
    Ok(())
}

/// A file with one line changed in its middle.
pub(crate) fn edited(file: usize, by: &str) -> String {
    let text = text_of(file);
    let mut lines: Vec<&str> = text.lines().collect();
    let middle = lines.len() / 2;
    lines[middle] = by;
    lines.join("\n") + "\n"
}

fn begin_commit(stream: &mut impl Write, branch: &str, from: Option<&str>) -> Res<()> {
    let who = "Bench <bench@example.org> 1767323045 +0000";
    write!(stream, "commit refs/heads/{branch}\ncommitter {who}\ndata {}\n{branch}\n", branch.len())?;
    if let Some(from) = from {
        writeln!(stream, "from refs/heads/{from}")?;
    }
    Ok(())
}

fn write_file(stream: &mut impl Write, path: &str, text: &str) -> Res<()> {
    write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len())?;
    Ok(())
}

/// A bare copy in a scene; its packs are the template's own files.
pub(crate) fn bare(place: &Place, scene: &Scene, files: usize) -> Res<PathBuf> {
    clone(place, scene, files, &["--bare"])
}

/// A copy with `main` checked out.
pub(crate) fn checkout(place: &Place, scene: &Scene, files: usize) -> Res<PathBuf> {
    let path = clone(place, scene, files, &[])?;
    // The branches of the template are branches here, not those of a remote.
    scene.git(&path, &["fetch", "-q", "origin", "refs/heads/worker/*:refs/heads/worker/*", "drift:drift"])?;
    scene.git(&path, &["remote", "remove", "origin"])?;
    Ok(path)
}

fn clone(place: &Place, scene: &Scene, files: usize, how: &[&str]) -> Res<PathBuf> {
    let template = template(place, files)?;
    let path = scene.root().join(if how.is_empty() { "repo" } else { "bare.git" });
    let mut command = scene.command("git", scene.root(), &["clone", "-q", "--branch", "main"]);
    finish(command.args(how).arg(&template).arg(&path))?;
    settle(&path);
    Ok(path)
}

/// Waits until what was written is on disk, so that a measurement does not pay for the making of its stage.
pub(crate) fn settle(_of: &Path) {
    rustix::fs::sync();
}
