//! The script: which request gets which reply.
//!
//! Replies are tried in the order of the file, and the first one whose matchers all hold (and which is not
//! used up) is given. Texts of the user are searched with one exception: the first block of a first message
//! that has several, because that is what all workers of a run share.

pub(super) mod form;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use serde_yaml::{Location, Spanned};
use thiserror::Error;

use self::form::{BlockForm, ChaosForm, File, Matchers, Quirk, ReplyForm, RoleForm, Stop, WireForm};
use super::fault::Fault;
use super::limits::Limits;
use super::prompt::{Prompt, Wire, tokens_of};
use super::traits::ModelForm;

/// The version of the format that this build reads.
const VERSION: u64 = 1;
/// How much of a text is shown where no reply matches: enough to recognise it.
const SHOWN_CHARS_MAX: usize = 120;
/// Bound on every time of a script: an hour, longer than any client waits.
const TIME_MS_MAX: u64 = 3_600_000;
/// Bound on a jump of the clock: a year, after which no entry is left.
const ADVANCE_MS_MAX: u64 = 366 * 24 * 3_600_000;

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
    pub(super) settings: Arc<Settings>,
    replies: Vec<Reply>,
}

/// How the server behaves, whatever it says.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) seed: u64,
    pub(super) keys: Vec<String>,
    pub(super) keyless: bool,
    pub(super) prefill_tokens_per_second: Option<u64>,
    pub(super) models: BTreeMap<String, ModelForm>,
    pub(super) limits: Option<Limits>,
    pub(super) slots: Option<u32>,
    pub(super) quirks: Vec<Quirk>,
    /// Types of blocks that no client knows.
    raw_kinds: BTreeSet<String>,
    chaos: Option<ChaosForm>,
}

#[derive(Debug, Clone)]
struct Reply {
    matchers: Matchers,
    left: Option<u32>,
    chosen: Arc<Chosen>,
}

/// What a request is answered with.
#[derive(Debug, Clone, Default)]
pub(super) struct Chosen {
    /// Its number in the script, from 1.
    pub(super) number: usize,
    pub(super) delay_ms: u64,
    pub(super) advance_ms: u64,
    pub(super) blocks: Vec<Block>,
    pub(super) stop: Option<Stop>,
    pub(super) category: Option<String>,
    pub(super) fault: Fault,
    pub(super) quirks: Vec<Quirk>,
}

/// A block of a reply.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Text(String),
    Thinking(String),
    Redacted(String),
    Tool { name: String, arguments: String },
    Raw(Map<String, Value>),
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
        let file: File = serde_yaml::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            invalid((line, column), error.without_snippet().to_string())
        })?;
        if file.version != VERSION {
            let message = format!("version {} is not known, this build reads version {VERSION}", file.version);
            return Err(invalid((1, 1), message));
        }
        if let Some(chaos) = &file.chaos {
            let wrong = chaos.faults.iter().find_map(Fault::mistake);
            let none = chaos.faults.is_empty().then_some("it has no faults");
            let many = (chaos.percent > 100).then_some("`percent` is more than 100");
            if let Some(wrong) = wrong.or(none).or(many) {
                return Err(invalid((1, 1), format!("chaos: {wrong}")));
            }
        }
        let replies: Vec<Reply> =
            (1..).zip(file.replies).map(|(number, form)| lower(number, form)).collect::<Result<_, _>>()?;
        let blocks = replies.iter().flat_map(|reply| &reply.chosen.blocks);
        let settings = Settings {
            seed: file.seed,
            keys: file.keys,
            keyless: file.keyless,
            prefill_tokens_per_second: file.prefill_tokens_per_second.filter(|rate| *rate > 0),
            models: file.models,
            limits: file.limits,
            slots: file.slots,
            quirks: file.quirks,
            raw_kinds: blocks.filter_map(Block::raw_kind).collect(),
            chaos: file.chaos,
        };
        Ok(Script { settings: Arc::new(settings), replies })
    }

    /// The reply for a request, which is used once by this.
    pub(super) fn choose(&mut self, prompt: &Prompt) -> Option<Arc<Chosen>> {
        let reply = self.replies.iter_mut().find(|reply| reply.left != Some(0) && reply.matchers.hold(prompt))?;
        if let Some(left) = &mut reply.left {
            *left -= 1;
        }
        Some(Arc::clone(&reply.chosen))
    }
}

impl Settings {
    /// Does the script have a block of this type, which no client knows?
    pub(super) fn says(&self, kind: &str) -> bool {
        self.raw_kinds.contains(kind)
    }

