//! The tool Lsp: what a language server knows of a file as it is now.
//!
//! It reads, so calls of it may run at once with others that read: a server answers one question after the other, and
//! how many servers live is bounded where they live. It changes nothing, so it may run again after an interruption.

mod show;

use std::sync::Arc;

use serde::Deserialize;

use self::show::Show;
use super::confine::Worktree;
use super::{Definition, ToolResult, parse};
use crate::lsp::{At, Content, Lease, Question, Reader, Spot, Target, Trouble};

/// Bound on a file that a server is given, in bytes: larger ones are generated or data, and every change sends all of
/// it.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: super::LSP,
    description: "Asks a language server about a file as it is now: definition, references or hover of the symbol at a place, diagnostics or documentSymbol of the file. Only where a language server is set up; else use Grep. The place is a line with a character, or a line with a symbol that stands on it. After an edit diagnostics are those of the edited file; \"not ready\" means ask again.",
    schema: r#"{"type":"object","properties":{"operation":{"type":"string","enum":["definition","references","hover","diagnostics","documentSymbol"]},"file_path":{"type":"string"},"line":{"type":"integer","description":"From 1, as Read numbers lines"},"character":{"type":"integer","description":"From 1, in characters"},"symbol":{"type":"string","description":"Name on that line, instead of character"}},"required":["operation","file_path"],"additionalProperties":false}"#,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Operation {
    Definition,
    References,
    Hover,
    Diagnostics,
    DocumentSymbol,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    operation: Operation,
    file_path: String,
    line: Option<usize>,
    character: Option<usize>,
    symbol: Option<String>,
}

impl Input {
    fn target(&self) -> Result<Target, &'static str> {
        Ok(match self.operation {
            Operation::Definition => Target::Definition(self.at()?),
            Operation::References => Target::References(self.at()?),
            Operation::Hover => Target::Hover(self.at()?),
            Operation::Diagnostics => Target::Diagnostics,
            Operation::DocumentSymbol => Target::Symbols,
        })
    }

    fn at(&self) -> Result<At, &'static str> {
        match (self.line, self.character, &self.symbol) {
            (Some(line), Some(column), _) => Ok(At::Spot(Spot { line, column })),
            (line, None, Some(symbol)) if !symbol.is_empty() => Ok(At::Name(line, symbol.clone())),
            _ => Err("give `line` with `character`, or `line` with `symbol`"),
        }
    }
}

/// Asks a language server. `servers`: `None` = there are none here.
pub(super) async fn call(worktree: &Worktree, servers: Option<&Lease>, input: &str) -> ToolResult {
    let input: Input = match parse(super::LSP, input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let target = match input.target() {
        Ok(target) => target,
        Err(message) => return ToolResult::failed(message),
    };
    let file = match worktree.locate(&input.file_path) {
        Ok(at) => at.name(),
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let Some(servers) = servers else {
        return ToolResult::failed(Trouble::NoneSet.to_string());
    };
    let question = Question { file, target };
    let answer = match servers.ask(&question, &reader(worktree)).await {
        Ok(answer) => answer,
        Err(trouble) => return ToolResult::failed(trouble.to_string()),
    };
    let worktree = worktree.clone();
    let shown = tokio::task::spawn_blocking(move || Show::new(&worktree).answer(&question, &answer)).await;
    match shown {
        Ok(text) => ToolResult::done(text),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Reads files as every other tool does: confined, bounded.
fn reader(worktree: &Worktree) -> Reader {
    let worktree = worktree.clone();
    Arc::new(move |name| match text(&worktree, name) {
        Ok(text) => Content::Text(text),
        Err(why) => Content::Not(why),
    })
}

/// The text of a file as a server is given it.
fn text(worktree: &Worktree, name: &str) -> Result<String, String> {
    let contents = worktree.locate(name).and_then(|at| worktree.read(&at)).map_err(|error| error.to_string())?;
    if contents.bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("{name} is too large for a language server: above {DOCUMENT_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(contents.bytes).map_err(|_| format!("{name} is not valid UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
