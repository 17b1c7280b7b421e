//! Rules over files: read, rewrite, write; several files at a time, results in the order of paths.

use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::RuleError;
use super::program::{Edit, Program};
use super::walk::{self, Source};

/// Threads at most: parsing is all computing, and other workers want cores, too.
const THREADS_MAX: usize = 8;
/// Below this many files per thread, starting a thread costs more than it saves (a file takes about
/// a millisecond).
const FILES_PER_THREAD_MIN: usize = 8;
/// Files with more bytes than this *and* more lines than [`LINES_MAX`] are skipped, as the CLI does.
const BYTES_MAX: usize = 3_000_000;
/// See [`BYTES_MAX`].
const LINES_MAX: usize = 200_000;

/// What a rewrite did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The files that changed, in the order of their paths.
    pub files: Vec<Rewritten>,
    /// Replacements in all of them.
    pub replacements: usize,
}

/// One file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Path relative to the root.
    pub path: String,
    /// Replacements made in it.
    pub replacements: usize,
}

/// One place where a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Path relative to the root.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Id of the rule; `pattern` for a pattern.
    pub rule: String,
}

/// Finds what the program matches.
pub(super) fn find(
    root: &Path,
    program: &Program,
    within: &[String],
    cancel: &CancellationToken,
) -> Result<Vec<Match>, RuleError> {
    let sources = walk::sources(root, &program.languages, within)?;
    let found = over(&sources, cancel, |source| {
        let Some(text) = read(&root.join(&source.path))? else {
            return Ok(Vec::new());
        };
        let hits = program.hits(&source.path, source.language, &text);
        let path = |hit: super::program::Hit| Match { path: source.path.clone(), line: hit.line, rule: hit.rule };
        Ok(hits.into_iter().map(path).collect())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Rewrites what the program matches.
pub(super) fn apply(
    root: &Path,
    program: &Program,
    within: &[String],
    cancel: &CancellationToken,
) -> Result<Applied, RuleError> {
    let sources = walk::sources(root, &program.languages, within)?;
    let changed = over(&sources, cancel, |source| {
        let path = root.join(&source.path);
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        let edits = program.edits(&source.path, source.language, &text);
        let after = edited(&source.path, &text, &edits)?;
        if after == text {
            return Ok(None);
        }
        write(&path, &after).map_err(|error| RuleError::File { verb: "write", path, source: error })?;
        Ok(Some(Rewritten { path: source.path.clone(), replacements: edits.len() }))
    })?;
    let files: Vec<Rewritten> = changed.into_iter().flatten().collect();
    let replacements = files.iter().map(|file| file.replacements).sum();
    Ok(Applied { files, replacements })
}

/// Does `work` for every file, in parallel where it pays; the results are in the order of the files, and the
/// first error (in time) stops the rest.
fn over<T: Send>(
    sources: &[Source],
    cancel: &CancellationToken,
    work: impl Fn(&Source) -> Result<T, RuleError> + Sync,
) -> Result<Vec<T>, RuleError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(THREADS_MAX).min(sources.len() / FILES_PER_THREAD_MIN).max(1);
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<RuleError>> = Mutex::new(None);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(sources.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else {
                break;
            };
            let result = if cancel.is_cancelled() { Err(RuleError::Cancelled) } else { work(source) };
            match result {
                Ok(value) => done.lock().expect("no holder of this lock panics").push((index, value)),
                Err(error) => {
                    next.store(sources.len(), Ordering::Relaxed);
                    failed.lock().expect("no holder of this lock panics").get_or_insert(error);
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    if let Some(error) = failed.into_inner().expect("no holder of this lock panics") {
        return Err(error);
    }
    let mut done = done.into_inner().expect("no holder of this lock panics");
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

/// The text of a file; `None` for one that a rewrite leaves alone.
fn read(path: &Path) -> Result<Option<String>, RuleError> {
    let bytes =
        std::fs::read(path).map_err(|source| RuleError::File { verb: "read", path: path.to_path_buf(), source })?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    let too_large = text.len() > BYTES_MAX && text.lines().count() > LINES_MAX;
    Ok((!text.is_empty() && !too_large).then_some(text))
}

fn edited(path: &str, text: &str, edits: &[Edit]) -> Result<String, RuleError> {
    let mut after = String::with_capacity(text.len());
    let mut start = 0;
    for edit in edits {
        let split = || RuleError::Split { path: path.to_owned(), rule: edit.rule.clone() };
        after.push_str(text.get(start..edit.start).ok_or_else(split)?);
        after.push_str(std::str::from_utf8(&edit.text).map_err(|_| split())?);
        start = edit.end;
    }
    let rule = || edits.last().map(|edit| edit.rule.clone()).unwrap_or_default();
    after.push_str(text.get(start..).ok_or_else(|| RuleError::Split { path: path.to_owned(), rule: rule() })?);
    Ok(after)
}

/// Replaces a file in one step and keeps its mode.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions();
    let folder = path.parent().ok_or_else(|| io::Error::other("it has no folder"))?;
    let mut file = tempfile::Builder::new().prefix(".wattle-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}
