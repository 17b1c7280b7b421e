//! The tool Grep: a regular expression in the contents of files.

use std::io;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkMatch};
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use serde::Deserialize;

use super::confine::Worktree;
use super::{Definition, ToolResult, parse, walk};

/// Lines or files of a result when no other bound is given.
const HEAD_DEFAULT: usize = 250;
/// Bound on a result, in bytes.
const RESULT_BYTES_MAX: usize = 30_000;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 500;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Grep",
    description: "Searches the contents of files for a regular expression (ripgrep's syntax). What .gitignore excludes is left out.",
    schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"File or folder, default the root of the worktree"},"glob":{"type":"string","description":"Only files that match, such as `*.rs`"},"type":{"type":"string","description":"Only files of a type, such as `rust`"},"output_mode":{"type":"string","enum":["files_with_matches","content","count"]},"-i":{"type":"boolean","description":"Ignore case"},"-n":{"type":"boolean","description":"Line numbers in content mode, default true"},"-A":{"type":"integer"},"-B":{"type":"integer"},"-C":{"type":"integer"},"multiline":{"type":"boolean","description":"Let a match span lines, and `.` match a line end"},"head_limit":{"type":"integer","description":"At most so many lines or files"},"offset":{"type":"integer","description":"Leave out so many first"}},"required":["pattern"],"additionalProperties":false}"#,
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
pub(super) fn call(worktree: &Worktree, input: &str) -> ToolResult {
    let input: Input = match parse("Grep", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    match search(worktree, &input) {
        Ok(content) => ToolResult::done(content),
        Err(message) => ToolResult::failed(message),
    }
}

/// The message is for the model: it names the pattern's fault as ripgrep does, so that "bad pattern" is never
/// taken for "not there".
fn search(worktree: &Worktree, input: &Input) -> Result<String, String> {
    let start = worktree.locate(input.path.as_deref().unwrap_or(".")).map_err(|error| error.to_string())?;
    if !worktree.root().join(start.relative()).exists() {
        return Err(format!("{} does not exist", input.path.as_deref().unwrap_or(".")));
    }
    let matcher = matcher(input)?;
    let globs = globs(worktree, input)?;
    let types = types(input)?;
    let mut searcher = SearcherBuilder::new()
        .line_number(true)
        .multi_line(input.multiline)
        .before_context(input.before.max(input.around))
        .after_context(input.after.max(input.around))
        .binary_detection(BinaryDetection::quit(0))
        .build();
    let mut lines = Lines::new(input);
    let mut fault = None;
    let walked = walk::files(worktree, &start, globs, types, |path, relative| {
        let name = relative.to_string_lossy();
        let mut sink = FileSink { name: &name, input, lines: &mut lines, matches: 0 };
        if let Err(error) = searcher.search_path(&matcher, path, &mut sink) {
            fault = Some(format!("{name}: {error}"));
            return false;
        }
        let matches = sink.matches;
        match input.output_mode {
            Mode::FilesWithMatches if matches > 0 => lines.push(&name),
            Mode::Count if matches > 0 => lines.push(&format!("{name}:{matches}")),
            Mode::FilesWithMatches | Mode::Count | Mode::Content => {}
        }
        !lines.full
    });
    walked.map_err(|error| error.to_string())?;
    match fault {
        Some(fault) => Err(fault),
        None => Ok(lines.finish()),
    }
}

fn matcher(input: &Input) -> Result<RegexMatcher, String> {
    if !input.multiline && input.pattern.contains('\n') {
        return Err("a line end in the pattern is not allowed without multiline: it would match nothing".to_owned());
    }
    let mut builder = RegexMatcherBuilder::new();
    builder.case_insensitive(input.ignore_case).multi_line(true);
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

/// The result so far, within its bounds.
struct Lines {
    out: String,
    skip: usize,
    left: usize,
    full: bool,
}

impl Lines {
    fn new(input: &Input) -> Lines {
        let left = match input.head_limit {
            None | Some(0) => HEAD_DEFAULT,
            Some(limit) => limit,
        };
        Lines { out: String::new(), skip: input.offset, left, full: false }
    }

    fn push(&mut self, line: &str) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.left == 0 || self.out.len() + line.len() > RESULT_BYTES_MAX {
            self.full = true;
        } else {
            self.left -= 1;
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn finish(mut self) -> String {
        if self.out.is_empty() {
            return "No match.".to_owned();
        }
        if self.full {
            self.out.push_str("(There is more; narrow the search, or go on with offset.)");
        }
        self.out
    }
}

struct FileSink<'a> {
    name: &'a str,
    input: &'a Input,
    lines: &'a mut Lines,
    matches: u64,
}

impl FileSink<'_> {
    fn show(&mut self, bytes: &[u8], number: Option<u64>, mark: char) {
        for (index, line) in (0u64..).zip(String::from_utf8_lossy(bytes).lines()) {
            let shown: String = line.chars().take(LINE_CHARS_MAX).collect();
            let text = match number.filter(|_| self.input.numbers) {
                Some(number) => format!("{}{mark}{}{mark}{shown}", self.name, number + index),
                None => format!("{}{mark}{shown}", self.name),
            };
            self.lines.push(&text);
        }
    }
}

impl Sink for FileSink<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        self.matches += 1;
        match self.input.output_mode {
            Mode::FilesWithMatches => Ok(false),
            Mode::Count => Ok(true),
            Mode::Content => {
                self.show(found.bytes(), found.line_number(), ':');
                Ok(!self.lines.full)
            }
        }
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        if self.input.output_mode == Mode::Content {
            self.show(context.bytes(), context.line_number(), '-');
        }
        Ok(!self.lines.full)
    }
}
