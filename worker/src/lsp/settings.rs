//! Which language servers there are, as people write it: the form of `.lsp.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Wall time of a start that says nothing: a server that indexes before it answers needs several seconds; one that
/// needs more says so in `startupTimeout`.
const STARTUP_MS: u64 = 30_000;
/// Longest start that can be asked for: a tool call that takes longer is one nobody waits for.
const STARTUP_MS_MAX: u64 = 120_000;

/// One language server. Keys that are not known are left alone: the file is shared with other programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSettings {
    /// Its program: a name on the `PATH`, or an absolute path.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Which files are its own, and what it calls their language: `{".rs": "rust"}`.
    pub extension_to_language: BTreeMap<String, String>,
    /// Variables added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Passed on when it starts.
    #[serde(default)]
    pub initialization_options: Value,
    /// What it is told when it asks for its configuration.
    #[serde(default)]
    pub settings: Value,
    /// A folder of the worktree that it works on instead of all of it.
    #[serde(default)]
    pub workspace_folder: Option<String>,
    /// Bound on its start, in milliseconds.
    #[serde(default)]
    pub startup_timeout: Option<u64>,
    /// How it is talked to; only `stdio` is spoken here.
    #[serde(default)]
    pub transport: Option<String>,
}

impl ServerSettings {
    /// What is wrong with it; `None` = nothing.
    fn mistake(&self) -> Option<String> {
        let plain = |path: &Path| {
            path.components().all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir))
        };
        if self.command.trim().is_empty() {
            return Some("`command` is empty".to_owned());
        }
        // A relative path would run what a worker wrote.
        if self.command.contains('/') && !Path::new(&self.command).is_absolute() {
            return Some("`command` is a name on the PATH or an absolute path".to_owned());
        }
        if self.extension_to_language.is_empty() {
            return Some("`extensionToLanguage` names no extension".to_owned());
        }
        if let Some(wrong) = self.extension_to_language.keys().find(|key| !key.starts_with('.') || key.len() < 2) {
            return Some(format!("`extensionToLanguage`: {wrong:?} is no extension like \".rs\""));
        }
        if self.workspace_folder.as_ref().is_some_and(|folder| !plain(Path::new(folder))) {
            return Some("`workspaceFolder` is a path inside the worktree".to_owned());
        }
        match self.transport.as_deref() {
            None | Some("stdio") => None,
            Some(other) => Some(format!("`transport` {other:?} is not spoken here, only \"stdio\"")),
        }
    }

    /// Bound on its start.
    pub(super) fn startup_ms(&self) -> u64 {
        self.startup_timeout.unwrap_or(STARTUP_MS).clamp(1, STARTUP_MS_MAX)
    }
}

/// Reads servers by their names; the message names the server and what is wrong.
///
/// # Errors
/// Says the first mistake.
pub fn servers(value: &Value) -> Result<BTreeMap<String, ServerSettings>, String> {
    if value.is_null() {
        return Ok(BTreeMap::new());
    }
    let Some(map) = value.as_object() else {
        return Err("it has to be a mapping of names to language servers".to_owned());
    };
    let read = map.iter().map(|(name, value)| {
        let server = ServerSettings::deserialize(value).map_err(|error| format!("{name}: {error}"))?;
        match server.mistake() {
            Some(mistake) => Err(format!("{name}: {mistake}")),
            None => Ok((name.clone(), server)),
        }
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_read_as_other_programs_read_it() {
        let read = servers(&json!({"py": {
            "command": "pyright-langserver", "args": ["--stdio"], "extensionToLanguage": {".py": "python"},
            "settings": {"python": {}}, "restartOnCrash": true, "startupTimeout": 5,
        }}));
        let read = read.unwrap();
        assert_eq!(read["py"].args, ["--stdio"]);
        assert_eq!(read["py"].startup_ms(), 5);
        assert_eq!(servers(&json!({})).unwrap(), BTreeMap::new());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let check = |value: Value, expected: &str| assert_eq!(servers(&value).unwrap_err(), expected, "{value}");
        check(json!([]), "it has to be a mapping of names to language servers");
        check(json!({"a": {"command": "x"}}), "a: missing field `extensionToLanguage`");
        let with = |key: &str, value: Value| {
            let mut server = json!({"command": "x", "extensionToLanguage": {".x": "x"}});
            server[key] = value;
            json!({"a": server})
        };
        check(with("command", json!(" ")), "a: `command` is empty");
        check(with("command", json!("./x")), "a: `command` is a name on the PATH or an absolute path");
        check(with("extensionToLanguage", json!({})), "a: `extensionToLanguage` names no extension");
        check(
            with("extensionToLanguage", json!({"rs": "r"})),
            "a: `extensionToLanguage`: \"rs\" is no extension like \".rs\"",
        );
        check(with("workspaceFolder", json!("../x")), "a: `workspaceFolder` is a path inside the worktree");
        check(with("transport", json!("socket")), "a: `transport` \"socket\" is not spoken here, only \"stdio\"");
    }
}
