//! `wattle plan`: a plan on stdout, its preview on stderr.
//!
//! With a rule or a pattern the plan is sharded over the files that really match, and no model is asked.

use std::path::PathBuf;

use wattle_planner::{By, RuleSource, ShardError, ShardInput, headline, shard};
use wattle_worker::assignment::Rewrite;
use wattle_worker::host::Usage;
use wattle_worker::rewrite;
use wattle_workspace::{Class, CommitId, Head, Pool, PoolOptions, Repo, Want};

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::config::{Effective, Flags, frame, money};
use crate::report::preview::{self, Room};

/// Make a plan: by the lead planner from a task, or by sharding a rewrite rule.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// What is to be done, for the lead planner (or the title of a sharded plan).
    task: Option<String>,
    /// Write the plan to a file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Money cap of the planning, in dollars.
    #[arg(long, value_name = "X", value_parser = money::parse_usd)]
    max_usd: Option<u64>,
    /// Model of the lead planner.
    #[arg(long, value_name = "PROVIDER/NAME")]
    model: Option<String>,
    /// Shard this ast-grep rule file over the files that match; no model is asked.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pattern", "model"])]
    rule: Option<PathBuf>,
    /// Shard a rewrite of this pattern.
    #[arg(short, long, requires = "rewrite", requires = "lang")]
    pattern: Option<String>,
    /// What replaces a match of the pattern.
    #[arg(long, value_name = "FIX", requires = "pattern")]
    rewrite: Option<String>,
    /// Language of the pattern.
    #[arg(short, long, requires = "pattern")]
    lang: Option<String>,
    /// How files are put together: dir, dir:DEPTH, package, owner or files:N.
    #[arg(long, default_value = "dir")]
    by: By,
}

/// Makes the plan, and shows what it would do.
pub(crate) fn run(session: &Session, args: &PlanArgs) -> Done {
    let repo = session.repo()?;
    let flags = Flags { max_nano_usd: args.max_usd, model: args.model.clone(), ..Flags::default() };
    let config = session.config(&repo, &flags)?;
    let (text, asked) = match rule(args)? {
        Some((source, rewrite)) => (sharded(&repo, args, source, &rewrite)?, Vec::new()),
        None => {
            let task = args.task.as_deref().ok_or_else(|| {
                CliError::usage("neither a task nor a rule is given")
                    .hint("wattle plan TASK, or --rule FILE, or -p PATTERN")
            })?;
            let ctx = session.context(repo.clone())?;
            let made = super::run::lead_plan(session, &ctx, &config, task, None)?;
            (made.yaml, made.usage)
        }
    };
    show(session, &repo, &text, &config, &asked)?;
    match &args.output {
        None => session.ui.raw(text.as_bytes()),
        Some(path) => std::fs::write(path, &text).map_err(|error| CliError::file("write", path, &error))?,
    }
    Ok(Exit::Reached)
}

/// Prints the preview of a plan on stderr. `asked`: what the lead has asked its model.
pub(super) fn show(
    session: &Session,
    repo: &Repo,
    text: &str,
    config: &Effective,
    asked: &[Usage],
) -> Result<(), CliError> {
    let whole = frame::complete(text, &config.frame);
    let plan = wattle_planner::parse_plan("the plan", &whole)?;
    let base = repo.resolve("HEAD")?;
    let room = Room {
        checkout_bytes: base.map(|base| repo.checkout_bytes(&base)).transpose()?.flatten(),
        free_bytes: repo.free_bytes().ok(),
    };
    session.ui.talk(&preview::preview(&plan, config, room, asked));
    Ok(())
}

/// The rule that is meant: as the plan names it, and as the worker reads it.
fn rule(args: &PlanArgs) -> Result<Option<(RuleSource, Rewrite)>, CliError> {
    if let Some(path) = &args.rule {
        let yaml = std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, &error))?;
        let name = path.display().to_string();
        return Ok(Some((RuleSource::File(name.clone()), Rewrite::Rules { name, yaml })));
    }
    let (Some(pattern), Some(fix), Some(lang)) = (&args.pattern, &args.rewrite, &args.lang) else { return Ok(None) };
    let (pattern, fix, lang) = (pattern.clone(), fix.clone(), lang.clone());
    let source = RuleSource::Pattern { pattern: pattern.clone(), fix: fix.clone(), lang: lang.clone() };
    Ok(Some((source, Rewrite::Pattern { pattern, fix, lang })))
}

fn sharded(repo: &Repo, args: &PlanArgs, source: RuleSource, rewrite: &Rewrite) -> Result<String, CliError> {
    rewrite::validate(rewrite).map_err(|error| CliError::new(Exit::Invalid, "rule", error.to_string()))?;
    let base = head(repo)?;
    let matched = matching(repo, &base, rewrite)?;
    let tree = repo.tree_of(&base)?;
    let manifest = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or(path);
        ["Cargo.toml", "package.json", "pyproject.toml", "setup.py", "go.mod"].contains(&name)
    };
    let manifests: Vec<String> = repo.files(&tree)?.into_iter().filter(manifest).collect();
    let mut codeowners = None;
    for path in [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"] {
        if codeowners.is_none() {
            codeowners = repo.read_file(&tree, path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    let task = args.task.clone().unwrap_or_else(|| match rewrite {
        Rewrite::Rules { name, .. } => format!("Apply {name}"),
        Rewrite::Pattern { pattern, fix, .. } => headline(&format!("Rewrite `{pattern}` to `{fix}`")).to_string(),
    });
    let codeowners = codeowners.as_deref();
    let input = ShardInput {
        task: &task,
        rule: source,
        matched: &matched,
        manifests: &manifests,
        codeowners,
        by: args.by,
        checks: Vec::new(),
    };
    shard(&input).map_err(|error| {
        let message = error.to_string();
        match error {
            ShardError::NothingMatches => CliError::new(Exit::Invalid, "nothing_matches", message)
                .hint("files that .gitignore names, and files that are not committed, are not seen"),
            ShardError::TooManySteps { .. } => {
                CliError::new(Exit::Invalid, "plan", message).hint("--by files:N with a larger N")
            }
            ShardError::NoCodeowners => CliError::new(Exit::Invalid, "plan", message).hint("--by dir"),
            ShardError::Codeowners { .. } | ShardError::Invalid(_) => CliError::new(Exit::Invalid, "plan", message),
        }
    })
}

/// The commit that a plan is made for.
pub(super) fn head(repo: &Repo) -> Result<CommitId, CliError> {
    match repo.facts()?.head {
        Head::Branch { commit: Some(commit), .. } | Head::Detached { commit } => Ok(commit),
        Head::Branch { commit: None, .. } => {
            Err(CliError::new(Exit::Environment, "empty", "find a commit: the repository is empty")
                .hint("make a first commit"))
        }
    }
}

/// Files of the commit where the rule matches, found in a snapshot: what is dirty in a checkout is not seen.
fn matching(repo: &Repo, base: &CommitId, rewrite: &Rewrite) -> Result<Vec<String>, CliError> {
    repo.configure(base)?;
    let pool = Pool::open(repo, PoolOptions::default())?;
    let holder = format!("plan/{}", std::process::id());
    let want = Want { class: Class::Snapshot, base: base.clone(), holder, setup_key: None };
    let lease = pool.lease(&want)?;
    let matched = rewrite::matching_files(&lease.path, rewrite);
    pool.release(lease)?;
    matched.map_err(|error| CliError::new(Exit::Invalid, "rule", error.to_string()))
}
