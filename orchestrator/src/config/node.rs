//! A YAML document as nodes that know where they stand, so that every mistake in a configuration file
//! can be named by line and column, all at once.
//!
//! It knows no key of the configuration; `config::file` does.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Line.
    pub(crate) line: u32,
    /// Column, in characters.
    pub(crate) column: u32,
}

impl Mark {
    /// The first character of a file.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(location: serde_yaml::Location) -> Self {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

/// A node and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it starts.
    pub(crate) mark: Mark,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as text (money is never a float).
    Number(String),
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in file order: key, where the key stands, value.
    Map(Vec<(String, Mark, Node)>),
}

impl Value {
    /// What people call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Why a document could not be read as YAML at all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unreadable {
    /// Where.
    pub(crate) mark: Mark,
    /// What the parser says.
    pub(crate) message: String,
}

/// Reads one document; an empty one is `null`.
pub(crate) fn parse(text: &str) -> Result<Node, Unreadable> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { mark: Mark::START, value: Value::Null });
    }
    serde_yaml::from_str::<Node>(text).map_err(|error| {
        let mark = error.location().map_or(Mark::START, Mark::of);
        let whole = error.without_snippet().to_string();
        let message = whole.lines().next().unwrap_or_default().trim().to_owned();
        Unreadable { mark, message }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { mark: Mark::of(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element::<Node>()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let mark = Mark::of(key.referenced);
            pairs.push((key.value, mark, map.next_value::<Node>()?));
        }
        Ok(Value::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_of_the_file() {
        let node = parse("# c\nlimits:\n  usd: 5.00\n  jobs: 4\nlist: [a, true]\n").unwrap();
        let Value::Map(pairs) = &node.value else { panic!("a mapping") };
        assert_eq!((pairs[0].0.as_str(), pairs[0].1.line, pairs[0].1.column), ("limits", 2, 1));
        let Value::Map(limits) = &pairs[0].2.value else { panic!("a mapping") };
        assert_eq!((limits[1].1.line, limits[1].1.column), (4, 3));
        assert_eq!(limits[1].2.value, Value::Number("4".into()));
        assert_eq!(limits[1].2.mark, Mark { line: 4, column: 9 });
        assert_eq!(pairs[1].2.value.kind(), "a list");
    }

    #[test]
    fn an_empty_file_is_nothing_and_a_broken_one_names_its_place() {
        assert_eq!(parse("# only a comment\n").unwrap().value, Value::Null);
        let broken = parse("a: 1\nb: [1, 2\n").unwrap_err();
        assert!(broken.mark.line >= 2, "{broken:?}");
        assert!(!broken.message.is_empty());
    }
}
