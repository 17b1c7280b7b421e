//! The language that a rule names.

use ast_grep_language::SupportLang;

use super::RuleError;
use crate::grammar::{Grammar, grammar};

/// Finds a language by one of its names.
pub(super) fn find(name: &str, rules: &str) -> Result<SupportLang, RuleError> {
    let unknown = |_| RuleError::UnknownLanguage { name: rules.to_owned(), language: name.to_owned() };
    let language = name.parse::<SupportLang>().map_err(unknown)?;
    match grammar(language) {
        Grammar::In => Ok(language),
        Grammar::Feature(feature) => Err(RuleError::NotBuiltIn {
            name: rules.to_owned(),
            language: language.to_string(),
            mend: format!("build wattle with the feature `{feature}`"),
        }),
        Grammar::Never => Err(RuleError::NotBuiltIn {
            name: rules.to_owned(),
            language: language.to_string(),
            mend: "no feature of wattle has it".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ast_grep_language::LanguageExt as _;

    #[test]
    fn what_is_called_built_in_does_not_panic() {
        let mut built_in = Vec::new();
        for language in SupportLang::all_langs() {
            if find(&language.to_string(), "r").is_ok() {
                assert!(language.get_ts_language().node_kind_count() > 0);
                built_in.push(language.to_string());
            }
        }
        for name in ["Bash", "C", "Go", "Java", "JavaScript", "Python", "Rust", "Tsx", "TypeScript"] {
            assert!(built_in.iter().any(|found| found == name), "{name} in {built_in:?}");
        }
    }
}
