//! The names of steps and groups. They end up in branch names, folders and environment variables, so the rule is
//! narrow: lowercase letters, digits and dashes, beginning with a letter or digit.

use std::fmt;
use std::str::FromStr;

/// Longest id in bytes. A step's branch is `wattle/<run>/<step>` and its lock file `<step>.lock`; 64 keeps both far
/// below the 255 bytes a file name may have, and fits a line of `status`.
pub const ID_BYTES_MAX: usize = 64;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("read an id: it is empty")]
    Empty,
    /// The text is longer than [`ID_BYTES_MAX`].
    #[error("read the id `{start}…`: it is {bytes} bytes long, {ID_BYTES_MAX} are allowed")]
    TooLong {
        /// How the text begins.
        start: String,
        /// Its length.
        bytes: usize,
    },
    /// The text has a character that ids do not have.
    #[error("read the id `{id}`: it must consist of a-z, 0-9 and `-` and begin with a letter or digit")]
    Characters {
        /// The text, with control characters escaped.
        id: String,
    },
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong {
            start: text.chars().take(16).flat_map(char::escape_debug).collect(),
            bytes: text.len(),
        });
    }
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let first = text.as_bytes()[0];
    if !legal(first) || !text.bytes().all(|b| legal(b) || b == b'-') {
        return Err(IdError::Characters { id: text.escape_debug().to_string() });
    }
    Ok(())
}

macro_rules! id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The id for `text`, which must be `[a-z0-9][a-z0-9-]*` of at most [`ID_BYTES_MAX`] bytes.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(StepId, "The id of a step, unique in its plan.");
id!(GroupId, "The id of a group of steps that land together.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_what_is_safe_in_refs_and_folders() {
        for good in ["a", "0", "api-2", "a--b", &"x".repeat(ID_BYTES_MAX)] {
            assert_eq!(StepId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a;b",
            "`id`",
            "$(id)",
            "a|b",
            "a'b",
            "HEAD",
            "a..b",
            "a.lock",
            "@{-1}",
            "../x",
            "é",
            "a b",
            "a\nb",
            "a_b",
            &"x".repeat(ID_BYTES_MAX + 1),
        ] {
            assert!(StepId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_as_plain_text_and_keeps_the_rule() {
        let id: StepId = serde_json::from_str("\"api\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"api\"");
        assert!(serde_json::from_str::<GroupId>("\"../x\"").is_err());
    }
}
