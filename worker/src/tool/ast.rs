//! The tool AstGrep: code by its structure.
//!
//! The engine is that of the rewrites, so that what is found here is what a rewrite with the same pattern would
//! change. Whoever has it gives it to the tools, which know no executor.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::overrides::OverrideBuilder;
use serde::Deserialize;
use wattle_workspace::shown;

use super::confine::Worktree;
use super::open::Opener;
use super::walk::{self, Faults, Scope, Stop};
use super::window::{Rows, Tally, Window};
use super::{Definition, ToolResult, parse};

/// Files above this are generated: they take a second to parse, and a tree many times their size.
const FILE_BYTES_MAX: u64 = 3_000_000;
/// Bytes of a pattern: it is a piece of code, and each node of it is tried at every node of every file.
const PATTERN_BYTES_MAX: usize = 10_000;
/// Characters of a match, and of what a variable holds, that are shown.
const TEXT_CHARS_MAX: usize = 200;
/// Bytes of a match that a finder hands over: more than can be shown. Matches may lie in each other, and all their
/// texts together be many times the file.
pub(crate) const HIT_BYTES_MAX: usize = 4 * TEXT_CHARS_MAX + 4;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "AstGrep",
    description: "Finds code by its structure. The pattern is code of the language in which `$NAME` stands for any one node and `$$$NAME` for any number of them, such as `$X.unwrap()` or `foo($$$ARGS)`; layout and comments do not matter. Gives path, line, the first line of the match and what each variable holds.",
    schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"lang":{"type":"string","description":"Language of the pattern and of the files, such as rust, python, typescript, tsx, javascript, go, java, c, bash"},"path":{"type":"string","description":"File or folder, default the root of the worktree"},"glob":{"type":"string","description":"Only files that match, such as `src/**/*.rs`"},"include_ignored":{"type":"boolean","description":"Search files that .gitignore excludes, too; default false"},"head_limit":{"type":"integer","description":"At most so many matches"},"offset":{"type":"integer","description":"Leave out so many first"}},"required":["pattern","lang"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pattern: String,
    lang: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    include_ignored: bool,
    head_limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

/// One match in the text of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Line, from 1.
    pub(crate) line: usize,
    /// The code, or the beginning of it ([`HIT_BYTES_MAX`]).
    pub(crate) text: String,
    /// What each named variable of the pattern holds, or its beginning.
    pub(crate) variables: BTreeMap<String, String>,
}

/// A pattern that is ready to be looked for.
pub(crate) trait Finder: Send + Sync {
    /// Is this path that of a file in its language?
    fn reads(&self, path: &Path) -> bool;
    /// Number of the matches.
    fn count(&self, text: &str) -> u64;
    /// Hands over the matches, in the order of the text, until `each` says stop.
    fn hits(&self, text: &str, each: &mut dyn FnMut(Hit) -> bool);
}

/// Makes a finder of a pattern and the name of its language; the message is for the model.
pub(crate) type Compile = fn(&str, &str) -> Result<Box<dyn Finder>, String>;

/// Finds code.
pub(super) fn call(worktree: &Worktree, compile: Compile, input: &str, stop: &Stop) -> ToolResult {
    let input: Input = match parse("AstGrep", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    match search(worktree, compile, &input, stop) {
        Ok(content) => ToolResult::done(content),
        Err(message) => ToolResult::failed(message),
    }
}

fn search(worktree: &Worktree, compile: Compile, input: &Input, stop: &Stop) -> Result<String, String> {
    let given = input.path.as_deref().unwrap_or(".");
    let start = worktree.locate(given).map_err(|error| error.to_string())?;
    let place = worktree.root().join(start.relative());
    if !place.exists() {
        return Err(format!("{given} does not exist"));
    }
    if input.pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern of more than {PATTERN_BYTES_MAX} bytes is not taken: leave out what may vary"));
    }
    let window = Window::new(input.head_limit, input.offset)?;
    let finder = compile(&input.pattern, &input.lang)?;
    let opener = Opener::new(worktree).map_err(|error| error.to_string())?;
    let search = Search { finder: &*finder, opener: &opener, window };
    let mut all = Counter::new(window);
    if place.is_dir() {
        let globs = match &input.glob {
            None => None,
            Some(glob) => {
                let mut builder = OverrideBuilder::new(worktree.root());
                builder.add(glob).map_err(|error| error.to_string())?;
                Some(builder.build().map_err(|error| error.to_string())?)
            }
        };
        let folder = start.relative();
        let scope = Scope { worktree, folder, globs, types: None, include_ignored: input.include_ignored, stop };
        let (counters, faults) = walk::files(
            &scope,
            || Counter::new(window),
            |counter, path, relative| {
                if finder.reads(path) {
                    counter.file(&search, relative);
                }
            },
        )?;
        all.faults = faults;
        counters.into_iter().for_each(|counter| all.merge(counter));
    } else {
        all.file(&search, start.name().as_bytes());
    }
    Ok(search.answer(all, &input.lang))
}

