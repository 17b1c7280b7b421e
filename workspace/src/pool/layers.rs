//! Slots of the overlay back-end: what is done to one so that its files can be seen, and before it is a slot.
//!
//! Slot `n` shows template `g` through the mount `slots/<n>`; what was changed in it lies in `layers/<n>/upper`. Its `.git`
//! file is one of these changes. Git's own record of the worktree is locked, since to a git outside the mount the worktree
//! seems to be gone, and `git worktree prune` would forget it.
//!
//! A mount goes with the process that made it. Whoever needs the files of a slot of somebody who is gone mounts it again
//! with the same folders; whoever cannot mount has them put together from the folders, and the slot is an ordinary one from
//! then on. A slot that a living process has mounted is that process's alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use super::place::Place;
use super::record::{Record, index_of, path_of};
use super::trash::ASIDE;
use super::{Pool, Want};
use crate::capture::copy_with_time;
use crate::fault;
use crate::overlay::{self, Layers};
use crate::repo::Repo;
use crate::slot::{BackEnd, PoolError, SlotId};

/// The folder of what was changed in slots, in the state directory.
pub(super) const FOLDER: &str = "layers";
/// What lies in a slot's folder where its files cannot be seen.
const NOTE: &str = "WHERE-ARE-THE-FILES.txt";
const NOTE_TEXT: &str = "The files of this slot are an overlay mount, which only the Wattle that works in it can see.\n\
Nothing is lost: `wattle path STEP` puts them here once nobody works in it any more.\n";

/// Whether a slot's folder does not show its files here: they are a mount that only another process sees.
pub fn is_elsewhere(slot: &Path) -> bool {
    slot.join(NOTE).exists()
}

impl Repo {
    /// Whether there are slots that somebody has to mount.
    pub fn has_overlay_slots(&self) -> bool {
        let records = Record::load_all(&self.state_dir().join(crate::warm::SLOTS)).unwrap_or_default();
        records.iter().any(|record| record.template.is_some())
    }
}

impl Pool {
    fn layers(&self, slot: SlotId) -> PathBuf {
        self.repo.state_dir().join(FOLDER).join(slot.to_string())
    }

    pub(super) fn templates_lock(&self) -> MutexGuard<'_, ()> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new slots are overlays.
    pub(super) fn lays(&self) -> bool {
        self.options.back_end == BackEnd::Overlay && overlay::entered()
    }

    /// Whether somebody has deleted the files of a slot that had some.
    pub(super) fn gone(&self, record: &Record) -> bool {
        let missing = |path: &Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        let files = match record.template {
            Some(_) => missing(&self.layers(record.slot)) && !self.flattened(record.slot),
            None => missing(&path_of(&self.root, record.slot)),
        };
        record.admin.is_some() && files
    }

    /// Where what a slot takes on disk lies.
    pub(super) fn stored(&self, record: &Record) -> PathBuf {
        match record.template {
            Some(_) => self.layers(record.slot),
            None => path_of(&self.root, record.slot),
        }
    }

    /// Makes the files of a slot visible to this process.
    pub(super) fn at_hand(&self, record: &mut Record) -> Result<(), PoolError> {
        let Some(generation) = record.template.filter(|_| record.admin.is_some() && !self.gone(record)) else {
            return Ok(());
        };
        let slot = path_of(&self.root, record.slot);
        if overlay::is_mounted(&slot) {
            return Ok(());
        }
        if self.flattened(record.slot) {
            return self.become_plain(record);
        }
        if overlay::entered() {
            self.mount(record.slot, generation)?;
        } else if let Some(pid) = overlay::mounted_by(&slot) {
            return Err(PoolError::Elsewhere { slot: record.slot, pid });
        } else {
            self.flatten(record.slot, generation)?;
            self.become_plain(record)?;
        }
        Place::of(&self.repo, &self.root, record).mend(&record.base)
    }

    fn mount(&self, slot: SlotId, generation: u32) -> Result<(), PoolError> {
        let (at, lower, layers) = (path_of(&self.root, slot), self.template_files(generation), self.layers(slot));
        let (upper, work) = (layers.join("upper"), layers.join("work"));
        fault::point("slot.mount");
        let mounted = fs::create_dir_all(&at)
            .and_then(|()| fs::create_dir_all(&work))
            .and_then(|()| overlay::freeze(&lower))
            .and_then(|()| overlay::mount(Layers { lower: &lower, upper: &upper, work: &work }, &at));
        fault::point("slot.mounted");
        mounted.map_err(|e| {
            let why = format!("{} cannot be mounted over {}: {e}", upper.display(), lower.display());
            PoolError::Unproven { path: at, why }
        })
    }

