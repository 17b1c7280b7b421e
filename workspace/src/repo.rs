//! The repository a run works on: where it is, which git serves it, where its state lies.
//!
//! What is done with it is in the modules beside this one, each of which adds its own methods to [`Repo`].

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::{self, Effective, Personal};
use crate::git::{self, At, Git, GitError, Ran, Run, Version};
use crate::ids::{CommitId, RepoId, Signature};
use crate::modules;
use crate::objects::{Objects, open_objects};
use crate::paths::shown_path;

/// `merge-tree --write-tree`, without which nothing lands, came with this version.
const VERSION_MIN: Version = Version(2, 38, 0);
/// A repository id is this many random bytes: no two repositories of one person meet.
const ID_BYTES: usize = 10;

/// What opening a repository needs to know of its surroundings.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The root of all state, outside the repository.
    pub state_dir: PathBuf,
    /// Overrides the recorded id (`WATTLE_REPO_ID`).
    pub repo_id: Option<String>,
    /// The search path (`PATH`), on which git is found and which git's filters get.
    pub path: OsString,
    /// The user's home, for git's personal configuration.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, likewise.
    pub xdg_config_home: Option<PathBuf>,
}

/// A repository could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none at the path or above it.
    #[error("find a git repository at {} or above it", path.display())]
    NotARepository {
        /// Where the search began.
        path: PathBuf,
    },
    /// No git on the search path.
    #[error("find git on the search path")]
    GitMissing,
    /// git cannot merge without a checkout.
    #[error("use git {found}: {needed} or newer is needed")]
    GitTooOld {
        /// The version found.
        found: String,
        /// The oldest that serves.
        needed: String,
    },
    /// The state directory cannot be written.
    #[error("write the state directory {}: {source}", path.display())]
    StateDir {
        /// The folder or file that could not be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The repository's id cannot be read or recorded, or the given one is not an id.
    #[error("record the repository id in {}: {source}", path.display())]
    Id {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

#[derive(Debug)]
struct Inner {
    id: RepoId,
    common: PathBuf,
    state: PathBuf,
    worktree: Option<PathBuf>,
    main_worktree: Option<PathBuf>,
    git_dir: PathBuf,
    version: Version,
    exe: PathBuf,
    options: OpenOptions,
    git: Git,
    effective: Effective,
    objects: Box<dyn Objects>,
}

/// An open repository. Cheap to clone; every clone is the same repository.
#[derive(Debug, Clone)]
pub struct Repo {
    inner: Arc<Inner>,
}

/// Where discovery found things.
struct Found {
    git_dir: PathBuf,
    common: PathBuf,
    worktree: Option<PathBuf>,
    main_worktree: Option<PathBuf>,
}

/// What `<common>/wattle/id` holds.
#[derive(Debug, Serialize, Deserialize)]
struct IdRecord {
    v: u32,
    id: RepoId,
    /// As text by the rule of `paths`: a path need not be text.
    path: String,
    device: u64,
    inode: u64,
}

impl Repo {
    /// Opens the repository that `start` lies in, and makes its folder in the state directory.
    pub fn open(start: &Path, o: &OpenOptions) -> Result<Repo, OpenError> {
        let exe = git::find(&o.path).ok_or(OpenError::GitMissing)?;
        let version = version(&exe, o)?;
        let found = discover(&exe, start, o)?;
        let id = repo_id(&found.common, o)?;
        let state = o.state_dir.join("repos").join(id.as_str());
        if state.to_str().is_none() {
            // Its paths are in the journal, in reports and in git's worktree files.
            let source = io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8");
            return Err(OpenError::StateDir { path: state, source });
        }
        make_private(&state)?;
        let state = state.canonicalize().map_err(|source| OpenError::StateDir { path: state, source })?;
        let writable = rustix::fs::access(&state, rustix::fs::Access::WRITE_OK);
        writable.map_err(|e| OpenError::StateDir { path: state.clone(), source: e.into() })?;
        let effective = effective(&exe, &found.git_dir, o)?;
        let store = state.join("git");
        if !config::stands_for(&store, &found.common) {
            let written = config::write_store(&store, &found.common, &effective, &defaults(o))
                .and_then(|()| modules::write(&store, &found.common, found.main_worktree.as_deref()));
            written.map_err(|e| match e {
                GitError::Io { path, source } if path.starts_with(&state) => OpenError::StateDir { path, source },
                e => OpenError::Git(e),
            })?;
        }
        let git = Git::new(exe.clone(), environment(&effective.identity(), o), &found.common, &store);
        let objects = open_objects(&git, &effective);
        let inner = Inner {
            id,
            common: found.common,
            state,
            worktree: found.worktree,
            main_worktree: found.main_worktree,
            git_dir: found.git_dir,
            version,
            exe,
            options: o.clone(),
            git,
            effective,
            objects,
        };
        Ok(Repo { inner: Arc::new(inner) })
    }

    /// The repository's id in the state directory.
    pub fn id(&self) -> &RepoId {
        &self.inner.id
    }

    /// The git directory that all its worktrees share.
    pub fn common_dir(&self) -> &Path {
        &self.inner.common
    }

    /// Where this repository's state lies: `<state>/repos/<id>`, for its owner alone.
    pub fn state_dir(&self) -> &Path {
        &self.inner.state
    }

    /// The checkout that we were started in; none in a bare repository.
    pub fn worktree(&self) -> Option<&Path> {
        self.inner.worktree.as_deref()
    }

    /// The checkout of the common git directory itself, which every other is linked to; none in a bare repository.
    pub(crate) fn main_worktree(&self) -> Option<&Path> {
        self.inner.main_worktree.as_deref()
    }

    /// git's version, as in `2.47.3`.
    pub fn git_version(&self) -> String {
        self.inner.version.to_string()
    }

    /// The user's identity, else `Wattle <wattle@localhost>`.
    pub fn identity(&self) -> Signature {
        self.inner.effective.identity()
    }

    /// Which implementation reads objects: `git2` or `cat-file`.
    pub fn objects_backend(&self) -> &'static str {
        self.inner.objects.name()
    }

    /// Fixes what decides the content of files for a run: the settings admitted from the user's configuration as it is
    /// now, and `base` as the commit whose `.gitattributes` count. Repeating it is harmless.
    pub fn configure(&self, base: &CommitId) -> Result<(), GitError> {
        let inner = &self.inner;
        let effective = effective(&inner.exe, &inner.git_dir, &inner.options)?;
        config::write_store(inner.git.store(), &inner.common, &effective, &defaults(&inner.options))?;
        modules::write(inner.git.store(), &inner.common, self.main_worktree())?;
        inner.git.set_attributes(base);
        Ok(())
    }

    /// Makes a folder stand for the repository with the user's configuration of now, whatever a run has fixed.
    pub(crate) fn write_rules(&self, store: &Path) -> Result<(), GitError> {
        let inner = &self.inner;
        config::write_store(store, &inner.common, &inner.effective, &defaults(&inner.options))?;
        modules::write(store, &inner.common, self.main_worktree())
    }

    /// Where git finds attributes that are the user's and no repository's.
    pub(crate) fn personal_attributes(&self) -> Option<PathBuf> {
        let home = self.inner.options.home.as_ref();
        match self.inner.effective.get("core.attributesfile") {
            Some(given) => match given.strip_prefix("~/") {
                Some(below) => home.map(|home| home.join(below)),
                None => Some(PathBuf::from(given)),
            },
            None => defaults(&self.inner.options).attributes,
        }
    }

    /// Whether the configuration says that the repository has no checkout of its own.
    pub(crate) fn is_bare(&self) -> bool {
        self.inner.effective.get("core.bare").is_some_and(|bare| bare.eq_ignore_ascii_case("true"))
    }

    /// How long ids are.
    pub(crate) fn id_bytes(&self) -> usize {
        let sha256 =
            self.inner.effective.get("extensions.objectformat").is_some_and(|f| f.eq_ignore_ascii_case("sha256"));
        if sha256 { 32 } else { 20 }
    }

    /// Whether a file that we write among git's needs no more than the usual permissions.
    pub(crate) fn plain_permissions(&self) -> bool {
        self.inner.effective.get("core.sharedrepository").is_none()
    }

    /// Whether objects may have to be fetched when they are read.
    pub(crate) fn fetches_objects(&self) -> bool {
        self.inner.effective.partial()
    }

    /// Whether objects that are missing may be had from a server.
    pub(crate) fn fetches_lazily(&self) -> bool {
        self.inner.effective.partial()
    }

    pub(crate) fn git(&self) -> &Git {
        &self.inner.git
    }

    pub(crate) fn objects(&self) -> &dyn Objects {
        &*self.inner.objects
    }

    /// A command on the repository's refs.
    pub(crate) fn common(&self) -> Run {
        self.inner.git.at(At::Common)
    }

    /// A command on the repository's objects, untouched by its configuration.
    pub(crate) fn store(&self) -> Run {
        self.inner.git.at(At::Store)
    }

    /// A command in the checkout that we were started in, else on the repository itself.
    pub(crate) fn checkout(&self) -> Run {
        let work_tree = self.inner.worktree.as_deref();
        self.inner.git.at(At::Worktree { git_dir: &self.inner.git_dir, work_tree })
    }

    /// Whether git is at least this version, else the error that names what is missing.
    pub(crate) fn needs(&self, feature: &'static str, at_least: Version, needed: &'static str) -> Result<(), GitError> {
        if self.inner.version >= at_least {
            return Ok(());
        }
        Err(GitError::Unsupported { feature, found: self.git_version(), needed })
    }
}

fn version(exe: &Path, o: &OpenOptions) -> Result<Version, OpenError> {
    let ran = personal(exe, o).args(["version"]).run()?;
    let version = Version::parse(&ran.text()).ok_or_else(|| ran.unreadable("no version in it"))?;
    if version < VERSION_MIN {
        return Err(OpenError::GitTooOld { found: version.to_string(), needed: "2.38".to_owned() });
    }
    Ok(version)
}

/// git as the user has it configured: for finding the repository (`safe.directory`) and reading the configuration.
fn personal(exe: &Path, o: &OpenOptions) -> Run {
    let mut run = Run::bare(exe).env("PATH", &o.path).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    if let Some(home) = &o.home {
        run = run.env("HOME", home);
    }
    if let Some(xdg) = &o.xdg_config_home {
        run = run.env("XDG_CONFIG_HOME", xdg);
    }
    run
}

fn environment(identity: &Signature, o: &OpenOptions) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = vec![("PATH".into(), o.path.clone())];
    let mut set = |key: &str, value: &OsStr| env.push((key.into(), value.to_owned()));
    for (key, value) in [
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_ADVICE", "0"),
        ("GIT_EDITOR", "false"),
        ("GIT_AUTHOR_NAME", &identity.name),
        ("GIT_AUTHOR_EMAIL", &identity.email),
        ("GIT_COMMITTER_NAME", &identity.name),
        ("GIT_COMMITTER_EMAIL", &identity.email),
    ] {
        set(key, value.as_ref());
    }
    // Nothing of ours may find a repository by walking up from the state directory or from a slot.
    set("GIT_CEILING_DIRECTORIES", o.state_dir.as_os_str());
    if let Some(home) = &o.home {
        set("HOME", home.as_os_str());
    }
    env
}

