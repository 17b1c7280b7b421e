//! Takes out of a text what a terminal would act on.

use std::borrow::Cow;

/// The text with no control character but newline and tab, no escape sequence introducer, and nothing that
/// changes the direction of text or hides it. What is taken out leaves a visible `�` behind.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace(acts, "\u{fffd}"))
}

/// The same for one line of a list: newlines and tabs become spaces, and it ends after `width` characters.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let flat: String = clean(text).chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).collect();
    let flat = flat.trim();
    if flat.chars().count() <= width {
        return flat.to_owned();
    }
    let cut: String = flat.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

/// Would a terminal act on this character instead of showing it?
fn acts(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    let direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}');
    let hidden = matches!(c, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    control || direction || hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        let cases = [
            ("plain text, ünï, 日本\n\ttab", "plain text, ünï, 日本\n\ttab"),
            ("\u{1b}]0;title\u{7}x", "\u{fffd}]0;title\u{fffd}x"),
            ("over\rwrite", "over\u{fffd}write"),
            ("dos\r\nline\u{8}", "dos\nline\u{fffd}"),
            ("\u{9b}31mred", "\u{fffd}31mred"),
            ("ab\u{202e}cd\u{2066}", "ab\u{fffd}cd\u{fffd}"),
            ("tag\u{e0041}", "tag\u{fffd}"),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected);
        }
        assert_eq!(one_line(" a\nb\tc ", 80), "a b c");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
