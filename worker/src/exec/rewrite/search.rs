//! A pattern that only looks: the engine of the rewrites for the tool AstGrep.

use std::path::Path;

use ast_grep_core::language::Language as _;
use ast_grep_core::meta_var::MetaVariable;
use ast_grep_core::tree_sitter::{LanguageExt as _, StrDoc};
use ast_grep_core::{NodeMatch, Pattern};
use ast_grep_language::SupportLang;

use super::RuleError;
use super::language;
use super::program::chain;
use crate::grammar;
use crate::tool::ast::{Finder, HIT_BYTES_MAX, Hit};

/// A pattern with its language.
struct Look {
    language: SupportLang,
    pattern: Pattern,
    /// Every match holds this text: a file without it need not be parsed.
    text: String,
}

/// Makes a pattern ready; the message says what would help.
pub(crate) fn compile(pattern: &str, lang: &str) -> Result<Box<dyn Finder>, String> {
    let language = language::find(lang, "AstGrep").map_err(|error| explained(&error, lang))?;
    let mend = format!(
        "a pattern is one whole expression, statement or item of {language}, in which $NAME (capitals) stands for one node and $$$NAME for any number"
    );
    let parsed = Pattern::try_new(pattern, language).map_err(|error| format!("{}; {mend}", chain(&error)))?;
    if parsed.has_error() {
        return Err(format!("the pattern `{pattern}` is no valid {language}; {mend}"));
    }
    let text = parsed.fixed_string().into_owned();
    Ok(Box::new(Look { language, pattern: parsed, text }))
}

fn explained(error: &RuleError, lang: &str) -> String {
    match error {
        RuleError::UnknownLanguage { .. } => {
            let known: Vec<String> = grammar::built_in().map(|language| language.to_string().to_lowercase()).collect();
            format!("there is no language `{lang}`; there are {}", known.join(", "))
        }
        RuleError::NotBuiltIn { .. }
        | RuleError::Invalid { .. }
        | RuleError::Touches(_)
        | RuleError::Walk { .. }
        | RuleError::File { .. }
        | RuleError::Split { .. }
        | RuleError::Cancelled => error.to_string(),
    }
}

impl Finder for Look {
    fn reads(&self, path: &Path) -> bool {
        SupportLang::from_path(path) == Some(self.language)
    }

    fn count(&self, text: &str) -> u64 {
        if !text.contains(&self.text) {
            return 0;
        }
        self.language.ast_grep(text).root().find_all(&self.pattern).count() as u64
    }

    fn hits(&self, text: &str, each: &mut dyn FnMut(Hit) -> bool) {
        let root = self.language.ast_grep(text);
        let root = root.root();
        for found in root.find_all(&self.pattern) {
            if !each(hit(&found)) {
                return;
            }
        }
    }
}

/// The beginning of a text.
fn cut(text: &str) -> &str {
    let end = text.len().min(HIT_BYTES_MAX);
    &text[..(0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)]
}

fn hit(found: &NodeMatch<'_, StrDoc<SupportLang>>) -> Hit {
    let env = found.get_env();
    let variables = env.get_matched_variables().filter_map(|variable| match variable {
        MetaVariable::Capture(name, _) => {
            let text = cut(&env.get_match(&name)?.text()).to_owned();
            Some((name, text))
        }
        MetaVariable::MultiCapture(name) => {
            let nodes = env.get_multiple_matches(&name);
            let mut text = String::new();
            for node in &nodes {
                if text.len() >= HIT_BYTES_MAX {
                    break;
                }
                text.push_str(cut(&node.text()));
            }
            Some((name, cut(&text).to_owned()))
        }
        MetaVariable::Dropped(_) | MetaVariable::Multiple => None,
    });
    Hit { line: found.start_pos().line() + 1, text: cut(&found.text()).to_owned(), variables: variables.collect() }
}
