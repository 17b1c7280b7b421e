//! What is asked of a server, and what it answers, read leniently: the forms of several versions of the protocol.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::position::{self, Encoding, Position, Spot};
use super::uri;

/// Depth of symbols that are shown: deeper ones are local names.
const SYMBOL_DEPTH_MAX: usize = 4;
/// Symbols that are read of one file.
const SYMBOLS_MAX: usize = 2000;

/// A question about a file.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The file, relative to the root of the worktree.
    pub(crate) file: String,
    /// What is asked.
    pub(crate) target: Target,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Where is it defined?
    Definition(At),
    /// Where is it used?
    References(At),
    /// What is it?
    Hover(At),
    /// What is wrong with the file?
    Diagnostics,
    /// What does the file define?
    Symbols,
}

/// A place in the file that is asked about.
#[derive(Debug, Clone)]
pub(crate) enum At {
    /// Line and character.
    Spot(Spot),
    /// A name on a line; the line may be left out for one that the file has only once.
    Name(Option<usize>, String),
}

/// What a server answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Places, in the server's order.
    Places {
        /// Them.
        places: Vec<Place>,
        /// How their columns are counted.
        encoding: Encoding,
        /// Was the server still at work?
        partial: bool,
    },
    /// Words; `None` = it knows nothing.
    Text(Option<String>),
    /// Diagnostics of the file as it is now, by place.
    Problems {
        /// Them.
        problems: Vec<Problem>,
        /// Was the server still at work?
        partial: bool,
    },
    /// What the file defines.
    Symbols {
        /// Them, in the order of the file.
        symbols: Vec<Symbol>,
        /// How their columns are counted.
        encoding: Encoding,
    },
}

impl Target {
    /// The request, and what a server says that it has for it.
    pub(super) fn method(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Target::Definition(_) => Some(("textDocument/definition", "definitionProvider")),
            Target::References(_) => Some(("textDocument/references", "referencesProvider")),
            Target::Hover(_) => Some(("textDocument/hover", "hoverProvider")),
            Target::Symbols => Some(("textDocument/documentSymbol", "documentSymbolProvider")),
            Target::Diagnostics => None,
        }
    }

    /// What people call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Target::Definition(_) => "definition",
            Target::References(_) => "references",
            Target::Hover(_) => "hover",
            Target::Symbols => "documentSymbol",
            Target::Diagnostics => "diagnostics",
        }
    }

    /// The byte of the text that is asked about.
    pub(super) fn byte(&self, text: &str) -> Result<Option<usize>, String> {
        match self {
            Target::Definition(at) | Target::References(at) | Target::Hover(at) => at.byte(text).map(Some),
            Target::Diagnostics | Target::Symbols => Ok(None),
        }
    }
}

impl At {
    fn byte(&self, text: &str) -> Result<usize, String> {
        match self {
            At::Spot(spot) => position::byte_of(text, *spot),
            At::Name(Some(number), name) => {
                let (start, line) = position::line_of(text, *number)?;
                let found = position::find(line, name);
                found.map(|at| start + at).ok_or_else(|| match lines_with(text, name).as_slice() {
                    [] => format!("`{name}` is not in the file; line {number} is {:?}", line.trim()),
                    lines => format!("`{name}` is not on line {number}; it is on {}", listed(lines)),
                })
            }
            At::Name(None, name) => match lines_with(text, name).as_slice() {
                [] => Err(format!("`{name}` is not in the file")),
                [only] => At::Name(Some(*only), name.clone()).byte(text),
                lines => Err(format!("give the line: `{name}` is on {}", listed(lines))),
            },
        }
    }
}

fn lines_with(text: &str, name: &str) -> Vec<usize> {
    (1..).zip(text.split('\n')).filter(|(_, line)| line.contains(name)).map(|(number, _)| number).collect()
}

fn listed(lines: &[usize]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = lines.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if lines.len() > SHOWN { " and more" } else { "" };
    format!("line {}{more}", shown.join(", "))
}

/// A place that a server names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file; the address as it is where it is no file.
    pub(crate) file: Result<PathBuf, String>,
    /// Where in it.
    pub(crate) start: Position,
}

impl Place {
    /// Places of one of the forms that the protocol has for them.
    pub(super) fn all(result: &Value) -> Vec<Place> {
        let list = match result {
            Value::Array(list) => list.as_slice(),
            Value::Object(_) => std::slice::from_ref(result),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => &[],
        };
        list.iter().filter_map(Place::one).collect()
    }

    fn one(value: &Value) -> Option<Place> {
        let (uri, range) = match value.get("targetUri") {
            Some(uri) => (uri, value.get("targetSelectionRange").or_else(|| value.get("targetRange"))),
            None => (value.get("uri")?, value.get("range")),
        };
        let uri = uri.as_str()?;
        let start = Position::deserialize(range?.get("start")?).ok()?;
        Some(Place { file: uri::path(uri).ok_or_else(|| uri.to_owned()), start })
    }
}

/// A diagnostic, by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) spot: Spot,
    /// `error`, `warning`, `info` or `hint`.
    pub(crate) severity: &'static str,
    /// What.
    pub(crate) message: String,
    /// Who says so, and its code.
    pub(crate) source: String,
}

