//! Whom a request is rendered for, and which turns of a conversation that receiver may be given back as they are.
//!
//! A turn keeps the blocks of the wire it came by. Blocks that only their maker understands (thinking, reasoning
//! items, whatever a later version adds) go back to the same codec, provider and family of models alone; to
//! anybody else a turn is told again in words and calls.

use serde::{Deserialize, Serialize};

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions, which most local servers speak.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
}

/// Where the brief of a run stands in a chat request, so that its bytes and its tokens are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BriefPlace {
    /// A content part of its own in the first user message, which may carry a breakpoint.
    Part,
    /// The start of the text of the first user message: servers that take no parts, and templates that want
    /// the roles to alternate.
    Joined,
    /// A user message of its own: caches that hold whole messages only.
    Message,
}

/// Name of the bound on output in a chat request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputField {
    /// `max_tokens`: most local servers know no other.
    MaxTokens,
    /// `max_completion_tokens`: models that reason take no other.
    MaxCompletionTokens,
}

impl OutputField {
    /// The name.
    pub(super) fn name(self) -> &'static str {
        match self {
            OutputField::MaxTokens => "max_tokens",
            OutputField::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// What the two OpenAI wires look like to one receiver; compatible servers refuse fields that they do not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Place of the brief (chat).
    pub brief: BriefPlace,
    /// Name of the bound on output (chat).
    pub output_field: OutputField,
    /// Are usage counts asked for in the stream (chat)?
    pub stream_usage: bool,
    /// Is the end of the shared part marked by an explicit breakpoint? Needs [`BriefPlace::Part`] on chat.
    pub breakpoint: bool,
    /// `prompt_cache_key`, where the receiver routes by it.
    pub cache_key: Option<String>,
}

impl Dialect {
    /// What every server takes.
    pub fn plain() -> Dialect {
        Dialect {
            brief: BriefPlace::Joined,
            output_field: OutputField::MaxTokens,
            stream_usage: true,
            breakpoint: false,
            cache_key: None,
        }
    }

    /// What a server elsewhere takes for a model: no field of OpenAI's own, but where the model is one of OpenAI's that
    /// reason (behind a gateway), the bound on output has the only name that it knows.
    pub fn elsewhere(model: &str) -> Dialect {
        let output_field = if reasons(model) { OutputField::MaxCompletionTokens } else { OutputField::MaxTokens };
        Dialect { output_field, ..Dialect::plain() }
    }

    /// What OpenAI's own service takes for a model. Explicit breakpoints came with 5.6.
    pub fn openai(model: &str) -> Dialect {
        Dialect {
            brief: BriefPlace::Part,
            output_field: OutputField::MaxCompletionTokens,
            stream_usage: true,
            breakpoint: takes_breakpoints(model),
            cache_key: None,
        }
    }
}

/// Is the model `gpt-5.6` or later?
fn takes_breakpoints(model: &str) -> bool {
    gpt(model).is_some_and(|version| version >= (5, 6))
}

/// Is the model one of OpenAI's that refuse `max_tokens`: `gpt-5` or later, `o1` and its like? Gateways put the
/// vendor's name before it (`openai/gpt-5.5`).
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let numbered =
        |rest: &str| rest.split('-').next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    gpt(name).is_some_and(|version| version >= (5, 0)) || name.strip_prefix('o').is_some_and(numbered)
}

