//! Merges made only to know what would come of them: many at once, on all processors, and nothing reaches the repository.
//!
//! The objects that git must write on the way go to a folder that is removed again, unsynced. Answers are remembered (see
//! `known`), so that after one of many branches has moved only its pairs are merged.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::attributes::{Attributes, digest};
use super::known::{Known, Lines};
use super::scratch::Scratch;
use super::{Merged, one};
use crate::git::{GitError, Run};
use crate::ids::CommitId;
use crate::modules;
use crate::repo::Repo;

/// Most processes at once: past this they wait for the same disk.
const LANES_MAX: usize = 8;
/// Least pairs worth a process of their own: one costs about as much as a merge.
const BATCH_MIN: usize = 8;
/// Most pairs for one process, which answers at its end and remembers every object until then.
const BATCH_MAX: usize = 512;
/// From this many pairs on answers are neither looked up nor kept: a whole history is asked once.
const KNOWN_MAX: usize = 8_192;
/// Up to this many pairs their attributes are found by comparing trees with one that is known; of more, which are far
/// apart, the trees are read once.
const COMPARED_MAX: usize = 256;
/// Where answers are kept, in the state directory of the repository.
const KNOWN: &str = "merges";

/// What `git merge` calls the first commit, also in the names that it gives to files which another's folder displaces.
const OURS: &str = "HEAD";

/// The folder that stands for the repository with the user's configuration, there too. What is in it is written again
/// only when it has changed: that costs a dozen syncs, as much as all the merges after one branch has moved.
const RULES: &str = "rules";

/// Whose configuration and attributes decide a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those of the run: what [`Repo::configure`] has fixed, as when a step lands.
    Run,
    /// Those of `git merge` in a checkout of the first commit, with the configuration as it is now.
    Checkout,
}

/// Merges for knowledge only. Made for one round of questions.
#[derive(Debug)]
pub struct Trial<'a> {
    repo: &'a Repo,
    rules: Rules,
    known: Known,
}

/// Pairs for one process.
struct Batch {
    attributes: Option<CommitId>,
    /// Places in what was asked.
    places: Vec<usize>,
}

impl Repo {
    /// Prepares trials under these rules.
    pub fn trial(&self, rules: Rules) -> Result<Trial<'_>, GitError> {
        // Reading what is known takes as long as asking git for its configuration.
        let (lines, sum) = thread::scope(|scope| {
            let lines = scope.spawn(|| Lines::read(self.state_dir().join(KNOWN)));
            let sum = self.sum_of(rules);
            (lines.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), sum)
        });
        Ok(Trial { repo: self, rules, known: Known::of(lines, sum?) })
    }

    /// The sum of all that decides trials under these rules, beside the commits.
    fn sum_of(&self, rules: Rules) -> Result<String, GitError> {
        let sum = match rules {
            Rules::Run => self.rules_of(self.git().store())?,
            Rules::Checkout => {
                let rules = self.state_dir().join(RULES);
                self.write_rules(&rules)?;
                self.rules_of(&rules)?
            }
        };
        let attributes = self.git().attributes().filter(|_| rules == Rules::Run);
        digest(format!("{rules:?} {attributes:?} {} {sum}", self.git_version()).as_bytes())
    }

    /// Merges each pair as `git merge` would in a checkout of its first commit; the answers are in the order of the pairs.
    pub fn merge_pairs(&self, pairs: &[(CommitId, CommitId)]) -> Result<Vec<Merged>, GitError> {
        self.trial(Rules::Checkout)?.merge_all(pairs)
    }

    /// The sum of what decides merges in a folder that stands for the repository, and of the personal attributes.
    fn rules_of(&self, store: &Path) -> Result<String, GitError> {
        let mut all = Vec::new();
        let personal = self.personal_attributes();
        let files = ["user.config", "info/attributes", "shallow", modules::LIST].map(|name| store.join(name));
        for path in files.into_iter().chain(personal) {
            all.extend_from_slice(&fs::read(path).unwrap_or_default());
            all.push(0);
        }
        digest(&all)
    }
}

