//! Reads sources as far as the rules of the house need it: code without comments, strings and tests,
//! the lines of functions, and the modules that a file names.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// One source file of a crate.
pub(crate) struct Source {
    /// Path from the root of the workspace.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// Its folder and the names of the modules that lead to it.
    file: PathBuf,
    modules: Vec<String>,
}

/// Every source of a crate.
pub(crate) fn crate_sources(root: &Path, name: &str) -> Vec<Source> {
    let folder = root.join(name).join("src");
    let read = |file: PathBuf| {
        let inside = file.strip_prefix(&folder).expect("it was found there").with_extension("");
        let modules = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let path = format!("{name}/src/{}.rs", inside.display());
        let text = std::fs::read_to_string(&file).expect("it was found there");
        Source { path, text, file, modules }
    };
    walk(&folder, "rs").into_iter().map(read).collect()
}

/// Every file below a folder with this extension (empty = any), sorted; build output is left out.
pub(crate) fn walk(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the sources").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let kind = entry.file_type().expect("it was just listed");
            if kind.is_dir() && name != "target" && name != ".git" {
                open.push(path);
            } else if kind.is_file() && (extension.is_empty() || path.extension().is_some_and(|e| e == extension)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

impl Source {
    /// The top-level module it belongs to.
    pub(crate) fn module(&self) -> String {
        self.modules[0].clone()
    }

    /// Does it hold only tests?
    pub(crate) fn is_test(&self) -> bool {
        self.modules.iter().any(|name| name == "tests")
    }

    /// Its code: no comments, no strings, no test modules.
    pub(crate) fn code(&self) -> String {
        without_tests(&blank(&self.text))
    }

    /// Number of its lines of code.
    pub(crate) fn code_lines(&self) -> usize {
        self.code().lines().filter(|line| !line.trim().is_empty()).count()
    }

    /// Its functions with their lines of code, from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize)> {
        let code = self.code();
        static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").expect("a literal"));
        let mut found = Vec::new();
        for function in NAME.captures_iter(&code) {
            let start = function.get(0).expect("the whole match").start();
            let Some(body) = code[start..].find(['{', ';']).map(|at| start + at) else { continue };
            if code.as_bytes()[body] == b';' {
                continue;
            }
            let end = closing(&code, body);
            let lines = code[start..end].lines().filter(|line| !line.trim().is_empty()).count();
            found.push((function[1].to_owned(), lines));
        }
        found
    }

    /// Names right below the crate's root that it uses.
    pub(crate) fn uses(&self) -> Vec<String> {
        let code = if self.is_test() { String::new() } else { self.code() };
        let root = self.modules.len();
        static PLAIN: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\b(crate::|(?:super::)+)(\w+|\{)").expect("a literal"));
        let mut found = Vec::new();
        for hit in PLAIN.captures_iter(&code) {
            let depth = hit[1].matches("super::").count();
            if depth != 0 && depth != root {
                continue;
            }
            if &hit[2] != "{" {
                found.push(hit[2].to_owned());
                continue;
            }
            let open = hit.get(2).expect("it matched").start();
            found.extend(first_names(&code[open + 1..closing(&code, open) - 1]));
        }
        found
    }

    /// Is it named by the file above it?
    pub(crate) fn undeclared(&self) -> Option<String> {
        let (name, above) = self.modules.split_last()?;
        if above.is_empty() && (name == "main" || name == "lib") {
            return None;
        }
        let folder = self.file.parent()?;
        let candidates = match above.last() {
            None => vec![folder.join("lib.rs"), folder.join("main.rs")],
            Some(_) => vec![folder.with_extension("rs")],
        };
        let declared = Regex::new(&format!(r"\bmod {name};")).expect("names are plain");
        let named =
            candidates.iter().any(|path| std::fs::read_to_string(path).is_ok_and(|text| declared.is_match(&text)));
        (!named).then(|| self.path.clone())
    }
}

/// The first name of each item of a `use` list.
fn first_names(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            c if depth == 0 => items.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    let first = |item: &String| item.trim().split([':', ' ']).next().unwrap_or_default().to_owned();
    items.iter().map(first).filter(|name| !name.is_empty()).collect()
}

/// The place after the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    code.len()
}

fn without_tests(code: &str) -> String {
    let mut left = code.to_owned();
    static MARKER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\s*(pub(\(\w+\))?\s+)?(mod|fn|impl|use)\b").expect("a literal"));
    while let Some(found) = MARKER.find(&left) {
        let (start, after) = (found.start(), found.end());
        let end = match left[after..].find(['{', ';']).map(|at| after + at) {
            Some(at) if left.as_bytes()[at] == b'{' => closing(&left, at),
            Some(at) => at + 1,
            None => left.len(),
        };
        left.replace_range(start..end, "");
    }
    left
}

/// The text with comments gone and strings and characters emptied; every line stays a line.
fn blank(text: &str) -> String {
    static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r####"(?s)//[^\n]*|/\*.*?\*/|\bb?r(?:"[^"]*"|#".*?"#|##".*?"##|###".*?"###)"####,
            r####"|b?"(?:\\.|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'"####
        ))
        .expect("a literal")
    });
    let keep = |hit: &regex::Captures<'_>| {
        let newlines: String = hit[0].chars().filter(|c| *c == '\n').collect();
        if hit[0].starts_with('/') { newlines } else { format!("\"\"{newlines}") }
    };
    LITERAL.replace_all(text, keep).into_owned()
}

#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let text = "//! a { doc\nfn a<'x>(c: char) {\n    let s = \"} // no\"; /* { */\n    let q = '\\''; let b = '{';\n    let r = r#\"}\"}\"#;\n}\n\n#[cfg(test)]\nmod tests {\n    use crate::gone;\n}\nuse crate::{one::{x, y}, two};\nuse super::three;\n";
    let source =
        Source { path: "c/src/m.rs".into(), text: text.into(), file: "c/src/m.rs".into(), modules: vec!["m".into()] };
    assert_eq!(source.functions(), [("a".to_owned(), 5)]);
    assert_eq!(source.uses(), ["one", "two", "three"]);
    assert_eq!(source.code_lines(), 7);
    let nested = Source {
        modules: vec!["m".into(), "n".into()],
        text: "use super::own;\nuse super::super::other;".into(),
        ..source
    };
    assert_eq!(nested.uses(), ["other"]);
}
