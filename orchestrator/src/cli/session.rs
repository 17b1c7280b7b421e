//! What the global options mean here: terminal, environment, repository, configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wattle_worker::lsp;
use wattle_workspace::{OpenOptions, Repo, Site, fault};

use super::Global;
use super::error::{CliError, Exit};
use crate::clock::{Clock, SystemClock};
use crate::config::environment::Environment;
use crate::config::{self, ConfigError, Effective, Flags, Places};
use crate::run::context::Context;
use crate::ui::Ui;

/// One invocation of the program.
pub(crate) struct Session {
    /// The terminal.
    pub(crate) ui: Ui,
    /// The environment, read once.
    pub(crate) env: Environment,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// What was typed.
    pub(crate) global: Global,
}

impl Session {
    /// Reads the environment; touches nothing.
    pub(crate) fn new(global: Global) -> Self {
        let env = Environment::capture();
        if let Some(what) = env.get("WATTLE_FAULT") {
            fault::arm(what);
        }
        let no_color = env.get("NO_COLOR").is_some();
        let count = |n: u8| i8::try_from(n).unwrap_or(i8::MAX);
        let loudness = count(global.verbose).saturating_sub(count(global.quiet));
        let ui = Ui::new(global.json, loudness, global.yes, global.color, no_color);
        Self { ui, env, clock: Arc::new(SystemClock), global }
    }

    /// The same invocation, with JSON on stdout.
    pub(crate) fn in_json(&self) -> Self {
        let (mut ui, global) = (self.ui.clone(), self.global.clone());
        ui.json = true;
        Self { ui, env: self.env.clone(), clock: self.clock.clone(), global }
    }

    /// The directory that the user means.
    pub(crate) fn start(&self) -> Result<PathBuf, CliError> {
        let given = self.global.repo.as_deref().unwrap_or(Path::new("."));
        std::path::absolute(given).map_err(|error| CliError::file("find", given, &error))
    }

    /// Where the state lies.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, CliError> {
        let given = match &self.global.state_dir {
            Some(path) => Some(std::path::absolute(path).map_err(|error| CliError::file("find", path, &error))?),
            None => self.env.state_dir(),
        };
        given.ok_or_else(|| ConfigError::NoStateDir.into())
    }

    /// How the workspace opens a repository for us.
    pub(crate) fn open_options(&self) -> Result<OpenOptions, CliError> {
        Ok(OpenOptions {
            state_dir: self.state_dir()?,
            repo_id: self.env.get("WATTLE_REPO_ID").map(str::to_owned),
            path: self.env.path(),
            home: self.env.home(),
            xdg_config_home: self.env.xdg_config_home(),
        })
    }

    /// The repository.
    pub(crate) fn repo(&self) -> Result<Repo, CliError> {
        let start = self.start()?;
        if !start.exists() {
            let message = format!("open {}: there is no such directory", start.display());
            return Err(CliError::new(Exit::Environment, "no_repository", message).hint("give -C PATH"));
        }
        Ok(Repo::open(&start, &self.open_options()?)?)
    }

    /// The repository, for those who only look at what is known of it already; `None` where it has to be opened.
    pub(crate) fn site(&self) -> Result<Option<Site>, CliError> {
        Ok(Site::find(&self.start()?, &self.open_options()?))
    }

    /// Where this repository's configuration lies.
    pub(crate) fn places(&self, repo: &Repo) -> Result<Places, CliError> {
        Ok(Places { project: repo.worktree().map(Path::to_owned), state_dir: self.state_dir()? })
    }

    /// What the verbs of a run work with.
    pub(crate) fn context(&self, repo: Repo) -> Result<Context, CliError> {
        let temp = repo.state_dir().join("tmp");
        std::fs::create_dir_all(&temp).map_err(|error| CliError::file("make", &temp, &error))?;
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() };
        Ok(Context {
            who: repo.identity().name,
            clock: self.clock.clone(),
            child_env: self.env.for_children(),
            models: config::models(&self.env)?,
            prices: config::prices(&self.env)?,
            prewarm: config::prewarm(&self.env)?,
            servers: lsp::Pool::new(config::servers::servers(&self.env, &self.places(&repo)?)?.servers),
            host,
            temp,
            repo,
        })
    }

    /// The configuration that holds; says what a project's file asked for and did not get.
    pub(crate) fn config(&self, repo: &Repo, flags: &Flags) -> Result<Effective, CliError> {
        let effective = config::load(&self.env, &self.places(repo)?, flags)?;
        for ignored in &effective.ignored {
            self.ui.talk(&format!("warning: {} ignored: {ignored}", config::PROJECT_FILE));
        }
        for left_out in config::servers::servers(&self.env, &self.places(repo)?)?.left_out {
            self.ui.talk(&format!("warning: {left_out}"));
        }
        Ok(effective)
    }
}