    /// The fault that strikes a request by chance: the `nth` one with a body of this hash.
    pub(super) fn strike(&self, body: &blake3::Hash, nth: u64) -> Option<&Fault> {
        let chaos = self.chaos.as_ref()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(body.as_bytes()).update(&nth.to_le_bytes());
        let drawn = hasher.finalize();
        let number = |at: usize| u32::from_le_bytes(drawn.as_bytes()[at..at + 4].try_into().expect("four bytes"));
        let index = number(4) as usize % chaos.faults.len();
        (number(0) % 100 < u32::from(chaos.percent)).then(|| &chaos.faults[index])
    }
}

fn invalid((line, column): (u64, u64), message: String) -> ScriptError {
    ScriptError::Invalid { path: None, line, column, message }
}

fn place(location: Location) -> (u64, u64) {
    (location.line(), location.column())
}

fn lower(number: usize, spanned: Spanned<ReplyForm>) -> Result<Reply, ScriptError> {
    let here = place(spanned.referenced);
    let form = spanned.value;
    let wrong = |message: &str| invalid(here, format!("reply {number}: {message}"));
    let blocks: Vec<Block> =
        (1..).zip(form.blocks).map(|(block, form)| lower_block(number, block, form)).collect::<Result<_, _>>()?;
    if blocks.is_empty() && form.fault.status.is_none() && !form.fault.reset && form.stop.is_none() {
        return Err(wrong("it has neither `blocks` nor a `fault` with a status"));
    }
    if let Some(mistake) = form.fault.mistake() {
        return Err(wrong(mistake));
    }
    let times = [form.delay_ms, form.fault.event_ms, form.fault.stall_ms.unwrap_or(0)];
    if times.iter().any(|ms| *ms > TIME_MS_MAX) || form.advance_ms > ADVANCE_MS_MAX {
        return Err(wrong("a time is longer than an hour (`advance_ms`: than a year)"));
    }
    let chosen = Chosen {
        number,
        delay_ms: form.delay_ms,
        advance_ms: form.advance_ms,
        blocks,
        stop: form.stop,
        category: form.category,
        fault: form.fault,
        quirks: form.quirks,
    };
    Ok(Reply { matchers: form.matchers, left: form.times, chosen: Arc::new(chosen) })
}

fn lower_block(reply: usize, number: usize, spanned: Spanned<BlockForm>) -> Result<Block, ScriptError> {
    let here = place(spanned.referenced);
    let form = spanned.value;
    let kinds = [
        form.text.is_some(),
        form.thinking.is_some(),
        form.tool.is_some(),
        form.redacted.is_some(),
        form.raw.is_some(),
    ];
    let inputs = usize::from(form.input.is_some()) + usize::from(form.arguments.is_some());
    let proper = kinds.iter().filter(|kind| **kind).count() == 1 && inputs <= usize::from(form.tool.is_some());
    let block = match (form.text, form.thinking, form.tool, form.redacted, form.raw) {
        (Some(text), ..) if proper && !text.trim().is_empty() => Some(Block::Text(text)),
        (_, Some(thinking), ..) if proper => Some(Block::Thinking(thinking)),
        (_, _, Some(name), ..) if proper => {
            let object = Value::Object(form.input.unwrap_or_default());
            Some(Block::Tool { name, arguments: form.arguments.unwrap_or_else(|| object.to_string()) })
        }
        (_, _, _, Some(data), _) if proper => Some(Block::Redacted(data)),
        (.., Some(raw)) if proper && raw.get("type").is_some_and(Value::is_string) => Some(Block::Raw(raw)),
        _ => None,
    };
    block.ok_or_else(|| {
        let message = "has to be one of `text` (not blank), `thinking`, `redacted`, `raw` (with a `type`), or `tool` with its `input` or `arguments`";
        invalid(here, format!("reply {reply}: block {number} {message}"))
    })
}

impl Block {
    /// Output tokens that it stands for, shown or not.
    pub(super) fn tokens(&self) -> u64 {
        let bytes = match self {
            Block::Text(text) | Block::Thinking(text) | Block::Redacted(text) => text.len(),
            Block::Tool { name, arguments } => name.len() + arguments.len(),
            Block::Raw(raw) => Value::Object(raw.clone()).to_string().len(),
        };
        tokens_of(bytes).max(1)
    }

    fn raw_kind(&self) -> Option<String> {
        let Block::Raw(raw) = self else { return None };
        raw.get("type").and_then(Value::as_str).map(str::to_owned)
    }
}

