//! Rules made ready to run, and what they do to the text of one file.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use ast_grep_config::{CombinedScan, Fixer, GlobalRules, Rule, RuleCollection, RuleConfig};
use ast_grep_core::tree_sitter::{LanguageExt as _, StrDoc};
use ast_grep_core::{AstGrep, Matcher, NodeMatch, Pattern};
use ast_grep_language::SupportLang;
use serde::Deserialize;

use super::{RuleError, language};
use crate::assignment::Rewrite;

/// Rules that are valid and whose grammars are here.
pub(super) struct Program {
    /// Languages of the rules that are not switched off, in the order of their names.
    pub(super) languages: Vec<SupportLang>,
    kind: Kind,
}

enum Kind {
    Rules(RuleSet),
    Pattern(Box<PatternFix>),
}

struct RuleSet {
    rules: RuleCollection<SupportLang>,
    any_fix: bool,
}

struct PatternFix {
    language: SupportLang,
    rule: Rule,
    /// Every match holds this text: a file without it need not be parsed.
    text: String,
    fixer: Fixer,
}

/// One replacement in the text of a file.
pub(super) struct Edit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) text: Vec<u8>,
    pub(super) rule: String,
}

/// One place where a rule matches; the line counts from 1.
pub(super) struct Hit {
    pub(super) line: usize,
    pub(super) rule: String,
}

/// The one key that has to be read before ast-grep may see a rule.
#[derive(Deserialize)]
struct LanguageKey {
    language: Option<String>,
}

impl Program {
    pub(super) fn compile(rewrite: &Rewrite) -> Result<Self, RuleError> {
        match rewrite {
            Rewrite::Rules { name, yaml } => Self::rules(name, yaml),
            Rewrite::Pattern { pattern, fix, lang } => Self::pattern(pattern, fix, lang),
        }
    }

    fn rules(name: &str, yaml: &str) -> Result<Self, RuleError> {
        let invalid = |why: String| RuleError::Invalid { name: name.to_owned(), why };
        let keys: Vec<LanguageKey> = ast_grep_config::from_multiple(yaml).map_err(|error| invalid(chain(&error)))?;
        for key in keys {
            // A missing key is left to ast-grep's own message.
            if let Some(language) = key.language {
                language::find(&language, name)?;
            }
        }
        let mut rules: Vec<RuleConfig<SupportLang>> =
            ast_grep_config::from_yaml_string(yaml, &GlobalRules::default()).map_err(|error| invalid(chain(&error)))?;
        if rules.is_empty() {
            return Err(invalid("there is no rule in it".to_owned()));
        }
        name_rules(name, &mut rules);
        let collection = RuleCollection::try_new(rules).map_err(|error| invalid(chain(&error)))?;
        let mut languages = BTreeSet::new();
        let mut any_fix = false;
        collection.for_each_rule(|rule| {
            languages.insert(rule.language.to_string());
            any_fix |= !rule.fixer.is_empty();
        });
        let languages = languages.iter().filter_map(|name| name.parse().ok()).collect();
        Ok(Self { languages, kind: Kind::Rules(RuleSet { rules: collection, any_fix }) })
    }

    fn pattern(pattern: &str, fix: &str, lang: &str) -> Result<Self, RuleError> {
        let name = format!("the pattern `{pattern}`");
        let language = language::find(lang, &name)?;
        let invalid = |why: String| RuleError::Invalid { name: name.clone(), why };
        let parsed = Pattern::try_new(pattern, language).map_err(|error| invalid(chain(&error)))?;
        let fixer = Fixer::from_str(fix, &language).map_err(|error| invalid(chain(&error)))?;
        let text = parsed.fixed_string().into_owned();
        let rule = Rule::Pattern(parsed);
        let fix = PatternFix { language, rule, text, fixer };
        Ok(Self { languages: vec![language], kind: Kind::Pattern(Box::new(fix)) })
    }

    /// The edits that rewrite the text of a file, in order and without overlap.
    pub(super) fn edits(&self, path: &str, language: SupportLang, text: &str) -> Vec<Edit> {
        match &self.kind {
            Kind::Rules(rules) => rules.edits(path, language, text),
            Kind::Pattern(pattern) => pattern.edits(language, text),
        }
    }

