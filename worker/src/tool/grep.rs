//! The tool Grep: a regular expression in the contents of files.
//!
//! Files are read and never mapped: a map of a file that a command cuts short ends the whole process. ripgrep
//! itself maps only where it is given a handful of files.

mod sink;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use serde::Deserialize;
use wattle_workspace::shown;

use self::sink::{Counting, Writing};
use super::confine::Worktree;
use super::open::Opener;
use super::walk::{self, Faults, Scope, Stop};
use super::window::{Rows, Tally, Window};
use super::{Definition, ToolResult, parse};

/// Bound on a compiled pattern, and on the cache that it is run with: repetitions of repetitions grow without end,
/// and a pattern that somebody means takes some KiB. It is the default of the crate `regex`.
const PATTERN_HEAP_MAX: usize = 10 << 20;
/// Memory for one file at a time, of each thread: a line has to fit (with `multiline` the file), and a longer one
/// is generated. Such a file is named in the result.
const FILE_HEAP_MAX: usize = 64 << 20;
/// Lines of context around a match, each way: more is a page of the file, which Read gives.
const CONTEXT_MAX: usize = 1000;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Grep",
    description: "Searches the contents of files for a regular expression (ripgrep's syntax); results are sorted by path. What .gitignore excludes is left out, unless include_ignored is true or path names the file. Binary files are not searched.",
    schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"File or folder, default the root of the worktree"},"glob":{"type":"string","description":"Only files that match, such as `*.rs`"},"type":{"type":"string","description":"Only files of a type, such as `rust`"},"output_mode":{"type":"string","enum":["files_with_matches","content","count"]},"-i":{"type":"boolean","description":"Ignore case"},"-n":{"type":"boolean","description":"Line numbers in content mode, default true"},"-A":{"type":"integer"},"-B":{"type":"integer"},"-C":{"type":"integer"},"multiline":{"type":"boolean","description":"Let a match span lines, and `.` match a line end"},"include_ignored":{"type":"boolean","description":"Search files that .gitignore excludes, too; default false"},"head_limit":{"type":"integer","description":"At most so many lines or files"},"offset":{"type":"integer","description":"Leave out so many first"}},"required":["pattern"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    output_mode: Mode,
    #[serde(default, rename = "-i")]
    ignore_case: bool,
    #[serde(default = "yes", rename = "-n")]
    numbers: bool,
    #[serde(default, rename = "-A")]
    after: usize,
    #[serde(default, rename = "-B")]
    before: usize,
    #[serde(default, rename = "-C")]
    around: usize,
    #[serde(default)]
    multiline: bool,
    #[serde(default)]
    include_ignored: bool,
    head_limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    FilesWithMatches,
    Content,
    Count,
}

