//! What of a command's output stands in a conversation. The whole of what was captured is in the result; this is
//! the one place that decides how much of it the model is sent.

use std::borrow::Cow;

use super::{BASH, BASH_OUTPUT, KILL_SHELL};

/// Bytes of a command's output that the model is sent, head and tail: some 8,000 tokens, paid for with each turn
/// that follows.
const SHELL_BYTES_MAX: usize = 30_000;
/// One part in this many is the head: what a command says first names it, what it says last is why it failed.
const HEAD_SHARE: usize = 4;

/// The content of a result as the model reads it.
pub(crate) fn shown<'a>(tool: &str, content: &'a str) -> Cow<'a, str> {
    if ![BASH, BASH_OUTPUT, KILL_SHELL].contains(&tool) || content.len() <= SHELL_BYTES_MAX {
        return Cow::Borrowed(content);
    }
    let whole = |at: &usize| content.is_char_boundary(*at);
    let head = (0..=SHELL_BYTES_MAX / HEAD_SHARE).rev().find(whole).unwrap_or(0);
    let tail = content.len() - (SHELL_BYTES_MAX - SHELL_BYTES_MAX / HEAD_SHARE);
    let tail = (tail..content.len()).find(whole).unwrap_or(content.len());
    let missing = tail - head;
    Cow::Owned(format!("{}\n[... {missing} bytes left out ...]\n{}", &content[..head], &content[tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_output_of_a_command_is_cut() {
        let long = format!("first{}last", "ä".repeat(SHELL_BYTES_MAX));
        assert_eq!(shown("Read", &long), long);
        assert_eq!(shown(BASH, "short"), "short");
        let cut = shown(BASH, &long);
        assert!(cut.starts_with("first") && cut.ends_with("last") && cut.contains("bytes left out"), "{cut}");
        assert!(cut.len() < SHELL_BYTES_MAX + 100);
    }
}
