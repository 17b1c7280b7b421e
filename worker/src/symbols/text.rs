//! Text of a repository as one line: no control character, no change of direction, and an end.

/// The text as one line of at most so many characters. Runs of white space become one space; what would end the line,
/// move the cursor or turn the direction of text is shown as `\u{…}`; what is cut off leaves `…` behind.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    let mut chars = 0;
    let mut space = false;
    for char in text.chars() {
        if char.is_ascii_whitespace() {
            space = !out.is_empty();
            continue;
        }
        if chars + usize::from(space) >= chars_max {
            out.push('…');
            return out;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
            chars += 1;
        }
        if is_hidden(char) {
            out.push_str(&char.escape_unicode().to_string());
        } else {
            out.push(char);
        }
        chars += 1;
    }
    out
}

/// Does a character end a line, or change how others are seen, without being seen itself?
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(char, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_line() {
        let check = |text: &str, expected: &str| assert_eq!(one_line(text, 12), expected, "{text:?}");
        check("  fn  a(\n\tb: C,\r\n)  ", "fn a( b: C,…");
        check("fn a( b, )", "fn a( b, )");
        check("\n# x\n```\n", "# x ```");
        check("a\u{1b}[31mb", "a\\u{1b}[31mb");
        check("a\u{2028}b\u{202e}c", "a\\u{2028}b\\u{202e}c");
        check("ééééééééééééé", "éééééééééééé…");
        check("", "");
        assert_eq!(one_line("a b", 0), "…");
    }
}
