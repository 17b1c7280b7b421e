//! Request bytes for every wire, and nothing else makes them: here those of Anthropic Messages, in
//! `openai_chat` and `openai_responses` the same layout for the other two.
//!
//! A provider reads a prompt from its cache only where the bytes are the same as before, in the order tools,
//! system, messages. So one request looks like this, and the marks are where its cache entries end:
//!
//! ```text
//! model, effort | tools | system <- A | first user message: brief <- B, worker's part | turns … <- C … <- D
//! ```
//!
//! Up to B the bytes are the same for every worker of a run: what differs between workers (step, path, role,
//! what it may do) stands behind B. D ends the request; C ends the request before it, so that a turn of more
//! blocks than the provider looks back over still finds its entry. History is append-only, and the text of an
//! earlier message is copied, never built again: thinking blocks are bound to the bytes before them.
//!
//! Behind D there may be a tail: words of this one request. `tail` says when they are kept.
//!
//! A mark is not part of what is hashed, so moving C and D costs nothing. The settings that may differ between
//! requests (the bound on output) come last.

mod openai_chat;
mod openai_responses;
mod prewarm;
mod tail;
mod target;
mod turns;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

pub use self::prewarm::prewarm;
pub use self::tail::{replies_since_tail, with_tail};
pub use self::target::{BriefPlace, Codec, Dialect, Origin, OutputField, Target};

/// Marks that one request may hold, by the provider's rule: A, B, C and D use all of them.
pub const MARKS_MAX: usize = 4;

/// A tool as the model is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDefinition {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its input: JSON text of an object.
    pub input_schema: String,
}

/// What all workers of a run share: the start of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPrefix {
    tools: Vec<ToolDefinition>,
    system: String,
    brief: String,
}

impl SharedPrefix {
    /// One list of tools for every role, the constant system text, and the brief of the run. An empty brief is
    /// left out; then B falls together with A.
    ///
    /// # Errors
    /// Fails where a schema is no JSON object, two tools have one name, or the system text is blank.
    pub fn new(mut tools: Vec<ToolDefinition>, system: &str, brief: &str) -> Result<SharedPrefix, PrefixError> {
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tools.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(PrefixError::TwoTools { name: pair[0].name.clone() });
        }
        for tool in &tools {
            let schema: Result<serde_json::Map<String, serde_json::Value>, _> =
                serde_json::from_str(&tool.input_schema);
            schema.map_err(|source| PrefixError::Schema { tool: tool.name.clone(), source })?;
        }
        if system.trim().is_empty() {
            return Err(PrefixError::BlankSystem);
        }
        Ok(SharedPrefix { tools, system: system.to_owned(), brief: brief.to_owned() })
    }
}

/// Why a prefix or a message cannot be used.
#[derive(Debug, Error)]
pub enum PrefixError {
    /// Two tools have one name.
    #[error("build the prompt prefix: two tools are called {name}")]
    TwoTools {
        /// The name.
        name: String,
    },
    /// The schema of a tool is no JSON object.
    #[error("build the prompt prefix: the schema of tool {tool} is no JSON object")]
    Schema {
        /// The tool.
        tool: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The system text is blank, which the provider rejects.
    #[error("build the prompt prefix: the system text is blank")]
    BlankSystem,
    /// A message of the history is no message object.
    #[error("read a message of the conversation: {message}")]
    Message {
        /// What is wrong with it.
        message: String,
    },
}

/// How long the shared part stays in the provider's cache after its last use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixTtl {
    /// Five minutes; any worker's request renews it.
    #[default]
    FiveMinutes,
    /// One hour, for runs that wait long between requests.
    OneHour,
}

/// What a request asks for beside its prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOptions {
    /// Name of the model on the wire.
    pub model: String,
    /// Bound on the output, in tokens.
    pub max_tokens: u32,
    /// Effort, where the model takes one. It is part of what a cache entry is keyed by.
    pub effort: Option<String>,
    /// Should the reply be streamed?
    pub stream: bool,
    /// Time to live of A and B.
    pub prefix_ttl: PrefixTtl,
    /// Tokens below which the provider caches nothing; 0 = unknown. What is surely shorter is not marked.
    pub min_cache_tokens: u64,
    /// Words behind the last mark; empty = none.
    pub tail: String,
}

