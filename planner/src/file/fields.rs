//! Reading values out of nodes. Nothing here stops at a mistake: it is noted, and `None` or what is left of the value
//! comes back.

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::scalar;
use crate::globs::Glob;
use crate::problem::{At, Found, Pos, did_you_mean};

/// Longest text of a single value (a prompt, a command, an inline rule) in bytes. A command line ends at 128 KiB on
/// Linux (`MAX_ARG_STRLEN`), and `sh -c` gets it as one argument.
const TEXT_BYTES_MAX: usize = 128 * 1024 - 1;

/// The version that keys known here, but not built yet, are reserved for: the next one with new features.
pub(super) const NEXT_VERSION: &str = "0.2";

/// Keys and the sections they will belong to.
const LATER: [(&str, &str); 4] = [("network", "step"), ("secrets", "step"), ("network", "plan"), ("secrets", "plan")];

/// Says that `what` is for a newer version.
pub(super) fn later(found: &mut Found, pos: Pos, what: &str) {
    let this = env!("CARGO_PKG_VERSION");
    found.add(pos, format!("{what} needs wattle {NEXT_VERSION} or newer, this is {this}"));
}

/// The entries of a mapping, by key.
pub(super) struct Fields<'n> {
    pub(super) pos: Pos,
    entries: BTreeMap<&'n str, (Pos, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of `key`, if the key is there at all.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// The value of `key`, if it is there and says something.
    pub(super) fn some(&self, key: &str) -> Option<&'n Node> {
        self.get(key).filter(|node| !node.is_null())
    }

    /// Where `key` is written.
    pub(super) fn key_pos(&self, key: &str) -> Option<Pos> {
        self.entries.get(key).map(|(pos, _)| *pos)
    }
}

/// Reads the mapping `node`, called `section` in messages, whose keys must be `known`.
pub(super) fn fields<'n>(found: &mut Found, node: &'n Node, section: &str, known: &[&str]) -> Fields<'n> {
    let mut fields = Fields { pos: node.pos, entries: BTreeMap::new() };
    let Value::Map(entries) = &node.value else {
        let keys = known.join(", ");
        found.add(node.pos, format!("a {section} must be a mapping with keys of {keys}; this is {}", node.kind()));
        return fields;
    };
    for (key, value) in entries {
        let Value::Scalar { text, .. } = &key.value else {
            found.add(key.pos, "a key must be a word");
            continue;
        };
        if section == "plan" && text.starts_with("x-") {
            continue;
        }
        if !known.contains(&text.as_str()) {
            if LATER.contains(&(text, section)) {
                later(found, key.pos, &format!("`{text}`"));
            } else {
                let hint = did_you_mean(text, known.iter().copied());
                let text = text.escape_debug();
                found.push(key.pos, format!("unknown key `{text}` in a {section}"), hint);
            }
            continue;
        }
        if fields.entries.contains_key(text.as_str()) {
            found.add(key.pos, format!("the key `{text}` is there twice"));
            continue;
        }
        fields.entries.insert(text, (key.pos, value));
    }
    fields
}

/// Text that says something.
pub(super) fn text(found: &mut Found, node: &Node, what: &str) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_null() && !text.trim().is_empty() => {
            if text.len() > TEXT_BYTES_MAX {
                found.add(node.pos, format!("`{what}` is longer than {TEXT_BYTES_MAX} bytes"));
                None
            } else if text.contains('\0') {
                found.add(node.pos, format!("`{what}` has a NUL character"));
                None
            } else {
                Some(text.clone())
            }
        }
        Value::Scalar { .. } => {
            found.add(node.pos, format!("`{what}` is empty"));
            None
        }
        Value::List(_) | Value::Map(_) => {
            found.add(node.pos, format!("`{what}` must be a text, not {}", node.kind()));
            None
        }
    }
}

/// The text of `key`, which must be there.
pub(super) fn required(found: &mut Found, from: &Fields<'_>, key: &str, section: &str) -> Option<String> {
    match from.get(key) {
        Some(node) => text(found, node, key),
        None => {
            found.add(from.pos, format!("a {section} needs `{key}`"));
            None
        }
    }
}

