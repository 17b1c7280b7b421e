//! Every two-parent merge of a history, merged again by the product and by `git merge`, and compared.
//!
//! `cargo bench -p wattle --bench merges -- REPOSITORY [OPTION]…`; the options are `--from K`, `--limit N`, `--whole`,
//! `--edited`, `--unlike` and `--set KEY=VALUE`, which may be given several times. The repository is only read.
//!
//! For each merge commit, newest first, its parents are merged three times: by the trial merges of
//! `wattle conflicts --stdin`, by the merge that lands a step, and by `git merge` in a checkout (see `oracle`). What must
//! agree is the tree where it merges, else the paths in conflict. Every difference is printed, then the totals; the bench
//! fails if there is one. The tree that the history records is compared with git's for information: where they differ
//! somebody has resolved, edited or made the merge in another way, and `--edited` names those.
//!
//! A history of tens of thousands of merges ends within minutes with `--unlike`: where the trial gives the very tree that
//! is recorded, which `git merge` gave the author of the merge, it is not made again, neither by git nor as a landing.

mod history;
mod oracle;
#[expect(dead_code, reason = "the other bench, whose file it is, uses the rest")]
#[path = "../git/place.rs"]
mod place;
mod totals;

use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wattle_workspace::{CommitId, MergeSpec, Merged, Repo};

use history::Merge;
use oracle::Oracle;
use place::Place;
use totals::Totals;

/// Whatever stops the comparison.
type Res<T> = Result<T, Box<dyn Error>>;

/// Merges asked of the product at a time, so that the first differences are seen soon.
const ROUND: usize = 256;
/// Merges after which the totals so far are said.
const SAID_EVERY: usize = 1_024;

/// What is compared.
struct Asked {
    repository: PathBuf,
    from: usize,
    limit: usize,
    /// git checks all files out, not only those of attributes.
    whole: bool,
    /// Merges that the history records otherwise are named.
    edited: bool,
    /// Merges whose trial is what the history records are not made again.
    unlike: bool,
    /// Lines for the user's configuration, `key=value`.
    settings: Vec<String>,
}

/// What came of one merge, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// It merges to this tree.
    Clean(String),
    /// These paths are in conflict.
    Conflicts(Vec<String>),
    /// There is no result, or git could not write it into its checkout.
    Failed(String),
}

impl From<&Merged> for End {
    fn from(merged: &Merged) -> End {
        match merged {
            Merged::Clean { tree } => End::Clean(tree.to_string()),
            Merged::Conflicts { paths, .. } => End::Conflicts(paths.clone()),
        }
    }
}

