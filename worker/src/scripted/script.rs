//! The script: which request gets which reply.
//!
//! Replies are tried in the order of the file, and the first one whose matchers all hold (and which is not
//! used up) is given. Texts of the user are searched with one exception: the first block of a first message
//! that has several, because that is what all workers of a run share.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::request::Parsed;

/// The version of the format that this build reads.
const VERSION: u64 = 1;
/// How much of a text is shown where no reply matches: enough to recognise it.
const SHOWN_CHARS_MAX: usize = 120;
/// Starts the line by which a first message says what its sender does.
const ROLE_LINE: &str = "Role: ";

/// Why a script cannot be used.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("read the model script {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not what a script looks like.
    #[error("read the model script{}: line {line}, column {column}: {message}", at(path.as_deref()))]
    Invalid {
        /// The file, where there is one.
        path: Option<PathBuf>,
        /// Line, from 1; 0 = unknown.
        line: u64,
        /// Column, from 1; 0 = unknown.
        column: u64,
        /// What is wrong.
        message: String,
    },
}

fn at(path: Option<&Path>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

/// A parsed script, with the number of uses that each reply has left.
#[derive(Debug, Clone)]
pub struct Script {
    replies: Vec<Reply>,
}

#[derive(Debug, Clone)]
struct Reply {
    matchers: Matchers,
    left: Option<u32>,
    chosen: Chosen,
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) delay_ms: u64,
    pub(super) blocks: Vec<Block>,
    pub(super) stop: &'static str,
    pub(super) fault: Fault,
}

/// A block of a reply.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Text(String),
    Thinking(String),
    Tool { name: String, input: Map<String, Value> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    replies: Vec<ReplyForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyForm {
    #[serde(default, rename = "match")]
    matchers: Matchers,
    times: Option<u32>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    blocks: Vec<BlockForm>,
    stop: Option<StopForm>,
    #[serde(default)]
    fault: Fault,
}

/// All that are given have to hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Matchers {
    /// Occurs in a text of the user.
    text: Option<String>,
    /// Occurs in none.
    not_text: Option<String>,
    /// Number of assistant messages so far.
    turn: Option<usize>,
    /// Occurs in a tool result of the newest message.
    tool_result: Option<String>,
    /// What the sender says that it does.
    role: Option<RoleForm>,
    /// Name of the model that is asked for.
    model: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleForm {
    Lead,
    Worker,
}

impl RoleForm {
    fn word(self) -> &'static str {
        match self {
            RoleForm::Lead => "lead",
            RoleForm::Worker => "worker",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockForm {
    text: Option<String>,
    thinking: Option<String>,
    tool: Option<String>,
    input: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StopForm {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    PauseTurn,
    Refusal,
    ModelContextWindowExceeded,
}

impl StopForm {
    fn word(self) -> &'static str {
        match self {
            StopForm::EndTurn => "end_turn",
            StopForm::ToolUse => "tool_use",
            StopForm::MaxTokens => "max_tokens",
            StopForm::StopSequence => "stop_sequence",
            StopForm::PauseTurn => "pause_turn",
            StopForm::Refusal => "refusal",
            StopForm::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }
}

/// What goes wrong with a reply.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// Answer with this status instead of a message.
    pub(super) status: Option<u16>,
    /// Seconds for the header `retry-after`.
    pub(super) retry_after: Option<f64>,
    /// Close the connection after so many bytes of the stream.
    pub(super) cut_after_bytes: Option<usize>,
    /// End the stream with an error event of this type in place of the end of the message.
    pub(super) error_event: Option<String>,
}

impl Script {
    /// Reads a script file.
    ///
    /// # Errors
    /// Fails where it cannot be read or is no script; the error names line and column.
    pub fn load(path: &Path) -> Result<Script, ScriptError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ScriptError::Read { path: path.to_owned(), source })?;
        Script::parse(&text).map_err(|error| match error {
            ScriptError::Invalid { line, column, message, .. } => {
                ScriptError::Invalid { path: Some(path.to_owned()), line, column, message }
            }
            ScriptError::Read { .. } => error,
        })
    }

    /// Parses the text of a script.
    ///
    /// # Errors
    /// Fails where it is no script; the error names line and column.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let invalid = |line, column, message| ScriptError::Invalid { path: None, line, column, message };
        let file: File = serde_yaml::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            invalid(line, column, error.without_snippet().to_string())
        })?;
        if file.version != VERSION {
            let message = format!("version {} is not known, this build reads version {VERSION}", file.version);
            return Err(invalid(0, 0, message));
        }
        let replies = (1..)
            .zip(file.replies)
            .map(|(number, form)| lower(form).map_err(|message| invalid(0, 0, format!("reply {number}: {message}"))));
        Ok(Script { replies: replies.collect::<Result<_, _>>()? })
    }

    /// The reply for a request, which is used once by this.
    pub(super) fn choose(&mut self, request: &Parsed) -> Option<Chosen> {
        let reply = self.replies.iter_mut().find(|reply| reply.left != Some(0) && reply.matchers.hold(request))?;
        if let Some(left) = &mut reply.left {
            *left -= 1;
        }
        Some(reply.chosen.clone())
    }
}

