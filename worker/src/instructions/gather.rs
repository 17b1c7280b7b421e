//! Which files are read, in which order, and which of them say the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wattle_workspace::GitError;

use super::imports::{self, Target};
use super::{About, Held, frontmatter};

/// Names of instruction files in a folder, in the order in which they are read.
const NAMES: [&str; 3] = ["AGENTS.md", "CLAUDE.md", ".claude/CLAUDE.md"];
/// Where rules lie.
const RULES: &str = ".claude/rules/";
/// Files that are away from an instruction file at most, over imports.
const HOPS_MAX: usize = 4;
/// Links that are followed one after the other: what people make has one, a circle has no end.
const LINKS_MAX: usize = 8;
/// Folders with files of their own, and rules, that are read: more than the largest monorepos have.
const READ_MAX: usize = 500;
/// Warnings that are kept: beyond these somebody has to look at the files anyway.
const WARNINGS_MAX: usize = 50;

/// A file of a tree.
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    /// Is it a symbolic link, and `bytes` where it points?
    pub(super) link: bool,
}

/// A file's words.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) path: String,
    pub(super) text: String,
}

/// What was read already: files by their real paths, and texts.
#[derive(Default, Clone)]
struct Seen {
    paths: BTreeSet<String>,
    texts: BTreeSet<String>,
}

type Read<'a> = &'a dyn Fn(&str) -> Result<Option<File>, GitError>;

/// Reads the instruction files of one tree.
pub(super) struct Gather<'a> {
    names: BTreeSet<String>,
    read: Read<'a>,
    seen: Seen,
    /// Rules about some paths only.
    scoped: Vec<Held>,
    pub(super) warnings: Vec<String>,
}