/// Where git looks for personal files when no setting names them. Our git knows the user's home and no `XDG_CONFIG_HOME`:
/// where that is given its files are named though they do not exist, or those of the home would be read.
fn defaults(o: &OpenOptions) -> Personal {
    let xdg = o.xdg_config_home.as_ref();
    let base = xdg.cloned().or_else(|| o.home.as_ref().map(|home| home.join(".config")));
    let file = |name: &str| base.as_ref().map(|base| base.join("git").join(name));
    let named = |path: &PathBuf| xdg.is_some() || path.exists();
    Personal { excludes: file("ignore").filter(named), attributes: file("attributes").filter(named) }
}

fn effective(exe: &Path, git_dir: &Path, o: &OpenOptions) -> Result<Effective, GitError> {
    let list = personal(exe, o).env("GIT_DIR", git_dir).args(["config", "--list", "--includes", "-z"]).run()?;
    Ok(Effective::parse(&list.stdout))
}

fn discover(exe: &Path, start: &Path, o: &OpenOptions) -> Result<Found, OpenError> {
    let missing = || OpenError::NotARepository { path: start.to_owned() };
    if !start.is_dir() {
        return Err(missing());
    }
    let asked = |args: &[&str]| {
        let start = [OsStr::new("-C"), start.as_os_str()];
        personal(exe, o).args(start).args(["rev-parse", "--path-format=absolute"]).args(args).run()
    };
    let ran = match asked(&["--is-bare-repository", "--is-inside-work-tree", "--git-dir", "--git-common-dir"]) {
        Ok(ran) => ran,
        Err(GitError::Failed { stderr, .. }) if stderr.contains("not a git repository") => {
            return Err(missing());
        }
        Err(e) => return Err(e.into()),
    };
    let mut lines = ran.stdout.splitn(3, |b| *b == b'\n');
    let mut flag = || lines.next() == Some(b"true");
    let (bare, inside) = (flag(), flag());
    let paths: Vec<&[u8]> = lines.next().unwrap_or_default().split(|b| *b == b'\n').collect();
    let (git_dir, common) = match paths[..] {
        [git_dir, common, b""] => (path(git_dir), path(common)),
        // A line end in a path: one question each.
        _ => (one_path(&asked(&["--git-dir"])?), one_path(&asked(&["--git-common-dir"])?)),
    };
    let common = common.canonicalize().map_err(|e| GitError::io(&common, e))?;
    let worktree = match inside {
        true => Some(one_path(&asked(&["--show-toplevel"])?)),
        false if bare => None,
        false => checkout_of(exe, o, &git_dir)?,
    };
    let main_worktree = match common == git_dir {
        true => worktree.clone(),
        false => checkout_of(exe, o, &common)?,
    };
    Ok(Found { git_dir, common, worktree, main_worktree })
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The path that is all of a command's output.
fn one_path(ran: &Ran) -> PathBuf {
    path(ran.stdout.strip_suffix(b"\n").unwrap_or(&ran.stdout))
}

/// The checkout that a git directory belongs to, for a start inside that directory; none if it has none.
fn checkout_of(exe: &Path, o: &OpenOptions, git_dir: &Path) -> Result<Option<PathBuf>, GitError> {
    // Of a linked worktree, as git records it.
    if let Ok(back) = fs::read(git_dir.join("gitdir")) {
        let file = path(back.strip_suffix(b"\n").unwrap_or(&back));
        return Ok(git_dir.join(file).parent().map(Path::to_owned).filter(|dir| dir.is_dir()));
    }
    let ask = ["config", "--null", "--get-regexp", r"^core\.(bare|worktree)$"];
    let ran = personal(exe, o).env("GIT_DIR", git_dir).args(ask).accept(1).run()?;
    let asked = Effective::parse(&ran.stdout);
    if let Some(named) = asked.value("core.worktree") {
        return Ok(git_dir.join(path(named)).canonicalize().ok());
    }
    let usual = git_dir.file_name() == Some(OsStr::new(".git")) && asked.get("core.bare") != Some("true");
    Ok(usual.then(|| git_dir.parent().map(Path::to_owned)).flatten())
}

/// Makes a folder that only its owner may enter, and its parents.
fn make_private(dir: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| OpenError::StateDir { path: dir.to_owned(), source })
}

