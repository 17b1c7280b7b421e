//! One configuration file: its keys, read with every mistake named by line and column.
//!
//! The keys that a plan file has too (checks, setup, …) are the *frame*: they are checked by the planner
//! itself, at their place in this file, and are later added to plans that lack them.

use std::collections::BTreeMap;

use super::choice::{Approve, OnInput};
use super::node::{self, Mark, Node, Value};
use super::{amount, money};
use crate::options::Slots;
use wattle_cache::price::{Rates, Row};
use wattle_worker::lsp::{self, ServerSettings};

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) mark: Mark,
    /// What.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// A server that models are reached at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Server {
    /// Its address.
    pub(crate) base_url: String,
    /// What it speaks.
    pub(crate) wire: Wire,
    /// How requests are authorised; `None` = as is usual on the wire, where there is a key.
    pub(crate) auth: Option<AuthStyle>,
    /// The environment variable that holds the key.
    pub(crate) key: Option<String>,
    /// Value of `anthropic-version`.
    pub(crate) version: Option<String>,
    /// Slots of a local server: requests at once, because each slot remembers one prompt.
    pub(crate) slots: Option<u32>,
}

/// What a server of models speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
}

/// How a server wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthStyle {
    /// `x-api-key`.
    ApiKey,
    /// `authorization: bearer`.
    Bearer,
    /// Not at all.
    None,
}

/// What goes when a slot changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clean {
    /// What is not ignored.
    Untracked,
    /// Ignored files, too.
    Ignored,
}

/// What a file says; `None` = nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct File {
    /// `limits.jobs`.
    pub(crate) jobs: Option<u32>,
    /// `limits.checks`.
    pub(crate) checks: Option<u32>,
    /// `limits.usd`, in nano-dollars.
    pub(crate) nano_usd: Option<u64>,
    /// `limits.tokens`.
    pub(crate) tokens: Option<u64>,
    /// `limits.disk`, in bytes.
    pub(crate) disk_bytes: Option<u64>,
    /// `clean`.
    pub(crate) clean: Option<Clean>,
    /// `slots`.
    pub(crate) slots: Option<Slots>,
    /// `keep.days`.
    pub(crate) keep_days: Option<u32>,
    /// `keep.count`.
    pub(crate) keep_count: Option<u32>,
    /// `approve`.
    pub(crate) approve: Option<Approve>,
    /// `on_input`.
    pub(crate) on_input: Option<OnInput>,
    /// `model`.
    pub(crate) model: Option<String>,
    /// `target`.
    pub(crate) target: Option<String>,
    /// `models`, by provider.
    pub(crate) models: BTreeMap<String, Server>,
    /// `prewarm`.
    pub(crate) prewarm: Option<bool>,
    /// `prices`: what models cost, by `PROVIDER/NAME`.
    pub(crate) prices: Vec<Row>,
    /// `lsp`: language servers, by name.
    pub(crate) lsp: BTreeMap<String, ServerSettings>,
    /// Keys of a plan file that apply to plans without them, as JSON.
    pub(crate) frame: BTreeMap<String, serde_json::Value>,
}

/// Keys of the frame, in the order they are added to a plan.
pub(crate) const FRAME: [&str; 8] =
    ["checks", "setup", "checkout", "discard", "generated", "commit", "notify", "defaults"];
/// Those of them that run something: they need trust.
pub(crate) const RUNS: [&str; 4] = ["checks", "setup", "generated", "notify"];
/// The key of language servers: it needs trust, too.
pub(crate) const LSP: &str = "lsp";
const KEYS: [&str; 12] =
    ["limits", "clean", "slots", "keep", "approve", "on_input", "model", "target", "models", "prices", "prewarm", LSP];
const PRICES: [&str; 8] =
    ["input", "output", "cache_read", "cache_write", "cache_write_long", "from", "min_cache_tokens", "context_tokens"];
/// What a server of models may speak; `openai` alone is the wire that most servers have.
const WIRES: [(&str, Wire); 4] = [
    ("anthropic", Wire::Anthropic),
    ("openai", Wire::OpenaiChat),
    ("openai-chat", Wire::OpenaiChat),
    ("openai-responses", Wire::OpenaiResponses),
];
const AUTH_STYLES: [(&str, AuthStyle); 3] =
    [("x-api-key", AuthStyle::ApiKey), ("bearer", AuthStyle::Bearer), ("none", AuthStyle::None)];
