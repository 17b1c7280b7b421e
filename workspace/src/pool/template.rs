//! Templates: checkouts that never change while a slot is mounted over them.
//!
//! A template is made beside everything else, proved, and given its number by one rename; from then on it is only read,
//! and where slots are mounted it cannot be written either (`overlay::freeze`). With it lies the index that git wrote for
//! it, which holds for every slot over it: an overlay shows the inode, the times and the size of the file below until
//! somebody writes it. Any commit can be brought to a slot from any template, by what differs between the two, so a slot is
//! laid over the nearest; a new template is made where that would cost more. One that no slot lies over goes when the next
//! is made, and with `wattle clean`.
//!
//! None is synced: after the machine has started anew, none of before gets a new slot. Slots that lie over one already are
//! proved whenever they are leased, like any other.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Pool;
use super::record::Record;
use super::trash::ASIDE;
use crate::fault;
use crate::git::At;
use crate::ids::CommitId;
use crate::overlay;
use crate::slot::PoolError;
use crate::torn::boot;

/// The folder of the templates in the state directory.
pub(super) const FOLDER: &str = "templates";
/// The version of what a template says of itself.
const VERSION: u32 = 1;
/// A slot that differs from the template in a part of its files larger than one over this takes as long as a new template:
/// a file costs 0.16 ms to bring to another commit, and a third of that to check out anew.
const FAR_PART: usize = 3;
/// So few files are never worth a new template: they take 20 ms.
const NEAR_FILES: usize = 100;
/// From so many files on, a second is spent on an index that is newer than all of them: of files as new as the index, git
/// reads the contents whenever it is asked, in every slot anew. Reading so many takes about as long as the wait.
const AGED_FILES: usize = 5000;
/// How often is looked whether the second is over.
const AGE_PAUSE: Duration = Duration::from_millis(20);

/// What a template says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Says {
    v: u32,
    /// What is checked out.
    commit: CommitId,
    /// Which of its files (see `shape`).
    shape: String,
    /// How many.
    files: usize,
    /// When the machine was started.
    boot: String,
}

/// A template to lay a slot over.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) generation: u32,
    pub(super) commit: CommitId,
}

impl Pool {
    fn template_folder(&self, generation: u32) -> PathBuf {
        self.repo.state_dir().join(FOLDER).join(generation.to_string())
    }

    /// A template's files.
    pub(super) fn template_files(&self, generation: u32) -> PathBuf {
        self.template_folder(generation).join("files")
    }

    /// The index that goes with them.
    pub(super) fn template_index(&self, generation: u32) -> PathBuf {
        self.template_folder(generation).join("index")
    }

    /// Whether a new slot at a commit needs no new template.
    pub(super) fn template_at_hand(&self, base: &CommitId) -> Result<bool, PoolError> {
        Ok(self.nearest(base)?.is_some())
    }

    /// The template for a slot at a commit, made if need be. Whoever asks holds the lock on templates until its slot's
    /// record names the answer.
    pub(super) fn template(&self, base: &CommitId) -> Result<Template, PoolError> {
        match self.nearest(base)? {
            Some(near) => Ok(near),
            None => self.make_template(base),
        }
    }

    fn nearest(&self, base: &CommitId) -> Result<Option<Template>, PoolError> {
        let (shape, boot) = (self.repo.shape_name(), boot());
        let to = self.repo.tree_of(base)?;
        let mut found: Option<(usize, Template)> = None;
        for (generation, says) in self.templates()? {
            let fits = says.v == VERSION && says.shape == shape && says.boot == boot;
            let Some(from) = self.repo.tree_of(&says.commit).ok().filter(|_| fits) else { continue };
            let files = self.distances.files(&self.repo, &from, &to);
            let near = files <= NEAR_FILES.max(says.files / FAR_PART);
            if near && found.as_ref().is_none_or(|(least, _)| files < *least) {
                found = Some((files, Template { generation, commit: says.commit }));
            }
        }
        Ok(found.map(|(_, template)| template))
    }

