//! CODEOWNERS: which owner a path has. The last line that matches wins, as GitHub and GitLab document it; sections
//! are read as if their headings were not there, and there are no classes or negations.

use crate::globs::{Glob, GlobError};

/// The lines of a CODEOWNERS file.
#[derive(Clone, Debug)]
pub(super) struct Owners {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    globs: Vec<Glob>,
    /// `None` where a line takes a path out of ownership.
    owner: Option<String>,
}

impl Owners {
    /// Reads the file; an error comes with its line.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, GlobError)> {
        let mut lines = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let mut words = words(line).into_iter();
            let Some(pattern) = words.next().filter(|p| !p.starts_with(['[', '^', '!'])) else {
                continue;
            };
            let owners: Vec<String> = words.collect();
            lines.push(Line {
                globs: globs(&pattern).map_err(|error| (i + 1, error))?,
                owner: (!owners.is_empty()).then(|| owners.join(" ")),
            });
        }
        Ok(Self { lines })
    }

    /// Who owns `path`.
    pub(super) fn of(&self, path: &str) -> Option<&str> {
        let matching = |line: &&Line| line.globs.iter().any(|glob| glob.matches(path));
        self.lines.iter().rev().find(matching)?.owner.as_deref()
    }
}

/// The words of a line without its comment; a backslash keeps a space in a word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = words.last_mut().expect("there is always a word");
        match c {
            '#' if last.is_empty() => break,
            '\\' => last.extend(chars.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => last.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A pattern of this file as ours: one without a slash inside may be at any depth, a folder means all below it, and
/// only `*` and `?` are special.
fn globs(pattern: &str) -> Result<Vec<Glob>, GlobError> {
    let folder = pattern.ends_with('/');
    let inner = pattern.trim_end_matches('/');
    let anchored = inner.contains('/');
    let inner = inner.trim_start_matches('/');
    let mut base = String::from(if anchored || inner.is_empty() { "" } else { "**/" });
    for c in inner.chars() {
        if matches!(c, '[' | ']' | '{' | '}' | ',' | '\\') {
            base.push('\\');
        }
        base.push(c);
    }
    if base.is_empty() {
        return Ok(vec![Glob::everything()]);
    }
    let mut globs = Vec::new();
    if !folder {
        globs.push(Glob::parse(&base)?);
    }
    // `docs/*` is the files of docs, not those below its folders.
    if folder || !base.ends_with("/*") || base == "**/*" {
        globs.push(Glob::parse(&format!("{base}/**"))?);
    }
    Ok(globs)
}
