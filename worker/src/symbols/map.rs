//! The map of a repository: the definitions that matter most, within a number of tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wattle_cache::ledger::estimate_tokens;
use wattle_workspace::{BlobId, GitError, Listed, Repo};

use super::extract::FILE_BYTES_MAX;
use super::graph::{File, Ranked, is_aside, rank};
use super::store::{Digest, Key, Outcome, Store};
use super::{Definition, Kind, Language, Untagged, one_line};

/// Files that a map is made of; on repositories far larger, comparable maps took tens of minutes.
const FILES_MAX: usize = 20_000;
/// Bytes of source that a map is made of: two cores parse them within the time below.
const BYTES_MAX: u64 = 48 << 20;
/// A planning or a run begins only after the map is made, and waits no longer for it.
const WALL: Duration = Duration::from_secs(5);
/// Characters of a path that are shown.
const PATH_CHARS_MAX: usize = 160;
/// Characters of a signature in a map.
const SIGNATURE_CHARS_MAX: usize = 110;
/// Definitions that a map may show; a bound for the search, far above what fits.
const SHOWN_MAX: usize = 5_000;
/// Files named of those that could not be read.
const NAMED_MAX: usize = 3;
/// Lines of the summary that stands for a map.
const SUMMARY_LINES_MAX: usize = 40;

/// How a map is made.
#[derive(Debug, Clone)]
pub struct MapOptions {
    /// Tokens of its text at most, estimated.
    pub tokens_max: u64,
    /// Threads; `None` = one for each core. The text does not depend on it.
    pub threads: Option<NonZero<usize>>,
    /// Files at most.
    pub files_max: usize,
    /// Bytes of source at most.
    pub bytes_max: u64,
    /// Time at most.
    pub wall: Duration,
    /// Where tags are kept from one map to the next; `None` = nowhere.
    pub store: Option<PathBuf>,
}

impl MapOptions {
    /// The usual bounds.
    pub fn new(tokens_max: u64) -> MapOptions {
        MapOptions { tokens_max, threads: None, files_max: FILES_MAX, bytes_max: BYTES_MAX, wall: WALL, store: None }
    }
}

/// A map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolMap {
    /// Its lines: paths, and below each the definitions in it. Nothing in it can end a line.
    pub text: String,
    /// What was left out and why; part of what a reader of the map has to know.
    pub left_out: Vec<String>,
    /// Is it a summary by directory, because there was no time for symbols?
    pub summary: bool,
}

/// A file that has symbols.
struct Source<'l> {
    path: &'l str,
    key: Key,
    bytes: u64,
}

/// Reads a blob.
type Blobs<'a> = &'a (dyn Fn(&BlobId) -> Result<Vec<u8>, GitError> + Sync);

/// Makes the map of these files of one commit, which are in git's order.
pub fn symbol_map(repo: &Repo, files: &[Listed], o: &MapOptions) -> Result<SymbolMap, GitError> {
    map_of(&|blob| repo.blob(blob), files, o)
}

fn map_of(blobs: Blobs<'_>, files: &[Listed], o: &MapOptions) -> Result<SymbolMap, GitError> {
    let mut left_out = Vec::new();
    let sources = select(files, o, &mut left_out);
    let Some(outcomes) = read(blobs, &sources, o)? else {
        let seconds = o.wall.as_secs();
        left_out.push(format!("all symbols: reading {} files took longer than {seconds} s", sources.len()));
        return Ok(SymbolMap { text: summary(&sources), left_out, summary: true });
    };
    tell_unread(&sources, &outcomes, &mut left_out);
    let none = Digest::default();
    let graph: Vec<File<'_>> = sources
        .iter()
        .map(|source| File {
            path: source.path,
            language: source.key.language,
            digest: outcomes[&source.key].as_ref().unwrap_or(&none),
        })
        .collect();
    let ranked = rank(&graph);
    let fits = |count: usize| estimate_tokens(render(&graph, &ranked[..count]).len()) <= o.tokens_max;
    let count = most(ranked.len().min(SHOWN_MAX), fits);
    if count < ranked.len() {
        left_out.push(format!("{} of {} definitions, the least used ones", ranked.len() - count, ranked.len()));
    }
    Ok(SymbolMap { text: render(&graph, &ranked[..count]), left_out, summary: false })
}

/// The largest number up to `max` that fits, if all smaller ones do.
fn most(max: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, max);
    while low < high {
        let middle = high - (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// The files that are read: by their number and size alone, so that no machine reads others. Those that lie deep, and
/// other people's code, give way first.
fn select<'l>(files: &'l [Listed], o: &MapOptions, left_out: &mut Vec<String>) -> Vec<Source<'l>> {
    let (mut large, mut absent) = (0, 0);
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| file.regular) {
        let Some(language) = Language::of(&file.path) else { continue };
        match file.bytes {
            None => absent += 1,
            Some(bytes) if bytes > FILE_BYTES_MAX => large += 1,
            Some(bytes) => {
                let key = Key { blob: file.blob.clone(), language };
                sources.push(Source { path: &file.path, key, bytes });
            }
        }
    }
    let all = sources.len();
    sources.sort_by_cached_key(|source| (is_aside(source.path), source.path.matches('/').count(), source.path));
    sources.truncate(o.files_max);
    let mut bytes = 0;
    let within = sources.iter().take_while(|source| {
        bytes += source.bytes;
        bytes <= o.bytes_max
    });
    let count = within.count();
    sources.truncate(count);
    sources.sort_by_key(|source| source.path);
    if count < all {
        let mib = o.bytes_max >> 20;
        left_out.push(format!("{} of {all} source files, beyond {} files or {mib} MiB", all - count, o.files_max));
    }
    if large > 0 {
        left_out.push(format!("{large} source files larger than 1 MiB"));
    }
    if absent > 0 {
        left_out.push(format!("{absent} source files that this partial clone does not hold"));
    }
    sources
}

