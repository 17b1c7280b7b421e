//! The layout of the repository: its folders, and how many files of which kind each holds.

use std::collections::BTreeMap;

use wattle_worker::symbols::one_line;
use wattle_workspace::Listed;

use super::fenced;

/// Folders that are named; beyond this a map helps less than a search.
const LINES_MAX: usize = 80;
/// Levels of folders that are told apart, where so many fit.
const LEVELS_MAX: usize = 3;
/// Endings of file names that are counted for a folder.
const ENDINGS_MAX: usize = 3;
/// Characters of a folder's path.
const PATH_CHARS_MAX: usize = 100;
/// Characters of an ending: longer ones are no kind of file.
const ENDING_CHARS_MAX: usize = 12;

/// Files of a folder, by the endings of their names.
type Endings<'f> = BTreeMap<&'f str, usize>;

/// The section; empty for a commit without files.
pub(super) fn layout(files: &[Listed], left_out: &mut Vec<String>) -> String {
    let levels = (2..=LEVELS_MAX).rev().find(|levels| folders(files, *levels).len() <= LINES_MAX).unwrap_or(1);
    let mut folders: Vec<(String, Endings<'_>)> = folders(files, levels).into_iter().collect();
    let all = folders.len();
    if all > LINES_MAX {
        // The largest are named, in the order of their paths.
        folders.sort_by_key(|(_, endings)| std::cmp::Reverse(endings.values().sum::<usize>()));
        folders.truncate(LINES_MAX);
        folders.sort();
    }
    let mut lines = String::new();
    for (folder, endings) in folders {
        let count: usize = endings.values().sum();
        let mut kinds: Vec<(&str, usize)> = endings.into_iter().filter(|(ending, _)| !ending.is_empty()).collect();
        kinds.sort_by_key(|(ending, count)| (std::cmp::Reverse(*count), *ending));
        kinds.truncate(ENDINGS_MAX);
        let kinds: Vec<String> =
            kinds.iter().map(|(ending, count)| format!("{count} .{}", one_line(ending, ENDING_CHARS_MAX))).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
        let files = if count == 1 { "file" } else { "files" };
        lines.push_str(&format!("{} ({count} {files}{kinds})\n", one_line(&folder, PATH_CHARS_MAX)));
    }
    if lines.is_empty() {
        return lines;
    }
    let mut text = format!("# Layout of the repository\n\n{}", fenced(&lines));
    if all > LINES_MAX {
        let more = format!("{} of {all} folders, the smallest ones", all - LINES_MAX);
        text.push_str(&format!("\nLeft out: {more}.\n"));
        left_out.push(more);
    }
    text
}

/// Each folder of so many levels, with what lies in and below it, but for folders of its own in the list.
fn folders(files: &[Listed], levels: usize) -> BTreeMap<String, Endings<'_>> {
    let mut folders: BTreeMap<String, Endings<'_>> = BTreeMap::new();
    for file in files {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let short: Vec<&str> = folder.split('/').take(levels).collect();
        let folder = if folder.is_empty() { "./".to_owned() } else { format!("{}/", short.join("/")) };
        let ending = match name.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && ending.chars().count() <= ENDING_CHARS_MAX => ending,
            Some(_) | None => "",
        };
        *folders.entry(folder).or_default().entry(ending).or_default() += 1;
    }
    folders
}
