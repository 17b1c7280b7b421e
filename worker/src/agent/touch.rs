//! First touch: instructions about a part of the repository, given when the conversation gets there.
//!
//! A text is given once, with the results of the calls that got there, in a block of its own. Whether it was given is
//! read from the conversation, so a conversation that goes on after a crash or elsewhere is given nothing twice.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use super::transcript::{Call, Transcript};
use crate::instructions::{About, Held, Instructions};
use crate::tool::ToolResult;

/// Bound on what is given with the results of one reply, in bytes; what has no room comes with the next ones. Two of
/// the longest texts, so that one always fits.
const GIVEN_BYTES_MAX: usize = 32 << 10;

/// The texts that are held back, and those of them that are due.
pub(super) struct Touch {
    held: Vec<(Held, GlobSet)>,
    /// Indices of texts that were touched and not given yet.
    due: BTreeSet<usize>,
    /// Indices of texts that were given.
    given: BTreeSet<usize>,
    worktree: String,
}

/// The path in the input of a call, by the two names that tools have for it.
#[derive(Deserialize)]
struct PathForm {
    #[serde(alias = "path")]
    file_path: String,
}

impl Touch {
    pub(super) fn new(instructions: &Instructions, worktree: &str, transcript: &Transcript) -> Touch {
        let held: Vec<(Held, GlobSet)> =
            instructions.held.iter().map(|held| (held.clone(), globs(&held.about))).collect();
        let told = transcript.told();
        let known = held.iter().enumerate().filter(|(_, (held, _))| told.iter().any(|text| held.is_in(text)));
        let given = known.map(|(index, _)| index).collect();
        Touch { held, due: BTreeSet::new(), given, worktree: worktree.to_owned() }
    }

    /// A call has come back.
    pub(super) fn note(&mut self, call: &Call, result: &ToolResult) {
        if self.given.len() + self.due.len() == self.held.len() {
            return;
        }
        let evidence = &result.evidence;
        let wrote = evidence.wrote.iter().map(|(path, _, _)| path.clone());
        let mut paths: BTreeSet<String> = evidence.read.iter().map(|(path, _)| path.clone()).chain(wrote).collect();
        if let Ok(form) = serde_json::from_str::<PathForm>(&call.input)
            && !result.is_error
        {
            paths.extend(self.inside(&form.file_path));
        }
        for (index, (held, globs)) in self.held.iter().enumerate() {
            if !self.given.contains(&index) && paths.iter().any(|path| is_about(held, globs, path)) {
                self.due.insert(index);
            }
        }
    }

    /// A path as a call has it, from the root of the worktree.
    fn inside(&self, path: &str) -> Option<String> {
        let own = path.strip_prefix(&self.worktree).filter(|_| !self.worktree.is_empty());
        let path = own.map_or(path, |rest| rest.trim_start_matches('/'));
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "." => {}
                "" if !parts.is_empty() => {}
                "" => return None,
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        Some(parts.join("/"))
    }

    /// The blocks that are due, outer before inner.
    pub(super) fn take(&mut self) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        while let Some(index) = self.due.first().copied() {
            let block = self.held[index].0.block();
            bytes += block.len();
            if bytes > GIVEN_BYTES_MAX && !blocks.is_empty() {
                break;
            }
            self.due.remove(&index);
            self.given.insert(index);
            blocks.push(block);
        }
        blocks
    }

    /// The blocks that the conversation was given so far, outer before inner: what must not be lost when its start is
    /// told again in fewer words.
    pub(super) fn given(&self) -> Vec<String> {
        self.given.iter().map(|index| self.held[*index].0.block()).collect()
    }
}

fn is_about(held: &Held, globs: &GlobSet, path: &str) -> bool {
    match &held.about {
        About::Folder(folder) => path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')),
        About::Paths(_) => globs.is_match(path),
    }
}

/// The globs of a text; those that cannot be read were left out when it was.
fn globs(about: &About) -> GlobSet {
    let About::Paths(globs) = about else { return GlobSet::empty() };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}