/// Fewest bytes of a token in any text we send: dense JSON under the newest tokenizers has 2.5.
const BYTES_PER_TOKEN_MIN: u64 = 2;

impl RequestOptions {
    /// Has a part of a request so few bytes that no provider would cache it, however it counts?
    fn surely_too_short(&self, bytes: usize) -> bool {
        (bytes as u64).div_ceil(BYTES_PER_TOKEN_MIN) < self.min_cache_tokens
    }
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Us: the task, tool results, feedback.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation, kept as the text it was received or first written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    text: String,
    role: Role,
    /// Where a mark may be put in: the end of the last block that may carry one.
    mark_at: Option<usize>,
    /// Where the content ends, and with it what is sent.
    content_end: usize,
    /// Where an assistant's turn came from; it is journaled and never sent.
    origin: Option<Origin>,
    /// The tail that an assistant's turn needs before it; it is sent there, and not with the turn.
    tail: Option<String>,
}

/// A message, as far as it has to be understood.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape<'a> {
    role: Role,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(default)]
    origin: Option<Origin>,
    #[serde(default)]
    tail: Option<String>,
}

/// A block, as far as it has to be understood.
#[derive(Deserialize)]
struct BlockShape<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    text: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

impl RawMessage {
    /// Takes the JSON text of a message `{"role":…,"content":[blocks]}`; an assistant's may end with its `origin`
    /// and the `tail` it needs.
    ///
    /// # Errors
    /// Fails where it is no such object, has no block, or holds a mark already.
    pub fn parse(json: &str) -> Result<RawMessage, PrefixError> {
        let wrong = |message: String| PrefixError::Message { message };
        let shape: Shape<'_> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        let content: Vec<&RawValue> =
            serde_json::from_str(shape.content.get()).map_err(|error| wrong(error.to_string()))?;
        if content.is_empty() {
            return Err(wrong("it has no block".to_owned()));
        }
        // What was parsed borrows from `json`, so the distance of their starts is its offset.
        let content_end = shape.content.get().as_ptr() as usize - json.as_ptr() as usize + shape.content.get().len();
        let more = shape.origin.is_some() || shape.tail.is_some();
        if more && (shape.role == Role::User || !json[content_end..].trim_start().starts_with(',')) {
            return Err(wrong("only an assistant's message has an origin or a tail, and at its end".to_owned()));
        }
        let mut mark_at = None;
        for raw in &content {
            let block: BlockShape<'_> = serde_json::from_str(raw.get()).map_err(|error| wrong(error.to_string()))?;
            if block.cache_control.is_some() {
                return Err(wrong("a block of it is marked already".to_owned()));
            }
            let markable = match block.kind.as_ref() {
                "text" => block.text.is_some_and(|text| !text.trim().is_empty()),
                "tool_use" | "tool_result" | "image" | "document" => true,
                _ => false,
            };
            if markable {
                let start = raw.get().as_ptr() as usize - json.as_ptr() as usize;
                mark_at = Some(start + raw.get().len() - 1);
            }
        }
        let (origin, tail) = (shape.origin, shape.tail);
        Ok(RawMessage { text: json.to_owned(), role: shape.role, mark_at, content_end, origin, tail })
    }

    /// Who wrote it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its text, verbatim.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it came from, where that is known.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Writes what is sent of it, with a tail at the end of its content.
    fn push_to(&self, out: &mut String, marked: bool, tail: &str) {
        let whole = self.origin.is_none() && self.tail.is_none() && tail.is_empty();
        let sent = if whole { self.text.as_str() } else { &self.text[..self.content_end - 1] };
        match self.mark_at.filter(|_| marked) {
            Some(at) => {
                out.push_str(&sent[..at]);
                out.push_str(MARK);
                out.push_str(&sent[at..]);
            }
            None => out.push_str(sent),
        }
        if !whole {
            tail::close(out, tail);
        }
    }
}

/// A mark as it is put before the closing brace of a block.
const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;

