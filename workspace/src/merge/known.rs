//! Trial merges that have been made, kept over processes: a file of lines in the state directory.
//!
//! A line is a whole answer and holds what it depends on: both commits and the sum of the rules. So it never becomes wrong,
//! only useless, and a line that a crash has cut off is no line. Losing the file costs time and nothing else.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Merged;
use crate::ids::{CommitId, TreeId};

/// The file holds at most this much: ten thousand answers of the usual size, and read in milliseconds.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// An answer longer than this is not kept: a conflict in hundreds of files is rare and merged again.
const LINE_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    rules: String,
    a: CommitId,
    b: CommitId,
    merged: Merged,
}

/// How the line of a tree's sum begins.
const ROOT: &str = "{\"root\":";

/// The sum of the attribute files of a tree: of another one that differs in none of them it is the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Root {
    pub(super) root: TreeId,
    pub(super) sum: Option<String>,
}

/// The answers under one set of rules.
#[derive(Debug)]
pub(super) struct Known {
    /// Trees whose attributes are known, oldest first.
    pub(super) roots: Vec<Root>,
    path: PathBuf,
    rules: String,
    answers: Answers,
}

/// The file's lines, read but not yet told apart by their rules.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    text: String,
    /// The answers of the rules that were the last to be used, which nearly always are those that are asked for.
    newest: Option<(String, Answers)>,
    roots: Vec<Root>,
}

type Answers = HashMap<(CommitId, CommitId), Merged>;

impl Lines {
    /// Reads the file; what cannot be read is not known.
    pub(super) fn read(path: PathBuf) -> Lines {
        let mut text = String::new();
        let read = File::open(&path).and_then(|mut file| {
            flock(&file, FlockOperation::LockShared)?;
            file.read_to_string(&mut text)
        });
        if read.is_err() {
            text.clear();
        }
        let newest = text.lines().rev().find_map(|line| serde_json::from_str::<Line>(line).ok()).map(|line| line.rules);
        let newest = newest.map(|rules| (rules.clone(), answers(&text, &rules)));
        let roots = text.lines().filter(|line| line.starts_with(ROOT));
        let roots = roots.filter_map(|line| serde_json::from_str(line).ok()).collect();
        Lines { path, text, newest, roots }
    }
}

fn answers(text: &str, rules: &str) -> Answers {
    let ours = text.lines().filter(|line| line.contains(rules));
    let lines = ours.filter_map(|line| serde_json::from_str::<Line>(line).ok()).filter(|line| line.rules == rules);
    lines.map(|line| ((line.a, line.b), line.merged)).collect()
}

impl Known {
    /// What is known under these rules.
    pub(super) fn of(lines: Lines, rules: String) -> Known {
        let Lines { path, text, newest, roots } = lines;
        let newest = newest.filter(|(of, _)| *of == rules).map(|(_, answers)| answers);
        let answers = newest.unwrap_or_else(|| answers(&text, &rules));
        Known { roots, path, rules, answers }
    }

    pub(super) fn get(&self, pair: &(CommitId, CommitId)) -> Option<&Merged> {
        self.answers.get(pair)
    }

    /// Adds answers, for this process and for later ones.
    pub(super) fn add(&mut self, answers: Vec<((CommitId, CommitId), Merged)>) {
        let mut text = String::new();
        for ((a, b), merged) in answers {
            let line = Line { rules: self.rules.clone(), a, b, merged };
            let json = serde_json::to_string(&line).expect("an answer is plain data");
            if json.len() <= LINE_BYTES_MAX {
                text.push_str(&json);
                text.push('\n');
            }
            self.answers.insert((line.a, line.b), line.merged);
        }
        if let Err(error) = self.append(&text) {
            tracing::debug!(%error, path = %self.path.display(), "trial merges are not kept");
        }
    }

    /// Adds trees whose attributes are known.
    pub(super) fn add_roots(&mut self, roots: Vec<Root>) {
        let mut text = String::new();
        for root in &roots {
            text.push_str(&serde_json::to_string(root).expect("a sum is plain data"));
            text.push('\n');
        }
        self.roots.extend(roots);
        if let Err(error) = self.append(&text) {
            tracing::debug!(%error, path = %self.path.display(), "sums of attributes are not kept");
        }
    }

    fn append(&self, text: &str) -> io::Result<()> {
        if text.is_empty() || text.len() as u64 > FILE_BYTES_MAX {
            return Ok(());
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let before = file.metadata()?.len();
        if before + text.len() as u64 > FILE_BYTES_MAX {
            // The newer half stays, from a line's beginning on.
            let mut kept = Vec::new();
            file.seek(SeekFrom::Start(before.saturating_sub(FILE_BYTES_MAX / 2)))?;
            file.read_to_end(&mut kept)?;
            let from = kept.iter().position(|b| *b == b'\n').map_or(kept.len(), |at| at + 1);
            let room = (FILE_BYTES_MAX as usize).saturating_sub(text.len());
            file.set_len(0)?;
            if kept.len() - from <= room {
                file.write_all(&kept[from..])?;
            }
        } else if before > 0 {
            // Ends a line that a crash has cut off; an empty line is none.
            file.write_all(b"\n")?;
        }
        file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> CommitId {
        format!("{n:040x}").parse().unwrap()
    }

    fn clean(n: u32) -> Merged {
        Merged::Clean { tree: format!("{n:040x}").parse().unwrap() }
    }

    #[test]
    fn answers_are_kept_by_rules_and_a_cut_line_is_no_line() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("known");
        let read = |rules: &str| Known::of(Lines::read(path.clone()), rules.to_owned());
        read("x").add(vec![((id(1), id(2)), clean(3))]);
        let whole = std::fs::metadata(&path).unwrap().len();
        read("x").add(vec![((id(4), id(5)), clean(6))]);
        File::options().write(true).open(&path).unwrap().set_len(whole + 40).unwrap();
        read("x").add(vec![((id(7), id(8)), clean(9))]);
        let known = read("x");
        assert_eq!(known.get(&(id(1), id(2))), Some(&clean(3)));
        assert_eq!(known.get(&(id(4), id(5))), None);
        assert_eq!(known.get(&(id(7), id(8))), Some(&clean(9)));
        assert_eq!(read("y").answers.len(), 0);
    }

    #[test]
    fn the_file_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("known");
        let read = || Known::of(Lines::read(path.clone()), "x".to_owned());
        for round in 0..12 {
            read().add((0..4_000).map(|n| ((id(round), id(n)), clean(n))).collect());
            assert!(std::fs::metadata(&path).unwrap().len() <= FILE_BYTES_MAX);
        }
        assert_eq!(read().get(&(id(11), id(3_999))), Some(&clean(3_999)));
        assert_eq!(read().get(&(id(0), id(0))), None);
    }
}
