//! The files of a worktree that a search sees: what .gitignore excludes and `.git` are left out, hidden files
//! are not, and no symlink is followed.
//!
//! Several threads walk at once, so the order in which files are met is nobody's promise: what is shown in an
//! order is sorted afterwards, by the bytes of the path. What cannot be listed is told and ends no search.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ignore::overrides::Override;
use ignore::types::Types;
use ignore::{DirEntry, WalkBuilder, WalkState};
use tokio_util::sync::CancellationToken;

use super::confine::Worktree;

/// Threads of one search at most: more gain little on one disk, and other workers search, too.
const THREADS_MAX: usize = 8;
/// Time of one search at most: a million files take a tenth of it, and a model that waits longer learns nothing.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Faults that are told in full; of the others the number.
const FAULTS_SHOWN: usize = 3;

/// When a search has to end.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    cancel: CancellationToken,
    deadline: Instant,
}

impl Stop {
    /// Ends with the work that the search is for, or when it has taken too long.
    pub(super) fn new(cancel: CancellationToken) -> Stop {
        Stop { cancel, deadline: Instant::now() + TIME_MAX }
    }

    /// Is it over?
    pub(super) fn over(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() > self.deadline
    }

    /// What to say of a search that was stopped; half an answer would be taken for the whole.
    pub(super) fn message(&self) -> String {
        if self.cancel.is_cancelled() {
            return "the search was stopped".to_owned();
        }
        let seconds = TIME_MAX.as_secs();
        format!("the search took longer than {seconds} s and was stopped: narrow it with path, glob or type")
    }
}

/// What could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Faults {
    count: u64,
    /// The first in the order of their text, so that two searches tell the same.
    first: BTreeSet<String>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: String) {
        self.count += 1;
        self.first.insert(fault);
        if self.first.len() > FAULTS_SHOWN {
            self.first.pop_last();
        }
    }

    pub(super) fn merge(&mut self, other: Faults) {
        self.count += other.count;
        self.first.extend(other.first);
        while self.first.len() > FAULTS_SHOWN {
            self.first.pop_last();
        }
    }

    /// A line about them; `None` = there are none.
    pub(super) fn note(&self) -> Option<String> {
        let list: Vec<&str> = self.first.iter().map(String::as_str).collect();
        let what = if self.count == 1 { "1 path".to_owned() } else { format!("{} paths", self.count) };
        (self.count > 0).then(|| format!("({what} could not be looked at: {})", list.join("; ")))
    }
}

/// What is walked.
pub(super) struct Scope<'a> {
    pub(super) worktree: &'a Worktree,
    /// A folder, relative to the root; empty for the root itself.
    pub(super) folder: &'a Path,
    /// Only files that these let through. They never bring back what is ignored.
    pub(super) globs: Option<Override>,
    pub(super) types: Option<Types>,
    /// Files that .gitignore excludes, too; `.git` never.
    pub(super) include_ignored: bool,
    pub(super) stop: &'a Stop,
}

/// A thread's share of a walk; handed in when the thread is done.
struct Share<'s, V> {
    visitor: Option<V>,
    faults: Faults,
    done: &'s Mutex<(Vec<V>, Faults)>,
}

impl<V> Drop for Share<'_, V> {
    fn drop(&mut self) {
        let mut done = self.done.lock().expect("no holder of this lock panics");
        done.0.extend(self.visitor.take());
        done.1.merge(std::mem::take(&mut self.faults));
    }
}

/// Hands each file in scope to one of several visitors, in no order: the path, and its bytes relative to the
/// root. Gives back the visitors and what could not be listed.
pub(super) fn files<V: Send>(
    scope: &Scope<'_>,
    make: impl Fn() -> V + Sync,
    visit: impl Fn(&mut V, &Path, &[u8]) + Sync,
) -> Result<(Vec<V>, Faults), String> {
    let root = scope.worktree.root();
    let prefix = root.as_os_str().len() + 1;
    let depth = scope.folder.components().count();
    let done = Mutex::new((Vec::new(), Faults::default()));
    builder(scope, depth).build_parallel().run(|| {
        let mut share = Share { visitor: Some(make()), faults: Faults::default(), done: &done };
        let visit = &visit;
        Box::new(move |entry| {
            // The whole share moves in: what it holds is handed in when the thread drops this closure.
            let share = &mut share;
            if scope.stop.over() {
                return WalkState::Quit;
            }
            match entry {
                Ok(entry) => {
                    let file = entry.file_type().is_some_and(|kind| kind.is_file());
                    if let Some(visitor) = share.visitor.as_mut().filter(|_| file && entry.depth() > depth) {
                        let path = entry.path();
                        visit(visitor, path, path.as_os_str().as_bytes().get(prefix..).unwrap_or_default());
                    }
                }
                Err(error) => share.faults.add(relative(&error.to_string(), root)),
            }
            WalkState::Continue
        })
    });
    if scope.stop.over() {
        return Err(scope.stop.message());
    }
    Ok(done.into_inner().expect("no holder of this lock panics"))
}

/// The walk starts at the root even for a folder below it: the .gitignore files on the way count, and those
/// above the worktree are none of its business.
fn builder(scope: &Scope<'_>, depth: usize) -> WalkBuilder {
    let root = scope.worktree.root();
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).parents(false).git_global(false).require_git(false).follow_links(false);
    walk.threads(std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX));
    if scope.include_ignored {
        walk.ignore(false).git_ignore(false).git_exclude(false);
    }
    if let Some(types) = &scope.types {
        walk.types(types.clone());
    }
    let folder = root.join(scope.folder);
    let globs = scope.globs.clone();
    // The globs are asked here and not by the walk, where they would bring back files that are ignored.
    walk.filter_entry(move |entry: &DirEntry| {
        let on_the_way = entry.depth() > depth || folder.starts_with(entry.path());
        on_the_way && !entry.file_name().eq_ignore_ascii_case(".git") && passes(globs.as_ref(), entry)
    });
    walk
}

fn passes(globs: Option<&Override>, entry: &DirEntry) -> bool {
    let folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    globs.is_none_or(|globs| entry.depth() == 0 || !globs.matched(entry.path(), folder).is_ignore())
}

/// A message without the place of the worktree, which says nothing to a model.
fn relative(message: &str, root: &Path) -> String {
    message.replace(&format!("{}/", root.display()), "")
}
