//! Sharding: a rewrite as a plan of many write steps that run in parallel, made without any model.
//!
//! Each file the rule matches goes to exactly one step. The `touches` of a step are as wide as they can be without
//! meeting those of another, so that all steps run at once and the plan stays short; the last step makes sure that
//! the rule matches nothing any more.

mod cover;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::file::STEPS_MAX;
use crate::globs::{GlobError, escape};
use crate::id::ID_BYTES_MAX;
use crate::problem::Problems;
use crate::step::RuleSource;
use crate::task;
use crate::validate::parse_plan;
use crate::yaml;
use cover::{Shard, cover};
use owners::Owners;

/// How files are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By folder; with a depth, by the first so many folders of the path.
    Dir {
        /// Folders, counted from the root, at least 1.
        depth: Option<u32>,
    },
    /// By the nearest folder above with a package manifest.
    Package,
    /// By owner, as CODEOWNERS says.
    Owner,
    /// So many files at a time, at least 1.
    Files(u32),
}

/// Why a text is no [`By`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard by `{0}`; known are dir, dir:DEPTH, package, owner and files:N")]
pub struct ByError(String);

impl FromStr for By {
    type Err = ByError;
    fn from_str(text: &str) -> Result<Self, ByError> {
        let error = || ByError(text.escape_debug().to_string());
        let number = |n: &str| n.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(error);
        match text.split_once(':') {
            None if text == "dir" => Ok(Self::Dir { depth: None }),
            None if text == "package" => Ok(Self::Package),
            None if text == "owner" => Ok(Self::Owner),
            Some(("dir", depth)) => Ok(Self::Dir { depth: Some(number(depth)?) }),
            Some(("files", count)) => number(count).map(Self::Files),
            Some(_) | None => Err(error()),
        }
    }
}

/// What [`shard`] decides from.
#[derive(Clone, Debug)]
pub struct ShardInput<'a> {
    /// What the rewrite is for.
    pub task: &'a str,
    /// The rule.
    pub rule: RuleSource,
    /// The root-relative paths of the files where the rule matches.
    pub matched: &'a [String],
    /// The root-relative paths of all package manifests: `Cargo.toml`, `package.json`, `pyproject.toml`, `setup.py`,
    /// `go.mod`.
    pub manifests: &'a [String],
    /// The text of CODEOWNERS.
    pub codeowners: Option<&'a str>,
    /// How files are put together.
    pub by: By,
    /// Checks (name, command) of every landing.
    pub checks: Vec<(String, String)>,
}

/// Why there is no sharded plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// No file matches.
    #[error("shard the rewrite: the rule matches no file")]
    NothingMatches,
    /// More steps than a plan may have.
    #[error("shard the rewrite: {steps} steps, a plan has at most {STEPS_MAX}; make the shards larger")]
    TooManySteps {
        /// How many there would be.
        steps: usize,
    },
    /// By owner, without CODEOWNERS.
    #[error("shard the rewrite by owner: the repository has no CODEOWNERS")]
    NoCodeowners,
    /// A line of CODEOWNERS cannot be read.
    #[error("read line {line} of CODEOWNERS")]
    Codeowners {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        error: GlobError,
    },
    /// The input makes a plan that is not valid (a task of control characters, two checks of one name).
    #[error("shard the rewrite: the plan would not be valid\n{0}")]
    Invalid(Problems),
}

/// The plan (YAML, valid for [`parse_plan`]) that applies the rule to every matched file in parallel steps and then
/// makes sure that nothing matches any more.
pub fn shard(input: &ShardInput<'_>) -> Result<String, ShardError> {
    let matched: BTreeSet<&str> = input.matched.iter().map(String::as_str).collect();
    if matched.is_empty() {
        return Err(ShardError::NothingMatches);
    }
    let shards = match input.by {
        By::Dir { depth } => by_dir(&matched, depth),
        By::Package => by_package(&matched, input.manifests),
        By::Owner => by_owner(&matched, input.codeowners)?,
        By::Files(count) => by_count(&matched, count),
    };
    // One more for the step that verifies.
    if shards.len() >= STEPS_MAX {
        let steps = shards.len() + 1;
        return Err(ShardError::TooManySteps { steps });
    }
    let touches = match input.by {
        By::Files(_) => shards.iter().map(|shard| shard.files.iter().map(|file| escape(file)).collect()).collect(),
        By::Dir { .. } | By::Package | By::Owner => cover(&shards),
    };
    let text = render(input, matched.len(), &shards, &touches);
    match parse_plan("the sharded plan", &text) {
        Ok(_) => Ok(text),
        Err(problems) => Err(ShardError::Invalid(problems)),
    }
}

/// The folder of a path; empty for the root.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn collect<'a>(matched: &BTreeSet<&'a str>, key: impl Fn(&'a str) -> (String, &'a str, String)) -> Vec<Shard<'a>> {
    let mut shards: BTreeMap<String, Shard<'a>> = BTreeMap::new();
    for file in matched {
        let (name, root, title) = key(file);
        let files = Vec::new();
        let id = name.clone();
        let new = || Shard { id, title, root, files };
        shards.entry(name).or_insert_with(new).files.push(file);
    }
    shards.into_values().collect()
}

fn folder_title(folder: &str) -> String {
    match folder {
        "" => "the top folder".to_owned(),
        _ => folder.to_owned(),
    }
}

fn by_dir<'a>(matched: &BTreeSet<&'a str>, depth: Option<u32>) -> Vec<Shard<'a>> {
    collect(matched, |file| {
        let mut folder = parent(file);
        if let Some(depth) = depth {
            let depth = usize::try_from(depth).unwrap_or(usize::MAX);
            if let Some((end, _)) = folder.match_indices('/').nth(depth.saturating_sub(1)) {
                folder = &folder[..end];
            }
        }
        (folder.to_owned(), folder, folder_title(folder))
    })
}