/// Longest that what was put aside is kept by a number: ten years, past which nobody asks for it.
const KEEP_DAYS_MAX: u32 = 3650;
/// Most that can be kept: as refs, git lists this many in about a tenth of a second.
const KEEP_COUNT_MAX: u32 = 100_000;
/// What `slots` can be.
pub(crate) const SLOTS: [(&str, Slots); 2] = [("checkout", Slots::Checkout), ("overlay", Slots::Overlay)];
const LIMITS: [&str; 5] = ["jobs", "checks", "usd", "tokens", "disk"];

/// Reads a file: what it says, and every mistake in it.
pub(crate) fn read(text: &str) -> (File, Vec<Mistake>) {
    let mut reader = Reader::default();
    match node::parse(text) {
        Ok(root) => reader.root(text, &root),
        Err(unreadable) => reader.mistake(unreadable.mark, unreadable.message, None),
    }
    reader.mistakes.sort();
    (reader.file, reader.mistakes)
}

#[derive(Default)]
struct Reader {
    file: File,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn mistake(&mut self, mark: Mark, message: impl Into<String>, hint: Option<String>) {
        self.mistakes.push(Mistake { mark, message: message.into(), hint });
    }

    fn root(&mut self, text: &str, root: &Node) {
        let Some(pairs) = self.map(root, "the file") else {
            return;
        };
        let mut framed = Vec::new();
        for (key, mark, value) in pairs {
            match key.as_str() {
                "limits" => self.limits(value),
                "clean" => {
                    let choices = [("untracked", Clean::Untracked), ("ignored", Clean::Ignored)];
                    self.file.clean = self.choice(key, value, &choices);
                }
                "slots" => self.file.slots = self.choice(key, value, &SLOTS),
                "keep" => self.keep(value),
                "approve" => {
                    self.file.approve = self.choice(key, value, &[("manual", Approve::Manual), ("auto", Approve::Auto)])
                }
                "on_input" => {
                    let choices = [("wait", OnInput::Wait), ("deny", OnInput::Deny), ("fail", OnInput::Fail)];
                    self.file.on_input = self.choice(key, value, &choices);
                }
                "model" => self.file.model = self.text(key, value),
                "target" => self.file.target = self.text(key, value),
                "models" => self.models(value),
                "prices" => self.prices(value),
                "prewarm" => self.file.prewarm = self.flag(key, value),
                LSP => match lsp::servers(&json(value)) {
                    Ok(servers) => self.file.lsp = servers,
                    Err(message) => self.mistake(value.mark, format!("`{LSP}`: {message}"), None),
                },
                key if FRAME.contains(&key) => {
                    framed.push(*mark);
                    self.file.frame.insert(key.to_owned(), json(value));
                }
                _ => self.unknown(key, *mark, &[&KEYS[..], &FRAME[..]].concat()),
            }
        }
        if !framed.is_empty() {
            self.frame(text);
        }
    }

    /// Has the planner check the keys of the frame where they stand: every other top-level key becomes blank.
    fn frame(&mut self, text: &str) {
        let plan = frame_as_plan(text);
        let Err(problems) = wattle_planner::parse_plan("config.yaml", &plan) else {
            return;
        };
        for problem in problems.problems {
            let mark = Mark { line: problem.line, column: problem.column };
            self.mistake(mark, problem.message, problem.hint);
        }
    }

    fn limits(&mut self, node: &Node) {
        let Some(pairs) = self.map(node, "limits") else {
            return;
        };
        for (key, mark, value) in pairs {
            match key.as_str() {
                "jobs" => self.file.jobs = self.count(key, value),
                "checks" => self.file.checks = self.count(key, value),
                "usd" => self.file.nano_usd = self.parsed(key, value, money::parse_usd),
                "tokens" => self.file.tokens = self.parsed(key, value, amount::parse_count),
                "disk" => self.file.disk_bytes = self.parsed(key, value, amount::parse_bytes),
                _ => self.unknown(key, *mark, &LIMITS),
            }
        }
    }

