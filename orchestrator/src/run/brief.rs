//! The brief: the part of the prompt that all workers of a run share.
//!
//! It is made once, when a run begins, of the task, the base commit and how the user's checkout stood, and frozen with
//! the run. No date, path of a machine, name of a step or state of a worker is in it, so that its bytes are the same
//! for every worker. What comes from the repository is data: it stands in fences that nothing in it can close.

mod layout;
mod manifests;
mod snapshot;
#[cfg(test)]
mod tests;

use wattle_cache::ledger::estimate_tokens;
use wattle_planner::{Plan, Work};
use wattle_worker::instructions::{self, Instructions};
use wattle_worker::symbols::{MapOptions, SymbolMap, symbol_map};
use wattle_workspace::{CommitId, Facts, GitError, Listed, Repo};

/// Tokens of the symbol map: twice what comparable agents give theirs, as it is paid for once for all workers.
const MAP_TOKENS_MAX: u64 = 2_000;
/// Folder of the state directory in which the symbols of blobs are kept.
const SYMBOLS_FOLDER: &str = "symbols";

/// A part of a brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// What it is about, in one word.
    pub(crate) name: &'static str,
    /// Its text, with its heading.
    pub(crate) text: String,
}

impl Section {
    /// Estimate of its tokens.
    pub(crate) fn tokens(&self) -> u64 {
        estimate_tokens(self.text.len())
    }
}

/// A brief.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Brief {
    /// Its parts, in their order.
    pub(crate) sections: Vec<Section>,
    /// What is not in it and why.
    pub(crate) left_out: Vec<String>,
    /// Instructions of the repository that workers get beside it.
    pub(crate) instructions: Instructions,
    /// What of the instruction files could not be used.
    pub(crate) warnings: Vec<String>,
}

impl Brief {
    /// The whole text, as workers get it.
    pub(crate) fn text(&self) -> String {
        let texts: Vec<&str> = self.sections.iter().map(|section| section.text.as_str()).collect();
        texts.join("\n")
    }

    fn push(&mut self, name: &'static str, text: String) {
        if !text.is_empty() {
            self.sections.push(Section { name, text });
        }
    }
}

/// The brief of a base commit and a task, in a checkout that stands so.
pub(crate) fn brief(repo: &Repo, base: &CommitId, facts: &Facts, task: &str) -> Result<Brief, GitError> {
    let tree = repo.tree_of(base)?;
    let files = repo.listing(&tree)?;
    let mut brief = of_task(task);
    let mut left_out = Vec::new();
    brief.push("repository", snapshot::snapshot(repo, base, facts, &mut left_out)?);
    brief.push("layout", layout::layout(&files, &mut left_out));
    brief.push("manifests", manifests::manifests(repo, &files, &mut left_out)?);
    brief.push("symbols", symbols(repo, &files, &mut left_out));
    let loaded = instructions::load(repo, &tree)?;
    brief.push("instructions", loaded.shared.trim_start().to_owned());
    brief.left_out = left_out;
    (brief.instructions, brief.warnings) = (loaded.instructions, loaded.warnings);
    Ok(brief)
}

/// The brief of a run: one that asks no model gets the task alone, for which nothing is read.
pub(crate) fn of_run(repo: &Repo, base: &CommitId, facts: &Facts, plan: &Plan) -> Result<Brief, GitError> {
    let asks = |work: &Work| matches!(work, Work::Agent(_));
    let agents = plan
        .steps()
        .iter()
        .any(|step| asks(&step.work) || step.repair.as_ref().is_some_and(|repair| asks(&repair.work)));
    if agents { brief(repo, base, facts, plan.task()) } else { Ok(of_task(plan.task())) }
}

fn of_task(task: &str) -> Brief {
    let mut brief = Brief::default();
    brief.push("task", format!("# The task of this run\n\n{task}\n"));
    brief
}

fn symbols(repo: &Repo, files: &[Listed], left_out: &mut Vec<String>) -> String {
    let store = Some(repo.state_dir().join(SYMBOLS_FOLDER));
    // What cannot be read here fails a worker later, and with a better message; a brief can do without.
    let map = symbol_map(repo, files, &MapOptions { store, ..MapOptions::new(MAP_TOKENS_MAX) })
        .unwrap_or_else(|error| SymbolMap { left_out: vec![format!("all symbols: {error}")], ..SymbolMap::default() });
    let lacks = map.left_out.join("; ");
    left_out.extend(map.left_out);
    if map.text.is_empty() && lacks.is_empty() {
        return String::new();
    }
    let mut text = "# Symbols\n\n".to_owned();
    text.push_str(match map.summary {
        true => "Source files by folder.",
        false => {
            "What other files use most, by file, with line numbers of the base commit; the tool Symbols finds the rest."
        }
    });
    if !lacks.is_empty() {
        text.push_str(&format!(" Left out: {}.", lacks.replace('`', "'")));
    }
    text.push_str(&format!("\n\n{}", fenced(&map.text)));
    text
}

/// Lines of the repository between fences that are longer than any in them.
fn fenced(lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let longest = lines.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{lines}{fence}\n")
}