/// The text of `key` where it is there.
pub(super) fn optional(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<String> {
    from.some(key).and_then(|node| text(found, node, key))
}

/// A whole number within bounds.
pub(super) fn integer(found: &mut Found, node: &Node, what: &str, min: u64, max: u64) -> Option<u64> {
    let number = match &node.value {
        Value::Scalar { text, plain: true } => text.parse::<u64>().ok(),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
    };
    let number = number.filter(|n| (min..=max).contains(n));
    if number.is_none() {
        found.add(node.pos, format!("`{what}` must be a whole number from {min} to {max}"));
    }
    number
}

/// The number of `key` within bounds, where it is there and not `null`.
pub(super) fn number(found: &mut Found, from: &Fields<'_>, key: &str, min: u32, max: u32) -> Option<u32> {
    let node = from.some(key)?;
    integer(found, node, key, min.into(), max.into()).and_then(|n| u32::try_from(n).ok())
}

/// The truth value of `key`.
pub(super) fn flag(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<bool> {
    let node = from.some(key)?;
    match &node.value {
        Value::Scalar { text, plain: true } if text == "true" => Some(true),
        Value::Scalar { text, plain: true } if text == "false" => Some(false),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
            found.add(node.pos, format!("`{key}` must be `true` or `false`"));
            None
        }
    }
}

fn measured(
    found: &mut Found,
    from: &Fields<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<u64, String>,
) -> Option<u64> {
    let node = from.some(key)?;
    let text = text(found, node, key)?;
    read(text.trim()).map_err(|must| found.add(node.pos, format!("`{key}: {}` {must}", text.escape_debug()))).ok()
}

/// The duration of `key` in milliseconds.
pub(super) fn duration(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<u64> {
    measured(found, from, key, scalar::duration_ms)
}

/// The size of `key` in bytes.
pub(super) fn size(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<u64> {
    measured(found, from, key, scalar::size_bytes)
}

/// The amount of `key` in billionths of a dollar.
pub(super) fn usd(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<u64> {
    measured(found, from, key, scalar::nano_usd)
}

/// One of some words.
pub(super) fn choice<T: Copy>(found: &mut Found, from: &Fields<'_>, key: &str, words: &[(&str, T)]) -> Option<At<T>> {
    let node = from.some(key)?;
    let text = text(found, node, key)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(At { pos: node.pos, value: *value });
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let hint = did_you_mean(&text, names.iter().copied());
    let message = format!("`{key}` must be {}, not `{}`", one_of(&names), text.escape_debug());
    found.push(node.pos, message, hint);
    None
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The items of a list.
pub(super) fn list<'n>(found: &mut Found, node: &'n Node, what: &str) -> &'n [Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Scalar { text, .. } if !node.is_null() => {
            let hint = format!("write `{what}: [{}]`", text.escape_debug());
            found.add_hint(node.pos, format!("`{what}` must be a list"), hint);
            &[]
        }
        Value::Scalar { .. } | Value::Map(_) => {
            found.add(node.pos, format!("`{what}` must be a list, not {}", node.kind()));
            &[]
        }
    }
}

/// The texts of the list `key`, with their places.
pub(super) fn texts(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<Vec<At<String>>> {
    let node = from.some(key)?;
    let mut values = Vec::new();
    for item in list(found, node, key) {
        let pos = item.pos;
        values.extend(text(found, item, key).map(|value| At { pos, value }));
    }
    Some(values)
}

/// The globs of the list `key`.
pub(super) fn globs(found: &mut Found, from: &Fields<'_>, key: &str) -> Option<Vec<Glob>> {
    let texts = texts(found, from, key)?;
    let mut globs = Vec::new();
    for At { pos, value } in texts {
        match Glob::parse(&value) {
            Ok(glob) => globs.push(glob),
            Err(error) => found.add(pos, format!("cannot {error}")),
        }
    }
    Some(globs)
}

/// A path of the repository: relative, and not out of it.
pub(super) fn path(found: &mut Found, pos: Pos, what: &str, path: &str) {
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !inside {
        let path = path.escape_debug();
        found.add(pos, format!("`{what}: {path}` must be a path relative to the root of the repository"));
    }
}

/// The variables of `env`.
pub(super) fn env(found: &mut Found, from: &Fields<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(node) = from.some("env") else {
        return env;
    };
    let Value::Map(entries) = &node.value else {
        found.add(node.pos, format!("`env` must be a mapping, not {}", node.kind()));
        return env;
    };
    for (key, value) in entries {
        let (Value::Scalar { text: name, .. }, Value::Scalar { text, .. }) = (&key.value, &value.value) else {
            found.add(key.pos, "`env` maps names to texts");
            continue;
        };
        let shape = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let name_shown = name.escape_debug();
        if !shape {
            found.add(key.pos, format!("`{name_shown}` is not the name of a variable"));
        } else if name.starts_with("WATTLE_") {
            found.add(key.pos, format!("`{name_shown}` is set by Wattle itself"));
        } else if text.contains('\0') {
            found.add(value.pos, format!("the value of `{name_shown}` has a NUL character"));
        } else {
            // `NAME:` with nothing behind it is the empty text.
            let text = if value.is_null() { String::new() } else { text.clone() };
            if env.insert(name.clone(), text).is_some() {
                found.add(key.pos, format!("the key `{name_shown}` is there twice"));
            }
        }
    }
    env
}