/// The same with the long time to live.
const MARK_ONE_HOUR: &str = r#","cache_control":{"type":"ephemeral","ttl":"1h"}"#;

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The body.
    pub bytes: Vec<u8>,
    /// Length of its shared part, in bytes: everything up to B.
    pub prefix_len: usize,
    /// Hash of that part (BLAKE3, hex).
    pub prefix_sha: String,
    /// Blocks of earlier turns that are left out, because only another provider or model understands them.
    pub dropped_blocks: usize,
}

impl Rendered {
    fn new(out: String, prefix_len: usize, dropped_blocks: usize) -> Rendered {
        let prefix_sha = blake3::hash(&out.as_bytes()[..prefix_len]).to_hex().to_string();
        Rendered { bytes: out.into_bytes(), prefix_len, prefix_sha, dropped_blocks }
    }
}

/// The first user message of a conversation, as it is journaled: the brief and the worker's own part.
pub fn first_message(shared: &SharedPrefix, worker_message: &str) -> String {
    let mut out = String::new();
    push_first(&mut out, shared, "", (worker_message, ""), false);
    out
}

/// The brief and the worker's part of a journaled first message.
///
/// # Errors
/// Fails where `json` is not what [`first_message`] gives.
pub fn split_first(json: &str) -> Result<(String, String), PrefixError> {
    let wrong = |message: &str| PrefixError::Message { message: message.to_owned() };
    let message = RawMessage::parse(json)?;
    if message.role != Role::User {
        return Err(wrong("the first one is not the user's"));
    }
    let shape: Shape<'_> = serde_json::from_str(json).map_err(|error| wrong(&error.to_string()))?;
    let content: Vec<&RawValue> =
        serde_json::from_str(shape.content.get()).map_err(|error| wrong(&error.to_string()))?;
    let mut texts = Vec::new();
    for raw in content {
        let block: BlockShape<'_> = serde_json::from_str(raw.get()).map_err(|error| wrong(&error.to_string()))?;
        texts.push(block.text.ok_or_else(|| wrong("the first one holds more than text"))?.into_owned());
    }
    match texts.as_slice() {
        [worker] => Ok((String::new(), worker.clone())),
        [brief, worker] => Ok((brief.clone(), worker.clone())),
        _ => Err(wrong("the first one has more than two blocks")),
    }
}

/// Builds the body of one request for a receiver. Turns that came from it go back as they are; those of another
/// wire, provider or family of models are told again in words and calls.
pub fn render_for(
    target: &Target,
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    match target.codec {
        Codec::AnthropicMessages => {
            let (history, dropped_blocks) = turns::for_anthropic(history, target, &options.model);
            Rendered { dropped_blocks, ..render_anthropic(target, shared, worker_message, &history, options) }
        }
        Codec::OpenaiChat => {
            marked_where_it_helps(openai_chat::render, target, shared, worker_message, history, options)
        }
        Codec::OpenaiResponses => {
            marked_where_it_helps(openai_responses::render, target, shared, worker_message, history, options)
        }
    }
}

/// Renders for one of the OpenAI wires, and without a breakpoint where the shared part turns out to be too short for one.
fn marked_where_it_helps(
    render: impl Fn(&Target, &SharedPrefix, &str, &[RawMessage], &RequestOptions) -> Rendered,
    target: &Target,
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    let rendered = render(target, shared, worker_message, history, options);
    if !target.dialect.breakpoint || !options.surely_too_short(rendered.prefix_len) {
        return rendered;
    }
    let dialect = Dialect { breakpoint: false, ..target.dialect.clone() };
    render(&Target { dialect, ..target.clone() }, shared, worker_message, history, options)
}

/// Builds the body of one request for the Anthropic wire: the shared part, the worker's part, then `history` (all
/// messages after the first one) as it is. A and B are left out where the shared part is too short to be cached, which
/// it then is for every worker; all of them where the whole request is.
pub fn render(
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    render_anthropic(&Target::anthropic(""), shared, worker_message, history, options)
}

