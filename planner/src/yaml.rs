//! Writing pieces of YAML that read back as what they were.

use std::fmt::Write as _;

use serde_json::Value;

/// Words that are not texts when they stand alone, in YAML 1.1 or 1.2.
const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text as a scalar: without quotes where nothing can be misread, else in double quotes.
pub(crate) fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'-'))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if printable(c) => quoted.push(c),
            c => {
                write!(quoted, "\\U{:08X}", u32::from(c)).expect("writing to a string does not fail");
            }
        }
    }
    quoted.push('"');
    quoted
}

/// What may stand in quotes as it is, and is no line break to any reader.
fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{2030}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..='\u{10fffd}')
}

/// A text as the value of a key: a block of its own lines where that keeps every character, else a scalar. The block
/// is indented by `indent` spaces.
pub(crate) fn block(text: &str, indent: usize) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let simple = body.contains('\n')
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && body.chars().all(|c| c == '\n' || printable(c));
    if !simple {
        return scalar(text);
    }
    let mut out = String::from(if text.ends_with('\n') { "|" } else { "|-" });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    out
}

/// A JSON value as block YAML, lists of plain values in one line.
pub(crate) fn value(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, 0);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Writes `value` at the place of its first line; further lines are indented by `indent`.
fn write_value(out: &mut String, value: &Value, indent: usize) {
    let newline = |out: &mut String, i: usize| {
        if i > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(&b.to_string()),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) => out.push_str(&block(text, indent.max(2))),
        Value::Array(items) if is_block(value) => {
            for (i, item) in items.iter().enumerate() {
                newline(out, i);
                out.push_str("- ");
                write_value(out, item, indent + 2);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flat).collect();
            out.push_str(&format!("[{}]", items.join(", ")));
        }
        Value::Object(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Object(entries) => {
            for (i, (key, value)) in entries.iter().enumerate() {
                newline(out, i);
                out.push_str(&scalar(key));
                out.push(':');
                if is_block(value) {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent + 2));
                } else {
                    out.push(' ');
                }
                write_value(out, value, indent + 2);
            }
        }
    }
}

/// A value that is no block, in a line.
fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
