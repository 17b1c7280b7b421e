//! Outputs that are too long to be shown: kept whole as files beside the worktree, and read and searched by name.
//!
//! The folder lasts as long as the conversation. After an interruption it is filled again from the evidence in the
//! journal; what cannot be had back is remembered as lost, and says so.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use wattle_cache::offload;

use super::confine::Worktree;
use super::walk::{self, Scope, Stop};
use super::{ToolCall, ToolResult, grep, parse, read};
use crate::outcome::Evidence;

/// Bound on all outputs of one conversation: 250 of the longest. Beyond it no more are kept, and previews say so.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Files that a stamp looks at: more take seconds, and a change of the first ones shows as well.
const STAMPED_MAX: usize = 20_000;

/// The outputs of one conversation.
pub(crate) struct Outputs {
    folder: tempfile::TempDir,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: BTreeSet<String>,
    lost: BTreeSet<String>,
    bytes: u64,
}

impl Outputs {
    /// None so far; files will be below `temp`.
    pub(super) fn new(temp: &Path) -> std::io::Result<Outputs> {
        let folder = tempfile::Builder::new().prefix("outputs-").tempdir_in(temp)?;
        Ok(Outputs { folder, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a text under its name; `false` = there is no room, or the disk refused.
    pub(crate) fn keep(&self, text: &str) -> bool {
        let name = offload::name(text);
        let mut state = self.state();
        if state.kept.contains(&name) {
            return true;
        }
        let bytes = state.bytes + text.len() as u64;
        if bytes > BYTES_MAX {
            return false;
        }
        if let Err(error) = std::fs::write(self.path(&name), text) {
            tracing::warn!(%error, "a long output was not kept");
            return false;
        }
        state.lost.remove(&name);
        state.bytes = bytes;
        state.kept.insert(name)
    }

    /// Fills the folder from evidence, and notes which of the wanted names are lost.
    pub(crate) fn restore<'a>(&self, evidence: &[(String, Evidence)], wanted: impl Iterator<Item = &'a str>) {
        for (_, evidence) in evidence.iter().filter(|(_, evidence)| offload::too_long(&evidence.output)) {
            self.keep(&evidence.output);
        }
        let mut state = self.state();
        let lost: Vec<String> = wanted.filter(|name| !state.kept.contains(*name)).map(str::to_owned).collect();
        state.lost.extend(lost);
    }

    /// Is this the name of an output of this conversation?
    pub(crate) fn resolves(&self, name: &str) -> bool {
        let state = self.state();
        state.kept.contains(name) || state.lost.contains(name)
    }

    /// Where an output lies; the message is for the model.
    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let state = self.state();
        if state.lost.contains(name) {
            return Err(format!("{name} was lost when the work was interrupted: make the call again that gave it"));
        }
        if offload::is_name(name) && state.kept.contains(name) {
            return Ok(self.path(name));
        }
        Err(format!("there is no output {name}; names stand in the first line of a result that was too long"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name.trim_start_matches(offload::SCHEME))
    }
}

#[derive(Deserialize)]
struct PathInput {
    file_path: Option<String>,
    path: Option<String>,
}

/// The output that a call of Read or Grep names.
fn named(call: &ToolCall) -> Option<String> {
    let input: PathInput = serde_json::from_str(&call.input).ok()?;
    input.file_path.or(input.path).filter(|path| path.starts_with(offload::SCHEME))
}

/// Is a call of Read or Grep about an output, and not about a file?
pub(super) fn concerns(call: &ToolCall) -> bool {
    named(call).is_some()
}

/// Reads or searches an output.
pub(super) fn call(outputs: &Outputs, call: &ToolCall) -> ToolResult {
    let name = named(call).unwrap_or_default();
    let path = match outputs.find(&name) {
        Ok(path) => path,
        Err(message) => return ToolResult::failed(message),
    };
    if call.name == "Grep" { grep::one(&name, &path, &call.input) } else { read_one(&path, &call.input) }
}

fn read_one(path: &Path, input: &str) -> ToolResult {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        #[serde(rename = "file_path")]
        _file_path: String,
        offset: Option<usize>,
        limit: Option<usize>,
    }
    let page = parse::<Input>("Read", input).and_then(|input| {
        let text = std::fs::read(path).map_err(|error| format!("read the output: {error}"))?;
        read::page(&String::from_utf8_lossy(&text), input.offset, input.limit)
    });
    match page {
        Ok(shown) => ToolResult::done(shown),
        Err(message) => ToolResult::failed(message),
    }
}

/// A hash over names, sizes and times of the files of a worktree.
pub(super) fn stamp(worktree: &Worktree) -> String {
    let stop = Stop::new(CancellationToken::new());
    let folder = Path::new("");
    let scope = Scope { worktree, folder, globs: None, types: None, include_ignored: false, stop: &stop };
    let note = |files: &mut Vec<(Vec<u8>, u64, i64, i64)>, path: &Path, relative: &[u8]| {
        if let Ok(meta) = std::fs::symlink_metadata(path) {
            files.push((relative.to_vec(), meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
    };
    let Ok((found, _)) = walk::files(&scope, Vec::new, note) else { return String::new() };
    let mut files: Vec<_> = found.into_iter().flatten().collect();
    files.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (name, bytes, seconds, nanos) in files.iter().take(STAMPED_MAX) {
        hasher.update(name);
        hasher.update(format!("\0{bytes} {seconds} {nanos}\n").as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
