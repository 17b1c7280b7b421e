//! Agent definitions: Markdown files of the base commit that say how an agent works, for plans to name (`use`).
//!
//! A file says who an agent is, not what it may do: its words join the task of the worker, its tools are what is left
//! of those of the step, and checks, target, touches and budget are none of its business. It is read from the base
//! commit alone, when a run is prepared, and frozen with it.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use wattle_cache::price::Table;
use wattle_planner::{AgentSpec, Plan, Problem, Problems, Use, Work};
use wattle_worker::assignment::Definition;
use wattle_worker::instructions::Instructions;
use wattle_workspace::{CommitId, GitError, Repo, TreeId};

use self::file::File;
use super::begin::RunError;
use super::context::Context;
use crate::ids::Blob;
use crate::journal::blob::{BlobError, Blobs};
use crate::journal::event::{AgentFile, RunStarted};

/// Where definitions lie, the nearer to us the later: a later one of the same name wins.
const FOLDERS: [&str; 2] = [".claude/agents/", ".wattle/agents/"];
/// Files that are looked at; the largest collections of definitions have two hundred.
const FILES_MAX: usize = 1000;
/// Names that a message lists: more are no help.
const KNOWN_MAX: usize = 20;
/// What is left where a definition and a step have no tool in common: nothing but to ask and to report. An empty list
/// would mean the tools of the mode.
const LEAST: [&str; 2] = ["Ask", "Report"];

/// The definitions that a plan names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// By name.
    pub(crate) used: BTreeMap<String, AgentFile>,
    /// Their words, as they have to be kept.
    pub(crate) texts: Vec<String>,
    /// What could not be taken as it is written.
    pub(crate) warnings: Vec<String>,
}

/// All `use` of a plan, repairs included.
fn uses(plan: &Plan) -> impl Iterator<Item = &Use> {
    let works = plan.steps().iter().flat_map(|step| [Some(&step.work), step.repair.as_ref().map(|r| &r.work)]);
    works.flatten().filter_map(|work| match work {
        Work::Agent(agent) => agent.uses.as_ref(),
        Work::Run { .. } | Work::Rewrite(_) | Work::Revert(_) => None,
    })
}

/// Does a plan name any?
pub(crate) fn asked(plan: &Plan) -> bool {
    uses(plan).next().is_some()
}

/// The definitions that a plan names, from a commit. A name that nobody has defined is a mistake of the plan.
pub(crate) fn named(ctx: &Context, plan_name: &str, plan: &Plan, base: &CommitId) -> Result<Named, RunError> {
    if !asked(plan) {
        return Ok(Named::default());
    }
    let known = Known::load(&ctx.repo, &ctx.repo.tree_of(base)?)?;
    known.of(plan_name, plan, &ctx.prices).map_err(RunError::Plan)
}

/// All definitions of a tree.
#[derive(Default)]
struct Known {
    by_name: BTreeMap<String, File>,
    warnings: Vec<String>,
    /// Files that are no definition, and why.
    broken: Vec<String>,
}

impl Known {
    fn load(repo: &Repo, tree: &TreeId) -> Result<Known, GitError> {
        let mut known = Known::default();
        let names = repo.files(tree)?;
        for folder in FOLDERS {
            let files = names.iter().filter(|name| name.starts_with(folder) && name.ends_with(".md"));
            for path in files.take(FILES_MAX) {
                // What a link names is read as its text, and that is no definition.
                let bytes = repo.read_file(tree, path)?.unwrap_or_default();
                known.add(path, &String::from_utf8_lossy(&bytes));
            }
        }
        Ok(known)
    }

    fn add(&mut self, path: &str, text: &str) {
        match File::parse(path, text) {
            Err(why) => self.broken.push(format!("{path}: {why}")),
            Ok(file) => {
                if let Some(other) = self.by_name.get(&file.name) {
                    let (name, other) = (&file.name, &other.source);
                    self.warnings.push(format!("`{name}` is defined twice: {path} holds, {other} does not"));
                }
                self.by_name.insert(file.name.clone(), file);
            }
        }
    }

