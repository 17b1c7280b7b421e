//! The effective configuration: flags, environment, project file, user file and built-in defaults, joined.
//!
//! Precedence is flag > environment > plan > project > user > default. What decides security or money comes
//! from flag, environment and user; a project can only tighten it, and what it tried beyond that is ignored
//! and reported. What a project's file can run applies only when its content is trusted.

pub(crate) mod amount;
pub(crate) mod choice;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod model;
pub(crate) mod money;
mod node;
pub(crate) mod servers;
pub(crate) mod trust;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use choice::{Approve, OnInput};
use environment::Environment;
use file::{Clean, File, Mistake};
use trust::{Trust, TrustError};
use wattle_cache::price::{Row, Table};

use crate::options::Slots;

/// The built-in defaults: a commented file, which `wattle init` prints too.
pub(crate) const DEFAULTS: &str = include_str!("config/defaults.yaml");
/// The project's file, under the root of its checkout.
pub(crate) const PROJECT_FILE: &str = ".wattle/config.yaml";

/// What was given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--jobs`.
    pub(crate) jobs: Option<u32>,
    /// `--max-usd`, in nano-dollars.
    pub(crate) max_nano_usd: Option<u64>,
    /// `--max-tokens`.
    pub(crate) max_tokens: Option<u64>,
    /// `--model`.
    pub(crate) model: Option<String>,
    /// `--approve`.
    pub(crate) approve: Option<Approve>,
    /// `--on-input`.
    pub(crate) on_input: Option<OnInput>,
    /// Checks at once; only from the environment.
    pub(crate) checks: Option<u32>,
    /// What slots are made of; only from the environment.
    pub(crate) slots: Option<Slots>,
}

/// A limit: what overrides a plan, and what holds where a plan says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Limit<T> {
    /// From flag or environment.
    pub(crate) given: Option<T>,
    /// From the files.
    pub(crate) configured: Option<T>,
    /// What a plan cannot go above: a limit that the user has set for all runs.
    pub(crate) ceiling: Option<T>,
}

impl<T: Copy + Ord> Limit<T> {
    /// The value that holds for a plan that says `plan`.
    pub(crate) fn with(&self, plan: Option<T>) -> Option<T> {
        let below = |value: T| self.ceiling.map_or(value, |ceiling| value.min(ceiling));
        self.given.or(plan.map(below)).or(self.configured)
    }
}

/// How long what was put aside is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Keep {
    /// Days after a `clean` has first listed it.
    pub(crate) days: u32,
    /// How much at most, the newest first.
    pub(crate) count: u32,
}

/// The configuration that holds for this process and this repository.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Effective {
    /// Workers at once.
    pub(crate) jobs: Limit<u32>,
    /// Checks at once.
    pub(crate) checks: Limit<u32>,
    /// Money of one run, in nano-dollars.
    pub(crate) nano_usd: Limit<u64>,
    /// Tokens of one run.
    pub(crate) tokens: Limit<u64>,
    /// Disk of the slots, in bytes.
    pub(crate) disk_bytes: Limit<u64>,
    /// What goes when a slot changes hands.
    pub(crate) clean: Clean,
    /// What slots are made of.
    pub(crate) slots: Slots,
    /// How long what was put aside is kept.
    pub(crate) keep: Keep,
    /// Who lets work into the queue.
    pub(crate) approve: Approve,
    /// What a worker's question does.
    pub(crate) on_input: OnInput,
    /// The model of steps that name none.
    pub(crate) model: Option<String>,
    /// Servers of models, with the keys of this process.
    pub(crate) models: model::Models,
    /// What models cost.
    #[serde(skip)]
    pub(crate) prices: Arc<Table>,
    /// What is added to plans that lack it: checks, setup and the like, as JSON.
    pub(crate) frame: BTreeMap<String, serde_json::Value>,
    /// What a project's file asked for and did not get.
    pub(crate) ignored: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has mistakes.
    #[error("read {}: {}", path.display(), mistakes.first().map_or("", |m| m.message.as_str()))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
    /// A variable has a value that cannot be.
    #[error("read {variable}: {message}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A project's file would run something and is not trusted.
    #[error("use {}: it would run {} and is not trusted", path.display(), keys.join(", "))]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Its keys that run something.
        keys: Vec<String>,
    },
    /// The list of trusted contents.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Neither `--state-dir` nor a home.
    #[error("find a state directory: neither WATTLE_STATE_DIR nor XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateDir,
}

/// Where the files are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Root of the user's checkout; `None` = a bare repository, or none.
    pub(crate) project: Option<PathBuf>,
    /// The state directory.
    pub(crate) state_dir: PathBuf,
}

