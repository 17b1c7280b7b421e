//! Trust in a project's configuration, by its content: what a repository would run applies only after
//! its user has said so, and a changed file has to be trusted anew.
//!
//! The list is one file, `<state>/user/trust`: a hash, a tab and the path it was given for, per line.

use std::path::{Path, PathBuf};

/// Why the list of trusted contents could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub(crate) struct TrustError {
    doing: &'static str,
    /// The list, or its folder.
    pub(crate) path: PathBuf,
    source: std::io::Error,
}

/// The list of trusted contents.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    list: PathBuf,
}

impl Trust {
    /// The list under a state directory.
    pub(crate) fn of(state_dir: &Path) -> Self {
        Self { list: state_dir.join("user/trust") }
    }

    /// Is this content trusted?
    pub(crate) fn holds(&self, content: &str) -> Result<bool, TrustError> {
        let hash = hash(content);
        Ok(self.read()?.lines().any(|line| line.split('\t').next() == Some(hash.as_str())))
    }

    /// Trusts this content; again is the same as once.
    pub(crate) fn add(&self, content: &str, given_for: &Path) -> Result<(), TrustError> {
        if self.holds(content)? {
            return Ok(());
        }
        let folder = self.list.parent().expect("the list lies in the user folder of the state directory");
        let fail = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| TrustError { doing, path, source }
        };
        std::fs::create_dir_all(folder).map_err(fail("create", folder))?;
        let mut text = self.read()?;
        let name: String = given_for.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
        text.push_str(&format!("{}\t{name}\n", hash(content)));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail("write", folder))?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail("write", &self.list))?;
        file.as_file().sync_all().map_err(fail("write", &self.list))?;
        file.persist(&self.list).map_err(|error| fail("write", &self.list)(error.error))?;
        Ok(())
    }

    fn read(&self) -> Result<String, TrustError> {
        match std::fs::read_to_string(&self.list) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(TrustError { doing: "read", path: self.list.clone(), source }),
        }
    }
}

/// The name of a content.
pub(crate) fn hash(content: &str) -> String {
    blake3::hash(content.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::of(folder.path());
        assert!(!trust.holds("checks: []").unwrap());
        trust.add("checks: []", Path::new("/repo/\u{1b}x")).unwrap();
        trust.add("checks: []", Path::new("/repo/x")).unwrap();
        assert!(trust.holds("checks: []").unwrap());
        assert!(!trust.holds("checks: [] ").unwrap());
        let list = std::fs::read_to_string(folder.path().join("user/trust")).unwrap();
        assert_eq!(list.lines().count(), 1);
        assert!(!list.contains('\u{1b}'));
    }

    #[test]
    fn a_list_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("user"), "a file in the way").unwrap();
        let error = Trust::of(folder.path()).add("x", Path::new("/r")).unwrap_err();
        assert!(error.to_string().contains("user"), "{error}");
    }
}
