//! `wattle conflicts`: would these merge? Nothing is checked out and nothing is written but objects.

use std::io::BufRead;

use serde_json::json;
use wattle_workspace::{CommitId, Merged, Repo};

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::ui::Style;

/// Most pairs in one call: 200 branches against each other; more is asked for by mistake.
const PAIRS_MAX: usize = 20_000;

/// Would these merge? Every pair of the given revisions.
#[derive(Debug, clap::Args)]
pub(crate) struct ConflictsArgs {
    /// Revisions; the default is the branches of the steps of live runs.
    #[arg(value_name = "REV")]
    revisions: Vec<String>,
    /// Read the pairs from standard input, one `A B` a line.
    #[arg(long, conflicts_with = "revisions")]
    stdin: bool,
    /// End with 1 when a pair does not merge.
    #[arg(long)]
    exit_code: bool,
}

struct Pair {
    names: (String, String),
    commits: (CommitId, CommitId),
}

/// Merges every pair in memory.
pub(crate) fn run(session: &Session, args: &ConflictsArgs) -> Done {
    let repo = session.repo()?;
    let names = if args.stdin { read_pairs()? } else { all_pairs(&revisions(&repo, args)?)? };
    let pairs = names.into_iter().map(|names| resolve(&repo, names)).collect::<Result<Vec<_>, _>>()?;
    let commits: Vec<_> = pairs.iter().map(|pair| pair.commits.clone()).collect();
    let merged = repo.merge_pairs(&commits)?;
    let conflicts = merged.iter().filter(|one| matches!(one, Merged::Conflicts { .. })).count();
    if session.ui.json {
        let rows: Vec<_> = pairs.iter().zip(&merged).map(|(pair, merged)| row(pair, merged)).collect();
        session.ui.object(&json!({ "v": 1, "pairs": rows }));
    } else {
        for (pair, merged) in pairs.iter().zip(&merged) {
            show(session, pair, merged);
        }
        session.ui.talk(&format!("{} pairs, {conflicts} in conflict", pairs.len()));
    }
    Ok(if args.exit_code && conflicts > 0 { Exit::Failed } else { Exit::Reached })
}

fn row(pair: &Pair, merged: &Merged) -> serde_json::Value {
    let (a, b) = &pair.names;
    match merged {
        Merged::Clean { tree } => json!({ "a": a, "b": b, "clean": true, "tree": tree }),
        Merged::Conflicts { paths, .. } => {
            json!({ "a": a, "b": b, "clean": false, "paths": paths })
        }
    }
}

fn show(session: &Session, pair: &Pair, merged: &Merged) {
    let (a, b) = &pair.names;
    let names = format!("{a}  {b}");
    match merged {
        Merged::Clean { .. } => session.ui.line(&[(Style::Good, "merges    "), (Style::Plain, &names)]),
        Merged::Conflicts { paths, .. } => {
            let paths = paths.join(", ");
            session.ui.line(&[
                (Style::Bad, "conflicts "),
                (Style::Plain, &names),
                (Style::Dim, "  "),
                (Style::Dim, &paths),
            ]);
        }
    }
}

fn revisions(repo: &Repo, args: &ConflictsArgs) -> Result<Vec<String>, CliError> {
    if !args.revisions.is_empty() {
        return Ok(args.revisions.clone());
    }
    let refs = repo.list_refs("refs/heads/wattle/")?;
    Ok(refs.into_iter().map(|(name, _)| name.trim_start_matches("refs/heads/").to_owned()).collect())
}

fn all_pairs(revisions: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let count = revisions.len() * revisions.len().saturating_sub(1) / 2;
    if count > PAIRS_MAX {
        return Err(CliError::usage(format!("{count} pairs are more than {PAIRS_MAX}"))
            .hint("give fewer revisions, or pairs with --stdin"));
    }
    let mut pairs = Vec::with_capacity(count);
    for (i, a) in revisions.iter().enumerate() {
        pairs.extend(revisions[i + 1..].iter().map(|b| (a.clone(), b.clone())));
    }
    Ok(pairs)
}

fn read_pairs() -> Result<Vec<(String, String)>, CliError> {
    let mut pairs = Vec::new();
    for (i, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| CliError::usage(format!("standard input cannot be read: {error}")))?;
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [a, b] => pairs.push((a.to_owned(), b.to_owned())),
            _ => {
                return Err(CliError::usage(format!("line {} of standard input is not `A B`: {line}", i + 1)));
            }
        }
        if pairs.len() > PAIRS_MAX {
            return Err(CliError::usage(format!("more than {PAIRS_MAX} pairs")));
        }
    }
    Ok(pairs)
}

fn resolve(repo: &Repo, names: (String, String)) -> Result<Pair, CliError> {
    let find = |name: &str| {
        let unknown = || CliError::new(Exit::Usage, "no_revision", format!("find the revision `{name}`"));
        repo.resolve(name)?.ok_or_else(unknown)
    };
    let commits = (find(&names.0)?, find(&names.1)?);
    Ok(Pair { names, commits })
}