impl Problem {
    pub(super) fn read(item: &Value, text: &str, encoding: Encoding) -> Option<Problem> {
        let start = Position::deserialize(item.get("range")?.get("start")?).ok()?;
        let severity = match item["severity"].as_u64() {
            Some(1) | None => "error",
            Some(2) => "warning",
            Some(3) => "info",
            Some(_) => "hint",
        };
        let code = match &item["code"] {
            Value::String(code) => code.clone(),
            Value::Number(code) => code.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        let source = format!("{} {code}", item["source"].as_str().unwrap_or_default());
        Some(Problem {
            spot: position::spot(text, position::offset(text, start, encoding)),
            severity,
            message: item["message"].as_str().unwrap_or_default().to_owned(),
            source: source.trim().to_owned(),
        })
    }
}

/// Something that a file defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol {
    /// What it is called.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: &'static str,
    /// Where.
    pub(crate) start: Position,
    /// How deep it is nested.
    pub(crate) depth: usize,
}

impl Symbol {
    /// Symbols of one of the two forms that the protocol has for them.
    pub(super) fn all(result: &Value) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        Symbol::below(result, 0, &mut symbols);
        symbols
    }

    fn below(list: &Value, depth: usize, symbols: &mut Vec<Symbol>) {
        for item in list.as_array().into_iter().flatten() {
            if depth >= SYMBOL_DEPTH_MAX || symbols.len() >= SYMBOLS_MAX {
                return;
            }
            let range = item.get("selectionRange").or_else(|| item["location"].get("range"));
            let start = range.and_then(|range| Position::deserialize(range.get("start")?).ok());
            if let (Some(name), Some(start)) = (item["name"].as_str(), start) {
                let kind = symbol_kind(item["kind"].as_u64().unwrap_or_default());
                symbols.push(Symbol { name: name.to_owned(), kind, start, depth });
            }
            Symbol::below(&item["children"], depth + 1, symbols);
        }
    }
}

fn symbol_kind(kind: u64) -> &'static str {
    const NAMES: [&str; 26] = [
        "file",
        "module",
        "namespace",
        "package",
        "class",
        "method",
        "property",
        "field",
        "constructor",
        "enum",
        "interface",
        "function",
        "variable",
        "constant",
        "string",
        "number",
        "boolean",
        "array",
        "object",
        "key",
        "null",
        "enum member",
        "struct",
        "event",
        "operator",
        "type parameter",
    ];
    let index = kind.checked_sub(1).and_then(|index| usize::try_from(index).ok());
    index.and_then(|index| NAMES.get(index)).copied().unwrap_or("symbol")
}

/// The words of a hover, of one of the three forms that the protocol has for them.
pub(super) fn words(contents: &Value) -> Option<String> {
    let text = match contents {
        Value::String(text) => text.clone(),
        Value::Object(map) => map.get("value")?.as_str()?.to_owned(),
        Value::Array(parts) => parts.iter().filter_map(words).collect::<Vec<_>>().join("\n\n"),
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_of_every_form() {
        let range = |line: u32| json!({"start": {"line": line, "character": 2}, "end": {"line": line, "character": 3}});
        let place = |file: &str, line: u32| Place { file: Ok(file.into()), start: Position { line, character: 2 } };
        let one = json!({"uri": "file:///a", "range": range(1)});
        assert_eq!(Place::all(&one), [place("/a", 1)]);
        assert_eq!(
            Place::all(&json!([one, {"uri": "file:///b", "range": range(2)}])),
            [place("/a", 1), place("/b", 2)]
        );
        let link = json!([{"targetUri": "file:///c", "targetRange": range(3), "targetSelectionRange": range(4)}]);
        assert_eq!(Place::all(&link), [place("/c", 4)]);
        let other = json!({"uri": "jdt://x", "range": range(0)});
        assert_eq!(Place::all(&other)[0].file, Err("jdt://x".to_owned()));
        assert_eq!(Place::all(&Value::Null), []);
        assert_eq!(Place::all(&json!([{"uri": 3}, 4])), []);
    }

    #[test]
    fn words_of_every_form() {
        let check = |contents: Value, expected: Option<&str>| assert_eq!(words(&contents).as_deref(), expected);
        check(json!("a "), Some("a"));
        check(json!({"kind": "markdown", "value": "b"}), Some("b"));
        check(json!(["a", {"language": "rust", "value": "b"}]), Some("a\n\nb"));
        check(json!([]), None);
        check(Value::Null, None);
    }

    #[test]
    fn a_name_is_looked_for_on_its_line_and_the_answer_says_where_else_it_is() {
        let text = "def crab():\n    pass\ncrab()\n";
        let check = |line: Option<usize>, name: &str, expected: Result<usize, &str>| {
            assert_eq!(At::Name(line, name.to_owned()).byte(text), expected.map_err(str::to_owned));
        };
        check(Some(1), "crab", Ok(4));
        check(Some(2), "crab", Err("`crab` is not on line 2; it is on line 1, 3"));
        check(Some(2), "cod", Err("`cod` is not in the file; line 2 is \"pass\""));
        check(None, "pass", Ok(16));
        check(None, "crab", Err("give the line: `crab` is on line 1, 3"));
        check(None, "cod", Err("`cod` is not in the file"));
    }

    #[test]
    fn symbols_of_both_forms() {
        let range = json!({"start": {"line": 1, "character": 0}});
        let nested = json!([{"name": "A", "kind": 5, "selectionRange": range, "children": [
            {"name": "b", "kind": 6, "selectionRange": range},
        ]}]);
        let shown = |value: &Value| {
            Symbol::all(value).into_iter().map(|s| format!("{} {} {}", s.depth, s.kind, s.name)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&nested), ["0 class A", "1 method b"]);
        assert_eq!(
            shown(&json!([{"name": "f", "kind": 99, "location": {"uri": "file:///a", "range": range}}])),
            ["0 symbol f"]
        );
    }
}
