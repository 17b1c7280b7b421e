//! The tool Glob: files by their paths.

use globset::GlobBuilder;
use serde::Deserialize;

use super::confine::Worktree;
use super::{Definition, ToolResult, parse, walk};

/// Files that one call lists: more than that is a question asked too broadly.
const FILES_MAX: usize = 200;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Glob",
    description: "Lists files whose path matches a pattern such as `src/**/*.rs`, sorted by path. What .gitignore excludes is left out.",
    schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"Folder to look in, default the root of the worktree"}},"required":["pattern"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    pattern: String,
    path: Option<String>,
}

/// Lists files.
pub(super) fn call(worktree: &Worktree, input: &str) -> ToolResult {
    let input: Input = match parse("Glob", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let start = match worktree.locate(input.path.as_deref().unwrap_or(".")) {
        Ok(start) => start,
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let folder = worktree.root().join(start.relative());
    if !folder.is_dir() {
        return ToolResult::failed(format!("{} is no folder", input.path.unwrap_or_default()));
    }
    // A pattern with the whole path in front means the same as one without.
    let whole = format!("{}/", folder.display().to_string().trim_end_matches('/'));
    let pattern = input.pattern.strip_prefix(&whole).unwrap_or(&input.pattern);
    let glob = match GlobBuilder::new(pattern).literal_separator(true).build() {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let (mut found, mut more) = (Vec::new(), 0usize);
    let walked = walk::files(worktree, &start, None, None, |_, relative| {
        let inside = relative.strip_prefix(start.relative()).unwrap_or(relative);
        if glob.is_match(inside) {
            if found.len() < FILES_MAX {
                found.push(relative.to_string_lossy().into_owned());
            } else {
                more += 1;
            }
        }
        true
    });
    if let Err(error) = walked {
        return ToolResult::failed(error.to_string());
    }
    if found.is_empty() {
        return ToolResult::done("No file matches.");
    }
    if more > 0 {
        found.push(format!("({more} more files match; narrow the pattern.)"));
    }
    ToolResult::done(found.join("\n"))
}