impl Trial<'_> {
    /// Merges every pair; the answers are in the order of the pairs.
    pub fn merge_all(&mut self, pairs: &[(CommitId, CommitId)]) -> Result<Vec<Merged>, GitError> {
        let remember = pairs.len() <= KNOWN_MAX;
        let mut answers: Vec<Option<Merged>> = pairs.iter().map(|pair| self.known.get(pair).cloned()).collect();
        let missing: Vec<usize> = (0..pairs.len()).filter(|n| answers[*n].is_none()).collect();
        let batches = self.batches(pairs, &missing)?;
        let made = self.make(pairs, &batches)?;
        if remember {
            // What its submodule's history says changes with what is fetched there.
            let lasts = made.iter().filter(|(_, merged)| !merged.names_submodule());
            self.known.add(lasts.map(|(n, merged)| (pairs[*n].clone(), merged.clone())).collect());
        }
        for (n, merged) in made {
            answers[n] = Some(merged);
        }
        Ok(answers.into_iter().map(|answer| answer.expect("every place was known or in a batch")).collect())
    }

    /// Puts pairs that merge under the same attributes into batches, enough of them for every lane.
    fn batches(&mut self, pairs: &[(CommitId, CommitId)], places: &[usize]) -> Result<Vec<Batch>, GitError> {
        let mut groups: BTreeMap<Option<String>, Batch> = BTreeMap::new();
        let mut attributes = Attributes::new(self.repo, &self.known.roots, places.len() <= COMPARED_MAX);
        for place in places {
            let ours = &pairs[*place].0;
            let sum = match self.rules {
                Rules::Run => None,
                Rules::Checkout => attributes.of(ours)?,
            };
            let group = || Batch { attributes: sum.as_ref().map(|_| ours.clone()), places: Vec::new() };
            groups.entry(sum.clone()).or_insert_with(group).places.push(*place);
        }
        let found = attributes.found();
        if places.len() <= KNOWN_MAX {
            self.known.add_roots(found);
        }
        // Many pairs are cut finer than there are lanes, so that the lanes end together; few are not worth a process more.
        let rounds = if places.len() > BATCH_MAX { 2 } else { 1 };
        let size = places.len().div_ceil(lanes() * rounds).clamp(BATCH_MIN, BATCH_MAX);
        let cut = |group: Batch| {
            let parts: Vec<Vec<usize>> = group.places.chunks(size).map(<[usize]>::to_vec).collect();
            let attributes = group.attributes;
            parts.into_iter().map(move |places| Batch { attributes: attributes.clone(), places })
        };
        Ok(groups.into_values().flat_map(cut).collect())
    }

    /// Runs the batches on all lanes.
    fn make(&self, pairs: &[(CommitId, CommitId)], batches: &[Batch]) -> Result<Vec<(usize, Merged)>, GitError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(objects) = self.objects(Scratch::in_memory)? {
            match self.make_in(pairs, batches, Some(objects.path())) {
                // It may have filled up.
                Err(GitError::Failed { .. }) => {}
                made => return made,
            }
        }
        let disk = Scratch::on_disk(self.repo.state_dir())?;
        let objects = self.objects(|| Some(disk))?;
        self.make_in(pairs, batches, objects.as_ref().map(Scratch::path))
    }

    fn make_in(
        &self,
        pairs: &[(CommitId, CommitId)],
        batches: &[Batch],
        objects: Option<&Path>,
    ) -> Result<Vec<(usize, Merged)>, GitError> {
        let next = AtomicUsize::new(0);
        let made = Mutex::new(Vec::new());
        let lane = || -> Result<(), GitError> {
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answers = self.ask(pairs, batch, objects)?;
                let mut made = made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                made.extend(batch.places.iter().copied().zip(answers));
            }
            Ok(())
        };
        thread::scope(|scope| {
            let count = lanes().min(batches.len());
            let others: Vec<_> = (1..count).map(|_| scope.spawn(lane)).collect();
            let mine = lane();
            let theirs = others.into_iter().map(|o| o.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            theirs.fold(mine, Result::and)
        })?;
        Ok(made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A folder for what the merges write; none where objects may have to be fetched, which then belong to the repository.
    fn objects(&self, place: impl FnOnce() -> Option<Scratch>) -> Result<Option<Scratch>, GitError> {
        let alternates = self.repo.git().store().join("objects/info/alternates");
        if self.repo.fetches_objects() || !alternates.exists() {
            return Ok(None);
        }
        let Some(scratch) = place() else { return Ok(None) };
        let io = |e| GitError::io(scratch.path(), e);
        fs::create_dir(scratch.path().join("info")).map_err(io)?;
        fs::copy(alternates, scratch.path().join("info/alternates")).map_err(io)?;
        Ok(Some(scratch))
    }

    fn ask(
        &self,
        pairs: &[(CommitId, CommitId)],
        batch: &Batch,
        objects: Option<&Path>,
    ) -> Result<Vec<Merged>, GitError> {
        let mut input = String::new();
        for place in &batch.places {
            let (a, b) = &pairs[*place];
            input.push_str(&format!("{a} {b}\n"));
        }
        let (run, _folder) = self.git(batch.attributes.as_ref(), objects)?;
        let ran = run.stdin(input).accept(1).run()?;
        let mut fields = ran.stdout.split(|b| *b == 0);
        let mut answers = Vec::with_capacity(batch.places.len());
        for place in &batch.places {
            let clean = fields.next().filter(|s| matches!(*s, b"0" | b"1"));
            let clean = clean.ok_or_else(|| ran.unreadable("no status for a pair"))? == b"1";
            let mut merged = one(&ran, &mut fields, clean)?;
            merged.rename_side(pairs[*place].0.as_str(), OURS);
            answers.push(merged);
            if clean {
                // The empty field that closes a pair; the list of messages, where there is one, closes itself.
                fields.next();
            }
        }
        Ok(answers)
    }

    /// The command, and a folder that it needs until it has ended.
    fn git(&self, attributes: Option<&CommitId>, objects: Option<&Path>) -> Result<(Run, Option<Scratch>), GitError> {
        // What nobody keeps need not be durable, nor small.
        let unkept = ["-c", "core.fsync=none", "-c", "core.looseCompression=0", "-c", "core.createObject=rename"];
        let mut run = self.repo.store().args(unkept.iter().filter(|_| objects.is_some()));
        run = run.args(["merge-tree", "--write-tree", "--stdin", "--allow-unrelated-histories"]);
        if let Some(objects) = objects {
            run = run.env("GIT_OBJECT_DIRECTORY", objects);
        }
        match self.rules {
            Rules::Run => match self.repo.git().attributes() {
                Some(fixed) => self.repo.attributed(run, &fixed, self.repo.git().store()),
                None => Ok((run, None)),
            },
            Rules::Checkout => {
                let rules = self.repo.state_dir().join(RULES);
                run = run.env("GIT_DIR", &rules).env("GIT_CONFIG_GLOBAL", rules.join("user.config"));
                match attributes {
                    Some(commit) => self.repo.attributed(run, commit, &rules),
                    // The folder has none either.
                    None => Ok((run.in_checkout(&rules), None)),
                }
            }
        }
    }
}

/// How many processes work at once.
fn lanes() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(LANES_MAX)
}

#[cfg(test)]
mod tests;
