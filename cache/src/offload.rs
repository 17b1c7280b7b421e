//! What the model is shown of an output that is too long to show: its head, its tail, and what looks like an error.
//!
//! The whole text is kept elsewhere under the name that [`name`] gives it; keeping it is others' work. The choice is
//! made when a result is made, so that what is journaled is what the model saw.

use std::fmt::Write as _;

/// Bytes of a result that are shown whole: about 4,000 tokens, more than a reader of logs wants at once.
pub const BYTES_MAX: usize = 16 * 1024;
/// Lines of a result that are shown whole: more than that is searched, not read.
pub const LINES_MAX: usize = 400;
/// First lines of a preview: what was started, and how.
const HEAD_LINES: usize = 80;
/// Last lines of a preview: why it ended.
const TAIL_LINES: usize = 40;
/// Lines between them that are shown because they look like errors: the first cause is among the first ones.
const ERROR_LINES_MAX: usize = 24;
/// Bytes of head and tail: with the errors they stay below what is shown whole.
const HEAD_BYTES: usize = 6 * 1024;
const TAIL_BYTES: usize = 5 * 1024;
/// Bytes of one line in a preview: longer ones are data.
const LINE_BYTES_MAX: usize = 500;
const ERROR_LINE_BYTES_MAX: usize = 160;
/// Digits of a name: 64 bits are enough to tell the outputs of one conversation apart.
const NAME_DIGITS: usize = 16;
/// Bytes from which on a line is not looked at for an error.
const LOOKED_AT_BYTES_MAX: usize = 4_000;

/// What every name of a kept output begins with.
pub const SCHEME: &str = "out:";
/// What a preview begins with, and no other result ([`plain`] sees to that).
pub const START: &str = "[The output is long: ";

/// Is a text too long to be shown whole?
pub fn too_long(text: &str) -> bool {
    text.len() > BYTES_MAX || memlines(text) > LINES_MAX
}

fn memlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The name that a text is kept under: `out:` and the beginning of its BLAKE3 hash.
pub fn name(text: &str) -> String {
    format!("{SCHEME}{}", &blake3::hash(text.as_bytes()).to_hex()[..NAME_DIGITS])
}

/// Has a text the form of a name?
pub fn is_name(text: &str) -> bool {
    text.strip_prefix(SCHEME).is_some_and(|rest| {
        rest.len() == NAME_DIGITS && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The name that a preview says its text is kept under.
pub fn named_by(shown: &str) -> Option<&str> {
    let line = shown.strip_prefix(START)?.lines().next()?;
    let at = line.find(SCHEME)?;
    let end = (at + SCHEME.len() + NAME_DIGITS).min(line.len());
    line.get(at..end).filter(|name| is_name(name))
}

/// A result that is shown whole, so that nothing of it is taken for a preview of ours.
pub fn plain(text: String) -> String {
    if text.starts_with(START) { format!(" {text}") } else { text }
}

/// The preview of a text; `kept` = it can be read and searched under its name.
pub fn preview(text: &str, kept: bool) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = format!("{START}{} bytes, {} lines. ", text.len(), lines.len());
    if kept {
        let name = name(text);
        writeln!(out, "All of it is kept as {name}; use Read {{file_path:\"{name}\"}} or Grep {{path:\"{name}\"}}.]")
    } else {
        writeln!(out, "The rest was not kept: this conversation holds too many of them.]")
    }
    .expect("writing to a string cannot fail");
    let head = fitting(lines.iter().take(HEAD_LINES), HEAD_BYTES);
    let tail = lines.len() - fitting(lines[head..].iter().rev().take(TAIL_LINES), TAIL_BYTES);
    push_lines(&mut out, &lines[..head]);
    let between: Vec<(usize, &&str)> =
        (head + 1..).zip(&lines[head..tail]).filter(|(_, line)| looks_like_error(line)).collect();
    if tail > head {
        writeln!(out, "[… {} lines left out; {} of them look like errors …]", tail - head, between.len())
            .expect("writing to a string cannot fail");
    }
    for (number, line) in between.iter().take(ERROR_LINES_MAX) {
        writeln!(out, "{number}: {}", cut(line, ERROR_LINE_BYTES_MAX)).expect("writing to a string cannot fail");
    }
    if between.len() > ERROR_LINES_MAX {
        writeln!(out, "[… {} more such lines …]", between.len() - ERROR_LINES_MAX)
            .expect("writing to a string cannot fail");
    }
    if !between.is_empty() {
        out.push_str("[… the end …]\n");
    }
    push_lines(&mut out, &lines[tail..]);
    out
}

/// How many of some lines fit into so many bytes; one always does, because each is cut.
fn fitting<'a>(lines: impl Iterator<Item = &'a &'a str>, room: usize) -> usize {
    let mut used = 0;
    lines
        .take_while(|line| {
            used += line.len().min(LINE_BYTES_MAX) + 1;
            used <= room
        })
        .count()
}

fn push_lines(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(cut(line, LINE_BYTES_MAX));
        if line.len() > LINE_BYTES_MAX {
            out.push_str(" …");
        }
        out.push('\n');
    }
}

/// Does a line of a program's output look like an error?
pub fn looks_like_error(line: &str) -> bool {
    const WORDS: [&str; 9] =
        ["error", "failed", "failure", "panicked", "exception", "traceback", "fatal", "undefined", "cannot"];
    if line.len() > LOOKED_AT_BYTES_MAX {
        return false;
    }
    let low = line.to_ascii_lowercase();
    WORDS.iter().any(|word| low.contains(word))
}

/// The beginning of a text, at most so many bytes.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, is_name, name, named_by, plain, preview, too_long};

    fn log(lines: usize) -> String {
        (0..lines).map(|n| if n % 97 == 90 { format!("error[E{n}]: no\n") } else { format!("line {n}\n") }).collect()
    }

    #[test]
    fn a_preview_keeps_head_tail_errors_and_the_way_to_the_rest() {
        let text = log(1000);
        assert!(too_long(&text) && too_long(&"x".repeat(BYTES_MAX + 1)) && !too_long(&log(400)));
        let shown = preview(&text, true);
        assert!(shown.len() <= BYTES_MAX, "{}", shown.len());
        for part in ["\nline 0\n", "\nline 79\n", "\nline 960\n", "\nline 999\n", "91: error[E90]: no\n"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("\nline 80\n"));
        assert_eq!(named_by(&shown), Some(name(&text).as_str()));
        assert_eq!(named_by(&preview(&text, false)), None);
    }

    #[test]
    fn a_few_enormous_lines_are_bounded_as_well() {
        let text = format!("{}\n", "ä".repeat(300_000)).repeat(3);
        assert!(preview(&text, true).len() <= BYTES_MAX, "{}", preview(&text, true).len());
    }

    #[test]
    fn what_a_program_prints_is_never_taken_for_a_preview() {
        let forged = preview(&log(1000), true);
        assert_eq!(named_by(&plain(forged)), None);
        for (text, right) in [("out:0123456789abcdef", true), ("out:0123", false), ("out:../../../etc/pas", false)] {
            assert_eq!(is_name(text), right, "{text}");
        }
    }
}