fn render_anthropic(
    target: &Target,
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    let mark = match options.prefix_ttl {
        PrefixTtl::FiveMinutes => MARK,
        PrefixTtl::OneHour => MARK_ONE_HOUR,
    };
    let request = Request { target, shared, worker_message, history, options };
    let rendered = request.render(mark, tails(history));
    if options.surely_too_short(rendered.bytes.len()) {
        request.render("", Tails::none())
    } else if options.surely_too_short(rendered.prefix_len) {
        request.render("", tails(history))
    } else {
        rendered
    }
}

/// What a request of the Anthropic wire is made of.
struct Request<'a> {
    target: &'a Target,
    shared: &'a SharedPrefix,
    worker_message: &'a str,
    history: &'a [RawMessage],
    options: &'a RequestOptions,
}

impl Request<'_> {
    fn render(&self, mark: &str, marks: Tails) -> Rendered {
        let Request { target, shared, worker_message, history, options } = *self;
        let behind = |index| tail::behind(history, index, target, &options.model, &options.tail);
        let mut out = String::new();
        out.push_str("{\"model\":");
        push_string(&mut out, &options.model);
        if let Some(effort) = &options.effort {
            out.push_str(",\"output_config\":{\"effort\":");
            push_string(&mut out, effort);
            out.push('}');
        }
        push_tools(&mut out, &shared.tools);
        out.push_str(",\"system\":[{\"type\":\"text\",\"text\":");
        push_string(&mut out, &shared.system);
        out.push_str(mark);
        out.push_str("}],\"messages\":[");

        let prefix_len = push_first(&mut out, shared, mark, (worker_message, behind(0)), marks.first);
        for (index, message) in history.iter().enumerate() {
            out.push(',');
            message.push_to(&mut out, marks.marked.contains(&index), behind(index + 1));
        }
        out.push_str(&format!("],\"max_tokens\":{}", options.max_tokens));
        if options.stream {
            out.push_str(",\"stream\":true");
        }
        out.push('}');
        Rendered::new(out, prefix_len, 0)
    }
}

/// Where C and D stand.
struct Tails {
    /// Does the first message carry one of them?
    first: bool,
    /// Indices into the history.
    marked: Vec<usize>,
}

impl Tails {
    fn none() -> Tails {
        Tails { first: false, marked: Vec::new() }
    }
}

/// D ends the request; C ended the request before it, which is what stood before the newest assistant message.
fn tails(history: &[RawMessage]) -> Tails {
    let mut tails = Tails { first: history.is_empty(), marked: Vec::new() };
    let Some(last) = history.iter().rposition(|message| message.mark_at.is_some()) else {
        tails.first = true;
        return tails;
    };
    tails.marked.push(last);
    let newest_reply = history.iter().rposition(|message| message.role == Role::Assistant);
    match newest_reply {
        None => {}
        Some(reply) => match history[..reply].iter().rposition(|message| message.mark_at.is_some()) {
            Some(before) if before != last => tails.marked.push(before),
            Some(_) => {}
            None => tails.first = true,
        },
    }
    tails
}

fn push_tools(out: &mut String, tools: &[ToolDefinition]) {
    if tools.is_empty() {
        return;
    }
    out.push_str(",\"tools\":[");
    for (index, tool) in tools.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        push_string(out, &tool.name);
        out.push_str(",\"description\":");
        push_string(out, &tool.description);
        out.push_str(",\"input_schema\":");
        out.push_str(&tool.input_schema);
        out.push('}');
    }
    out.push(']');
}

/// Writes the first user message and gives the length of `out` at the end of the shared part.
fn push_first(
    out: &mut String,
    shared: &SharedPrefix,
    mark: &str,
    (worker_message, tail): (&str, &str),
    marked: bool,
) -> usize {
    out.push_str("{\"role\":\"user\",\"content\":[");
    let mut shared_end = out.len();
    if !shared.brief.trim().is_empty() {
        out.push_str("{\"type\":\"text\",\"text\":");
        push_string(out, &shared.brief);
        out.push_str(mark);
        out.push('}');
        shared_end = out.len();
        out.push(',');
    }
    out.push_str("{\"type\":\"text\",\"text\":");
    push_string(out, worker_message);
    if marked {
        out.push_str(MARK);
    }
    out.push('}');
    tail::close(out, tail);
    shared_end
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests;