    /// The places that match, in the order of their lines.
    pub(super) fn hits(&self, path: &str, language: SupportLang, text: &str) -> Vec<Hit> {
        match &self.kind {
            Kind::Rules(rules) => rules.hits(path, language, text),
            Kind::Pattern(pattern) => pattern.hits(language, text),
        }
    }
}

impl RuleSet {
    fn edits(&self, path: &str, language: SupportLang, text: &str) -> Vec<Edit> {
        let rules = self.rules.get_rule_from_lang(Path::new(path), language);
        if rules.iter().all(|rule| rule.fixer.is_empty()) {
            return Vec::new();
        }
        let root = language.ast_grep(text);
        let scan = CombinedScan::new(rules);
        let diffs = scan.scan(&root, true).diffs;
        let edits = diffs.into_iter().filter_map(|(rule, found)| {
            let fixer = rule.fixer.first()?;
            Some(edit(&found, &rule.matcher, fixer, &rule.id))
        });
        first_come(edits)
    }

    fn hits(&self, path: &str, language: SupportLang, text: &str) -> Vec<Hit> {
        let rules = self.rules.get_rule_from_lang(Path::new(path), language);
        if rules.is_empty() {
            return Vec::new();
        }
        let root = language.ast_grep(text);
        let scan = CombinedScan::new(rules);
        let found = scan.scan(&root, false).matches.into_iter();
        let counted = found.filter(|(rule, _)| !self.any_fix || !rule.fixer.is_empty());
        let hits = counted.flat_map(|(rule, nodes)| nodes.into_iter().map(|node| hit(&node, &rule.id)));
        let mut hits: Vec<Hit> = hits.collect();
        hits.sort_by(|a, b| (a.line, &a.rule).cmp(&(b.line, &b.rule)));
        hits
    }
}

impl PatternFix {
    fn edits(&self, language: SupportLang, text: &str) -> Vec<Edit> {
        let Some(root) = self.parsed(language, text) else {
            return Vec::new();
        };
        let node = root.root();
        let found = node.find_all(&self.rule);
        first_come(found.map(|found| edit(&found, &self.rule, &self.fixer, "pattern")))
    }

    fn hits(&self, language: SupportLang, text: &str) -> Vec<Hit> {
        let Some(root) = self.parsed(language, text) else {
            return Vec::new();
        };
        root.root().find_all(&self.rule).map(|found| hit(&found, "pattern")).collect()
    }

    fn parsed(&self, language: SupportLang, text: &str) -> Option<AstGrep<StrDoc<SupportLang>>> {
        let possible = self.language == language && text.contains(&self.text);
        possible.then(|| language.ast_grep(text))
    }
}

/// A rule with no id gets one from the name of its file, as the CLI does it; the order of ids decides
/// between rules that match one node.
fn name_rules(name: &str, rules: &mut [RuleConfig<SupportLang>]) {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("rule").to_owned();
    let several = rules.len() > 1;
    for (index, rule) in rules.iter_mut().enumerate() {
        if rule.id.is_empty() {
            rule.id = if several { format!("{stem}-{index}") } else { stem.clone() };
        }
    }
}

type Found<'t> = NodeMatch<'t, StrDoc<SupportLang>>;

fn edit(found: &Found<'_>, matcher: &impl Matcher, fixer: &Fixer, rule: &str) -> Edit {
    let edit = found.make_edit(matcher, fixer);
    let end = edit.position + edit.deleted_length;
    Edit { start: edit.position, end, text: edit.inserted_text, rule: rule.to_owned() }
}

fn hit(found: &Found<'_>, rule: &str) -> Hit {
    Hit { line: found.start_pos().line() + 1, rule: rule.to_owned() }
}

/// Of edits that overlap, the first one is made.
fn first_come(edits: impl Iterator<Item = Edit>) -> Vec<Edit> {
    let mut end = 0;
    let mut kept = Vec::new();
    for edit in edits {
        if edit.start >= end {
            end = edit.end;
            kept.push(edit);
        }
    }
    kept
}

/// An error with its causes, in one line. A YAML error says all in its first line, the place first; what
/// follows is the same once more as a picture.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let words = cause.to_string();
        let first = words.lines().next().unwrap_or_default();
        let located = first.strip_prefix("error: ");
        parts.push(located.unwrap_or(first).trim_end_matches('.').to_owned());
        next = if located.is_some() { None } else { cause.source() };
    }
    parts.dedup();
    parts.join(": ")
}