    fn keep(&mut self, node: &Node) {
        let Some(pairs) = self.map(node, "keep") else {
            return;
        };
        for (key, mark, value) in pairs {
            match key.as_str() {
                "days" => {
                    self.file.keep_days = self.parsed(key, value, |text| amount::parse_within(text, KEEP_DAYS_MAX))
                }
                "count" => {
                    self.file.keep_count = self.parsed(key, value, |text| amount::parse_within(text, KEEP_COUNT_MAX))
                }
                _ => self.unknown(key, *mark, &["days", "count"]),
            }
        }
    }

    fn models(&mut self, node: &Node) {
        let Some(pairs) = self.map(node, "models") else {
            return;
        };
        for (provider, mark, value) in pairs {
            let Some(fields) = self.map(value, provider) else {
                continue;
            };
            let (mut base_url, mut wire) = (None, Wire::Anthropic);
            let (mut auth, mut variable, mut version, mut slots) = (None, None, None, None);
            for (key, mark, value) in fields {
                match key.as_str() {
                    "base_url" => base_url = self.text(key, value),
                    "wire" => wire = self.choice(key, value, &WIRES).unwrap_or(wire),
                    "auth" => auth = self.choice(key, value, &AUTH_STYLES),
                    "key" => variable = self.text(key, value),
                    "version" => version = self.text(key, value),
                    "slots" => slots = self.count(key, value),
                    _ => self.unknown(key, *mark, &["base_url", "wire", "auth", "key", "version", "slots"]),
                }
            }
            match base_url {
                Some(base_url) => {
                    let server = Server { base_url, wire, auth, key: variable, version, slots };
                    self.file.models.insert(provider.clone(), server);
                }
                None => self.mistake(*mark, format!("`models.{provider}` has no `base_url`"), None),
            }
        }
    }

    /// Dollars per million tokens, by `PROVIDER/NAME`.
    fn prices(&mut self, node: &Node) {
        let Some(pairs) = self.map(node, "prices") else {
            return;
        };
        for (name, mark, value) in pairs {
            let Some(fields) = self.map(value, name) else {
                continue;
            };
            let (mut input, mut output, mut min_cache_tokens, mut context_tokens) = (None, None, None, None);
            let (mut cache_read, mut cache_write_short, mut cache_write_long) = (None, None, None);
            let mut from = FROM_EVER.to_owned();
            for (key, mark, value) in fields {
                match key.as_str() {
                    "input" => input = self.parsed(key, value, rate),
                    "output" => output = self.parsed(key, value, rate),
                    "cache_read" => cache_read = self.parsed(key, value, rate),
                    "cache_write" => cache_write_short = self.parsed(key, value, rate),
                    "cache_write_long" => cache_write_long = self.parsed(key, value, rate),
                    "min_cache_tokens" => min_cache_tokens = self.parsed(key, value, amount::parse_count),
                    "context_tokens" => context_tokens = self.parsed(key, value, amount::parse_count),
                    "from" => from = self.parsed(key, value, day).unwrap_or(from),
                    _ => self.unknown(key, *mark, &PRICES),
                }
            }
            let rates = input.zip(output).map(|(input, output)| Rates {
                input,
                output,
                cache_read,
                cache_write_short,
                cache_write_long,
                tiers: Vec::new(),
            });
            match (name.split_once('/'), rates) {
                (Some((provider, model)), Some(rates)) => {
                    let (provider, model) = (provider.to_owned(), model.to_owned());
                    self.file.prices.push(Row { provider, model, from, rates, min_cache_tokens, context_tokens });
                }
                (None, _) => self.mistake(*mark, format!("`prices.{name}` has to be PROVIDER/NAME"), None),
                (Some(_), None) => self.mistake(*mark, format!("`prices.{name}` needs `input` and `output`"), None),
            }
        }
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(String, Mark, Node)]> {
        match &node.value {
            Value::Map(pairs) => Some(pairs),
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                self.mistake(node.mark, format!("{what} has to be a mapping, not {}", node.value.kind()), None);
                None
            }
        }
    }

    fn text(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Null => None,
            Value::Text(_) | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.mistake(node.mark, format!("`{key}` has to be text, not {}", node.value.kind()), None);
                None
            }
        }
    }

    fn flag(&mut self, key: &str, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Null => None,
            Value::Text(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.mistake(node.mark, format!("`{key}` has to be true or false, not {}", node.value.kind()), None);
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, key: &str, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key, node)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.mistake(node.mark, format!("`{key}` is one of {}, not `{text}`", names.join(", ")), None);
        }
        found
    }

    fn count(&mut self, key: &str, node: &Node) -> Option<u32> {
        self.parsed(key, node, amount::parse_parallel)
    }

    fn parsed<T>(&mut self, key: &str, node: &Node, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = match &node.value {
            Value::Number(text) | Value::Text(text) => text,
            Value::Null => return None,
            Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.mistake(node.mark, format!("`{key}` has to be a number, not {}", node.value.kind()), None);
                return None;
            }
        };
        parse(text).map_err(|message| self.mistake(node.mark, format!("`{key}`: {message}"), None)).ok()
    }

    fn unknown(&mut self, key: &str, mark: Mark, known: &[&str]) {
        let hint = format!("known keys: {}", known.join(", "));
        self.mistake(mark, format!("unknown key `{key}`"), Some(hint));
    }
}

