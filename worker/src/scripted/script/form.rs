//! The format of a script file, as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use crate::scripted::fault::Fault;
use crate::scripted::limits::Limits;
use crate::scripted::traits::ModelForm;

/// What the scripted model says, and how its server behaves.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Script")]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Version of the format: 1.
    pub(super) version: u64,
    /// Ids, signatures and chaos come from it: the same seed and the same requests, the same answers.
    #[serde(default)]
    pub(super) seed: u64,
    /// Keys that are accepted; none = every key.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    /// Requests need no key, as at a local server.
    #[serde(default)]
    pub(super) keyless: bool,
    /// Speed at which a prompt is read that is not in the cache; absent = no time passes.
    pub(super) prefill_tokens_per_second: Option<u64>,
    /// Models by name, `*` for all others; none = every name is served.
    #[serde(default)]
    pub(super) models: BTreeMap<String, ModelForm>,
    /// Rate limits of each model; absent = none.
    pub(super) limits: Option<Limits>,
    /// Faults that strike at random, by the seed.
    pub(super) chaos: Option<ChaosForm>,
    /// Slots that `/props` reports, as llama.cpp does.
    pub(super) slots: Option<u32>,
    /// Habits of lesser servers, on every reply of `/v1/chat/completions`.
    #[serde(default)]
    pub(super) quirks: Vec<Quirk>,
    /// Replies; the first one whose matchers all hold is given.
    #[schemars(with = "Vec<ReplyForm>")]
    pub(super) replies: Vec<Spanned<ReplyForm>>,
}

/// Faults that strike at random.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::scripted) struct ChaosForm {
    /// How many of a hundred requests are struck.
    pub(in crate::scripted) percent: u8,
    /// With one of these.
    pub(in crate::scripted) faults: Vec<Fault>,
}

/// One reply.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Reply")]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyForm {
    /// Which requests it is for.
    #[serde(default, rename = "match")]
    pub(super) matchers: Matchers,
    /// How often it may be used; absent = always.
    pub(super) times: Option<u32>,
    /// Time before the first byte.
    #[serde(default)]
    pub(super) delay_ms: u64,
    /// The server's clock jumps ahead by this before the request is looked at: cache entries age.
    #[serde(default)]
    pub(super) advance_ms: u64,
    /// What it says.
    #[serde(default)]
    #[schemars(with = "Vec<BlockForm>")]
    pub(super) blocks: Vec<Spanned<BlockForm>>,
    /// Why it ends; default: `tool_use` where a tool is called, else `end_turn`.
    pub(super) stop: Option<Stop>,
    /// The category of a refusal.
    pub(super) category: Option<String>,
    /// What goes wrong, instead of the reply or in it.
    #[serde(default)]
    pub(super) fault: Fault,
    /// Habits of lesser servers, on `/v1/chat/completions`.
    #[serde(default)]
    pub(super) quirks: Vec<Quirk>,
}

/// All that are given have to hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::scripted) struct Matchers {
    /// Occurs in a text of the user (the shared brief is not searched).
    pub(super) text: Option<String>,
    /// Occurs in none.
    pub(super) not_text: Option<String>,
    /// Number of assistant messages so far.
    pub(super) turn: Option<usize>,
    /// Occurs in a tool result of the newest message.
    pub(super) tool_result: Option<String>,
    /// What the sender says that it does, from the line `Role: …` of the first message.
    pub(super) role: Option<RoleForm>,
    /// Name of the model that is asked for.
    pub(super) model: Option<String>,
    /// The wire that it came by.
    pub(super) wire: Option<WireForm>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::scripted) enum RoleForm {
    /// The lead planner.
    Lead,
    /// A worker.
    Worker,
}

/// A wire.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::scripted) enum WireForm {
    /// `/v1/messages`.
    Messages,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/responses`.
    Responses,
}

/// One block: exactly one of `text`, `thinking`, `tool`, `redacted` and `raw`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Block")]
#[serde(deny_unknown_fields)]
pub(super) struct BlockForm {
    /// Text.
    pub(super) text: Option<String>,
    /// Thinking; may be empty, as the newest models send it.
    pub(super) thinking: Option<String>,
    /// A call of this tool.
    pub(super) tool: Option<String>,
    /// The input of the call.
    pub(super) input: Option<Map<String, Value>>,
    /// The input of the call as text, which need not be JSON.
    pub(super) arguments: Option<String>,
    /// Thinking that is not shown: its data.
    pub(super) redacted: Option<String>,
    /// A block of a kind that no client knows (only on `/v1/messages`).
    pub(super) raw: Option<Map<String, Value>>,
}

/// Why a reply ends, in the words of `/v1/messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::scripted) enum Stop {
    /// It is done.
    EndTurn,
    /// Tools are to be called.
    ToolUse,
    /// The bound on output was reached.
    MaxTokens,
    /// A stop sequence was met.
    #[serde(rename = "stop_sequence")]
    Sequence,
    /// The server paused it.
    PauseTurn,
    /// The model declined.
    Refusal,
    /// The context is full.
    ModelContextWindowExceeded,
}

/// A habit of a server that speaks `/v1/chat/completions` its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::scripted) enum Quirk {
    /// Tool calls come without an index.
    NoIndex,
    /// Every tool call has index 0.
    ZeroIndex,
    /// Ids of tool calls are empty.
    EmptyId,
    /// The id of a tool call is repeated in every piece of it.
    RepeatedId,
    /// Arguments of a tool call are an object, not text.
    ObjectArguments,
    /// The reason to finish is `stop`, though tools are called.
    StopWithTools,
    /// No usage is reported.
    NoUsage,
    /// `[DONE]` is missing.
    NoDone,
    /// The reason to finish and `[DONE]` are missing.
    NoFinish,
    /// Thinking comes as `reasoning`, not as `reasoning_content`.
    Reasoning,
    /// Content is null where there is none.
    NullContent,
    /// Content is empty text where there is none.
    EmptyContent,
    /// The role is in every piece.
    RepeatedRole,
    /// There are fields that nobody knows.
    UnknownFields,
    /// Comments stand between the pieces, as a sign of life.
    Comments,
}