    fn of(mut self, plan_name: &str, plan: &Plan, prices: &Table) -> Result<Named, Problems> {
        let mut named = Named::default();
        let mut problems = Vec::new();
        let mut told = BTreeSet::new();
        for asked in uses(plan) {
            let found = match self.by_name.get(&asked.name) {
                None => Err((format!("there is no agent `{}`", asked.name), Some(self.hint()))),
                Some(file) => file.resolve(prices, &mut named.warnings).map_err(|message| (message, None)),
            };
            match found {
                Err((message, hint)) => {
                    problems.push(Problem { message, hint, line: asked.line, column: asked.column });
                }
                Ok((file, text)) => {
                    if told.insert(asked.name.clone()) {
                        named.texts.push(text);
                        named.used.insert(asked.name.clone(), file);
                    }
                }
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            return Err(Problems { file: plan_name.to_owned(), problems });
        }
        named.warnings.append(&mut self.warnings);
        named.warnings.sort();
        named.warnings.dedup();
        Ok(named)
    }

    /// Which names there are, and which files are none.
    fn hint(&self) -> String {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).take(KNOWN_MAX).collect();
        if self.by_name.len() > KNOWN_MAX {
            names.push("…");
        }
        let mut hint = match names.is_empty() {
            true => "the base commit has none: write .wattle/agents/NAME.md, and commit it".to_owned(),
            false => format!("the base commit has {}", names.join(", ")),
        };
        if let Some(first) = self.broken.first() {
            hint.push_str(&format!("; not read: {first}"));
            if self.broken.len() > 1 {
                hint.push_str(&format!(" (and {} more)", self.broken.len() - 1));
            }
        }
        hint
    }
}

/// The model that an agent asks for: what the plan says, else what its definition says; `None` = the run's.
pub(crate) fn model_of<'a>(agent: &'a AgentSpec, agents: &'a BTreeMap<String, AgentFile>) -> Option<&'a str> {
    let definition = || agents.get(&agent.uses.as_ref()?.name)?.model.as_deref();
    agent.model.as_deref().or_else(definition)
}

/// What a run tells its workers beside the brief, out of its frozen inputs.
pub(crate) struct Guidance {
    /// The instructions of the base commit.
    pub(crate) instructions: Instructions,
    agents: BTreeMap<String, (AgentFile, String)>,
}

impl Guidance {
    /// Reads it. A run that an older version began has none.
    pub(crate) fn of(started: &RunStarted, blobs: &Blobs) -> Result<Guidance, BlobError> {
        let instructions = match &started.instructions {
            // Written by us; were it anything else, no instructions are better than no run.
            Some(blob) => serde_json::from_str(&blobs.text(blob)?).unwrap_or_default(),
            None => Instructions::default(),
        };
        let mut agents = BTreeMap::new();
        for (name, file) in &started.agents {
            agents.insert(name.clone(), (file.clone(), blobs.text(&file.body)?));
        }
        Ok(Guidance { instructions, agents })
    }

    fn file(&self, agent: &AgentSpec) -> Option<&(AgentFile, String)> {
        self.agents.get(&agent.uses.as_ref()?.name)
    }

    /// The words of an agent's definition.
    pub(crate) fn definition(&self, agent: &AgentSpec) -> Option<Definition> {
        let name = agent.uses.as_ref()?.name.clone();
        self.file(agent).map(|(_, body)| Definition { name, body: body.clone() })
    }

    /// Bound on an agent's turns.
    pub(crate) fn max_turns(&self, agent: &AgentSpec) -> u32 {
        let given = agent.uses.as_ref().is_some_and(|uses| uses.turns_given);
        let own = self.file(agent).and_then(|(file, _)| file.max_turns).filter(|_| !given);
        own.unwrap_or(agent.max_turns)
    }

    /// What a definition leaves of the tools that a step has: it adds none.
    pub(crate) fn tools(&self, agent: &AgentSpec, step: Vec<String>) -> Vec<String> {
        let Some((file, _)) = self.file(agent) else { return step };
        let may = |name: &String| {
            file.tools.as_ref().is_none_or(|tools| tools.contains(name)) && !file.disallowed.contains(name)
        };
        let mut left: Vec<String> = step.into_iter().filter(may).collect();
        if left.is_empty() {
            left = LEAST.map(str::to_owned).to_vec();
        }
        left
    }
}

/// A definition as it is frozen, and its words.
type Resolved = (AgentFile, String);

fn blob_of(text: &str) -> Blob {
    Blob::of(text.as_bytes())
}

#[cfg(test)]
mod tests;
