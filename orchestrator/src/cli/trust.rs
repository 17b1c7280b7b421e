//! `wattle trust`: allows what the project's configuration would run, by content.

use serde_json::json;

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::config::servers::{self, PROJECT_SERVERS};
use crate::config::{self, file, trust::Trust};

/// Allow what the project's configuration would run, by content.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// Only show what it would run, and whether it is trusted.
    #[arg(long)]
    show: bool,
}

/// Shows what would run, and trusts it.
pub(crate) fn run(session: &Session, args: &TrustArgs) -> Done {
    let repo = session.repo()?;
    let places = session.places(&repo)?;
    let own = servers::project_text(&places)?;
    let path = places.project_file().filter(|path| path.exists() || own.is_some()).ok_or_else(|| {
        let message = format!("find {}: this project has no configuration", config::PROJECT_FILE);
        CliError::new(Exit::Environment, "no_config", message).hint("`wattle init` writes one")
    })?;
    let text = match std::fs::read_to_string(&path) {
        Err(_) if own.is_some() && !path.exists() => String::new(),
        read => read.map_err(|error| CliError::file("read", &path, &error))?,
    };
    let (parsed, mistakes) = file::read(&text);
    if !mistakes.is_empty() {
        return Err(config::ConfigError::Mistakes { path, mistakes }.into());
    }
    let keys = config::running_keys(&parsed);
    let trust = Trust::of(&places.state_dir);
    let texts = [Some((path.clone(), text)).filter(|(path, _)| path.exists()), own.clone()];
    let mut trusted = true;
    for (path, text) in texts.iter().flatten() {
        if !args.show {
            trust.add(text, path)?;
        }
        trusted &= trust.holds(text)?;
    }
    if session.ui.json {
        let mut runs: serde_json::Map<_, _> =
            keys.iter().map(|key| (key.clone(), config::runs(&parsed, key))).collect();
        if let Some((_, text)) = &own {
            runs.insert(PROJECT_SERVERS.to_owned(), serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()));
        }
        session.ui.object(&json!({ "v": 1, "file": path, "runs": runs, "trusted": trusted }));
        return Ok(Exit::Reached);
    }
    if let Some((_, text)) = &own {
        session.ui.data(&format!("{PROJECT_SERVERS}: {}\n", text.trim()));
    }
    if keys.is_empty() && own.is_none() {
        session.ui.data(&format!("{} runs nothing: it needs no trust\n", config::PROJECT_FILE));
    }
    for key in &keys {
        session.ui.data(&format!("{key}: {}\n", config::runs(&parsed, key)));
    }
    session.ui.talk(if trusted { "trusted, until it changes" } else { "not trusted: `wattle trust` allows it" });
    Ok(Exit::Reached)
}
