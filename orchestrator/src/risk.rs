//! How carefully a step's work wants to be read, so that review begins with the riskiest.
//!
//! A first, coarse measure of paths and origin; the policy issue refines it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wattle_planner::{Step, Work};

/// How carefully to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Risk {
    /// A mechanical change inside its write set.
    Low,
    /// A model's change, or a wide one.
    Medium,
    /// Work outside its write set, or on what is executed when building and checking.
    High,
}

impl Risk {
    /// Its name in the glossary.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// More files than a reader takes in at once.
const WIDE: usize = 30;

/// The risk of a step's work that changes these paths, some of them outside its write set.
pub(crate) fn risk(step: &Step, paths: &[String], outside: &[String]) -> Risk {
    if !outside.is_empty() || paths.iter().any(|path| is_executed(path)) {
        return Risk::High;
    }
    match step.work {
        Work::Agent(_) => Risk::Medium,
        Work::Run { .. } | Work::Rewrite(_) | Work::Revert(_) if paths.len() > WIDE => Risk::Medium,
        Work::Run { .. } | Work::Rewrite(_) | Work::Revert(_) => Risk::Low,
    }
}

/// Is a file of this path executed by building, testing, committing or a CI, or does it steer one of them?
fn is_executed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let folders = [".github/", ".gitlab/", ".ci/", ".circleci/", ".husky/", ".wattle/", ".claude/", ".cargo/"];
    let names = [
        "build.rs",
        "Makefile",
        "package.json",
        "setup.py",
        "conftest.py",
        ".gitattributes",
        ".gitmodules",
        ".mcp.json",
    ];
    folders.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")))
        || names.contains(&name)
        || name.ends_with(".sh")
        || name.starts_with("Dockerfile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_is_risky() {
        for path in [".github/workflows/a.yml", "x/build.rs", "a/.cargo/config.toml", "deploy.sh", "b/Makefile"] {
            assert!(is_executed(path), "{path}");
        }
        for path in ["src/lib.rs", "github/x", "docs/build.rs.md"] {
            assert!(!is_executed(path), "{path}");
        }
    }
}
