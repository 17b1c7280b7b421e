//! `wattle init`: a commented configuration of the project with the checks and the setup that its files
//! suggest; never over an existing one.

use std::path::Path;

use serde_json::json;

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::config::{DEFAULTS, PROJECT_FILE};

/// Write a commented `.wattle/config.yaml` with the checks and setup that the project suggests.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Print it instead of writing it.
    #[arg(long)]
    print: bool,
}

/// Writes or prints it.
pub(crate) fn run(session: &Session, args: &InitArgs) -> Done {
    let repo = session.repo()?;
    let root = repo.worktree().ok_or_else(|| {
        CliError::new(Exit::Environment, "bare", "find a checkout: this repository is bare")
            .hint("give -C PATH of a checkout")
    })?;
    let found = detect(root);
    let text = configuration(&found);
    let path = root.join(PROJECT_FILE);
    if !args.print {
        write_new(&path, &text)?;
    }
    if session.ui.json {
        session.ui.object(&json!({ "v": 1, "file": path, "written": !args.print, "text": text }));
    } else if args.print {
        session.ui.raw(text.as_bytes());
    } else {
        session.ui.data(&format!("{}\n", path.display()));
        let names: Vec<_> = found.checks.iter().map(|check| check.run.as_str()).collect();
        let checks = if names.is_empty() { "no checks found: write them in".to_owned() } else { names.join(" · ") };
        session.ui.talk(&format!("checks: {checks}\nnext: read it, then `wattle trust`"));
    }
    Ok(Exit::Reached)
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = path.parent().expect("the file lies in a folder of the checkout");
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::new(Exit::Usage, "exists", format!("write {}: it exists already", path.display()))
                .hint("`wattle init --print` shows what would be written")
        }
        _ => CliError::file("write", path, &error),
    };
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut file = std::fs::File::create_new(path).map_err(fail)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)
}

/// What a project's files suggest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    checks: Vec<FoundCheck>,
    setup: Option<(&'static str, &'static str)>,
    generated: Option<(&'static str, &'static str)>,
}

#[derive(Debug, PartialEq, Eq)]
struct FoundCheck {
    name: &'static str,
    run: String,
    last: bool,
}

fn detect(root: &Path) -> Found {
    let has = |name: &str| root.join(name).exists();
    let mut found = Found::default();
    let mut check = |name, run: &str, last| found.checks.push(FoundCheck { name, run: run.to_owned(), last });
    if has("Cargo.toml") {
        check("cargo-check", "cargo check --workspace --all-targets", false);
        check("cargo-test", "cargo test --workspace", true);
    }
    if has("go.mod") {
        check("go-build", "go build ./...", false);
        check("go-test", "go test ./...", true);
    }
    if has("package.json") {
        let scripts = std::fs::read_to_string(root.join("package.json")).unwrap_or_default();
        let scripts: serde_json::Value = serde_json::from_str(&scripts).unwrap_or_default();
        if scripts["scripts"]["build"].is_string() {
            check("npm-build", "npm run build", false);
        }
        if scripts["scripts"]["test"].is_string() {
            check("npm-test", "npm test", true);
        }
    }
    if has("pyproject.toml") && has("tests") {
        check("pytest", "python -m pytest -q", true);
    }
    if has("package-lock.json") {
        found.setup = Some(("npm ci", "package-lock.json"));
    }
    if has("Cargo.lock") {
        found.generated = Some(("Cargo.lock", "cargo metadata --offline --format-version 1"));
    }
    found
}

/// The defaults, with what was found in the place of the commented examples.
fn configuration(found: &Found) -> String {
    let mut text = String::new();
    let mut skipping = false;
    for line in DEFAULTS.lines() {
        if skipping && line.starts_with("#   - ") {
            continue;
        }
        skipping = false;
        if line == "# checks:" && !found.checks.is_empty() {
            text.push_str("checks:\n");
            for check in &found.checks {
                let at = if check.last { ", at: final" } else { "" };
                text.push_str(&format!("  - {{ name: {}, run: {}{at} }}\n", check.name, check.run));
            }
            skipping = true;
        } else if let (true, Some((run, key))) = (line.starts_with("# setup:"), found.setup) {
            text.push_str(&format!("setup: {{ run: {run}, key: [{key}] }}\n"));
        } else if let (true, Some((path, run))) = (line.starts_with("# generated:"), found.generated) {
            text.push_str(&format!("discard: [{path}]\ngenerated: [{{ path: {path}, run: {run} }}]\n"));
        } else if line.starts_with("# discard:") && found.generated.is_some() {
        } else if let Some(rest) = [
            "limits:",
            "  jobs:",
            "  checks:",
            "  usd:",
            "  tokens:",
            "  disk:",
            "clean:",
            "slots:",
            "keep:",
            "  days:",
            "  count:",
            "approve:",
            "on_input:",
            "model:",
            "models:",
        ]
        .iter()
        .any(|key| line.starts_with(key))
        .then_some(line)
        {
            text.push_str(&format!("# {rest}\n"));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    #[test]
    fn what_is_written_reads_back_without_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let empty = configuration(&detect(folder.path()));
        assert_eq!(file::read(&empty), (file::File::default(), vec![]));
        for (name, text) in [
            ("Cargo.toml", ""),
            ("Cargo.lock", ""),
            ("package.json", r#"{"scripts":{"test":"x"}}"#),
            ("package-lock.json", ""),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let text = configuration(&detect(folder.path()));
        let (parsed, mistakes) = file::read(&text);
        assert_eq!(mistakes, [], "{text}");
        assert_eq!(parsed.frame["checks"].as_array().unwrap().len(), 3);
        assert_eq!(parsed.frame["setup"]["run"], "npm ci");
        assert_eq!(parsed.frame["discard"], serde_json::json!(["Cargo.lock"]));
        assert_eq!(parsed.nano_usd, None, "the defaults stay comments");
    }
}