/// Searches.
pub(super) fn call(worktree: &Worktree, input: &str, stop: &Stop) -> ToolResult {
    let input: Input = match parse("Grep", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    match search(worktree, &input, stop) {
        Ok(content) => ToolResult::done(content),
        Err(message) => ToolResult::failed(message),
    }
}

/// Searches one file that lies outside the worktree, under the name that the model knows it by.
pub(super) fn one(name: &str, path: &Path, input: &str) -> ToolResult {
    let input: Input = match parse("Grep", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    match within(name, path, &input) {
        Ok(content) => ToolResult::done(content),
        Err(message) => ToolResult::failed(message),
    }
}

fn within(name: &str, path: &Path, input: &Input) -> Result<String, String> {
    let window = Window::new(input.head_limit, input.offset)?;
    let matcher = matcher(input)?;
    let mut counting = Counting::new(input.output_mode);
    let failed = |error: io::Error| format!("{name}: {error}");
    searcher(input, false).search_path(&matcher, path, &mut counting).map_err(failed)?;
    let mut rows = Rows::new(window);
    match input.output_mode {
        _ if counting.rows == 0 => return Ok(none(1, 0, input)),
        Mode::FilesWithMatches => rows.push(name),
        Mode::Count => rows.push(&format!("{name}:{}", counting.rows)),
        Mode::Content if rows.pass_over(counting.rows) => {}
        Mode::Content => {
            let mut sink = Writing { name, numbers: input.numbers, rows: &mut rows };
            searcher(input, true).search_path(&matcher, path, &mut sink).map_err(failed)?;
        }
    }
    let (total, what) = match input.output_mode {
        Mode::Content => (counting.rows, "lines"),
        Mode::FilesWithMatches | Mode::Count => (1, "files"),
    };
    Ok(rows.finish(total, what, 1))
}

/// The message is for the model: it names the pattern's fault as ripgrep does, so that "bad pattern" is never
/// taken for "not there".
fn search(worktree: &Worktree, input: &Input, stop: &Stop) -> Result<String, String> {
    let given = input.path.as_deref().unwrap_or(".");
    let start = worktree.locate(given).map_err(|error| error.to_string())?;
    let place = worktree.root().join(start.relative());
    if !place.exists() {
        return Err(format!("{given} does not exist"));
    }
    let window = Window::new(input.head_limit, input.offset)?;
    let matcher = matcher(input)?;
    let opener = Opener::new(worktree).map_err(|error| error.to_string())?;
    let search = Search { input, window, opener: &opener, stop };
    let (globs, types) = (globs(worktree, input)?, types(input)?);
    let found = if place.is_dir() {
        let folder = start.relative();
        let scope = Scope { worktree, folder, globs, types, include_ignored: input.include_ignored, stop };
        search.folder(&scope, &matcher)?
    } else {
        // A file that is named is searched, whatever the ignore files and the filters say.
        let mut counter = search.counter(matcher.clone());
        counter.file(&search, start.name().as_bytes());
        counter.into_found()
    };
    search.answer(found, &matcher)
}

/// A search, with what each of its threads shares.
struct Search<'a> {
    input: &'a Input,
    window: Window,
    opener: &'a Opener,
    stop: &'a Stop,
}

/// What a search has found.
struct Found {
    tally: Tally,
    searched: u64,
    binary: u64,
    faults: Faults,
}

impl Search<'_> {
    fn folder(&self, scope: &Scope<'_>, matcher: &RegexMatcher) -> Result<Found, String> {
        let make = || self.counter(matcher.clone());
        let (counters, faults) =
            walk::files(scope, make, |counter: &mut Counter, _, relative| counter.file(self, relative))?;
        let mut all = Found { tally: Tally::new(self.window), searched: 0, binary: 0, faults };
        for found in counters.into_iter().map(Counter::into_found) {
            all.tally.merge(found.tally);
            all.searched += found.searched;
            all.binary += found.binary;
            all.faults.merge(found.faults);
        }
        Ok(all)
    }

    fn counter(&self, matcher: RegexMatcher) -> Counter {
        let found = Found { tally: Tally::new(self.window), searched: 0, binary: 0, faults: Faults::default() };
        Counter { searcher: searcher(self.input, false), matcher, found }
    }

    fn open(&self, relative: &Path) -> io::Result<Stoppable<'_>> {
        Ok(Stoppable { file: self.opener.open(relative)?, stop: self.stop })
    }

    /// The rows of the window, or that there are none.
    fn answer(&self, found: Found, matcher: &RegexMatcher) -> Result<String, String> {
        let Found { tally, searched, binary, mut faults } = found;
        if self.stop.over() {
            return Err(self.stop.message());
        }
        let files = tally.files;
        let (rows, what) = match self.input.output_mode {
            Mode::Content => (tally.rows, "lines"),
            Mode::FilesWithMatches | Mode::Count => (files, "files"),
        };
        let mut out = match files {
            0 => none(searched, binary, self.input),
            _ => self.rows(tally, matcher, &mut faults).finish(rows, what, files),
        };
        if let Some(note) = faults.note() {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&note);
        }
        Ok(out)
    }

    fn rows(&self, tally: Tally, matcher: &RegexMatcher, faults: &mut Faults) -> Rows {
        let mut rows = Rows::new(self.window);
        let mut searcher = searcher(self.input, true);
        for (path, count) in tally.into_first() {
            if rows.full() {
                break;
            }
            let name = shown(&path);
            match self.input.output_mode {
                Mode::FilesWithMatches => rows.push(&name),
                Mode::Count => rows.push(&format!("{name}:{count}")),
                Mode::Content if rows.pass_over(count) => {}
                Mode::Content => {
                    let mut sink = Writing { name: &name, numbers: self.input.numbers, rows: &mut rows };
                    let opened = self.open(bytes_path(&path));
                    let read = opened.and_then(|file| searcher.search_reader(matcher, file, &mut sink));
                    if let Err(error) = read {
                        faults.add(format!("{name}: {error}"));
                    }
                }
            }
        }
        rows
    }
}