fn lower(form: ReplyForm) -> Result<Reply, String> {
    let mut blocks = Vec::new();
    for (number, block) in (1..).zip(form.blocks) {
        blocks.push(match (block.text, block.thinking, block.tool, block.input) {
            (Some(text), None, None, None) if !text.trim().is_empty() => Block::Text(text),
            (None, Some(thinking), None, None) => Block::Thinking(thinking),
            (None, None, Some(name), input) => Block::Tool { name, input: input.unwrap_or_default() },
            _ => {
                let message = "has to be one of `text` (not blank), `thinking`, or `tool` with its `input`";
                return Err(format!("block {number} {message}"));
            }
        });
    }
    let calls = blocks.iter().any(|block| matches!(block, Block::Tool { .. }));
    let stop = match form.stop {
        Some(stop) => stop.word(),
        None if calls => "tool_use",
        None => "end_turn",
    };
    if blocks.is_empty() && form.fault.status.is_none() && form.stop.is_none() {
        return Err("it has neither `blocks` nor a `fault` with a status".to_owned());
    }
    let chosen = Chosen { delay_ms: form.delay_ms, blocks, stop, fault: form.fault };
    Ok(Reply { matchers: form.matchers, left: form.times, chosen })
}

impl Matchers {
    fn hold(&self, request: &Parsed) -> bool {
        let said = |wanted: &String| request.user_texts.iter().any(|text| text.contains(wanted.as_str()));
        self.text.as_ref().is_none_or(said)
            && !self.not_text.as_ref().is_some_and(said)
            && self.turn.is_none_or(|turn| turn == request.turns)
            && self
                .tool_result
                .as_ref()
                .is_none_or(|wanted| request.tool_results.iter().any(|text| text.contains(wanted.as_str())))
            && self.role.is_none_or(|wanted| role(request) == Some(wanted.word()))
            && self.model.as_ref().is_none_or(|wanted| *wanted == request.model)
    }
}

/// What the sender says that it does.
fn role(request: &Parsed) -> Option<&str> {
    let lines = request.user_texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| line.strip_prefix(ROLE_LINE)).next().map(str::trim)
}

/// A request in one line, for who has to extend the script.
pub(super) fn describe(request: &Parsed) -> String {
    let shown = |text: &String| -> String {
        let line: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{line:?}")
    };
    let texts: Vec<String> = request.user_texts.iter().map(shown).collect();
    let results: Vec<String> = request.tool_results.iter().map(shown).collect();
    format!(
        "role {}, turn {}, texts [{}], newest tool results [{}]",
        role(request).unwrap_or("not given"),
        request.turns,
        texts.join(", "),
        results.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::Script;

    fn check(text: &str, expected: &str) {
        let error = Script::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        check("version: 1\nreplies:\n  - match: { txt: x }\n    blocks: [{ text: hi }]\n", "line 3");
        check("version: 1\nreplies: [\n", "line");
        check("version: 2\nreplies: []\n", "version 2 is not known");
        check("version: 1\nreplies:\n  - blocks: [{ text: hi, tool: Read }]\n", "reply 1: block 1");
        check("version: 1\nreplies:\n  - match: { turn: 0 }\n", "neither");
        check("version: 1\nreplies:\n  - blocks: [{ text: ' ' }]\n", "not blank");
    }
}
