//! Runs git: the only program this crate starts, always in an environment of ours.
//!
//! No inherited variable reaches git, no system or personal configuration, no hook and no fsmonitor. What the user
//! configured and what we admit of it is in one file (see `config`). Writes are durable: git fsyncs neither objects nor
//! refs by default, and a power cut after somebody else's fsync then leaves refs that point at empty objects.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::RwLock;

use crate::fault;
use crate::ids::CommitId;
use crate::room::free_bytes;
use claim::Claim;

pub(crate) mod claim;

/// Of a failing git's messages this much is kept: the first kilobytes name the cause, the rest repeats it per file.
const STDERR_BYTES_MAX: usize = 8 * 1024;
/// The commands that change something, for fault points; the others only read.
const WRITERS: &[&str] =
    &["add", "clean", "hash-object", "merge-tree", "read-tree", "update-index", "update-ref", "worktree", "write-tree"];
/// Folder of claims, in the common git directory: the locks are the repository's, whatever the state directory.
const CLAIMS: &str = "wattle/claims";
/// How long git waits for another process's ref or packed-refs lock. Holders need milliseconds; past this one is stale.
const REF_LOCK_TIMEOUT_MS: &str = "5000";

/// git failed, or could not be run.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git ended with an error.
    #[error("run `{command}` (exit {}): {stderr}", status.map_or_else(|| "by signal".to_owned(), |s| s.to_string()))]
    Failed {
        /// What was run.
        command: String,
        /// Its exit code; none when a signal ended it.
        status: Option<i32>,
        /// The first kilobytes of what it said.
        stderr: String,
    },
    /// git could not be started or talked to.
    #[error("start `{command}`: {source}")]
    Start {
        /// What was to be run.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// git answered with something that we cannot read.
    #[error("understand the output of `{command}`: {what}")]
    Output {
        /// What was run.
        command: String,
        /// What is wrong with its output.
        what: String,
    },
    /// A file that belongs to the operation could not be read or written.
    #[error("access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody has removed what was made before a ref kept it.
    #[error("keep {commit}: objects of it are gone; is somebody pruning?")]
    Pruned {
        /// The commit that a ref keeps by now.
        commit: String,
    },
    /// This git is older than what the operation needs.
    #[error("use {feature}: git {found} lacks it, {needed} has it")]
    Unsupported {
        /// What was to be used.
        feature: &'static str,
        /// The version found.
        found: String,
        /// The first version that has it.
        needed: &'static str,
    },
}

impl GitError {
    pub(crate) fn io(path: &Path, source: io::Error) -> GitError {
        GitError::Io { path: path.to_owned(), source }
    }
}

/// A git version, comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads `git version 2.47.3`, with whatever a distribution appends.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let number = text.trim().strip_prefix("git version ")?.split_whitespace().next()?;
        let mut parts = number.split('.').map(|p| p.parse::<u32>().ok());
        let major = parts.next()??;
        let minor = parts.next()??;
        Some(Version(major, minor, parts.next().flatten().unwrap_or(0)))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Where git is and what surrounds it when it runs.
#[derive(Debug)]
pub(crate) struct Git {
    exe: PathBuf,
    env: Vec<(OsString, OsString)>,
    /// The folder of our own that stands for the repository where its configuration must not be read.
    store: PathBuf,
    /// The repository's real common directory.
    common: PathBuf,
    config: PathBuf,
    attributes: RwLock<Option<CommitId>>,
    /// What new slots hold, by name (see `shape`).
    shape: RwLock<String>,
}

/// Which repository and which files a command works on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// Objects only, with our configuration and none of the repository's.
    Store,
    /// The files of a worktree seen through an index of ours, with our configuration.
    Files { work_tree: &'a Path, index: &'a Path },
    /// The repository itself: its refs.
    Common,
    /// Whatever repository git finds from a folder, by its own search.
    Discover { dir: &'a Path },
    /// A worktree's own git directory: its HEAD and, for the user's checkouts, its index.
    Worktree { git_dir: &'a Path, work_tree: Option<&'a Path> },
}

