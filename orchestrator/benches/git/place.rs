//! Where the bench works, and how it runs programs: in an environment of its own, as a user with an empty home would.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use wattle_workspace::{OpenOptions, Repo};

use crate::Res;

/// What git is told of the user.
const CONFIG: &str = "[user]\n\tname = Bench\n\temail = bench@example.org\n[init]\n\tdefaultBranch = main\n\
[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[advice]\n\tdetachedHead = false\n";
/// Memory file systems that a machine may have mounted for everybody.
const SHARED_MEMORY: &str = "/dev/shm";

/// Scratch on disk and in memory.
#[derive(Debug)]
pub(crate) struct Place {
    cache: PathBuf,
    disk: TempDir,
    path: OsString,
}

impl Place {
    /// Makes a folder for this run beside the repositories that are kept.
    pub(crate) fn new() -> Res<Place> {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-git");
        fs::create_dir_all(&cache)?;
        let disk = TempDir::with_prefix_in("run-", &cache)?;
        #[expect(clippy::disallowed_methods, reason = "git is found where the machine has it")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(Place { cache: cache.canonicalize()?, disk, path })
    }

    /// Where generated repositories are kept.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of this run, on the file system of cargo's target folder.
    pub(crate) fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// A folder in memory; it goes when it is dropped.
    pub(crate) fn memory(&self) -> Res<TempDir> {
        Ok(TempDir::with_prefix_in("wattle-bench-", SHARED_MEMORY)?)
    }

    /// git's own version line.
    pub(crate) fn version(&self) -> Res<String> {
        self.scene(self.disk())?.text("git", self.disk(), &["version"])
    }

    /// A new world below `parent`: a home and a state folder. It stays until its parent goes: on ext4 deleting it would
    /// make whatever is measured next slower (the inode allocator walks past what was freed just now).
    pub(crate) fn scene(&self, parent: &Path) -> Res<Scene> {
        let root = TempDir::with_prefix_in("scene-", parent)?.keep().canonicalize()?;
        for name in ["home", "state", "tmp"] {
            fs::create_dir(root.join(name))?;
        }
        fs::write(root.join("home/.gitconfig"), CONFIG)?;
        Ok(Scene { root, path: self.path.clone() })
    }
}

/// One world: home, state folder and repositories of one measurement.
#[derive(Debug)]
pub(crate) struct Scene {
    root: PathBuf,
    path: OsString,
}

impl Scene {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The same world, where every git that is started through the search path leaves a line in a file.
    pub(crate) fn counted(&self) -> Res<(OsString, Count)> {
        let real = std::env::split_paths(&self.path).map(|dir| dir.join("git")).find(|exe| exe.is_file());
        let real = real.ok_or("git is not on the search path")?;
        let (folder, log) = (self.root.join("counting"), self.root.join("gits"));
        fs::create_dir_all(&folder)?;
        let wrapper = folder.join("git");
        // One write below the size of a page, appended: lines of processes that start at once do not mix.
        let (log_text, real) = (log.display(), real.display());
        fs::write(&wrapper, format!("#!/bin/sh\necho \"$@\" >> {log_text}\nexec {real} \"$@\"\n"))?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        let mut path = OsString::from(&folder);
        path.push(":");
        path.push(&self.path);
        Ok((path, Count { log }))
    }

    /// The library's view of a repository here.
    pub(crate) fn open(&self, repository: &Path) -> Res<Repo> {
        self.open_with(repository, self.path.clone())
    }

    /// The same with a search path of the caller's.
    pub(crate) fn open_with(&self, repository: &Path, path: OsString) -> Res<Repo> {
        let options = OpenOptions {
            state_dir: self.root.join("state"),
            repo_id: None,
            path,
            home: Some(self.root.join("home")),
            xdg_config_home: None,
        };
        Ok(Repo::open(repository, &options)?)
    }

    /// A program in this world; nothing of the surroundings reaches it but the search path.
    #[expect(clippy::disallowed_methods, reason = "the bench starts git, a shell and the built program, here alone")]
    pub(crate) fn command(&self, program: &str, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", &self.path).env("HOME", self.root.join("home")).env("LC_ALL", "C.UTF-8");
        command.env("WATTLE_STATE_DIR", self.root.join("state")).env("TMPDIR", self.root.join("tmp"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").current_dir(folder).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a program to its good end and gives what it printed.
    pub(crate) fn text(&self, program: &str, folder: &Path, args: &[&str]) -> Res<String> {
        finish(&mut self.command(program, folder, args))
    }

    /// Runs git to its good end and gives what it printed.
    pub(crate) fn git(&self, folder: &Path, args: &[&str]) -> Res<String> {
        self.text("git", folder, args)
    }
}

/// Runs a command to its good end and gives its standard output.
pub(crate) fn finish(command: &mut Command) -> Res<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {said}", output.status).into())
}

/// The file in which counted processes leave their lines.
#[derive(Debug)]
pub(crate) struct Count {
    log: PathBuf,
}

impl Count {
    /// The lines since it was last asked.
    pub(crate) fn take(&self) -> Res<Vec<String>> {
        let text = match fs::read_to_string(&self.log) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e.into()),
        };
        fs::remove_file(&self.log).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