/// The version in a name of the form `gpt-5.6-mini`.
fn gpt(model: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix("gpt-")?;
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let (major, minor) = number.split_once('.').unwrap_or((&number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whom a request is rendered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The wire.
    pub codec: Codec,
    /// Provider, the first part of `PROVIDER/NAME`.
    pub provider: String,
    /// What its OpenAI wire looks like.
    pub dialect: Dialect,
}

/// Where an assistant turn came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The wire.
    pub codec: Codec,
    /// Provider.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// The provider's id of the message, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Target {
    /// A receiver of Anthropic Messages.
    pub fn anthropic(provider: &str) -> Target {
        Target { codec: Codec::AnthropicMessages, provider: provider.to_owned(), dialect: Dialect::plain() }
    }

    /// May a turn of this origin be given back to `model` here as it came? Turns of no known origin came by the
    /// Anthropic wire, the only one there was when they were written.
    pub(super) fn takes(&self, origin: Option<&Origin>, model: &str) -> bool {
        match origin {
            None => self.codec == Codec::AnthropicMessages,
            Some(origin) => {
                origin.codec == self.codec && origin.provider == self.provider && family(&origin.model) == family(model)
            }
        }
    }
}

/// The name of a model without its date: `-YYYYMMDD`, `-YYYY-MM-DD`, `@…` or `-latest` at its end.
fn family(model: &str) -> &str {
    let name = model.split_once('@').map_or(model, |(name, _)| name);
    let name = name.strip_suffix("-latest").unwrap_or(name);
    let is_date = |tail: &str| {
        let plain = tail.len() == 8 && tail.bytes().all(|byte| byte.is_ascii_digit());
        let dashed = tail.len() == 10
            && tail.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        plain || dashed
    };
    let mut dashes = name.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
    let cut = dashes.rfind(|at| is_date(&name[at + 1..]));
    cut.map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::{Codec, Dialect, Origin, OutputField, Target, family, takes_breakpoints};

    #[test]
    fn a_family_is_a_name_without_its_date() {
        for (model, expected) in [
            ("claude-opus-5-5", "claude-opus-5-5"),
            ("claude-opus-5-5-20261001", "claude-opus-5-5"),
            ("gpt-6-sol-2026-03-05", "gpt-6-sol"),
            ("claude-opus-5-5@20261001", "claude-opus-5-5"),
            ("mistral-large-latest", "mistral-large"),
            ("qwen3:32b", "qwen3:32b"),
        ] {
            assert_eq!(family(model), expected, "{model}");
        }
    }

    #[test]
    fn breakpoints_are_for_the_models_that_know_them() {
        for (model, expected) in [
            ("gpt-5.5", false),
            ("gpt-5.6", true),
            ("gpt-5.6-mini", true),
            ("gpt-6-sol", true),
            ("gpt-6.1-sol", true),
            ("gpt-4o", false),
            ("gpt-oss:20b", false),
            ("o4", false),
        ] {
            assert_eq!(takes_breakpoints(model), expected, "{model}");
        }
    }

    #[test]
    fn models_that_reason_are_bounded_by_the_name_they_know() {
        use OutputField::{MaxCompletionTokens, MaxTokens};
        for (model, expected) in [
            ("gpt-5", MaxCompletionTokens),
            ("gpt-5.5-mini", MaxCompletionTokens),
            ("openai/gpt-6-sol", MaxCompletionTokens),
            ("o1", MaxCompletionTokens),
            ("o4-mini", MaxCompletionTokens),
            ("gpt-4.1", MaxTokens),
            ("gpt-4o", MaxTokens),
            ("gpt-oss:20b", MaxTokens),
            ("openai/gpt-oss-120b", MaxTokens),
            ("olmo-3", MaxTokens),
            ("qwen3:32b", MaxTokens),
            ("deepseek-v4-flash", MaxTokens),
        ] {
            let expected = Dialect { output_field: expected, ..Dialect::plain() };
            assert_eq!(Dialect::elsewhere(model), expected, "{model}");
        }
    }

    #[test]
    fn turns_go_back_only_to_where_they_came_from() {
        let target = Target::anthropic("anthropic");
        let origin = |codec, provider: &str, model: &str| {
            Some(Origin { codec, provider: provider.to_owned(), model: model.to_owned(), id: None })
        };
        let own = Codec::AnthropicMessages;
        for (origin, expected) in [
            (None, true),
            (origin(own, "anthropic", "claude-opus-5-5-20261001"), true),
            (origin(own, "anthropic", "claude-sonnet-5-5"), false),
            (origin(own, "gateway", "claude-opus-5-5"), false),
            (origin(Codec::OpenaiChat, "anthropic", "claude-opus-5-5"), false),
        ] {
            assert_eq!(target.takes(origin.as_ref(), "claude-opus-5-5"), expected, "{origin:?}");
        }
    }
}