/// The tags of every file; `None` = the time was up. What was read until then is kept for the next try.
fn read(blobs: Blobs<'_>, sources: &[Source<'_>], o: &MapOptions) -> Result<Option<BTreeMap<Key, Outcome>>, GitError> {
    let deadline = Instant::now() + o.wall;
    let store = o.store.as_deref().map(Store::new);
    let mut known = match &store {
        Some(store) => store.load(sources.iter().map(|source| &source.key)),
        None => BTreeMap::new(),
    };
    let missing: BTreeSet<&Key> =
        sources.iter().map(|source| &source.key).filter(|key| !known.contains_key(key)).collect();
    let missing: Vec<&Key> = missing.into_iter().collect();
    let made = extract(blobs, &missing, deadline, o.threads)?;
    if let Some(store) = &store {
        store.save(&made);
    }
    known.extend(made);
    let all = sources.iter().all(|source| !matches!(known.get(&source.key), None | Some(Err(Untagged::Late))));
    Ok(all.then_some(known))
}

/// Reads these blobs on several threads. Those that come after the deadline are left out.
fn extract(
    blobs: Blobs<'_>,
    missing: &[&Key],
    deadline: Instant,
    threads: Option<NonZero<usize>>,
) -> Result<BTreeMap<Key, Outcome>, GitError> {
    let cores = threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made = Vec::new();
        while let Some(key) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if Instant::now() >= deadline {
                break;
            }
            let bytes = blobs(&key.blob)?;
            let outcome = super::tags(key.language, &bytes, Some(deadline)).map(Digest::from);
            made.push(((*key).clone(), outcome));
        }
        Ok(made)
    };
    let parts: Vec<Result<Vec<_>, GitError>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(missing.len())).map(|_| scope.spawn(work)).collect();
        let mut parts = vec![work()];
        for other in others {
            parts.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        parts
    });
    let mut made = BTreeMap::new();
    for part in parts {
        made.extend(part?);
    }
    Ok(made)
}

fn tell_unread(sources: &[Source<'_>], outcomes: &BTreeMap<Key, Outcome>, left_out: &mut Vec<String>) {
    let mut unread: BTreeMap<Untagged, Vec<&str>> = BTreeMap::new();
    for source in sources {
        if let Err(why) = &outcomes[&source.key] {
            unread.entry(*why).or_default().push(source.path);
        }
    }
    for (why, paths) in unread {
        let names: Vec<String> = paths.iter().take(NAMED_MAX).map(|path| one_line(path, PATH_CHARS_MAX)).collect();
        let more = if paths.len() > NAMED_MAX { ", …" } else { "" };
        left_out.push(format!("{} source files, {why}: {}{more}", paths.len(), names.join(", ")));
    }
}

/// The lines of these definitions, by file.
fn render(files: &[File<'_>], ranked: &[Ranked]) -> String {
    let mut by_file: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for Ranked { file, definition } in ranked {
        by_file.entry(*file).or_default().insert(*definition);
    }
    let mut out = String::new();
    for (file, definitions) in by_file {
        let File { path, digest, .. } = &files[file];
        writeln!(out, "{}", one_line(path, PATH_CHARS_MAX)).expect("writing to a string cannot fail");
        for definition in definitions {
            let line = line(&digest.definitions[definition]);
            writeln!(out, "  {line}").expect("writing to a string cannot fail");
        }
    }
    out
}

fn line(definition: &Definition) -> String {
    let Definition { line, signature, container, kind, .. } = definition;
    let signature = one_line(signature, SIGNATURE_CHARS_MAX);
    match container {
        Some(container) if *kind == Kind::Method => format!("{line}: {signature}  [{container}]"),
        Some(_) | None => format!("{line}: {signature}"),
    }
}

/// What stands for a map that could not be made in time: source files by directory and language.
fn summary(sources: &[Source<'_>]) -> String {
    let mut folders: BTreeMap<String, BTreeMap<Language, usize>> = BTreeMap::new();
    for source in sources {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let short: Vec<&str> = folder.split('/').take(2).collect();
        let folder = if folder.is_empty() { "./".to_owned() } else { format!("{}/", short.join("/")) };
        *folders.entry(folder).or_default().entry(source.key.language).or_default() += 1;
    }
    let mut by_size: Vec<_> = folders.into_iter().collect();
    by_size.sort_by_key(|(_, languages)| std::cmp::Reverse(languages.values().sum::<usize>()));
    let more = by_size.len().saturating_sub(SUMMARY_LINES_MAX);
    by_size.truncate(SUMMARY_LINES_MAX);
    by_size.sort();
    let mut out = String::new();
    for (folder, languages) in by_size {
        let counts: Vec<String> =
            languages.iter().map(|(language, count)| format!("{count} {}", language.name())).collect();
        writeln!(out, "{}: {}", one_line(&folder, PATH_CHARS_MAX), counts.join(", "))
            .expect("writing to a string cannot fail");
    }
    if more > 0 {
        writeln!(out, "and {more} more folders").expect("writing to a string cannot fail");
    }
    out
}

#[cfg(test)]
mod tests;
