//! The languages whose symbols are known: a grammar and a query for each.
//!
//! The queries are our own. Those that come with the grammars leave out much of what a map needs (references in C,
//! qualified calls and constants in Rust, constructors in Java) and each names its captures differently.

use std::path::Path;
use std::sync::OnceLock;

use ast_grep_core::Language as _;
use ast_grep_language::{LanguageExt as _, SupportLang};
use serde::{Deserialize, Serialize};
use tree_sitter::Query;

/// A language whose symbols are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Shell scripts.
    Bash,
    /// C, and headers.
    C,
    /// Go.
    Go,
    /// Java.
    Java,
    /// JavaScript, with JSX.
    JavaScript,
    /// Python.
    Python,
    /// Rust.
    Rust,
    /// TypeScript with JSX.
    Tsx,
    /// TypeScript.
    TypeScript,
}

/// All of them.
pub(super) const ALL: [Language; 9] = [
    Language::Bash,
    Language::C,
    Language::Go,
    Language::Java,
    Language::JavaScript,
    Language::Python,
    Language::Rust,
    Language::Tsx,
    Language::TypeScript,
];

impl Language {
    /// The language of a file, by its name.
    pub fn of(path: &str) -> Option<Language> {
        match SupportLang::from_path(Path::new(path))? {
            SupportLang::Bash => Some(Language::Bash),
            SupportLang::C => Some(Language::C),
            SupportLang::Go => Some(Language::Go),
            SupportLang::Java => Some(Language::Java),
            SupportLang::JavaScript => Some(Language::JavaScript),
            SupportLang::Python => Some(Language::Python),
            SupportLang::Rust => Some(Language::Rust),
            SupportLang::Tsx => Some(Language::Tsx),
            SupportLang::TypeScript => Some(Language::TypeScript),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Language::Bash => "bash",
            Language::C => "c",
            Language::Go => "go",
            Language::Java => "java",
            Language::JavaScript => "javascript",
            Language::Python => "python",
            Language::Rust => "rust",
            Language::Tsx => "tsx",
            Language::TypeScript => "typescript",
        }
    }

    /// Languages whose names may mean each other: a file of one imports from files of the others.
    pub(super) fn family(self) -> u8 {
        match self {
            Language::Bash => 0,
            Language::C => 1,
            Language::Go => 2,
            Language::Java => 3,
            Language::JavaScript | Language::Tsx | Language::TypeScript => 4,
            Language::Python => 5,
            Language::Rust => 6,
        }
    }

    pub(super) fn grammar(self) -> tree_sitter::Language {
        let language = match self {
            Language::Bash => SupportLang::Bash,
            Language::C => SupportLang::C,
            Language::Go => SupportLang::Go,
            Language::Java => SupportLang::Java,
            Language::JavaScript => SupportLang::JavaScript,
            Language::Python => SupportLang::Python,
            Language::Rust => SupportLang::Rust,
            Language::Tsx => SupportLang::Tsx,
            Language::TypeScript => SupportLang::TypeScript,
        };
        language.get_ts_language()
    }

    /// The query, compiled at its first use: that takes milliseconds, and most runs need one or two.
    pub(super) fn query(self) -> &'static Query {
        static QUERIES: [OnceLock<Query>; ALL.len()] = [const { OnceLock::new() }; ALL.len()];
        QUERIES[self as usize].get_or_init(|| {
            Query::new(&self.grammar(), &self.query_text()).expect("the queries are compiled by a test")
        })
    }

    pub(super) fn query_text(self) -> String {
        let text = match self {
            Language::Bash => include_str!("queries/bash.scm"),
            Language::C => include_str!("queries/c.scm"),
            Language::Go => include_str!("queries/go.scm"),
            Language::Java => include_str!("queries/java.scm"),
            Language::JavaScript => include_str!("queries/javascript.scm"),
            Language::Python => include_str!("queries/python.scm"),
            Language::Rust => include_str!("queries/rust.scm"),
            Language::Tsx => concat!(include_str!("queries/typescript.scm"), include_str!("queries/jsx.scm")),
            Language::TypeScript => include_str!("queries/typescript.scm"),
        };
        text.to_owned()
    }
}