impl Places {
    /// The project's file.
    pub(crate) fn project_file(&self) -> Option<PathBuf> {
        Some(self.project.as_ref()?.join(PROJECT_FILE))
    }
}

/// Joins everything; an untrusted project file that would run something is an error, never left out in silence.
pub(crate) fn load(env: &Environment, places: &Places, flags: &Flags) -> Result<Effective, ConfigError> {
    let user = read_file(env.user_config().as_deref())?;
    let project = read_file(places.project_file().as_deref())?;
    let variables = variables(env)?;
    let (user_file, _) = user.unwrap_or_default();
    let (project_file, project_text) = project.unwrap_or_default();
    require_trust(env, places, &project_file, &project_text)?;
    let (defaults, _) = file::read(DEFAULTS);
    Ok(join(Sources { flags, variables: &variables, project: project_file, user: user_file, defaults }, env))
}

struct Sources<'a> {
    flags: &'a Flags,
    variables: &'a Flags,
    project: File,
    user: File,
    defaults: File,
}

fn join(from: Sources<'_>, env: &Environment) -> Effective {
    let Sources { flags, variables, project, user, defaults } = from;
    let mut ignored = Vec::new();
    let mut tighten = |key: &str, project: Option<u64>, users: Option<u64>| match (project, users) {
        (Some(asked), Some(bound)) if asked > bound => {
            ignored.push(format!("{key}: a project can only lower it"));
            Some(bound)
        }
        (asked, bound) => asked.or(bound),
    };
    let nano_usd = tighten("limits.usd", project.nano_usd, user.nano_usd.or(defaults.nano_usd));
    let tokens = tighten("limits.tokens", project.tokens, user.tokens);
    let keep = keep_of(&project, &user, &defaults, &mut ignored);
    let users_approve = user.approve.or(defaults.approve).unwrap_or(Approve::Manual);
    if project.approve > Some(users_approve) {
        ignored.push("approve: a project can only say manual".to_owned());
    }
    if !project.models.is_empty() {
        ignored.push("models: an address comes from the user's file or the environment".to_owned());
    }
    if project.prewarm.is_some() {
        ignored.push("prewarm: what is asked of a model beyond the work is said by the user's file".to_owned());
    }
    if !project.prices.is_empty() {
        ignored.push("prices: what a model costs is said by the user's file".to_owned());
    }
    let files_approve = project.approve.unwrap_or(users_approve).min(users_approve);
    let mut frame = user.frame;
    frame.extend(project.frame);
    if let Some(target) = project.target.or(user.target) {
        frame.insert("target".to_owned(), target.into());
    }
    let plain = |given: Option<u32>, configured: Option<u32>| Limit { given, configured, ceiling: None };
    Effective {
        jobs: plain(flags.jobs.or(variables.jobs), project.jobs.or(user.jobs).or(defaults.jobs)),
        checks: plain(variables.checks, project.checks.or(user.checks).or(defaults.checks)),
        nano_usd: Limit {
            given: flags.max_nano_usd.or(variables.max_nano_usd),
            configured: nano_usd,
            ceiling: user.nano_usd,
        },
        tokens: Limit { given: flags.max_tokens.or(variables.max_tokens), configured: tokens, ceiling: user.tokens },
        disk_bytes: Limit { given: None, configured: project.disk_bytes.or(user.disk_bytes), ceiling: None },
        clean: project.clean.or(user.clean).or(defaults.clean).unwrap_or(Clean::Untracked),
        slots: variables.slots.or(project.slots).or(user.slots).or(defaults.slots).unwrap_or_default(),
        keep,
        approve: flags.approve.or(variables.approve).unwrap_or(files_approve),
        on_input: flags
            .on_input
            .or(variables.on_input)
            .or(project.on_input)
            .or(user.on_input)
            .or(defaults.on_input)
            .unwrap_or(OnInput::Wait),
        model: flags.model.clone().or_else(|| variables.model.clone()).or(project.model).or(user.model),
        models: model::Models::new(user.models, env),
        prices: table(user.prices),
        frame,
        ignored,
    }
}

/// How long what was put aside is kept: a project may only make that longer.
fn keep_of(project: &File, user: &File, defaults: &File, ignored: &mut Vec<String>) -> Keep {
    let mut raise = |key: &str, project: Option<u32>, users: Option<u32>, default: Option<u32>| {
        let bound = users.or(default).unwrap_or_default();
        if project.is_some_and(|asked| asked < bound) {
            ignored.push(format!("{key}: a project can only raise it"));
        }
        project.map_or(bound, |asked| asked.max(bound))
    };
    Keep {
        days: raise("keep.days", project.keep_days, user.keep_days, defaults.keep_days),
        count: raise("keep.count", project.keep_count, user.keep_count, defaults.keep_count),
    }
}