    /// All templates that are whole.
    fn templates(&self) -> Result<Vec<(u32, Says)>, PoolError> {
        let root = self.repo.state_dir().join(FOLDER);
        let entries = match fs::read_dir(&root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| PoolError::io(&root, e))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| PoolError::io(&root, e))?;
            let says = fs::read(entry.path().join("template.json")).unwrap_or_default();
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // One whose record was lost in a power cut fits nothing, and goes with the others.
            let lost = || Says { v: 0, commit: nothing(), shape: String::new(), files: 0, boot: String::new() };
            found.extend(number.map(|number| (number, serde_json::from_slice(&says).unwrap_or_else(|_| lost()))));
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found)
    }

    fn make_template(&self, base: &CommitId) -> Result<Template, PoolError> {
        let state = self.repo.state_dir();
        let io = |e| PoolError::io(state, e);
        fault::point("template.make");
        // By this name the next start deletes it if this process dies.
        let made = tempfile::Builder::new().prefix("index-").tempdir_in(state).map_err(io)?;
        let (files, index) = (made.path().join("files"), made.path().join("index"));
        fs::create_dir(&files).map_err(io)?;
        let store = self.repo.wanted_store();
        let git = || self.repo.git().at(At::Files { work_tree: &files, index: &index }).env("GIT_DIR", &store);
        git().args(["read-tree", "--reset", "-u", base.as_str()]).run()?;
        if !git().args(["add", "--all", "--sparse", "--dry-run"]).run()?.stdout.is_empty() {
            let why = "a checkout of it is not what git takes it for".to_owned();
            return Err(PoolError::Unproven { path: files, why });
        }
        let count = entries(&index).map_err(io)?;
        if count >= AGED_FILES {
            age(&index).map_err(io)?;
        }
        let says = Says { v: VERSION, commit: base.clone(), shape: self.repo.shape_name(), files: count, boot: boot() };
        let bytes = serde_json::to_vec(&says).expect("a record of strings and numbers serialises");
        fs::write(made.path().join("template.json"), bytes).map_err(io)?;
        let records = Record::load_all(&self.root)?;
        let known = self.templates()?.into_iter().map(|(number, _)| number);
        let last = known.chain(records.iter().filter_map(|record| record.template)).max().unwrap_or(0);
        let folder = self.template_folder(last + 1);
        fs::create_dir_all(state.join(FOLDER)).map_err(io)?;
        fault::fails("template.place").and_then(|()| fs::rename(made.path(), &folder)).map_err(io)?;
        // Moved: there is nothing left to delete.
        let _ = made.keep();
        fault::point("template.made");
        tracing::info!(template = last + 1, commit = %base, files = count, "template made");
        self.drop_templates(Some(last + 1))?;
        Ok(Template { generation: last + 1, commit: base.clone() })
    }

    /// Deletes the templates that no slot lies over; gives the folders that they were.
    pub fn drop_unused_templates(&self) -> Result<Vec<PathBuf>, PoolError> {
        let _one = self.templates_lock();
        self.drop_templates(None)
    }

    fn drop_templates(&self, but: Option<u32>) -> Result<Vec<PathBuf>, PoolError> {
        let records = Record::load_all(&self.root)?;
        let mut gone = Vec::new();
        for (number, _) in self.templates()? {
            if Some(number) == but || records.iter().any(|record| record.template == Some(number)) {
                continue;
            }
            let folder = self.template_folder(number);
            let aside = self.root.join(format!("template-{number}{ASIDE}0"));
            overlay::thaw(&folder.join("files")).map_err(|e| PoolError::io(&folder, e))?;
            fault::point("template.drop");
            fs::rename(&folder, &aside).map_err(|e| PoolError::io(&folder, e))?;
            self.trash.delete(aside);
            gone.push(folder);
        }
        Ok(gone)
    }

    /// The templates that no slot lies over.
    pub fn unused_templates(&self) -> Result<Vec<PathBuf>, PoolError> {
        let records = Record::load_all(&self.root)?;
        let used = |number: u32| records.iter().any(|record| record.template == Some(number));
        let unused = self.templates()?.into_iter().map(|(number, _)| number).filter(|number| !used(*number));
        Ok(unused.map(|number| self.template_folder(number)).collect())
    }
}

/// The commit of nothing.
fn nothing() -> CommitId {
    "0".repeat(40).parse().expect("forty digits are an id")
}

/// The number of entries in an index (Documentation/gitformat-index: the third word).
fn entries(index: &Path) -> io::Result<usize> {
    let mut head = [0_u8; 12];
    io::Read::read_exact(&mut File::open(index)?, &mut head)?;
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    usize::try_from(count).map_err(io::Error::other)
}

/// Makes an index newer than every file that it tells of, as soon as the file system's clock says so. From then on whatever
/// is written has a later second than the index has for the file, so nothing that changes is taken for unchanged.
fn age(index: &Path) -> io::Result<()> {
    let written = index.metadata()?.mtime();
    let now = index.with_extension("now");
    loop {
        fs::write(&now, b"")?;
        let time = now.metadata()?;
        if time.mtime() > written {
            return File::options().write(true).open(index)?.set_modified(time.modified()?);
        }
        std::thread::sleep(AGE_PAUSE);
    }
}