    /// Makes a new slot over the nearest template, up to the point where its index tells what it holds.
    pub(super) fn lay(&self, record: &mut Record, w: &Want) -> Result<(), PoolError> {
        let template = {
            let _one = self.templates_lock();
            let template = self.template(&w.base)?;
            record.template = Some(template.generation);
            record.store(&self.root)?;
            template
        };
        let (at, layers) = (path_of(&self.root, record.slot), self.layers(record.slot));
        let io = |e| PoolError::io(&layers, e);
        // What an earlier try has left: nobody has worked in it.
        self.lift(record)?;
        fault::point("slot.make");
        let mut place = Place::of(&self.repo, &self.root, record);
        let name = place.make(&template.commit)?;
        fault::point("slot.made");
        place.lock("a slot that is mounted where wattle works in it")?;
        let upper = layers.join("upper");
        fs::create_dir_all(&upper).map_err(io)?;
        fs::rename(at.join(".git"), upper.join(".git")).map_err(io)?;
        fs::write(at.join(NOTE), NOTE_TEXT).map_err(io)?;
        self.mount(record.slot, template.generation)?;
        let index = index_of(&self.root, record.slot);
        copy_with_time(&self.template_index(template.generation), &index).map_err(|e| PoolError::io(&index, e))?;
        record.admin = Some(name);
        (record.base, record.left, record.ready) = (template.commit, None, true);
        record.store(&self.root)
    }

    /// Takes a slot apart: unmounts it and moves what was changed in it aside. What it holds is in safety.
    pub(super) fn lift(&self, record: &Record) -> Result<(), PoolError> {
        if record.template.is_none() {
            return Ok(());
        }
        let (at, layers) = (path_of(&self.root, record.slot), self.layers(record.slot));
        if overlay::is_mounted(&at) {
            overlay::unmount(&at).map_err(|e| PoolError::io(&at, e))?;
        }
        forget(&at.join(NOTE))?;
        self.move_aside(&layers, record)
    }

    fn move_aside(&self, layers: &Path, record: &Record) -> Result<(), PoolError> {
        let aside = self.root.join(format!("layers-{}{ASIDE}{}", record.slot, record.generation));
        fault::point("slot.lift");
        match fs::rename(layers, &aside) {
            Ok(()) => self.trash.delete(aside),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(PoolError::io(layers, e)),
        }
        Ok(())
    }

    /// Takes away the layers of slots that have become ordinary ones before somebody died.
    pub(super) fn sweep_layers(&self) -> Result<(), PoolError> {
        for record in Record::load_all(&self.root)?.iter().filter(|record| record.template.is_none()) {
            self.move_aside(&self.layers(record.slot), record)?;
        }
        Ok(())
    }

    fn flattening(&self, slot: SlotId) -> PathBuf {
        // By this name the next start deletes what was cut off.
        self.root.join(format!(".tmp-flat-{slot}"))
    }

    /// Whether a slot's own folder holds its files, while its record does not say so yet.
    fn flattened(&self, slot: SlotId) -> bool {
        let at = path_of(&self.root, slot);
        !overlay::is_mounted(&at) && at.join(".git").exists()
    }

    /// Puts the files of a slot that nobody has mounted into its own folder.
    fn flatten(&self, slot: SlotId, generation: u32) -> Result<(), PoolError> {
        let (at, to) = (path_of(&self.root, slot), self.flattening(slot));
        let unproven = |e: io::Error| {
            let why = format!("what is in {} cannot be put together: {e}", self.layers(slot).display());
            PoolError::Unproven { path: at.clone(), why }
        };
        if to.exists() {
            fs::remove_dir_all(&to).map_err(|e| PoolError::io(&to, e))?;
        }
        fs::create_dir(&to).map_err(|e| PoolError::io(&to, e))?;
        let upper = self.layers(slot).join("upper");
        overlay::flatten(&self.template_files(generation), &upper, &to).map_err(unproven)?;
        fault::point("slot.flat");
        forget(&at.join(NOTE))?;
        match fs::remove_dir(&at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(PoolError::io(&at, e)),
            Ok(()) | Err(_) => {}
        }
        fault::point("slot.flat.between");
        fs::rename(&to, &at).map_err(|e| PoolError::io(&to, e))
    }

    /// Makes a slot whose files lie in its own folder an ordinary one.
    fn become_plain(&self, record: &mut Record) -> Result<(), PoolError> {
        fault::point("slot.flat.placed");
        record.template = None;
        record.store(&self.root)?;
        self.move_aside(&self.layers(record.slot), record)?;
        tracing::info!(slot = %record.slot, "an overlay slot was made an ordinary one");
        Ok(())
    }
}

fn forget(file: &Path) -> Result<(), PoolError> {
    match fs::remove_file(file) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(PoolError::io(file, e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
