//! `wattle conflicts`: would these merge? Nothing is checked out and nothing is written but objects.

use std::collections::HashMap;
use std::io::BufRead;

use serde_json::json;
use wattle_workspace::{CommitId, Merged, Repo, Rules, Trial};

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::ui::Style;

/// Most revisions against each other: 500 make 124,750 pairs, minutes of work; more is asked for by mistake.
const REVISIONS_MAX: usize = 500;
/// Most pairs in one call: ten times the merges of the longest histories that are known, held in 16 MB.
const PAIRS_MAX: usize = 2_000_000;
/// Most bytes of standard input: a hundred for every pair, most of which name their commits by id.
const INPUT_BYTES_MAX: usize = 256 << 20;
/// Most bytes in a line: two names of the longest paths that a system has.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// Of a line that is wrong this much is shown.
const SHOWN_CHARS: usize = 200;
/// Pairs merged at a time: enough to keep every processor busy, few enough to see the first answers soon.
const ROUND: usize = 1_024;

/// Would these merge? Every pair of the given revisions.
///
/// Nothing is checked out, and nothing is written to the repository: the tree of a clean merge is named by the id that
/// `git merge` would give it. With `-v` a conflict shows what git says of it, and in JSON what each side has.
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

/// Names, each once, and the pairs of them by place.
#[derive(Default)]
struct Asked {
    names: Vec<String>,
    pairs: Vec<(u32, u32)>,
}

/// Merges every pair in memory, a round at a time, and says each round's answers.
pub(crate) fn run(session: &Session, args: &ConflictsArgs) -> Done {
    let repo = session.repo()?;
    let asked = if args.stdin { read_pairs(std::io::stdin().lock())? } else { all_pairs(revisions(&repo, args)?)? };
    let commits = resolve(&repo, &asked.names)?;
    let mut trial = repo.trial(Rules::Checkout)?;
    let mut count = Count::default();
    if !session.ui.json {
        merge(session, &mut trial, &asked, &commits, &mut count)?;
        session.ui.talk(&format!("{} pairs, {} in conflict", count.said, count.conflicts));
        return Ok(count.exit(args));
    }
    session.ui.raw(b"{\"v\":1,\"pairs\":[");
    let done = merge(session, &mut trial, &asked, &commits, &mut count);
    // Closed whatever happened: an error follows as a value of its own.
    session.ui.raw(b"]}\n");
    done.map(|()| count.exit(args))
}

/// How many answers were given.
#[derive(Default)]
struct Count {
    said: usize,
    conflicts: usize,
}

impl Count {
    fn exit(&self, args: &ConflictsArgs) -> Exit {
        if args.exit_code && self.conflicts > 0 { Exit::Failed } else { Exit::Reached }
    }
}

fn merge(
    session: &Session,
    trial: &mut Trial<'_>,
    asked: &Asked,
    commits: &[CommitId],
    count: &mut Count,
) -> Result<(), CliError> {
    for round in asked.pairs.chunks(ROUND) {
        let pair = |(a, b): &(u32, u32)| (commits[*a as usize].clone(), commits[*b as usize].clone());
        let pairs: Vec<_> = round.iter().map(pair).collect();
        let mut json = String::new();
        for ((a, b), mut merged) in round.iter().zip(trial.merge_all(&pairs)?) {
            let names = (asked.names[*a as usize].as_str(), asked.names[*b as usize].as_str());
            merged.rename_side(commits[*b as usize].as_str(), names.1);
            if session.ui.json {
                let comma = if count.said > 0 { "," } else { "" };
                json.push_str(&format!("{comma}{}", row(names, &merged, session.ui.loudness > 0)));
            } else {
                show(session, names, &merged);
            }
            count.said += 1;
            count.conflicts += usize::from(matches!(merged, Merged::Conflicts { .. }));
        }
        session.ui.raw(json.as_bytes());
    }
    Ok(())
}

fn row((a, b): (&str, &str), merged: &Merged, whole: bool) -> serde_json::Value {
    match merged {
        Merged::Clean { tree } => json!({ "a": a, "b": b, "clean": true, "tree": tree }),
        Merged::Conflicts { paths, stages, notes, .. } if whole => {
            json!({ "a": a, "b": b, "clean": false, "paths": paths, "stages": stages, "notes": notes })
        }
        Merged::Conflicts { paths, .. } => json!({ "a": a, "b": b, "clean": false, "paths": paths }),
    }
}

fn show(session: &Session, (a, b): (&str, &str), merged: &Merged) {
    let names = format!("{a}  {b}");
    match merged {
        Merged::Clean { .. } => session.ui.line(&[(Style::Good, "merges    "), (Style::Plain, &names)]),
        Merged::Conflicts { paths, messages, .. } => {
            let paths = paths.join(", ");
            session.ui.line(&[
                (Style::Bad, "conflicts "),
                (Style::Plain, &names),
                (Style::Dim, "  "),
                (Style::Dim, &paths),
            ]);
            if session.ui.loudness > 0 {
                session.ui.data(messages);
            }
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

fn all_pairs(names: Vec<String>) -> Result<Asked, CliError> {
    if names.len() > REVISIONS_MAX {
        return Err(CliError::usage(format!("{} revisions are more than {REVISIONS_MAX}", names.len()))
            .hint("give fewer revisions, or pairs with --stdin"));
    }
    let count = names.len() as u32;
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect();
    Ok(Asked { names, pairs })
}

/// Reads `A B` lines. The whole input is judged before the first merge, so that a mistake in the last line costs nothing.
fn read_pairs(mut input: impl BufRead) -> Result<Asked, CliError> {
    let mut asked = Asked::default();
    let mut places: HashMap<String, u32> = HashMap::new();
    let (mut line, mut number, mut bytes) = (String::new(), 0, 0);
    loop {
        line.clear();
        number += 1;
        let unreadable = |error| CliError::usage(format!("line {number} of standard input cannot be read: {error}"));
        match std::io::Read::take(&mut input, LINE_BYTES_MAX).read_line(&mut line).map_err(unreadable)? {
            0 => return Ok(asked),
            read => bytes += read,
        }
        if bytes > INPUT_BYTES_MAX || asked.pairs.len() >= PAIRS_MAX {
            return Err(CliError::usage(format!("more than {PAIRS_MAX} pairs or {INPUT_BYTES_MAX} bytes at once")));
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let [a, b] = words[..] else {
            if words.is_empty() {
                continue;
            }
            let shown: String = line.trim_end().chars().take(SHOWN_CHARS).collect();
            return Err(CliError::usage(format!("line {number} of standard input is not `A B`: {shown}")));
        };
        let mut place = |name: &str| match places.get(name) {
            Some(place) => *place,
            None => {
                let place = asked.names.len() as u32;
                asked.names.push(name.to_owned());
                places.insert(name.to_owned(), place);
                place
            }
        };
        let pair = (place(a), place(b));
        asked.pairs.push(pair);
    }
}

fn resolve(repo: &Repo, names: &[String]) -> Result<Vec<CommitId>, CliError> {
    let found = repo.resolve_all(names)?;
    let known = |(name, found): (&String, Option<CommitId>)| {
        found.ok_or_else(|| CliError::new(Exit::Usage, "no_revision", format!("find the revision `{name}`")))
    };
    names.iter().zip(found).map(known).collect()
}
