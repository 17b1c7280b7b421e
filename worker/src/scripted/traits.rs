//! What is known of a model: how its cache works, from how many tokens on, what it costs, what it checks.
//!
//! The script's `models` section says it for the models it names; for others it is known by their names.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::bill::{Rates, Tier};
use super::prompt::Wire;

/// Name in the script that stands for every model it does not name.
const ANY: &str = "*";
/// Tokens of a step of a cache that knows no blocks, as vLLM's pages are.
const PAGE_TOKENS: u64 = 16;
/// Tokens of a step of OpenAI's automatic cache.
const OPENAI_STEP_TOKENS: u64 = 128;
/// Tokens below which OpenAI caches nothing.
const OPENAI_TOKENS_MIN: u64 = 1024;
/// Tokens of a unit of DeepSeek's cache.
const UNIT_TOKENS: u64 = 64;
/// Beginnings of the names of models whose thinking blocks are bound to what stands before them.
const BOUND: [&str; 5] =
    ["claude-fable-5-1", "claude-fable-5-2", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"];
/// Beginnings of names with the tokens below which that model caches nothing; the first one that fits.
const TOKENS_MIN: [(&str, u64); 10] = [
    ("claude-sonnet-5-5", 512),
    ("claude-haiku-5-5", 512),
    ("claude-opus-4-8", 1024),
    ("claude-sonnet-5", 1024),
    ("claude-sonnet-4", 1024),
    ("claude-opus-4-7", 2048),
    ("claude-opus-4", 4096),
    ("claude-haiku-4-5", 4096),
    ("claude-haiku", 2048),
    ("", 512),
];

/// How a cache finds what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// Entries end at marks, a mark looks 20 positions back (Anthropic).
    Marks,
    /// Entries end at breakpoints, of which the newest 80 are looked at (OpenAI from 5.6 on).
    Breakpoints,
    /// Automatic, in steps of 128 tokens, routed by the beginning and a key (OpenAI to 5.5).
    Steps,
    /// Whole units: end of input, end of output, a common beginning once it was seen (DeepSeek).
    Units,
    /// Automatic, in pages of 16 tokens (vLLM, llama.cpp).
    Pages,
    /// Nothing is cached.
    None,
}

/// A model, as the script describes it; what is absent is known by its name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelForm {
    /// How its cache works.
    cache: Option<Rule>,
    /// Tokens below which nothing is cached.
    min_tokens: Option<u64>,
    /// Tokens of a prompt above which it is refused.
    context_tokens: Option<u64>,
    /// Are thinking blocks bound to what stands before them?
    bound: Option<bool>,
    /// Do thinking and effort count from the tools on, not only from the messages on?
    #[serde(default)]
    fold_all: bool,
    /// What it costs; absent = the bill is unknown.
    rates: Option<Rates>,
    /// Other rates for long prompts.
    #[serde(default)]
    tiers: Vec<Tier>,
}

/// All that is known of a model.
#[derive(Debug, Clone)]
pub(super) struct Traits {
    pub(super) rule: Rule,
    pub(super) tokens_min: u64,
    pub(super) step_tokens: u64,
    pub(super) context_tokens: Option<u64>,
    pub(super) bound: bool,
    pub(super) fold_all: bool,
    pub(super) rates: Option<Rates>,
    pub(super) tiers: Vec<Tier>,
}

/// What is known of a model that is asked for by a wire.
pub(super) fn traits(models: &BTreeMap<String, ModelForm>, wire: Wire, name: &str) -> Traits {
    let form = models.get(name).or_else(|| models.get(ANY)).cloned().unwrap_or_default();
    let rule = form.cache.unwrap_or_else(|| rule_of(wire, name));
    let (tokens_min, step_tokens) = match rule {
        Rule::Marks | Rule::None => (marked_min(name), 0),
        Rule::Breakpoints => (OPENAI_TOKENS_MIN, 0),
        Rule::Steps => (OPENAI_TOKENS_MIN, OPENAI_STEP_TOKENS),
        Rule::Units => (UNIT_TOKENS, UNIT_TOKENS),
        Rule::Pages => (0, PAGE_TOKENS),
    };
    Traits {
        rule,
        tokens_min: form.min_tokens.unwrap_or(tokens_min),
        step_tokens,
        context_tokens: form.context_tokens,
        bound: form.bound.unwrap_or_else(|| BOUND.iter().any(|start| name.starts_with(start))),
        fold_all: form.fold_all,
        rates: form.rates,
        tiers: form.tiers,
    }
}

/// Is a model served? A script that names models without `*` serves no other.
pub(super) fn served(models: &BTreeMap<String, ModelForm>, name: &str) -> bool {
    models.is_empty() || models.contains_key(name) || models.contains_key(ANY)
}

fn marked_min(name: &str) -> u64 {
    let fits = TOKENS_MIN.iter().find(|(start, _)| name.starts_with(start));
    fits.expect("the last one fits all").1
}

fn rule_of(wire: Wire, name: &str) -> Rule {
    match wire {
        Wire::Messages => Rule::Marks,
        Wire::Chat | Wire::Responses if takes_breakpoints(name) => Rule::Breakpoints,
        Wire::Chat | Wire::Responses if name.starts_with("gpt-") => Rule::Steps,
        Wire::Chat | Wire::Responses if name.starts_with("deepseek") => Rule::Units,
        Wire::Chat | Wire::Responses => Rule::Pages,
    }
}

/// Does a model of OpenAI take breakpoints: `gpt-5.6` or newer?
pub(super) fn takes_breakpoints(name: &str) -> bool {
    let Some(version) = name.strip_prefix("gpt-") else { return false };
    let number = |text: &str| {
        text.bytes()
            .take_while(u8::is_ascii_digit)
            .fold(0_u32, |n, b| n.saturating_mul(10).saturating_add(u32::from(b - b'0')))
    };
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    (number(major), number(minor)) >= (5, 6)
}

#[cfg(test)]
mod tests {
    use super::{Rule, marked_min, rule_of, takes_breakpoints};
    use crate::scripted::prompt::Wire;

    #[test]
    fn names_tell_how_a_cache_works() {
        for (name, takes) in [
            ("gpt-5.6-mini", true),
            ("gpt-6-sol", true),
            ("gpt-6.1", true),
            ("gpt-5.5", false),
            ("gpt-4o", false),
            ("gpt-oss", false),
            ("llama", false),
        ] {
            assert_eq!(takes_breakpoints(name), takes, "{name}");
        }
        assert_eq!(rule_of(Wire::Chat, "deepseek-v4-flash"), Rule::Units);
        assert_eq!(rule_of(Wire::Chat, "qwen"), Rule::Pages);
        assert_eq!(rule_of(Wire::Responses, "gpt-5.5"), Rule::Steps);
    }

    #[test]
    fn a_minimum_is_found_by_the_longest_name() {
        for (name, min) in [
            ("claude-opus-5-5", 512),
            ("claude-sonnet-5-5-20260901", 512),
            ("claude-sonnet-5", 1024),
            ("claude-opus-4-7", 2048),
            ("claude-opus-4-6", 4096),
            ("claude-haiku-4-5", 4096),
            ("m", 512),
        ] {
            assert_eq!(marked_min(name), min, "{name}");
        }
    }
}