impl Chosen {
    /// Why it ends.
    pub(super) fn stop(&self) -> Stop {
        let calls = self.blocks.iter().any(|block| matches!(block, Block::Tool { .. }));
        self.stop.unwrap_or(if calls { Stop::ToolUse } else { Stop::EndTurn })
    }
}

impl Matchers {
    fn hold(&self, prompt: &Prompt) -> bool {
        let said = |wanted: &String| prompt.user_texts.iter().any(|text| text.contains(wanted.as_str()));
        self.text.as_ref().is_none_or(said)
            && !self.not_text.as_ref().is_some_and(said)
            && self.turn.is_none_or(|turn| turn == prompt.turns)
            && self
                .tool_result
                .as_ref()
                .is_none_or(|wanted| prompt.tool_results.iter().any(|text| text.contains(wanted.as_str())))
            && self.role.is_none_or(|wanted| prompt.role() == Some(wanted.word()))
            && self.model.as_ref().is_none_or(|wanted| *wanted == prompt.model)
            && self.wire.is_none_or(|wanted| wanted.wire() == prompt.wire)
    }
}

impl RoleForm {
    fn word(self) -> &'static str {
        match self {
            RoleForm::Lead => "lead",
            RoleForm::Worker => "worker",
        }
    }
}

impl WireForm {
    fn wire(self) -> Wire {
        match self {
            WireForm::Messages => Wire::Messages,
            WireForm::Chat => Wire::Chat,
            WireForm::Responses => Wire::Responses,
        }
    }
}

impl Stop {
    /// Its word on `/v1/messages`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Stop::EndTurn => "end_turn",
            Stop::ToolUse => "tool_use",
            Stop::MaxTokens => "max_tokens",
            Stop::Sequence => "stop_sequence",
            Stop::PauseTurn => "pause_turn",
            Stop::Refusal => "refusal",
            Stop::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }
}

/// A request in one line, for who has to extend the script.
pub(super) fn describe(prompt: &Prompt) -> String {
    let shown = |text: &String| -> String {
        let line: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{line:?}")
    };
    let texts: Vec<String> = prompt.user_texts.iter().map(shown).collect();
    let results: Vec<String> = prompt.tool_results.iter().map(shown).collect();
    format!(
        "role {}, turn {}, texts [{}], newest tool results [{}]",
        prompt.role().unwrap_or("not given"),
        prompt.turns,
        texts.join(", "),
        results.join(", "),
    )
}

/// JSON Schema of a script file.
pub fn schema() -> Value {
    schemars::schema_for!(File).to_value()
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
        check(
            "version: 1\nreplies:\n  - blocks:\n      - text: hi\n      - { text: hi, tool: Read }\n",
            "line 5, column 9: reply 1: block 2",
        );
        check("version: 1\nreplies:\n  - match: { turn: 0 }\n", "line 3, column 5: reply 1: it has neither");
        check("version: 1\nreplies:\n  - blocks: [{ text: ' ' }]\n", "not blank");
        check("version: 1\nreplies:\n  - blocks: [{ text: a, input: {} }]\n", "reply 1: block 1");
        check("version: 1\nreplies:\n  - blocks: [{ tool: a, input: {}, arguments: '{' }]\n", "reply 1: block 1");
        check("version: 1\nreplies:\n  - fault: { status: 200 }\n", "300 to 599");
        check("version: 1\nreplies:\n  - { delay_ms: 3600001, blocks: [{ text: a }] }\n", "longer than an hour");
        check("version: 1\nchaos: { percent: 5, faults: [] }\nreplies: []\n", "no faults");
        check("version: 1\nquirks: [no_such]\nreplies: []\n", "line 2");
        check("version: 1\nmodels: { a: { rates: { input: -1, output: 1, cache_read: 1 } } }\nreplies: []\n", "line 2");
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let script = |seed| {
            let text = format!(
                "version: 1\nseed: {seed}\nchaos: {{ percent: 30, faults: [{{ status: 500 }}, {{ status: 529 }}] }}\nreplies: []\n"
            );
            Script::parse(&text).unwrap()
        };
        let struck = |seed| -> Vec<Option<u16>> {
            let script = script(seed);
            let draw =
                |n: u64| script.settings.strike(&blake3::hash(&n.to_le_bytes()), 0).and_then(|fault| fault.status);
            (0..200).map(draw).collect()
        };
        assert_eq!(struck(7), struck(7));
        assert_ne!(struck(7), struck(8));
        let count = struck(7).iter().flatten().count();
        assert!((30..=90).contains(&count), "{count}");
    }
}