/// The id of a repository that has one and is where it was: what [`repo_id`] gives without writing anything.
pub(crate) fn known_id(common: &Path, o: &OpenOptions) -> Option<RepoId> {
    if let Some(given) = &o.repo_id {
        return given.parse().ok();
    }
    let record: IdRecord = serde_json::from_slice(&fs::read(common.join("wattle/id")).ok()?).ok()?;
    let here = common.metadata().ok()?;
    let same = record.inode == here.ino() && record.device == here.dev() && record.path == shown_path(common);
    same.then_some(record.id)
}

fn repo_id(common: &Path, o: &OpenOptions) -> Result<RepoId, OpenError> {
    let path = common.join("wattle/id");
    let fail = |source| OpenError::Id { path: path.clone(), source };
    if let Some(given) = &o.repo_id {
        return given.parse().map_err(|e| fail(io::Error::new(io::ErrorKind::InvalidInput, e)));
    }
    let here = common.metadata().map_err(fail)?;
    let at = shown_path(common);
    let same = |r: &IdRecord| r.inode == here.ino() && (r.device == here.dev() || r.path == at);
    // Two first openings at once must agree: the folder itself is the lock, so that nothing more is written.
    let folder = fs::File::open(common).map_err(fail)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|e| fail(e.into()))?;
    let recorded: Option<IdRecord> = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(fail(e)),
    };
    let kept = recorded.filter(same);
    if let Some(record) = kept.as_ref().filter(|r| r.path == at && r.device == here.dev()) {
        return Ok(record.id.clone());
    }
    // New, or copied from elsewhere: a new id. Merely moved: the id stays and the record follows.
    let id = match kept {
        Some(record) => record.id,
        None => fresh_id().map_err(fail)?,
    };
    let record = IdRecord { v: 1, id, path: at, device: here.dev(), inode: here.ino() };
    let bytes = serde_json::to_vec_pretty(&record).expect("a record of strings and numbers serialises");
    fs::create_dir_all(common.join("wattle")).map_err(fail)?;
    config::write_whole(&path, &bytes).map_err(fail)?;
    Ok(record.id)
}

fn fresh_id() -> io::Result<RepoId> {
    let mut bytes = [0_u8; ID_BYTES];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(hex.parse().expect("hex digits make a repository id"))
}

#[cfg(test)]
mod tests;
