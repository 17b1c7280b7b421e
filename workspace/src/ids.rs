//! The names of things in a repository, each a type of its own so that a tree cannot be passed where a commit belongs.
//! Nothing here touches a repository.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A string is not an object id or a repository id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

/// What a person is shown of an object id: enough to be unique in every repository we have seen.
const SHORT_LEN: usize = 12;

fn check_hex(text: &str) -> Result<(), IdError> {
    let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(text.len(), 40 | 64) {
        return Ok(());
    }
    Err(IdError { text: text.to_owned(), expected: "an object id (40 or 64 lowercase hex digits)" })
}

/// Becomes a folder name, so it holds nothing that a path could be made of.
fn check_repo_id(text: &str) -> Result<(), IdError> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain && (1..=64).contains(&text.len()) {
        return Ok(());
    }
    Err(IdError { text: text.to_owned(), expected: "a repository id (1 to 64 of A-Z a-z 0-9 - _)" })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The whole id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 characters, for people.
            pub fn short(&self) -> &str {
                &self.0[..self.0.len().min(SHORT_LEN)]
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// A commit object.
    CommitId,
    check_hex
);
id!(
    /// A tree object.
    TreeId,
    check_hex
);
id!(
    /// A blob object.
    BlobId,
    check_hex
);
id!(
    /// A repository, as state outside it refers to it.
    RepoId,
    check_repo_id
);

/// Who wrote or committed a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// As in `user.name`.
    pub name: String,
    /// As in `user.email`.
    pub email: String,
}
