//! The task: what the user asked for, in words. It reaches prompts, commit messages and one-line lists, so it is
//! bounded, and has a headline.

/// Longest task in bytes: 16 pages. A longer one belongs into a file of the repository that the task names.
pub const TASK_BYTES_MAX: usize = 64 * 1024;

/// Longest headline in characters: what fits the subject of a commit.
const HEADLINE_CHARS_MAX: usize = 72;

/// Why a text is no task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// There are no words in it.
    #[error("read the task: it is empty")]
    Empty,
    /// It is longer than [`TASK_BYTES_MAX`].
    #[error("read the task: it is {bytes} bytes long, {TASK_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a control character other than tab and line break, which could forge terminal output.
    #[error("read the task: it has the control character {0:?}")]
    Control(char),
}

/// Checks that `task` can be given to people and agents.
pub fn check(task: &str) -> Result<(), TaskError> {
    if task.trim().is_empty() {
        return Err(TaskError::Empty);
    }
    if task.len() > TASK_BYTES_MAX {
        return Err(TaskError::TooLong { bytes: task.len() });
    }
    match task.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some(c) => Err(TaskError::Control(c)),
        None => Ok(()),
    }
}

/// The task in one line of at most 72 characters.
pub fn headline(task: &str) -> String {
    let line = task.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= HEADLINE_CHARS_MAX {
        return clean;
    }
    let cut: String = clean.chars().take(HEADLINE_CHARS_MAX - 1).collect();
    let words = cut.rfind(' ').map_or(cut.as_str(), |end| &cut[..end]);
    format!("{}…", words.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(check("rename it"), Ok(()));
        assert_eq!(check("one\n\ttwo\r\n"), Ok(()));
        assert_eq!(check(" \n"), Err(TaskError::Empty));
        assert_eq!(check("a\u{1b}[2J"), Err(TaskError::Control('\u{1b}')));
        let bytes = TASK_BYTES_MAX + 1;
        assert_eq!(check(&"x".repeat(bytes)), Err(TaskError::TooLong { bytes }));
    }

    #[test]
    fn a_headline_is_one_short_line() {
        assert_eq!(headline("\n  rename it \nand more"), "rename it");
        let long = headline(&"word ".repeat(40));
        assert!(long.chars().count() <= 72 && long.ends_with("word…"), "{long}");
    }
}
