//! The manifests of the repository: what is built of which folder, and under which name.
//!
//! Names are found by their usual form, line by line. A manifest that is written otherwise is listed without one.

use wattle_worker::symbols::one_line;
use wattle_workspace::{GitError, Listed, Repo};

use super::fenced;

/// Manifests that are named, those near the root first: a repository of more has a pattern that a few show.
const MANIFESTS_MAX: usize = 60;
/// A manifest is written by hand; a larger one is not read.
const BYTES_MAX: u64 = 256 << 10;
/// Characters of a path and of a name.
const CHARS_MAX: usize = 100;
/// Files that say how something is built.
const NAMES: [&str; 26] = [
    "BUILD.bazel",
    "CMakeLists.txt",
    "Cargo.toml",
    "Dockerfile",
    "Gemfile",
    "GNUmakefile",
    "MODULE.bazel",
    "Makefile",
    "Package.swift",
    "WORKSPACE",
    "build.gradle",
    "build.gradle.kts",
    "build.sbt",
    "composer.json",
    "configure.ac",
    "deno.json",
    "go.mod",
    "go.work",
    "justfile",
    "meson.build",
    "mix.exs",
    "package.json",
    "pom.xml",
    "pyproject.toml",
    "settings.gradle",
    "setup.py",
];

/// The section; empty for a commit without a manifest.
pub(super) fn manifests(repo: &Repo, files: &[Listed], left_out: &mut Vec<String>) -> Result<String, GitError> {
    let name = |file: &&Listed| NAMES.contains(&file.path.rsplit('/').next().unwrap_or_default());
    let mut found: Vec<&Listed> = files.iter().filter(|file| file.regular).filter(name).collect();
    found.sort_by_key(|file| (file.path.matches('/').count(), &file.path));
    let all = found.len();
    found.truncate(MANIFESTS_MAX);
    found.sort_by_key(|file| &file.path);
    let mut lines = String::new();
    for file in found {
        let read = file.bytes.is_some_and(|bytes| bytes <= BYTES_MAX);
        let text = if read { String::from_utf8_lossy(&repo.blob(&file.blob)?).into_owned() } else { String::new() };
        let path = one_line(&file.path, CHARS_MAX);
        match package(file.path.rsplit('/').next().unwrap_or_default(), &text) {
            Some(name) => lines.push_str(&format!("{path}: {}\n", one_line(&name, CHARS_MAX))),
            None => lines.push_str(&format!("{path}\n")),
        }
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    let mut text = format!("# Manifests, and the packages they name\n\n{}", fenced(&lines));
    if all > MANIFESTS_MAX {
        let more = format!("{} of {all} manifests, the deepest ones", all - MANIFESTS_MAX);
        text.push_str(&format!("\nLeft out: {more}.\n"));
        left_out.push(more);
    }
    Ok(text)
}

/// The name of a package in its manifest.
fn package(file: &str, text: &str) -> Option<String> {
    let name = match file {
        "Cargo.toml" => keyed(text, &["[package]"]),
        "pyproject.toml" => keyed(text, &["[project]", "[tool.poetry]"]),
        "package.json" | "composer.json" | "deno.json" => {
            let json: serde_json::Value = serde_json::from_str(text).ok()?;
            json["name"].as_str().map(str::to_owned)
        }
        "go.mod" => after(text, "module ").map(|name| name.split_whitespace().next().unwrap_or_default().to_owned()),
        "pom.xml" => {
            let own = text.split_once("</parent>").map_or(text, |(_, own)| own);
            Some(own.split_once("<artifactId>")?.1.split_once("</artifactId>")?.0.to_owned())
        }
        "CMakeLists.txt" => after(text, "project(").map(|rest| word(rest).to_owned()),
        "meson.build" => after(text, "project(").and_then(quoted),
        "settings.gradle" => after(text, "rootProject.name").and_then(quoted),
        _ => None,
    };
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The `name` of the first of these sections of a TOML file.
fn keyed(text: &str, sections: &[&str]) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = sections.contains(&line.split('#').next().unwrap_or_default().trim_end());
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "name"
        {
            return quoted(value);
        }
    }
    None
}

/// What follows on the first line that begins so, in any case.
fn after<'t>(text: &'t str, begin: &str) -> Option<&'t str> {
    text.lines().map(str::trim_start).find_map(|line| {
        let head = line.get(..begin.len())?;
        head.eq_ignore_ascii_case(begin).then(|| &line[begin.len()..])
    })
}

/// What stands in the first quotes.
fn quoted(text: &str) -> Option<String> {
    let open = text.find(['"', '\''])?;
    let mark = text[open..].chars().next()?;
    let rest = &text[open + 1..];
    rest.find(mark).map(|end| rest[..end].to_owned())
}

fn word(text: &str) -> &str {
    text.trim_start().split([' ', ')', '\t']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_their_usual_form() {
        let check = |file: &str, text: &str, expected: Option<&str>| {
            assert_eq!(package(file, text).as_deref(), expected, "{file}: {text}");
        };
        check(
            "Cargo.toml",
            "[workspace]\nname = \"no\"\n[package] # x\nversion = \"1\"\nname = \"one\"\n",
            Some("one"),
        );
        check("Cargo.toml", "[workspace]\nmembers = []\n[[bin]]\nname = \"no\"\n", None);
        check("Cargo.toml", "[package]\nname.workspace = true\n", None);
        check("pyproject.toml", "[tool.poetry]\nname = 'snake'\n", Some("snake"));
        check("package.json", r#"{"name": "@scope/web", "private": true}"#, Some("@scope/web"));
        check("package.json", "{ not json", None);
        check("package.json", r#"{"name": 1}"#, None);
        check("go.mod", "// x\nmodule example.org/tool // y\n\ngo 1.22\n", Some("example.org/tool"));
        check("pom.xml", "<parent><artifactId>p</artifactId></parent>\n<artifactId>own</artifactId>", Some("own"));
        check("CMakeLists.txt", "cmake_minimum_required(VERSION 3)\nPROJECT(Tool VERSION 1)\n", Some("Tool"));
        check("meson.build", "project('tool', 'c')\n", Some("tool"));
        check("settings.gradle", "rootProject.name = \"app\"\n", Some("app"));
        check("Makefile", "name = x\n", None);
        for file in NAMES {
            for text in
                ["", "\u{0}", "project(", "[package]\nname = \"", "module ", "é", "<artifactId>", "rootProject.name ="]
            {
                assert_eq!(package(file, text), None, "{file}: {text}");
            }
        }
    }
}
