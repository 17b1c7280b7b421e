//! The tool Glob: files by their paths.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet};
use serde::Deserialize;
use wattle_workspace::shown;

use super::confine::Worktree;
use super::walk::{self, Scope, Stop};
use super::window::{Tally, Window};
use super::{Definition, ToolResult, parse};

/// Files that one call lists: more than that is a question asked too broadly.
const FILES_MAX: usize = 200;
/// Characters of a pattern: alternatives multiply, and nobody writes a path that long.
const PATTERN_BYTES_MAX: usize = 4096;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Glob",
    description: "Lists files whose path matches a pattern such as `src/**/*.rs`, sorted by path. What .gitignore excludes is left out, unless include_ignored is true.",
    schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"Folder to look in, default the root of the worktree"},"include_ignored":{"type":"boolean","description":"List files that .gitignore excludes, too; default false"}},"required":["pattern"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pattern: String,
    path: Option<String>,
    #[serde(default)]
    include_ignored: bool,
}

/// Lists files.
pub(super) fn call(worktree: &Worktree, input: &str, stop: &Stop) -> ToolResult {
    let input: Input = match parse("Glob", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    match list(worktree, &input, stop) {
        Ok(content) => ToolResult::done(content),
        Err(message) => ToolResult::failed(message),
    }
}

fn list(worktree: &Worktree, input: &Input, stop: &Stop) -> Result<String, String> {
    let start = worktree.locate(input.path.as_deref().unwrap_or(".")).map_err(|error| error.to_string())?;
    let folder = worktree.root().join(start.relative());
    if !folder.is_dir() {
        return Err(format!("{} is no folder", input.path.as_deref().unwrap_or(".")));
    }
    // A pattern with the whole path in front means the same as one without.
    let whole = format!("{}/", folder.display().to_string().trim_end_matches('/'));
    let pattern = input.pattern.strip_prefix(&whole).unwrap_or(&input.pattern);
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let glob = compile(pattern)?;
    // Where the pattern begins with plain names, only that folder is walked.
    let below = start.relative().join(plain_start(pattern));
    let inside = if start.relative().as_os_str().is_empty() { 0 } else { start.relative().as_os_str().len() + 1 };
    let scope =
        Scope { worktree, folder: &below, globs: None, types: None, include_ignored: input.include_ignored, stop };
    let window = Window::new(Some(FILES_MAX), 0)?;
    let (tallies, faults) = walk::files(
        &scope,
        || Tally::new(window),
        |tally, _, relative| {
            if glob.is_match(Path::new(OsStr::from_bytes(relative.get(inside..).unwrap_or_default()))) {
                tally.add(relative, 1);
            }
        },
    )?;
    let mut all = Tally::new(window);
    tallies.into_iter().for_each(|tally| all.merge(tally));
    let found = all.files;
    let mut lines: Vec<String> = all.into_first().into_iter().map(|(path, _)| shown(&path)).collect();
    if lines.is_empty() {
        let hint = if input.include_ignored { "" } else { " (What .gitignore excludes was left out.)" };
        lines.push(format!("No file matches.{hint}"));
    }
    if found > FILES_MAX as u64 {
        lines.push(format!(
            "({} of {found} files are shown; narrow the pattern, or name a folder with path.)",
            lines.len()
        ));
    }
    lines.extend(faults.note());
    Ok(lines.join("\n"))
}

/// A set of one: unlike a single glob it decides the usual patterns without a regular expression.
fn compile(pattern: &str) -> Result<GlobSet, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern of more than {PATTERN_BYTES_MAX} bytes is not taken"));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| error.to_string())?;
    GlobSet::builder().add(glob).build().map_err(|error| error.to_string())
}

/// The folders that a pattern begins with and that hold no wildcard.
fn plain_start(pattern: &str) -> PathBuf {
    let plain = |part: &&str| {
        !part.is_empty() && *part != ".." && *part != "." && !part.contains(['*', '?', '[', ']', '{', '}', '\\'])
    };
    let folders = pattern.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').take_while(plain).collect()
}