/// The frontmatter of a rule; all other keys are others'.
#[derive(Deserialize)]
struct RuleForm {
    paths: Option<PathsForm>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PathsForm {
    One(String),
    Many(Vec<String>),
}

impl<'a> Gather<'a> {
    pub(super) fn new(names: Vec<String>, read: Read<'a>) -> Gather<'a> {
        let names = names.into_iter().collect();
        Gather { names, read, seen: Seen::default(), scoped: Vec::new(), warnings: Vec::new() }
    }

    /// What every worker is told.
    pub(super) fn shared(&mut self) -> Result<Vec<Section>, GitError> {
        let mut sections = Vec::new();
        for name in NAMES {
            if self.names.contains(name) {
                self.section(name, 0, &mut sections)?;
            }
        }
        let rules: Vec<String> =
            self.names.iter().filter(|name| name.starts_with(RULES) && name.ends_with(".md")).cloned().collect();
        self.leave_out(rules.len(), "rules");
        for rule in rules.iter().take(READ_MAX) {
            self.rule(rule, &mut sections)?;
        }
        Ok(sections)
    }

    /// What is told when it is touched; after [`Gather::shared`], whose words are not said again.
    pub(super) fn held(&mut self) -> Result<Vec<Held>, GitError> {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in &self.names {
            let folder = NAMES.iter().rev().find_map(|file| name.strip_suffix(file)?.strip_suffix('/'));
            if let Some(folder) = folder.filter(|folder| !folder.is_empty() && *folder != ".claude") {
                folders.entry(folder.to_owned()).or_default().push(name.clone());
            }
        }
        let mut held = std::mem::take(&mut self.scoped);
        let seen = self.seen.clone();
        self.leave_out(folders.len(), "folders");
        let mut folders: Vec<(String, Vec<String>)> = folders.into_iter().collect();
        folders.sort_by_key(|(folder, _)| folder.matches('/').count());
        for (folder, mut names) in folders.into_iter().take(READ_MAX) {
            names.sort_by_key(|name| NAMES.iter().position(|file| name.ends_with(file)));
            // Folders beside each other may say the same; each of them says it.
            self.seen = seen.clone();
            let mut sections = Vec::new();
            for name in &names {
                self.section(name, 0, &mut sections)?;
            }
            let about = About::Folder(folder);
            held.extend(joined(sections, about));
        }
        Ok(held)
    }

    /// A rule of `.claude/rules`: for everybody, or about some paths.
    fn rule(&mut self, path: &str, sections: &mut Vec<Section>) -> Result<(), GitError> {
        let Some((real, text)) = self.text(path)? else { return Ok(()) };
        let (front, body) = frontmatter(&text);
        let paths = match front.map(serde_yaml::from_str::<Option<RuleForm>>) {
            None => None,
            Some(Ok(form)) => form.and_then(|form| form.paths),
            Some(Err(_)) => {
                self.warn(format!("read the frontmatter of {path}: it is no YAML mapping; the rule holds everywhere"));
                None
            }
        };
        let Some(paths) = paths else { return self.add(path, &real, body, 0, sections) };
        let globs = match paths {
            PathsForm::One(text) => globs_of(&text),
            PathsForm::Many(texts) => texts.iter().flat_map(|text| globs_of(text)).collect(),
        };
        let (good, bad): (Vec<String>, Vec<String>) =
            globs.into_iter().partition(|glob| globset::GlobBuilder::new(glob).literal_separator(true).build().is_ok());
        for glob in bad {
            self.warn(format!("use `paths` of {path}: `{}` is no glob", glob.escape_debug()));
        }
        if good.is_empty() {
            self.warn(format!("use the rule {path}: its `paths` name nothing"));
            return Ok(());
        }
        let before = self.seen.clone();
        let mut own = Vec::new();
        self.add(path, &real, body, 0, &mut own)?;
        self.seen = before;
        self.scoped.extend(joined(own, About::Paths(good)));
        Ok(())
    }

    /// Adds a file and what it imports.
    fn section(&mut self, path: &str, hops: usize, sections: &mut Vec<Section>) -> Result<(), GitError> {
        match self.text(path)? {
            Some((real, text)) => self.add(path, &real, &text, hops, sections),
            None => Ok(()),
        }
    }

    fn add(
        &mut self,
        path: &str,
        real: &str,
        text: &str,
        hops: usize,
        sections: &mut Vec<Section>,
    ) -> Result<(), GitError> {
        if !self.seen.paths.insert(real.to_owned()) {
            return Ok(());
        }
        let page = imports::page(text);
        if page.says_something && self.seen.texts.insert(page.text.trim().to_owned()) {
            sections.push(Section { path: path.to_owned(), text: page.text.trim().to_owned() });
        }
        for import in page.imports {
            let target = imports::resolve(real, &import, |path| self.names.contains(path));
            match target {
                Target::File(_) if hops == HOPS_MAX => {
                    self.warn(format!("import @{import} in {path}: it is more than {HOPS_MAX} imports away"));
                }
                Target::File(file) => self.section(&file, hops + 1, sections)?,
                Target::Outside => {
                    self.warn(format!("import @{import} in {path}: it lies outside the repository"));
                }
                Target::Missing => self.warn(format!("import @{import} in {path}: there is no such file")),
                Target::NoImport => {}
            }
        }
        Ok(())
    }

    /// The real path of a file and its words.
    fn text(&mut self, path: &str) -> Result<Option<(String, String)>, GitError> {
        let mut real = path.to_owned();
        for _ in 0..=LINKS_MAX {
            let Some(file) = (self.read)(&real)? else {
                self.warn(format!("read {path}: {real} is not in the repository"));
                return Ok(None);
            };
            if !file.link {
                let text = String::from_utf8_lossy(&file.bytes);
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
                return Ok(Some((real, text)));
            }
            let to = String::from_utf8_lossy(&file.bytes).into_owned();
            match imports::beside(&real, &to) {
                Some(next) => real = next,
                None => {
                    self.warn(format!("read {path}: it is a link that leads outside the repository"));
                    return Ok(None);
                }
            }
        }
        self.warn(format!("read {path}: it is a link that leads nowhere"));
        Ok(None)
    }

    fn leave_out(&mut self, count: usize, what: &str) {
        if let Some(more) = count.checked_sub(READ_MAX).filter(|more| *more > 0) {
            self.warn(format!("read the instructions of {more} more {what}: {READ_MAX} are enough"));
        }
    }

    fn warn(&mut self, message: String) {
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&message) {
            self.warnings.push(message);
        }
    }
}

/// Sections as one text.
fn joined(sections: Vec<Section>, about: About) -> Option<Held> {
    let source = sections.iter().map(|section| section.path.as_str()).collect::<Vec<_>>().join(", ");
    let text = sections.iter().map(|section| section.text.as_str()).collect::<Vec<_>>().join("\n\n");
    (!sections.is_empty()).then_some(Held { source, about, text })
}

/// Globs of a text: several stand with commas between them, but not inside braces.
fn globs_of(text: &str) -> Vec<String> {
    let mut depth = 0usize;
    let parts = text.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let globs = parts.map(|glob| glob.trim().trim_start_matches("./").to_owned());
    globs.filter(|glob| !glob.is_empty()).collect()
}
