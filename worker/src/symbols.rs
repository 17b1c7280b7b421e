//! Symbols of source files: what each defines and refers to, and the map of a whole repository made of that.
//!
//! Tags of a file are a pure function of its bytes and its language ([`tags`]), so they are kept by the id of its
//! blob and shared by every worktree and run. A map is a pure function of a commit: which files are read is decided
//! by their number and size alone, ranks are computed in one order, and the clock can only leave the map out whole.

mod extract;
mod graph;
mod language;
mod map;
mod memory;
mod store;
mod text;

use serde::{Deserialize, Serialize};

pub(crate) use self::extract::FILE_BYTES_MAX;
pub use self::extract::tags;
pub use self::language::Language;
pub use self::map::{MapOptions, SymbolMap, symbol_map};
pub(crate) use self::memory::Memory;
pub use self::text::one_line;

/// Version of what is extracted; one more with every change of a query, of a grammar or of a form in here, so that
/// what an older one has kept is not taken for ours.
pub(crate) const EXTRACTOR: u32 = 1;

/// What a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A constant or a variable of a whole file.
    Constant,
    /// A function that belongs to no type.
    Function,
    /// Code that implements something for a type: it names the type, and does not define it.
    Implementation,
    /// A trait or an interface.
    Interface,
    /// A macro.
    Macro,
    /// A function of a type or an interface.
    Method,
    /// A module or a namespace.
    Module,
    /// A class, a struct, an enumeration, an alias.
    Type,
}

/// A place where a name is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its first line, from 1.
    pub line: u32,
    /// Its last line.
    pub end_line: u32,
    /// How many definitions it lies within.
    pub depth: u32,
    /// Name of the innermost of them.
    pub container: Option<String>,
    /// What stands before its body, in one line.
    pub signature: String,
}

/// A place where a name is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// Its line, from 1.
    pub line: u32,
}

/// What a file defines and refers to, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Definitions.
    pub definitions: Vec<Definition>,
    /// References.
    pub references: Vec<Reference>,
}

/// Why a file has no tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Untagged {
    /// It is larger than what is read.
    #[error("larger than 1 MiB")]
    TooLarge,
    /// It holds a zero byte.
    #[error("not text")]
    Binary,
    /// Its parser took more steps than any sound file of its size does.
    #[error("too hard to parse")]
    TooHard,
    /// The time was up; the only reason that another try may not have.
    #[error("not read in time")]
    Late,
}
