//! Which files a call looks at, and their tags as they are now.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::super::confine::Worktree;
use super::super::evidence;
use super::super::walk::{self, Scope, Stop};
use crate::symbols::{FILE_BYTES_MAX, Language, Memory, Tags};

/// Files that one call looks at.
const FILES_MAX: usize = 20_000;
/// Time of one call: what was found until then is an answer, and says so.
const WALL: Duration = Duration::from_secs(10);

/// Files to look at.
pub(super) struct Files {
    pub(super) paths: Vec<(String, Language)>,
    /// Only files with these bytes are parsed.
    holds: Option<Vec<u8>>,
    notes: Vec<String>,
}

/// One file that was parsed.
pub(super) struct Parsed {
    pub(super) path: String,
    pub(super) language: Language,
    pub(super) bytes: Vec<u8>,
    pub(super) tags: Arc<Tags>,
}

/// What was parsed, in the order of the paths, and what was not.
pub(super) struct Answer {
    pub(super) files: Vec<Parsed>,
    pub(super) notes: Vec<String>,
}

/// What became of a file.
enum Fate {
    Parsed(Box<Parsed>),
    /// It does not hold the name.
    Passed,
    Unread(String),
    Late,
}

/// The source files below a path.
pub(super) fn files(
    worktree: &Worktree,
    path: Option<&str>,
    holds: Option<&str>,
    stop: &Stop,
) -> Result<Files, String> {
    let given = path.unwrap_or(".");
    let start = worktree.locate(given).map_err(|error| error.to_string())?;
    let whole = worktree.root().join(start.relative());
    if !whole.exists() {
        return Err(format!("{given} does not exist"));
    }
    let mut files = Files { paths: Vec::new(), holds: holds.map(|text| text.as_bytes().to_vec()), notes: Vec::new() };
    if whole.is_file() {
        // A file that is asked for by name is looked at, ignored or not.
        let name = start.name();
        let language = Language::of(&name).ok_or_else(|| format!("{given} is of no language that Symbols knows"))?;
        files.paths.push((name, language));
        return Ok(files);
    }
    let folder = start.relative();
    let scope = Scope { worktree, folder, globs: None, types: None, include_ignored: false, stop };
    let note = |found: &mut Vec<(String, Language)>, _: &Path, relative: &[u8]| {
        // A name that is not UTF-8 cannot be given to another tool.
        let Ok(name) = std::str::from_utf8(relative) else { return };
        found.extend(Language::of(name).map(|language| (name.to_owned(), language)));
    };
    let (found, faults) = walk::files(&scope, Vec::new, note)?;
    files.paths = found.into_iter().flatten().collect();
    files.paths.sort();
    if files.paths.len() > FILES_MAX {
        files.paths.truncate(FILES_MAX);
        files.notes.push(format!("only the first {FILES_MAX} source files were looked at: give a path"));
    }
    files.notes.extend(faults.note());
    Ok(files)
}

impl Files {
    /// Reads and parses them on several threads.
    pub(super) fn tags(self, worktree: &Worktree, memory: &Memory) -> Answer {
        let deadline = Instant::now() + WALL;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut fates = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, language)) = self.paths.get(at) else { return fates };
                let late = Instant::now() >= deadline;
                fates.push((at, if late { Fate::Late } else { self.look(worktree, memory, path, *language) }));
            }
        };
        let mut fates = std::thread::scope(|scope| {
            let others: Vec<_> = (1..cores.min(self.paths.len())).map(|_| scope.spawn(work)).collect();
            let mut fates = work();
            for other in others {
                fates.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            fates
        });
        fates.sort_by_key(|(at, _)| *at);
        let mut answer = Answer { files: Vec::new(), notes: self.notes };
        let mut late = 0;
        for (_, fate) in fates {
            match fate {
                Fate::Parsed(parsed) => answer.files.push(*parsed),
                Fate::Unread(why) => answer.notes.push(why),
                Fate::Late => late += 1,
                Fate::Passed => {}
            }
        }
        if late > 0 {
            let seconds = WALL.as_secs();
            answer.notes.push(format!("{late} files were not looked at within {seconds} s: give a path"));
        }
        answer
    }

    fn look(&self, worktree: &Worktree, memory: &Memory, path: &str, language: Language) -> Fate {
        let too_large = || Fate::Unread(format!("{path} was not parsed: larger than 1 MiB"));
        let size = worktree.root().join(path).symlink_metadata().map_or(0, |file| file.len());
        if size > FILE_BYTES_MAX {
            return too_large();
        }
        let bytes = match worktree.locate(path).and_then(|at| worktree.read(&at)) {
            Ok(contents) => contents.bytes,
            Err(error) => return Fate::Unread(error.to_string()),
        };
        if self.holds.as_ref().is_some_and(|holds| memmem::find(&bytes, holds).is_none()) {
            return Fate::Passed;
        }
        match memory.tags(language, evidence::blob_id(&bytes), &bytes) {
            Ok(tags) => Fate::Parsed(Box::new(Parsed { path: path.to_owned(), language, bytes, tags })),
            Err(why) => Fate::Unread(format!("{path} was not parsed: {why}")),
        }
    }
}