/// One thread's part in a search.
struct Counter {
    searcher: Searcher,
    matcher: RegexMatcher,
    found: Found,
}

impl Counter {
    fn file(&mut self, search: &Search<'_>, relative: &[u8]) {
        let mut sink = Counting::new(search.input.output_mode);
        let opened = search.open(bytes_path(relative));
        let read = opened.and_then(|file| self.searcher.search_reader(&self.matcher, file, &mut sink));
        if sink.rows > 0 {
            self.found.tally.add(relative, sink.rows);
        }
        match read {
            Err(error) => self.found.faults.add(format!("{}: {error}", shown(relative))),
            // What stands before the first NUL byte of a long file was searched.
            Ok(()) if sink.binary && sink.rows == 0 => self.found.binary += 1,
            Ok(()) => self.found.searched += 1,
        }
    }

    fn into_found(self) -> Found {
        self.found
    }
}

fn bytes_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// A file whose reading ends with the search: one of them may be as large as all others.
struct Stoppable<'a> {
    file: File,
    stop: &'a Stop,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.over() {
            return Err(io::Error::other(self.stop.message()));
        }
        self.file.read(buffer)
    }
}

/// Nothing was found: where it was not found is the answer.
fn none(searched: u64, binary: u64, input: &Input) -> String {
    let path = input.path.as_deref().unwrap_or(".");
    if searched == 0 && binary == 1 {
        return format!("No match. {path} is a binary file or holds only one: binary files are not searched.");
    }
    let files =
        if searched == 1 { "1 file was searched".to_owned() } else { format!("{searched} files were searched") };
    let skipped = match binary {
        0 => String::new(),
        1 => ", 1 binary file was not".to_owned(),
        count => format!(", {count} binary files were not"),
    };
    let hint = if searched == 0 && !input.include_ignored {
        " What .gitignore excludes was left out; include_ignored searches it, too."
    } else {
        ""
    };
    format!("No match. {files}{skipped}.{hint}")
}

fn searcher(input: &Input, numbers: bool) -> Searcher {
    let content = input.output_mode == Mode::Content;
    let around = |own: usize| if content { own.max(input.around).min(CONTEXT_MAX) } else { 0 };
    SearcherBuilder::new()
        .line_number(numbers)
        .multi_line(input.multiline)
        .before_context(around(input.before))
        .after_context(around(input.after))
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(FILE_HEAP_MAX))
        .build()
}

fn matcher(input: &Input) -> Result<RegexMatcher, String> {
    if !input.multiline && input.pattern.contains('\n') {
        return Err("a line end in the pattern is not allowed without multiline: it would match nothing".to_owned());
    }
    let mut builder = RegexMatcherBuilder::new();
    builder.case_insensitive(input.ignore_case).multi_line(true);
    builder.size_limit(PATTERN_HEAP_MAX).dfa_size_limit(PATTERN_HEAP_MAX);
    if input.multiline {
        builder.dot_matches_new_line(true);
    } else {
        builder.line_terminator(Some(b'\n'));
    }
    builder.build(&input.pattern).map_err(|error| error.to_string())
}

fn globs(worktree: &Worktree, input: &Input) -> Result<Option<Override>, String> {
    let Some(glob) = &input.glob else {
        return Ok(None);
    };
    let mut builder = OverrideBuilder::new(worktree.root());
    builder.add(glob).map_err(|error| error.to_string())?;
    builder.build().map(Some).map_err(|error| error.to_string())
}

fn types(input: &Input) -> Result<Option<Types>, String> {
    let Some(kind) = &input.kind else {
        return Ok(None);
    };
    let mut builder = TypesBuilder::new();
    builder.add_defaults().select(kind);
    builder.build().map(Some).map_err(|error| error.to_string())
}
