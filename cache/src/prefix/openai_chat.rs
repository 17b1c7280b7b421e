//! Request bytes for OpenAI Chat Completions.
//!
//! ```text
//! model, effort | tools | system message | brief <- shared end | worker's part | turns … | settings
//! ```
//!
//! The cache of most servers here is automatic: equal bytes are enough, and nothing is marked. Where breakpoints
//! are explicit, one stands at the end of the brief, for workers differ right behind it. Settings that may differ
//! between workers (`prompt_cache_key`, the bound on output) come last.

use super::target::{BriefPlace, Target};
use super::turns::{self, Block, Turn, told};
use super::{RawMessage, Rendered, RequestOptions, Role, SharedPrefix, push_string, tail};

/// An explicit breakpoint, as it is put before the closing brace of a part.
pub(super) const BREAKPOINT: &str = r#","prompt_cache_breakpoint":{"mode":"explicit"}"#;

/// Between the brief and the worker's part, where both are one text.
const BETWEEN: &str = "\n\n";

pub(super) fn render(
    target: &Target,
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    let dialect = &target.dialect;
    let mut out = "{\"model\":".to_owned();
    push_string(&mut out, &options.model);
    if let Some(effort) = &options.effort {
        out.push_str(",\"reasoning_effort\":");
        push_string(&mut out, effort);
    }
    push_tools(&mut out, shared);
    out.push_str(",\"messages\":[{\"role\":\"system\",\"content\":");
    push_string(&mut out, &shared.system);
    out.push_str("},");
    let behind = |index| tail::behind(history, index, target, &options.model, &options.tail);
    let prefix_len = push_first(&mut out, target, shared, &tail::joined(worker_message, behind(0)));
    let (turns, dropped) = turns::turns(history, target, &options.model);
    for (index, turn) in turns.iter().enumerate() {
        match turn.role {
            Role::User => push_user(&mut out, turn, behind(index + 1)),
            Role::Assistant => push_assistant(&mut out, turn),
        }
    }
    let field = dialect.output_field.name();
    out.push_str(&format!("],\"{field}\":{}", options.max_tokens));
    if let Some(key) = &dialect.cache_key {
        out.push_str(",\"prompt_cache_key\":");
        push_string(&mut out, key);
    }
    if options.stream {
        out.push_str(",\"stream\":true");
        if dialect.stream_usage {
            out.push_str(",\"stream_options\":{\"include_usage\":true}");
        }
    }
    out.push('}');
    Rendered::new(out, prefix_len, dropped)
}

fn push_tools(out: &mut String, shared: &SharedPrefix) {
    if shared.tools.is_empty() {
        return;
    }
    out.push_str(",\"tools\":[");
    for (index, tool) in shared.tools.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str("{\"type\":\"function\",\"function\":{\"name\":");
        push_string(out, &tool.name);
        out.push_str(",\"description\":");
        push_string(out, &tool.description);
        out.push_str(",\"parameters\":");
        out.push_str(&tool.input_schema);
        out.push_str("}}");
    }
    out.push(']');
}

/// Writes what the first user message says and gives the length of `out` at the end of the shared part.
fn push_first(out: &mut String, target: &Target, shared: &SharedPrefix, worker_message: &str) -> usize {
    let brief = shared.brief.trim();
    out.push_str("{\"role\":\"user\",\"content\":");
    if brief.is_empty() {
        let shared_end = out.len();
        push_string(out, worker_message);
        out.push('}');
        return shared_end;
    }
    match target.dialect.brief {
        BriefPlace::Part => {
            out.push_str("[{\"type\":\"text\",\"text\":");
            push_string(out, &shared.brief);
            if target.dialect.breakpoint {
                out.push_str(BREAKPOINT);
            }
            out.push('}');
            let shared_end = out.len();
            out.push_str(",{\"type\":\"text\",\"text\":");
            push_string(out, worker_message);
            out.push_str("}]}");
            shared_end
        }
        BriefPlace::Joined => {
            let start = out.len();
            push_string(out, &format!("{}{BETWEEN}", shared.brief));
            // Escapes are per character, so the text of a start is the start of the text.
            let shared_end = out.len() - 1;
            out.truncate(start);
            push_string(out, &format!("{}{BETWEEN}{worker_message}", shared.brief));
            out.push('}');
            shared_end
        }
        BriefPlace::Message => {
            push_string(out, &shared.brief);
            out.push('}');
            let shared_end = out.len();
            out.push_str(",{\"role\":\"user\",\"content\":");
            push_string(out, worker_message);
            out.push('}');
            shared_end
        }
    }
}

/// Results are messages of their own, before whatever words stand beside them; a tail is the last of the words.
fn push_user(out: &mut String, turn: &Turn<'_>, tail: &str) {
    let mut words = Vec::new();
    for block in &turn.blocks {
        match block {
            Block::Outcome { id, text, is_error } => {
                out.push_str(",{\"role\":\"tool\",\"tool_call_id\":");
                push_string(out, id);
                out.push_str(",\"content\":");
                push_string(out, &told(text, *is_error));
                out.push('}');
            }
            Block::Text { text, .. } => words.push(text.as_ref()),
            // A user's message holds none of them.
            Block::Call { .. } | Block::Opaque { .. } => {}
        }
    }
    words.extend((!tail.is_empty()).then_some(tail));
    if !words.is_empty() {
        out.push_str(",{\"role\":\"user\",\"content\":");
        push_string(out, &words.join("\n\n"));
        out.push('}');
    }
}

fn push_assistant(out: &mut String, turn: &Turn<'_>) {
    let mut words = String::new();
    let mut calls = String::new();
    let mut fields = String::new();
    for block in &turn.blocks {
        match block {
            Block::Text { text, .. } => words.push_str(text),
            Block::Call { id, name, input, raw } => {
                calls.push_str(if calls.is_empty() { ",\"tool_calls\":[" } else { "," });
                match raw {
                    Some(raw) => calls.push_str(raw.get()),
                    None => push_call(&mut calls, id, name, input.get()),
                }
            }
            // Fields of the message beside its content: an object.
            Block::Opaque { raw } => {
                let inner = raw.get().trim().trim_start_matches('{').strip_suffix('}').unwrap_or_default();
                if !inner.trim().is_empty() {
                    fields.push(',');
                    fields.push_str(inner);
                }
            }
            // An assistant's message holds none.
            Block::Outcome { .. } => {}
        }
    }
    if words.is_empty() && calls.is_empty() {
        return;
    }
    out.push_str(",{\"role\":\"assistant\",\"content\":");
    push_string(out, &words);
    out.push_str(&fields);
    if !calls.is_empty() {
        out.push_str(&calls);
        out.push(']');
    }
    out.push('}');
}

fn push_call(out: &mut String, id: &str, name: &str, arguments: &str) {
    out.push_str("{\"id\":");
    push_string(out, id);
    out.push_str(",\"type\":\"function\",\"function\":{\"name\":");
    push_string(out, name);
    out.push_str(",\"arguments\":");
    push_string(out, arguments);
    out.push_str("}}");
}
