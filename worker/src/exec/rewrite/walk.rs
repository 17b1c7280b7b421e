//! The files that a rewrite looks at: what ast-grep's CLI would walk, in a defined order.

use std::path::Path;

use ast_grep_core::language::Language as _;
use ast_grep_language::SupportLang;
use ignore::WalkBuilder;
use ignore::types::{Types, TypesBuilder};
use regex::RegexSet;

use super::RuleError;

/// A file of a known language.
pub(super) struct Source {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) language: SupportLang,
}

/// Lists the files of these languages, sorted by path. Hidden and ignored files are left out, symbolic
/// links are not followed, and a name that is not UTF-8 is left out because no plan can name it.
pub(super) fn sources(root: &Path, languages: &[SupportLang], within: &[String]) -> Result<Vec<Source>, RuleError> {
    if languages.is_empty() {
        return Ok(Vec::new());
    }
    let covered = covers(within)?;
    let walk_error = |source| RuleError::Walk { path: root.to_path_buf(), source };
    let types = types(languages).map_err(walk_error)?;
    let mut sources = Vec::new();
    for entry in WalkBuilder::new(root).parents(false).types(types).build() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.is_partial() || error.depth().is_some_and(|depth| depth > 0) => {
                tracing::warn!(%error, "a file was left out of a rewrite");
                continue;
            }
            Err(error) => return Err(walk_error(error)),
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let Some(language) = SupportLang::from_path(entry.path()) else {
            continue;
        };
        let path = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
        if let Some(path) = path
            && languages.contains(&language)
            && covered.as_ref().is_none_or(|covered| covered.is_match(path))
        {
            sources.push(Source { path: path.to_owned(), language });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn covers(within: &[String]) -> Result<Option<RegexSet>, RuleError> {
    if within.is_empty() {
        return Ok(None);
    }
    let anchored = within.iter().map(|pattern| format!(r"\A(?:{pattern})\z"));
    Ok(Some(RegexSet::new(anchored)?))
}

/// A filter on types is more than one on extensions: what it names is walked even if hidden.
fn types(languages: &[SupportLang]) -> Result<Types, ignore::Error> {
    let mut builder = TypesBuilder::new();
    for language in languages {
        for definition in language.file_types().definitions() {
            for glob in definition.globs() {
                builder.add(definition.name(), glob)?;
            }
            builder.select(definition.name());
        }
    }
    builder.build()
}