/// Finds an executable `git` on a search path.
pub(crate) fn find(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("git"))
        .find(|exe| exe.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that starts git")]
pub(crate) fn command(exe: &Path) -> Command {
    let mut command = Command::new(exe);
    command.env_clear();
    // A Ctrl-C at the terminal is ours to handle: it must not end a git that is writing a checkout.
    command.process_group(0);
    command
}

impl Git {
    pub(crate) fn new(exe: PathBuf, env: Vec<(OsString, OsString)>, common: &Path, store: &Path) -> Git {
        Git {
            exe,
            env,
            store: store.to_owned(),
            common: common.to_owned(),
            config: store.join("user.config"),
            attributes: RwLock::new(None),
            shape: RwLock::default(),
        }
    }

    /// The commit whose `.gitattributes` count from now on, in every worktree.
    pub(crate) fn set_attributes(&self, commit: &CommitId) {
        *self.attributes.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(commit.clone());
    }

    /// The commit whose `.gitattributes` count, if one has been fixed.
    pub(crate) fn attributes(&self) -> Option<CommitId> {
        self.attributes.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The shape of slots that are leased from now on.
    pub(crate) fn set_shape(&self, shape: String) {
        *self.shape.write().unwrap_or_else(std::sync::PoisonError::into_inner) = shape;
    }

    pub(crate) fn shape(&self) -> String {
        self.shape.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// What every git of ours has in its environment, and no other process.
    pub(crate) fn marker(&self) -> Vec<u8> {
        let mut marker = b"GIT_CONFIG_GLOBAL=".to_vec();
        marker.extend_from_slice(self.config.as_os_str().as_bytes());
        marker
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// A command on `at`; nothing runs until it is asked for output.
    pub(crate) fn at(&self, at: At<'_>) -> Run {
        let mut command = command(&self.exe);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.env("GIT_CONFIG_GLOBAL", &self.config);
        set_overrides(&mut command);
        match at {
            At::Store => {
                command.env("GIT_DIR", &self.store).env("GIT_OBJECT_DIRECTORY", self.common.join("objects"));
                command.current_dir(&self.store);
            }
            At::Files { work_tree, index } => {
                command.env("GIT_DIR", &self.store).env("GIT_OBJECT_DIRECTORY", self.common.join("objects"));
                command.env("GIT_WORK_TREE", work_tree).env("GIT_INDEX_FILE", index);
                command.current_dir(work_tree);
            }
            At::Discover { dir } => {
                command.current_dir(dir);
            }
            At::Common => {
                command.env("GIT_DIR", &self.common);
                command.current_dir(&self.common);
            }
            At::Worktree { git_dir, work_tree } => {
                command.env("GIT_DIR", git_dir);
                command.current_dir(work_tree.unwrap_or(git_dir));
                if let Some(work_tree) = work_tree {
                    command.env("GIT_WORK_TREE", work_tree);
                }
            }
        }
        // In the user's own checkout the attributes are what the user's own git would see.
        let ours = matches!(at, At::Store | At::Files { .. });
        if let Some(source) = self.attributes().filter(|_| ours) {
            command.env("GIT_ATTR_SOURCE", source.as_str());
        }
        Run { command, stdin: None, accepted: 0, claims: Some(self.claims()), locks: Vec::new() }
    }

    /// Where it is said which locks may be ours.
    pub(crate) fn claims(&self) -> PathBuf {
        self.common.join(CLAIMS)
    }
}

/// What no configuration may change. Through the environment, not `-c`, so that an error shows the command itself.
fn set_overrides(command: &mut Command) {
    const OVERRIDES: &[(&str, &str)] = &[
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("core.fsync", "committed,reference"),
        ("core.fsyncMethod", "batch"),
        ("core.filesRefLockTimeout", REF_LOCK_TIMEOUT_MS),
        ("core.packedRefsTimeout", REF_LOCK_TIMEOUT_MS),
        ("core.safecrlf", "false"),
        ("core.quotePath", "false"),
        // As many writers as processors; git uses them from 100 files on. On two processors and ext4 a fresh checkout of
        // 50,000 files took 2.72 s by one writer, 1.63 s by two, 2.18 s by four (medians of five in turns); of 200, 1,000
        // and 5,000 files one and two took the same.
        ("checkout.workers", "0"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("submodule.recurse", "false"),
        // Whose repository it is was judged once, by the user's own git, when it was opened.
        ("safe.directory", "*"),
    ];
    command.env("GIT_CONFIG_COUNT", OVERRIDES.len().to_string());
    for (n, (key, value)) in OVERRIDES.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
    }
}

/// A git command that has not run yet.
pub(crate) struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    accepted: i32,
    /// Where claims are made; outside every repository nothing is locked.
    claims: Option<PathBuf>,
    /// What it may lock that others lock, too.
    locks: Vec<PathBuf>,
}

/// What a command that ended acceptably gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) command: String,
}

impl Ran {
    /// Standard output as text, without its last line end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// The NUL-separated fields of standard output, the last terminator dropped.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let body = self.stdout.strip_suffix(b"\0").unwrap_or(&self.stdout);
        let none = body.is_empty();
        body.split(|b| *b == 0).skip(usize::from(none))
    }

    pub(crate) fn unreadable(&self, what: impl Into<String>) -> GitError {
        GitError::Output { command: self.command.clone(), what: what.into() }
    }

    /// As the error that this result is to those who did not expect its exit code.
    pub(crate) fn failed(&self) -> GitError {
        GitError::Failed { command: self.command.clone(), status: Some(self.code), stderr: self.stderr.clone() }
    }
}

/// Less room than this is none: it is what a few small files need.
const ROOM_BYTES_MIN: u64 = 64 * 1024;

/// Has the disk of a folder no room left?
fn is_full(folder: &Path) -> bool {
    free_bytes(folder).is_ok_and(|bytes| bytes < ROOM_BYTES_MIN)
}

impl Run {
    /// A command outside every repository, in an environment that the caller gives.
    pub(crate) fn bare(exe: &Path) -> Run {
        Run { command: command(exe), stdin: None, accepted: 0, claims: None, locks: Vec::new() }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Run {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(key, value);
        self
    }

    /// Attributes are those of the files in a folder, which stands for a checkout.
    pub(crate) fn in_checkout(mut self, folder: &Path) -> Run {
        self.command.env_remove("GIT_ATTR_SOURCE").current_dir(folder);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Run {
        self.stdin = Some(bytes.into());
        self
    }

    /// Exit codes up to this one are answers, not errors.
    pub(crate) fn accept(mut self, code: i32) -> Run {
        self.accepted = code;
        self
    }

    /// Lock files that others use, too, and that this command may take: should it be killed, they are known to be its.
    pub(crate) fn locks(mut self, locks: Vec<PathBuf>) -> Run {
        self.locks = locks;
        self
    }

    fn line(&self) -> String {
        let mut line = String::from("git");
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    /// The name of a fault point of this command, if it changes something.
    fn fault(&self, at: &str) -> Option<String> {
        let mut args = self.command.get_args().filter_map(OsStr::to_str);
        let verb = args.next().filter(|verb| WRITERS.contains(verb))?;
        (args.next() != Some("list")).then(|| format!("git.{verb}.{at}"))
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Ran, GitError> {
        let line = self.line();
        let start = |source| GitError::Start { command: line.clone(), source };
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let claim = match &self.claims {
            Some(folder) => Claim::make(folder, &self.locks).map_err(|e| GitError::io(folder, e))?,
            None => None,
        };
        fault::fails_of(|| self.fault("before")).map_err(start)?;
        let mut child = self.command.spawn().map_err(start)?;
        fault::point_of(|| self.fault("started"));
        let input = self.stdin.take().zip(child.stdin.take());
        // The input is written beside the reading of the output, or two full pipes would wait for each other.
        let output = std::thread::scope(|scope| {
            if let Some((bytes, mut pipe)) = input {
                // A git that ends early closes the pipe; its exit code says more than our failed write.
                scope.spawn(move || pipe.write_all(&bytes));
            }
            child.wait_with_output()
        });
        match &self.claims {
            Some(folder) if output.as_ref().is_ok_and(|output| output.status.code().is_none()) => {
                claim::leave(claim, folder);
            }
            Some(_) | None => drop(claim),
        }
        let output = output.map_err(start)?;
        fault::point_of(|| self.fault("after"));
        let said = &output.stderr[..output.stderr.len().min(STDERR_BYTES_MAX)];
        let mut stderr = String::from_utf8_lossy(said).trim_end().to_owned();
        if !output.status.success() && stderr.contains("from promisor remote") {
            // git begins with what its transport says, which a line of ours may have no room to get past.
            stderr = format!("what this partial clone lacks cannot be fetched from its remote: {stderr}");
        }
        tracing::trace!(command = %line, code = output.status.code(), "git");
        match output.status.code() {
            Some(code) if (0..=self.accepted).contains(&code) => {
                Ok(Ran { code, stdout: output.stdout, stderr, command: line })
            }
            status => {
                // git does not always say why it cannot write.
                let full = self.folders().into_iter().find(|folder| is_full(folder));
                let why = full.map_or(String::new(), |folder| format!("the disk is full ({}): ", folder.display()));
                Err(GitError::Failed { command: line, status, stderr: why + &stderr })
            }
        }
    }

    /// Where it may write.
    fn folders(&self) -> Vec<PathBuf> {
        let named = ["GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"];
        let envs = self.command.get_envs().filter(|(key, _)| named.iter().any(|name| *key == *name));
        let envs = envs.filter_map(|(_, value)| value.map(PathBuf::from));
        envs.chain(self.command.get_current_dir().map(Path::to_owned)).collect()
    }

    /// Runs it and gives its output as text.
    pub(crate) fn text(self) -> Result<String, GitError> {
        Ok(self.run()?.text())
    }

    /// Starts it as a coprocess with piped input and output; what it says on stderr is dropped.
    pub(crate) fn spawn(mut self) -> Result<(Child, String), GitError> {
        let line = self.line();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.command.spawn().map_err(|source| GitError::Start { command: line.clone(), source })?;
        Ok((child, line))
    }
}