fn by_package<'a>(matched: &BTreeSet<&'a str>, manifests: &[String]) -> Vec<Shard<'a>> {
    let roots: BTreeSet<&str> = manifests.iter().map(|manifest| parent(manifest)).collect();
    collect(matched, |file| {
        let mut folder = parent(file);
        while !roots.contains(folder) && !folder.is_empty() {
            folder = parent(folder);
        }
        let title = match (folder, roots.contains(folder)) {
            ("", true) => "the package at the top".to_owned(),
            ("", false) => "outside of packages".to_owned(),
            (_, _) => format!("package {folder}"),
        };
        (folder.to_owned(), folder, title)
    })
}

fn by_owner<'a>(matched: &BTreeSet<&'a str>, codeowners: Option<&str>) -> Result<Vec<Shard<'a>>, ShardError> {
    let owners = Owners::parse(codeowners.ok_or(ShardError::NoCodeowners)?)
        .map_err(|(line, error)| ShardError::Codeowners { line, error })?;
    Ok(collect(matched, |file| match owners.of(file) {
        Some(owner) => (owner.to_owned(), "", format!("owned by {owner}")),
        None => ("unowned".to_owned(), "", "owned by nobody".to_owned()),
    }))
}

fn by_count<'a>(matched: &BTreeSet<&'a str>, count: u32) -> Vec<Shard<'a>> {
    let files: Vec<&str> = matched.iter().copied().collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let digits = files.len().div_ceil(count).to_string().len();
    files
        .chunks(count)
        .enumerate()
        .map(|(i, chunk)| Shard {
            id: format!("files-{:0digits$}", i + 1),
            title: match chunk {
                [first, .., last] => format!("{first} to {last}"),
                [only] => (*only).to_owned(),
                [] => String::new(),
            },
            root: "",
            files: chunk.to_vec(),
        })
        .collect()
}

/// The last step's id; no shard gets it.
const VERIFY: &str = "verify-rewrite";

/// Ids for the names of shards: what is legal of a name, its end where it is too long, numbered where two are alike.
fn ids(shards: &[Shard<'_>]) -> Vec<String> {
    // Room for a dash and the digits of the largest number.
    let room = ID_BYTES_MAX - 5;
    let mut taken: BTreeSet<String> = BTreeSet::from([VERIFY.to_owned()]);
    let mut ids = Vec::with_capacity(shards.len());
    for shard in shards {
        let lower = shard.id.to_ascii_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = words.join("-");
        let tail = &name[name.len().saturating_sub(room)..];
        let base = match tail.trim_start_matches('-') {
            "" => "top",
            tail => tail,
        };
        let numbered = (2..).map(|n: u32| format!("{base}-{n}"));
        let id = std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|id| !taken.contains(id))
            .expect("one of endless numbers is free");
        taken.insert(id.clone());
        ids.push(id);
    }
    ids
}

fn render(input: &ShardInput<'_>, files: usize, shards: &[Shard<'_>], touches: &[BTreeSet<String>]) -> String {
    let count = shards.len();
    let mut out = format!(
        "# {files} files where the rule matches, in {count} steps that share no path.\n\
         # Edit what you like, then: wattle run -f FILE\n\
         version: 1\n\
         task: {}\n",
        yaml::block(input.task, 2)
    );
    if input.checks.is_empty() {
        out.push_str("# checks:          # commands that must pass on what lands\n");
        out.push_str("#   - { name: build, run: make }\n");
    } else {
        out.push_str("checks:\n");
    }
    for (name, run) in &input.checks {
        let (name, run) = (yaml::scalar(name), yaml::scalar(run));
        out.push_str(&format!("  - {{ name: {name}, run: {run} }}\n"));
    }
    out.push_str("steps:\n");
    let parts = ids(shards).into_iter().zip(shards).zip(touches);
    let mut rewrite = format!("&rule{}", rule(&input.rule));
    for ((id, shard), touches) in parts {
        out.push_str(&step(&id, shard, touches, &rewrite));
        "*rule".clone_into(&mut rewrite);
    }
    let title = format!("Nothing is left of: {}", task::headline(input.task));
    out.push_str(&format!(
        "  # Changes nothing; fails if the rule still matches somewhere.\n  \
           - id: {VERIFY}\n    \
             title: {}\n    \
             mode: read\n    \
             needs: [\"*\"]\n    \
             rewrite: *rule\n    \
             expect: none\n",
        yaml::scalar(&title)
    ));
    out
}

/// The lines of a write step.
fn step(id: &str, shard: &Shard<'_>, touches: &BTreeSet<String>, rewrite: &str) -> String {
    let files = match shard.files.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    let title = yaml::scalar(&format!("{} ({files})", shard.title));
    let mut out = format!("  - id: {}\n    title: {title}\n    touches:\n", yaml::scalar(id));
    for glob in touches {
        out.push_str(&format!("      - {}\n", yaml::scalar(glob)));
    }
    out.push_str(&format!("    rewrite: {rewrite}\n"));
    out
}

/// The value of `rewrite`, behind its anchor.
fn rule(rule: &RuleSource) -> String {
    match rule {
        RuleSource::File(path) => format!("\n      rule: {}", yaml::scalar(path)),
        RuleSource::Inline(text) => format!("\n      inline: {}", yaml::block(text, 8)),
        RuleSource::Pattern { pattern, fix, lang } => format!(
            "\n      pattern: {}\n      fix: {}\n      lang: {}",
            yaml::block(pattern, 8),
            if fix.is_empty() { "\"\"".to_owned() } else { yaml::block(fix, 8) },
            yaml::scalar(lang),
        ),
    }
}

#[cfg(test)]
mod tests;
