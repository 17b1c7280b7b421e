//! Loose objects that a power cut has left without their content. git writes them in full before they have their names, but
//! what no ref kept was not yet brought to the disk; and git takes a name for the object, so that whoever makes the same one
//! again is told that it is there, and then that it cannot be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::{Oid, Repository};

use crate::git::GitError;
use crate::repo::Repo;

/// In `<common>/wattle/`: the start of the machine in which Wattle was last the owner here. Its time is that of the first
/// such owner.
const BOOT: &str = "wattle/boot";

/// Files are dated by a clock that ticks now and then.
const CLOCK_STEP: Duration = Duration::from_secs(1);

impl Repo {
    /// What a machine had written when it lost its power may have lost its content: it is removed, so that it can be made
    /// again. `died` is when an owner began that did not end; without one, whatever was written in another start of the
    /// machine than this is looked at. Gives the ids of what was removed.
    pub fn mend_after_cut(&self, died: Option<SystemTime>) -> Result<Vec<String>, GitError> {
        let (note, boot) = (self.common_dir().join(BOOT), boot());
        let noted = fs::read_to_string(&note).ok();
        let is_new = noted.as_ref() != Some(&boot);
        let restarted =
            if noted.is_some() && is_new { note.metadata().and_then(|is| is.modified()).ok() } else { None };
        let removed = match [died, restarted].into_iter().flatten().min() {
            Some(since) => self.remove_torn(since - CLOCK_STEP)?,
            None => Vec::new(),
        };
        if is_new {
            fs::write(&note, boot).map_err(|e| GitError::io(&note, e))?;
        }
        Ok(removed)
    }

    /// Removes loose objects that were written since a moment and are not what their names say: nothing can be got from
    /// them, and without them they can be made again. Gives their ids. Where git2 cannot read the repository only those
    /// without any content are known.
    fn remove_torn(&self, since: SystemTime) -> Result<Vec<String>, GitError> {
        let objects = self.common_dir().join("objects");
        let reader = Repository::open(self.common_dir()).ok();
        let mut removed = Vec::new();
        for folder in folders(&objects)? {
            for file in files(&folder)? {
                let is = match file.metadata() {
                    Ok(is) if is.is_file() && is.modified().is_ok_and(|at| at >= since) => is,
                    // Gone meanwhile, older, or nothing of git's.
                    Ok(_) | Err(_) => continue,
                };
                let Some(id) = id_of(&folder, &file) else { continue };
                let torn = match (&reader, Oid::from_str(&id)) {
                    _ if is.len() == 0 => true,
                    (Some(reader), Ok(oid)) if id.len() == 40 => is_torn(reader, oid),
                    _ => false,
                };
                if torn {
                    fs::remove_file(&file).map_err(|e| GitError::io(&file, e))?;
                    removed.push(id);
                }
            }
        }
        Ok(removed)
    }
}

/// When the machine was started: the same text until it is started again, nothing where that is not told.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Is what stands under this name something else? A missing object is not, nor one that another program holds just now.
fn is_torn(reader: &Repository, id: Oid) -> bool {
    let Ok(odb) = reader.odb() else { return false };
    match odb.read(id) {
        Ok(object) => Oid::hash_object(object.kind(), object.data()).is_ok_and(|found| found != id),
        Err(error) => matches!(error.class(), git2::ErrorClass::Zlib | git2::ErrorClass::Odb) && odb.exists(id),
    }
}

/// The folders of loose objects.
fn folders(objects: &Path) -> Result<Vec<PathBuf>, GitError> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    Ok(files(objects)?.into_iter().filter(named).collect())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, GitError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(GitError::io(folder, error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| GitError::io(folder, e))).collect()
}

/// The id that a file's place says.
fn id_of(folder: &Path, file: &Path) -> Option<String> {
    let id = format!("{}{}", folder.file_name()?.to_str()?, file.file_name()?.to_str()?);
    (matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use crate::fixture::Fixture;

    #[test]
    fn what_cannot_be_read_is_removed_and_can_be_made_again() {
        let f = Fixture::with(&[("a", "1\n")]);
        let repo = f.open();
        let objects = repo.common_dir().join("objects");
        let make = |text: &str| {
            std::fs::write(f.main().join("new"), text).unwrap();
            f.git(&["hash-object", "-w", "new"]).trim().to_owned()
        };
        let (empty, zeros, whole) = (make("empty\n"), make("zeros\n"), make("whole\n"));
        let path = |id: &str| objects.join(&id[..2]).join(&id[2..]);
        let tear = |id: &str, bytes: &[u8]| {
            std::fs::remove_file(path(id)).unwrap();
            std::fs::write(path(id), bytes).unwrap();
        };
        tear(&empty, b"");
        tear(&zeros, &[0; 24]);
        let later = path(&whole).metadata().unwrap().modified().unwrap() + Duration::from_secs(60);
        assert!(repo.remove_torn(later).unwrap().is_empty(), "they are older");
        let mut removed = repo.remove_torn(SystemTime::UNIX_EPOCH).unwrap();
        removed.sort();
        let mut expected = vec![empty.clone(), zeros.clone()];
        expected.sort();
        assert_eq!(removed, expected);
        assert!(path(&whole).is_file());
        assert_eq!(make("zeros\n"), zeros);
        assert_eq!(f.git(&["cat-file", "-p", &zeros]), "zeros");
    }

    #[test]
    fn what_an_earlier_start_of_the_machine_has_written_is_looked_at_once() {
        let f = Fixture::with(&[("a", "1\n")]);
        let repo = f.open();
        let note = repo.common_dir().join(super::BOOT);
        std::fs::create_dir_all(note.parent().unwrap()).unwrap();
        let torn = || {
            let path = repo.common_dir().join("objects/12").join("34567890".repeat(5).split_at(38).0);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, b"").unwrap();
            path
        };
        let path = torn();
        assert!(repo.mend_after_cut(None).unwrap().is_empty(), "nobody has been the owner before");
        assert!(repo.mend_after_cut(None).unwrap().is_empty(), "the machine is still on");
        std::fs::write(&note, "another start").unwrap();
        assert_eq!(repo.mend_after_cut(None).unwrap().len(), 1);
        assert!(!path.exists());
        let written = torn().metadata().unwrap().modified().unwrap();
        assert!(repo.mend_after_cut(None).unwrap().is_empty(), "that is over");
        assert_eq!(repo.mend_after_cut(Some(written)).unwrap().len(), 1, "somebody died in this one");
    }
}
