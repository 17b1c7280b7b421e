//! What the model is given of the results of its calls: decided when they are made, so that it is what is journaled.
//!
//! A reading that is in front of the model already is a stub. Output that is too long is kept as a file, the model gets
//! a preview. And all results of one reply together have a bound, because a reply may ask for more than the window
//! holds (openai/codex#13279): what is beyond it is not given, and the model is told so and how to get it.

use wattle_cache::offload;
use wattle_cache::reads::{Range, Reads};
use wattle_cache::view::View;

use super::transcript::Call;
use crate::tool::ToolResult;
use crate::tool::out::Outputs;

/// The tool whose results have a bound and a range of their own.
const READ: &str = "Read";
/// Bytes of a result that is always given whole: there is nothing to gain by leaving it out.
const ALWAYS_BYTES: usize = 1024;

/// A result with its output kept and a preview in its place, where it is too long. What is read is in its file.
pub(super) fn offloaded(name: &str, mut result: ToolResult, outputs: &Outputs) -> ToolResult {
    if name == READ {
        return result;
    }
    if !offload::too_long(&result.content) {
        result.content = offload::plain(result.content);
        return result;
    }
    if result.evidence.output.is_empty() || !result.content.starts_with(&result.evidence.output) {
        // The journal keeps evidence, so after an interruption the output can be had again from there.
        result.evidence.output = std::mem::take(&mut result.content);
        result.content.clone_from(&result.evidence.output);
    }
    let output = &result.evidence.output;
    let said = result.content[output.len()..].trim_start_matches('\n').to_owned();
    let shown = if offload::too_long(output) {
        offload::preview(output, outputs.keep(output))
    } else {
        offload::preview(&result.content, false)
    };
    result.content = format!("{shown}{said}");
    result
}

/// The results of one reply, in the order of its calls. `room` = bytes that all of them may have.
pub(super) fn turn(calls: &[Call], mut results: Vec<ToolResult>, view: &View, room: usize) -> Vec<ToolResult> {
    let message = view.next_index();
    let mut reads: Reads = view.reads().clone();
    let mut used = 0;
    for (call, result) in calls.iter().zip(&mut results) {
        let range = Range::of_input(&call.input).filter(|_| call.name == READ && !result.is_error);
        let stub = range.as_ref().and_then(|range| reads.stub(range, &result.content));
        if let Some(stub) = stub {
            result.content = stub;
        } else if result.content.len() > ALWAYS_BYTES && used + result.content.len() > room {
            let bytes = result.content.len();
            let advice = if call.name == READ {
                "Read fewer files at once, or a range (offset, limit)."
            } else {
                "Ask for less at once."
            };
            result.content = format!(
                "Not given: {bytes} bytes are more than is left for the results of one reply ({} bytes). {advice}",
                room.saturating_sub(used)
            );
            // The call itself went well or not; that its result is missing is an error to the reader in any case.
            result.is_error = true;
        } else if let Some(range) = range {
            reads.put(range, &result.content, message);
        }
        used += result.content.len();
    }
    results
}
