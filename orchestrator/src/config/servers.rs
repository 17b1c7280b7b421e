//! Language servers: those of the user's file, and those of what the project holds and its user trusts: `lsp:` in its
//! configuration, and `.lsp.json`, which other programs read, too.
//!
//! They help and nothing depends on them, so what is not trusted or cannot be read is said and left out; but a
//! configuration that names some is not used at all before it is trusted, as with its checks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wattle_worker::lsp::{self, ServerSettings};

use super::environment::Environment;
use super::trust::Trust;
use super::{ConfigError, Places, read_file};

/// The project's own file of language servers, under the root of its checkout.
pub(crate) const PROJECT_SERVERS: &str = ".lsp.json";

/// The servers that may be started, and what was left out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Servers {
    /// By name; the project's are before the user's, its configuration's before those of `.lsp.json`.
    pub(crate) servers: BTreeMap<String, ServerSettings>,
    /// What was left out and why.
    pub(crate) left_out: Vec<String>,
}

/// The servers of all files.
pub(crate) fn servers(env: &Environment, places: &Places) -> Result<Servers, ConfigError> {
    let user = read_file(env.user_config().as_deref())?.map(|(file, _)| file).unwrap_or_default();
    let mut found = Servers { servers: user.lsp, left_out: Vec::new() };
    let trusted = |text: &str| -> Result<bool, ConfigError> {
        Ok(env.get("WATTLE_TRUST") == Some("1") || Trust::of(&places.state_dir).holds(text)?)
    };
    match project_text(places) {
        Ok(None) => {}
        Err(error) => found.left_out.push(format!("{PROJECT_SERVERS} ignored: {error}")),
        Ok(Some((path, text))) => match read(&text) {
            Ok(servers) if trusted(&text)? => found.servers.extend(servers),
            Ok(servers) if servers.is_empty() => {}
            Ok(_) => {
                found.left_out.push(format!("{PROJECT_SERVERS} ignored: it is not trusted; `wattle trust` allows it"))
            }
            Err(message) => found.left_out.push(format!("{} ignored: {message}", path.display())),
        },
    }
    // Mistakes in it are reported by those who depend on it.
    if let Ok(Some((file, text))) = read_file(places.project_file().as_deref())
        && !file.lsp.is_empty()
        && trusted(&text)?
    {
        found.servers.extend(file.lsp);
    }
    Ok(found)
}

/// The text of the project's own file of language servers; `None` = there is none.
pub(crate) fn project_text(places: &Places) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let Some(project) = &places.project else { return Ok(None) };
    let path = project.join(PROJECT_SERVERS);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

fn read(text: &str) -> Result<BTreeMap<String, ServerSettings>, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    lsp::servers(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{"py": {"command": "theirs", "extensionToLanguage": {".py": "python"}}}"#;
    const CONFIG: &str = "lsp: { c: { command: clangd, extensionToLanguage: { .c: c } } }\n";
    const USER: &str = "lsp: { py: { command: mine, extensionToLanguage: { .py: python } } }\n";

    #[test]
    fn a_project_starts_only_what_its_user_trusts() {
        let home = tempfile::tempdir().unwrap();
        let files =
            [("project/.lsp.json", OWN), ("project/.wattle/config.yaml", CONFIG), (".config/wattle/config.yaml", USER)];
        for (path, text) in files {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let places = Places { project: Some(home.path().join("project")), state_dir: home.path().join("state") };
        let at = home.path().to_str().unwrap();
        let found =
            |vars: &[(&str, &str)]| servers(&Environment::of(&[&[("HOME", at)], vars].concat()), &places).unwrap();
        let commands =
            |found: &Servers| found.servers.values().map(|server| server.command.clone()).collect::<Vec<_>>();
        let none = found(&[]);
        assert_eq!(commands(&none), ["mine"]);
        assert_eq!(none.left_out, [".lsp.json ignored: it is not trusted; `wattle trust` allows it"]);
        assert_eq!(commands(&found(&[("WATTLE_TRUST", "1")])), ["clangd", "theirs"]);
        let trust = Trust::of(&places.state_dir);
        trust.add(CONFIG, &places.state_dir).unwrap();
        assert_eq!(commands(&found(&[])), ["clangd", "mine"]);
        trust.add(OWN, &places.state_dir).unwrap();
        assert_eq!(found(&[]), found(&[("WATTLE_TRUST", "1")]));
        // A change has to be trusted anew; what cannot be read is said.
        std::fs::write(home.path().join("project/.lsp.json"), r#"{"py": {}}"#).unwrap();
        let broken = found(&[]);
        assert_eq!(commands(&broken), ["clangd", "mine"]);
        assert!(broken.left_out[0].ends_with(".lsp.json ignored: py: missing field `command`"), "{broken:?}");
    }
}