/// How long what was put aside is kept, by the two files alone: they need no trust for that.
pub(crate) fn keep(env: &Environment, places: &Places) -> Result<Keep, ConfigError> {
    let read = |path: Option<PathBuf>| {
        Ok::<File, ConfigError>(read_file(path.as_deref())?.map(|(file, _)| file).unwrap_or_default())
    };
    let (project, user) = (read(places.project_file())?, read(env.user_config())?);
    Ok(keep_of(&project, &user, &file::read(DEFAULTS).0, &mut Vec::new()))
}

/// Where models are: by the user's file and the environment alone, for a project may not redirect them.
pub(crate) fn models(env: &Environment) -> Result<model::Models, ConfigError> {
    let user = read_file(env.user_config().as_deref())?.map(|(file, _)| file).unwrap_or_default();
    Ok(model::Models::new(user.models, env))
}

/// What models cost: by the user's file, else by the vendored table.
pub(crate) fn prices(env: &Environment) -> Result<Arc<Table>, ConfigError> {
    let user = read_file(env.user_config().as_deref())?.map(|(file, _)| file).unwrap_or_default();
    Ok(table(user.prices))
}

/// Is the shared prompt written to a provider's cache by a request of its own?
pub(crate) fn prewarm(env: &Environment) -> Result<bool, ConfigError> {
    let user = read_file(env.user_config().as_deref())?.map(|(file, _)| file).unwrap_or_default();
    Ok(user.prewarm.unwrap_or(false))
}

fn table(rows: Vec<Row>) -> Arc<Table> {
    Arc::new(Table::builtin().clone().with(rows).expect("the rows of a file are checked when it is read"))
}

/// A file's content with what it says; `None` where there is no file.
fn read_file(path: Option<&Path>) -> Result<Option<(File, String)>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        Err(source) => {
            return Err(ConfigError::Read { path: path.to_owned(), source });
        }
    };
    let (file, mistakes) = file::read(&text);
    if mistakes.is_empty() {
        Ok(Some((file, text)))
    } else {
        Err(ConfigError::Mistakes { path: path.to_owned(), mistakes })
    }
}

fn require_trust(env: &Environment, places: &Places, file: &File, text: &str) -> Result<(), ConfigError> {
    let keys = running_keys(file);
    if keys.is_empty() || env.get("WATTLE_TRUST") == Some("1") || Trust::of(&places.state_dir).holds(text)? {
        return Ok(());
    }
    let path = places.project_file().unwrap_or_default();
    Err(ConfigError::Untrusted { path, keys })
}

/// The keys of a file that run something.
pub(crate) fn running_keys(file: &File) -> Vec<String> {
    let runs = |key: &&&str| match file.frame.get(**key) {
        None | Some(serde_json::Value::Null) => false,
        Some(serde_json::Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let servers = (!file.lsp.is_empty()).then_some(&file::LSP);
    file::RUNS.iter().filter(runs).chain(servers).map(|key| (*key).to_owned()).collect()
}

/// What a key of a file would run, as JSON.
pub(crate) fn runs(file: &File, key: &str) -> serde_json::Value {
    if key == file::LSP { serde_json::json!(file.lsp) } else { file.frame.get(key).cloned().unwrap_or_default() }
}

/// What the environment says, in the form of flags; `checks` has no flag.
fn variables(env: &Environment) -> Result<Flags, ConfigError> {
    fn read<T>(
        env: &Environment,
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let value = env.get(variable).map(parse).transpose();
        value.map_err(|message| ConfigError::Variable { variable, message })
    }
    Ok(Flags {
        jobs: read(env, "WATTLE_JOBS", amount::parse_parallel)?,
        checks: read(env, "WATTLE_CHECKS", amount::parse_parallel)?,
        max_nano_usd: read(env, "WATTLE_MAX_USD", money::parse_usd)?,
        max_tokens: read(env, "WATTLE_MAX_TOKENS", amount::parse_count)?,
        model: env.get("WATTLE_MODEL").map(str::to_owned),
        approve: read(env, "WATTLE_APPROVE", |text| clap::ValueEnum::from_str(text, false))?,
        on_input: read(env, "WATTLE_ON_INPUT", |text| clap::ValueEnum::from_str(text, false))?,
        slots: read(env, "WATTLE_SLOTS", |text| {
            let found = file::SLOTS.iter().find(|(name, _)| *name == text).map(|(_, slots)| *slots);
            found.ok_or_else(|| format!("`{text}` is neither checkout nor overlay"))
        })?,
    })
}

#[cfg(test)]
mod tests;
