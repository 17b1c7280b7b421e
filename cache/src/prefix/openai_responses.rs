//! Request bytes for OpenAI Responses.
//!
//! ```text
//! model, effort | constants | tools | instructions | brief <- B | worker's part | items … | settings
//! ```
//!
//! Nothing is stored at the provider, so every item of earlier turns is sent again as it came, reasoning with its
//! encrypted content included. Only content parts can carry a breakpoint, so the one there is stands on the brief.

use super::openai_chat::BREAKPOINT;
use super::target::Target;
use super::turns::{self, Block, Turn, told};
use super::{RawMessage, Rendered, RequestOptions, Role, SharedPrefix, push_string, tail};

pub(super) fn render(
    target: &Target,
    shared: &SharedPrefix,
    worker_message: &str,
    history: &[RawMessage],
    options: &RequestOptions,
) -> Rendered {
    let mut out = "{\"model\":".to_owned();
    push_string(&mut out, &options.model);
    if let Some(effort) = &options.effort {
        out.push_str(",\"reasoning\":{\"effort\":");
        push_string(&mut out, effort);
        out.push('}');
    }
    out.push_str(",\"store\":false,\"include\":[\"reasoning.encrypted_content\"]");
    push_tools(&mut out, shared);
    out.push_str(",\"instructions\":");
    push_string(&mut out, &shared.system);
    out.push_str(",\"input\":[");
    let behind = |index| tail::behind(history, index, target, &options.model, &options.tail);
    let prefix_len = push_first(&mut out, target, shared, &tail::joined(worker_message, behind(0)));
    let (turns, dropped) = turns::turns(history, target, &options.model);
    for (index, turn) in turns.iter().enumerate() {
        push_turn(&mut out, turn);
        let tail = behind(index + 1);
        if !tail.is_empty() {
            push_words(&mut out, tail);
        }
    }
    out.push_str(&format!("],\"max_output_tokens\":{}", options.max_tokens));
    if let Some(key) = &target.dialect.cache_key {
        out.push_str(",\"prompt_cache_key\":");
        push_string(&mut out, key);
    }
    if options.stream {
        out.push_str(",\"stream\":true");
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
        out.push_str("{\"type\":\"function\",\"name\":");
        push_string(out, &tool.name);
        out.push_str(",\"description\":");
        push_string(out, &tool.description);
        out.push_str(",\"parameters\":");
        out.push_str(&tool.input_schema);
        // Strict schemas would have to name every field as required, which those of the tools do not.
        out.push_str(",\"strict\":false}");
    }
    out.push(']');
}

/// Writes the first user message and gives the length of `out` at the end of the shared part.
fn push_first(out: &mut String, target: &Target, shared: &SharedPrefix, worker_message: &str) -> usize {
    out.push_str("{\"type\":\"message\",\"role\":\"user\",\"content\":[");
    let mut shared_end = out.len();
    if !shared.brief.trim().is_empty() {
        out.push_str("{\"type\":\"input_text\",\"text\":");
        push_string(out, &shared.brief);
        if target.dialect.breakpoint {
            out.push_str(BREAKPOINT);
        }
        out.push('}');
        shared_end = out.len();
        out.push(',');
    }
    out.push_str("{\"type\":\"input_text\",\"text\":");
    push_string(out, worker_message);
    out.push_str("}]}");
    shared_end
}

/// Words of the user as an item.
fn push_words(out: &mut String, text: &str) {
    out.push_str(",{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":");
    push_string(out, text);
    out.push_str("}]}");
}

fn push_turn(out: &mut String, turn: &Turn<'_>) {
    for block in &turn.blocks {
        match block {
            Block::Text { raw: Some(raw), .. } | Block::Call { raw: Some(raw), .. } | Block::Opaque { raw } => {
                out.push(',');
                out.push_str(raw.get());
            }
            Block::Text { text, raw: None } if text.trim().is_empty() => {}
            Block::Text { text, raw: None } => match turn.role {
                Role::User => push_words(out, text),
                Role::Assistant => {
                    out.push_str(",{\"role\":\"assistant\",\"content\":");
                    push_string(out, text);
                    out.push('}');
                }
            },
            Block::Call { id, name, input, raw: None } => {
                out.push_str(",{\"type\":\"function_call\",\"call_id\":");
                push_string(out, id);
                out.push_str(",\"name\":");
                push_string(out, name);
                out.push_str(",\"arguments\":");
                push_string(out, input.get());
                out.push('}');
            }
            Block::Outcome { id, text, is_error } => {
                out.push_str(",{\"type\":\"function_call_output\",\"call_id\":");
                push_string(out, id);
                out.push_str(",\"output\":");
                push_string(out, &told(text, *is_error));
                out.push('}');
            }
        }
    }
}