/// The day that a price without one holds from.
const FROM_EVER: &str = "0001-01-01";

/// Dollars per million tokens as micro-dollars per million tokens.
fn rate(text: &str) -> Result<u64, String> {
    let nano = money::parse_usd(text)?;
    if nano % 1000 == 0 { Ok(nano / 1000) } else { Err(format!("`{text}` has more than six digits after the point")) }
}

fn day(text: &str) -> Result<String, String> {
    let shape = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    let right = text.len() == 10 && text.bytes().enumerate().all(shape);
    right.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no day like 2026-11-20"))
}

/// A plan with one step and the frame of a configuration file, every key on the line it has there.
fn frame_as_plan(text: &str) -> String {
    let mut kept = String::new();
    let mut keep = false;
    for line in text.lines() {
        let starts_key = line.starts_with(|c: char| !c.is_whitespace() && !"#-]}".contains(c));
        if starts_key {
            let key = line.split(':').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            keep = FRAME.contains(&key);
        }
        if keep {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept.push_str("version: 1\ntask: frame\nsteps: [{ id: frame, run: \"true\" }]\n");
    kept
}

/// A node as JSON.
pub(crate) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
        Value::Text(text) => text.clone().into(),
        Value::List(list) => list.iter().map(json).collect::<Vec<_>>().into(),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, _, value)| (key.clone(), json(value)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(u32, u32, &str)]) {
        let (_, mistakes) = read(text);
        let found: Vec<_> = mistakes.iter().map(|m| (m.mark.line, m.mark.column, m.message.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_defaults_are_a_file_without_mistakes() {
        let (file, mistakes) = read(super::super::DEFAULTS);
        assert_eq!(mistakes, []);
        assert_eq!((file.jobs, file.checks, file.nano_usd), (Some(4), Some(1), Some(10_000_000_000)));
        assert_eq!((file.approve, file.on_input), (Some(Approve::Manual), Some(OnInput::Wait)));
        assert_eq!((file.keep_days, file.keep_count), (Some(30), Some(500)));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        check(
            "limits: { jobs: 0, usd: free, speed: 3 }\napprove: maybe\nmodle: x\nmodels:\n  local: { wire: anthropic }\n",
            &[
                (1, 17, "`jobs`: `0` is not a number from 1 to 256"),
                (1, 25, "`usd`: `free` is not an amount in dollars like 5.00"),
                (1, 31, "unknown key `speed`"),
                (2, 10, "`approve` is one of manual, auto, not `maybe`"),
                (3, 1, "unknown key `modle`"),
                (5, 3, "`models.local` has no `base_url`"),
            ],
        );
        check("- a list\n", &[(1, 1, "the file has to be a mapping, not a list")]);
    }

    #[test]
    fn the_frame_is_checked_where_it_stands() {
        let (file, mistakes) = read("model: a/b\n# why\nchecks:\n  - { name: build, rnu: make }\napprove: auto\n");
        assert!(mistakes.iter().any(|m| m.mark.line == 4), "{mistakes:?}");
        assert!(mistakes.iter().all(|m| m.mark.line == 4), "{mistakes:?}");
        assert!(file.frame.contains_key("checks"));
        let (file, mistakes) = read("setup: { run: npm ci, key: [package-lock.json] }\nchecks: []\n");
        assert_eq!(mistakes, []);
        assert_eq!(file.frame["checks"], serde_json::json!([]));
    }
}
