//! The process's environment, read once: what Wattle takes from it, and what its children may see.
//!
//! Nothing else in the program reads a variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// A snapshot of the environment.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

impl fmt::Debug for Environment {
    /// Names only: values may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.vars.keys()).finish()
    }
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn capture() -> Self {
        Self { vars: std::env::vars_os().collect() }
    }

    /// An environment of given variables.
    #[cfg(test)]
    pub(crate) fn of(vars: &[(&str, &str)]) -> Self {
        Self { vars: vars.iter().map(|(k, v)| (k.into(), v.into())).collect() }
    }

    /// An environment with nothing but a search path and a home.
    pub(crate) fn with_home(path: OsString, home: &std::path::Path) -> Self {
        Self { vars: BTreeMap::from([("PATH".into(), path), ("HOME".into(), home.into())]) }
    }

    /// A variable that is set, not empty and text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(std::ffi::OsStr::new(name)).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }

    /// A variable that names a path; relative ones count as unset, as XDG says.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.vars.get(std::ffi::OsStr::new(name))?);
        path.is_absolute().then_some(path)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// `$XDG_CONFIG_HOME`, where it is set.
    pub(crate) fn xdg_config_home(&self) -> Option<PathBuf> {
        self.absolute("XDG_CONFIG_HOME")
    }

    /// The user's configuration file.
    pub(crate) fn user_config(&self) -> Option<PathBuf> {
        let folder = self.xdg_config_home().or_else(|| self.home().map(|home| home.join(".config")))?;
        Some(folder.join("wattle/config.yaml"))
    }

    /// Where the state lies: `$WATTLE_STATE_DIR`, else `$XDG_STATE_HOME/wattle`, else `~/.local/state/wattle`.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.absolute("WATTLE_STATE_DIR")
            .or_else(|| self.absolute("XDG_STATE_HOME").map(|folder| folder.join("wattle")))
            .or_else(|| self.home().map(|home| home.join(".local/state/wattle")))
    }

    /// Where programs are looked for.
    pub(crate) fn path(&self) -> OsString {
        self.vars.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default()
    }

    /// What processes start from: everything but keys of models and variables of ours.
    pub(crate) fn for_children(&self) -> BTreeMap<OsString, OsString> {
        self.vars
            .iter()
            .filter(|(name, _)| !name.to_str().is_some_and(withheld))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Is this variable kept from children? Keys and addresses of models, tokens of services, and our own settings.
fn withheld(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["ANTHROPIC_", "OPENAI_", "WATTLE_", "CLAUDE_"];
    const SUFFIXES: [&str; 2] = ["_API_KEY", "_AUTH_TOKEN"];
    let upper = name.to_ascii_uppercase();
    PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || SUFFIXES.iter().any(|suffix| upper.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_see_no_key() {
        let env = Environment::of(&[
            ("PATH", "/bin"),
            ("ANTHROPIC_API_KEY", "k"),
            ("ANTHROPIC_BASE_URL", "u"),
            ("OPENAI_ORG", "o"),
            ("GEMINI_API_KEY", "k"),
            ("gemini_api_key", "k"),
            ("WATTLE_MODEL", "m"),
            ("CARGO_HOME", "/c"),
        ]);
        let names: Vec<_> = env.for_children().into_keys().collect();
        assert_eq!(names, ["CARGO_HOME", "PATH"]);
        assert!(!format!("{env:?}").contains("\"k\""));
    }

    #[test]
    fn the_state_directory_follows_the_contract() {
        let state = |vars: &[(&str, &str)]| Environment::of(vars).state_dir();
        assert_eq!(state(&[("HOME", "/h")]), Some("/h/.local/state/wattle".into()));
        assert_eq!(state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]), Some("/x/wattle".into()));
        assert_eq!(state(&[("XDG_STATE_HOME", "/x"), ("WATTLE_STATE_DIR", "/s")]), Some("/s".into()));
        assert_eq!(state(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]), Some("/h/.local/state/wattle".into()));
        assert_eq!(state(&[]), None);
    }
}