struct Search<'a> {
    finder: &'a dyn Finder,
    opener: &'a Opener,
    window: Window,
}

/// One thread's part in a search.
struct Counter {
    tally: Tally,
    searched: u64,
    /// Files that are too large, or no UTF-8.
    passed_over: u64,
    faults: Faults,
}

impl Counter {
    fn new(window: Window) -> Counter {
        Counter { tally: Tally::new(window), searched: 0, passed_over: 0, faults: Faults::default() }
    }

    fn merge(&mut self, other: Counter) {
        self.tally.merge(other.tally);
        self.searched += other.searched;
        self.passed_over += other.passed_over;
        self.faults.merge(other.faults);
    }

    fn file(&mut self, search: &Search<'_>, relative: &[u8]) {
        match search.text(relative) {
            Ok(Some(text)) => {
                self.searched += 1;
                let found = search.finder.count(&text);
                if found > 0 {
                    self.tally.add(relative, found);
                }
            }
            Ok(None) => self.passed_over += 1,
            Err(error) => self.faults.add(format!("{}: {error}", shown(relative))),
        }
    }
}

impl Search<'_> {
    /// The text of a file; `None` = it is none that can be parsed.
    fn text(&self, relative: &[u8]) -> io::Result<Option<String>> {
        let file = self.opener.open(Path::new(std::ffi::OsStr::from_bytes(relative)))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        let fits = bytes.len() as u64 <= FILE_BYTES_MAX;
        Ok(String::from_utf8(bytes).ok().filter(|_| fits))
    }

    fn answer(&self, found: Counter, lang: &str) -> String {
        let Counter { tally, searched, passed_over, mut faults } = found;
        let (matches, files) = (tally.rows, tally.files);
        let mut out = if files == 0 {
            let what = if searched == 1 { "1 file".to_owned() } else { format!("{searched} files") };
            format!("No match. {what} of {lang} searched.\n")
        } else {
            let rows = self.rows(tally, &mut faults);
            rows.finish(matches, "matches", files)
        };
        if passed_over > 0 {
            out.push_str(&format!("({passed_over} files were not searched: too large, or not UTF-8.)\n"));
        }
        out.extend(faults.note());
        out
    }

    fn rows(&self, tally: Tally, faults: &mut Faults) -> Rows {
        let mut rows = Rows::new(self.window);
        for (path, count) in tally.into_first() {
            if rows.full() {
                break;
            }
            if rows.pass_over(count) {
                continue;
            }
            let name = shown(&path);
            match self.text(&path) {
                Ok(text) => {
                    let mut push = |hit| {
                        rows.push(&row(&name, &hit));
                        !rows.full()
                    };
                    self.finder.hits(&text.unwrap_or_default(), &mut push);
                }
                Err(error) => faults.add(format!("{name}: {error}")),
            }
        }
        rows
    }
}

fn row(name: &str, hit: &Hit) -> String {
    let mut row = format!("{name}:{}: {}", hit.line, brief(&hit.text));
    let held: Vec<String> = hit.variables.iter().map(|(name, text)| format!("${name} = {}", brief(text))).collect();
    if !held.is_empty() {
        row.push_str(&format!("  [{}]", held.join(", ")));
    }
    row
}

/// The first line, and a sign that there is more.
fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim_end();
    let mut shown: String = line.chars().take(TEXT_CHARS_MAX).collect();
    if shown.len() < text.trim_end().len() {
        shown.push_str(" …");
    }
    shown
}
