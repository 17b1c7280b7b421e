//! What is wrong with a plan, with its place: every mistake of a file is one [`Problem`], all of them together
//! are [`Problems`]. Also finds the word somebody probably meant.

use std::fmt;

/// A place in a text, both numbers from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pos {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and the place it was written at.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) pos: Pos,
    pub(crate) value: T,
}

/// One mistake in a plan file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Every mistake of one plan file, sorted by position.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problems {
    /// The file as the user named it.
    pub file: String,
    /// The mistakes; never empty.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// Puts `problems` in the order of their positions.
    pub(crate) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let Problem { message, hint, line, column } = problem;
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
            if let Some(hint) = hint {
                write!(f, "\n    {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Most problems that are kept. Nobody mends more in one go, and suggestions for each cost a look at every id.
const PROBLEMS_MAX: usize = 1000;

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    problems: Vec<Problem>,
    dropped: usize,
}

impl Found {
    /// Notes a problem at `pos`.
    pub(crate) fn add(&mut self, pos: Pos, message: impl Into<String>) {
        self.push(pos, message.into(), None);
    }

    /// Notes a problem at `pos` and what to do about it.
    pub(crate) fn add_hint(&mut self, pos: Pos, message: impl Into<String>, hint: impl Into<String>) {
        self.push(pos, message.into(), Some(hint.into()));
    }

    /// Notes a problem at `pos`, with a hint where there is one.
    pub(crate) fn push(&mut self, pos: Pos, message: String, hint: Option<String>) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.problems.push(Problem { message, hint, line: pos.line, column: pos.column });
    }

    /// Whether no more problems are kept, so that a hint is not worth its cost.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn into_problems(self, file: &str) -> Problems {
        let mut problems = Problems::new(file, self.problems);
        let last = problems.problems.last().map(|last| (last.line, last.column));
        if let (1.., Some((line, column))) = (self.dropped, last) {
            problems.problems.push(Problem {
                message: format!("and {} more problems", self.dropped),
                hint: None,
                line,
                column,
            });
        }
        problems
    }
}

/// Words longer than this are not compared: nobody mistypes them into a known one, and the comparison is quadratic.
const WORD_CHARS_MAX: usize = 64;

/// "did you mean `x`?" where a candidate is near enough to `word`.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let length = word.chars().count();
    if length > WORD_CHARS_MAX {
        return None;
    }
    // One slip in a short word, two in a usual one, three in a long one.
    let allowed = match length {
        0..=3 => 1,
        4..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|c| c.chars().count().abs_diff(length) <= allowed)
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= allowed && *d < c.chars().count())
        .min()
        .map(|(_, c)| format!("did you mean `{c}`?"))
}

/// Edit distance with swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let width = b.len() + 1;
    let mut cost: Vec<usize> = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cost[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substitute = cost[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = substitute.min(cost[(i - 1) * width + j] + 1).min(cost[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(cost[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    cost[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_word_only_when_it_is_near() {
        let known = ["touches", "timeout", "title", "run"];
        let check = |word: &str, expected: Option<&str>| {
            let expected = expected.map(|w| format!("did you mean `{w}`?"));
            assert_eq!(did_you_mean(word, known), expected, "{word}");
        };
        check("touchs", Some("touches"));
        check("tiemout", Some("timeout"));
        check("Run", Some("run"));
        check("rn", Some("run"));
        check("command", None);
        check("", None);
    }

    #[test]
    fn says_how_many_it_did_not_keep() {
        let mut found = Found::default();
        for line in 1..=1002 {
            found.add(Pos { line, column: 1 }, "again");
        }
        let problems = found.into_problems("p").problems;
        assert_eq!(problems.len(), PROBLEMS_MAX + 1);
        assert_eq!(problems[PROBLEMS_MAX].message, "and 2 more problems");
    }

    #[test]
    fn prints_one_line_each_and_hints_below() {
        let mut found = Found::default();
        found.add(Pos { line: 4, column: 2 }, "second");
        found.add_hint(Pos { line: 1, column: 9 }, "first", "mend it");
        assert_eq!(found.into_problems("p.yaml").to_string(), "p.yaml:1:9: first\n    mend it\np.yaml:4:2: second");
    }
}
