//! The tool Symbols: definitions, references and outlines, of the worktree as it is now.
//!
//! Files are found as Glob finds them and read as Read reads them, so that an edit of a moment ago is seen. A file
//! that does not hold the name at all is not parsed.

mod ask;
mod show;

use serde::Deserialize;

use super::confine::Worktree;
use super::walk::Stop;
use super::{Definition, ToolResult, parse};
use crate::symbols::Memory;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Symbols",
    description: "Finds symbols by parsing source files (bash, C, Go, Java, JavaScript, Python, Rust, TypeScript): the definitions of a name (exact, else names that begin with it or contain it), the references to a name with their lines, or the outline of a file or folder. What .gitignore excludes is left out. Local variables and text in comments are not found; use Grep for those.",
    schema: r#"{"type":"object","properties":{"query":{"type":"string","description":"A name, such as `parse_line`; not a pattern. Needed for definitions and references"},"path":{"type":"string","description":"File or folder, default the root of the worktree"},"kind":{"type":"string","enum":["definitions","references","outline"],"description":"Default definitions with a query, else outline"},"head_limit":{"type":"integer","description":"At most so many lines"},"offset":{"type":"integer","description":"Leave out so many first"}},"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    query: Option<String>,
    path: Option<String>,
    kind: Option<Asked>,
    head_limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Definitions,
    References,
    Outline,
}

/// Finds symbols.
pub(super) fn call(worktree: &Worktree, memory: &Memory, input: &str, stop: &Stop) -> ToolResult {
    let input: Input = match parse("Symbols", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let query = input.query.as_deref().map(str::trim).filter(|query| !query.is_empty());
    let asked = input.kind.unwrap_or(if query.is_some() { Asked::Definitions } else { Asked::Outline });
    let found = match (asked, query) {
        (Asked::Outline, Some(_)) => Err("an outline takes a path and no query".to_owned()),
        (Asked::Outline, None) => ask::files(worktree, input.path.as_deref(), None, stop).map(|files| {
            let one = files.paths.len() == 1;
            show::outline(&files.tags(worktree, memory), one)
        }),
        (Asked::Definitions | Asked::References, None) => Err("a query is needed: the name to look for".to_owned()),
        (Asked::Definitions, Some(query)) => ask::files(worktree, input.path.as_deref(), Some(query), stop)
            .map(|files| show::definitions(&files.tags(worktree, memory), query)),
        (Asked::References, Some(query)) => ask::files(worktree, input.path.as_deref(), Some(query), stop)
            .map(|files| show::references(&files.tags(worktree, memory), query)),
    };
    match found {
        Ok(found) => ToolResult::done(found.page(input.offset, input.head_limit)),
        Err(message) => ToolResult::failed(message),
    }
}

#[cfg(test)]
mod tests;