fn main() -> ExitCode {
    let asked = match read(std::env::args().skip(1).filter(|argument| argument != "--bench")) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            say("no repository given: cargo bench -p wattle --bench merges -- REPOSITORY [--from K] [--limit N]");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match compare(&asked) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("not compared to the end: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads the arguments; none without a repository, as when all benches run.
fn read(mut arguments: impl Iterator<Item = String>) -> Res<Option<Asked>> {
    let mut asked = Asked {
        repository: PathBuf::new(),
        from: 0,
        limit: usize::MAX,
        whole: false,
        edited: false,
        unlike: false,
        settings: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--from" => asked.from = value()?.parse()?,
            "--limit" => asked.limit = value()?.parse()?,
            "--set" => asked.settings.push(value()?),
            "--whole" => asked.whole = true,
            "--edited" => asked.edited = true,
            "--unlike" => asked.unlike = true,
            unknown if unknown.starts_with('-') => return Err(format!("no option {unknown}").into()),
            path => asked.repository = Path::new(path).canonicalize()?,
        }
    }
    Ok(Some(asked).filter(|asked| !asked.repository.as_os_str().is_empty()))
}

/// Whether all agree.
fn compare(asked: &Asked) -> Res<bool> {
    let place = Place::new()?;
    // In memory: what is written here nobody keeps, and each merge would wait for the disk.
    let memory = place.memory()?;
    let scene = place.scene(memory.path())?;
    for setting in asked.settings.iter().map(String::as_str).chain(["safe.directory=*"]) {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("--set {setting}: no `=`"))?;
        scene.git(scene.root(), &["config", "--global", "--add", key, value])?;
    }
    let merges = history::merges(&scene, &asked.repository)?;
    let first = asked.from.min(merges.len());
    let chosen = &merges[first..merges.len().min(first.saturating_add(asked.limit))];
    let version = scene.git(scene.root(), &["version"])?;
    let shown = asked.repository.display();
    say(&format!("{shown}: {} of {} two-parent merges from {first} on; {version}", chosen.len(), merges.len()));
    let ours = history::borrowing(&scene, &asked.repository, "ours.git", &["--bare"])?;
    let repo = scene.open(&ours)?;
    let mut oracle = Oracle::new(&scene, &asked.repository, asked.whole)?;
    history::index(&scene, &[&ours, oracle.path()], chosen)?;
    let mut totals = Totals::default();
    for round in chosen.chunks(ROUND) {
        let pairs: Vec<_> = round.iter().map(|merge| (merge.ours.clone(), merge.theirs.clone())).collect();
        let trials: Vec<End> = match repo.merge_pairs(&pairs) {
            Ok(trials) => trials.iter().map(End::from).collect(),
            // One of them cannot be merged at all, an object is missing say: which, each tells alone.
            Err(_) => pairs.iter().map(|pair| tried(&repo, pair)).collect(),
        };
        for (merge, trial) in round.iter().zip(&trials) {
            if asked.unlike && *trial == End::Clean(merge.tree.clone()) {
                totals.add_recorded();
            } else {
                one(asked, &repo, &mut oracle, merge, trial, &mut totals)?;
            }
            if totals.merges.is_multiple_of(SAID_EVERY) {
                say(&format!("… {}", totals.shown()));
            }
        }
    }
    say(&totals.shown());
    Ok(totals.different == 0)
}

/// One trial, alone.
fn tried(repo: &Repo, pair: &(CommitId, CommitId)) -> End {
    match repo.merge_pairs(std::slice::from_ref(pair)) {
        Ok(merged) => merged.first().map_or_else(|| End::Failed("no answer".to_owned()), End::from),
        Err(error) => End::Failed(error.to_string()),
    }
}

fn one(asked: &Asked, repo: &Repo, oracle: &mut Oracle, merge: &Merge, trial: &End, totals: &mut Totals) -> Res<()> {
    let spec = MergeSpec { base: None, ours: merge.ours.clone(), theirs: merge.theirs.clone() };
    let landing = match repo.merge(&spec) {
        Ok(mut merged) => {
            // git calls the commit of its checkout so, also in the names that it gives to files.
            merged.rename_side(merge.ours.as_str(), "HEAD");
            End::from(&merged)
        }
        Err(error) => End::Failed(error.to_string()),
    };
    let git = oracle.merge(&merge.ours, &merge.theirs)?;
    let agree = [trial, &landing].map(|ours| agrees(ours, &git));
    if agree != [true, true] {
        let names = format!("{} = {} + {}", merge.commit, merge.ours, merge.theirs);
        say(&format!("DIFFERS {names}\n  git:     {git:?}\n  trial:   {trial:?}\n  landing: {landing:?}"));
    }
    let recorded = git == End::Clean(merge.tree.clone());
    if asked.edited && matches!(git, End::Clean(_)) && !recorded {
        say(&format!("recorded otherwise: {} = {} + {}", merge.commit, merge.ours, merge.theirs));
    }
    totals.add(&git, agree == [true, true], recorded);
    Ok(())
}

/// Where git fails to write a result there is nothing to compare it with but that neither merges.
fn agrees(ours: &End, git: &End) -> bool {
    match git {
        End::Failed(_) => !matches!(ours, End::Clean(_)),
        git => ours == git,
    }
}

/// Prints a line.
fn say(line: &str) {
    // Nobody is left to be told when standard output is closed.
    _ = writeln!(stdout().lock(), "{line}");
}

/// An id as the library takes it.
fn commit(text: &str) -> Res<CommitId> {
    Ok(text.parse()?)
}
