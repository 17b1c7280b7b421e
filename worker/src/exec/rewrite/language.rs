//! Languages: which grammars are in this binary. Asking ast-grep for one that is not, panics.

use ast_grep_language::SupportLang;

use super::RuleError;

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

enum Grammar {
    In,
    Feature(&'static str),
    Never,
}

fn grammar(language: SupportLang) -> Grammar {
    use SupportLang as L;
    let feature = |built_in: bool, name| {
        if built_in { Grammar::In } else { Grammar::Feature(name) }
    };
    match language {
        L::Bash | L::C | L::Go | L::Java | L::JavaScript | L::Python | L::Rust | L::Tsx | L::TypeScript => Grammar::In,
        L::Cpp => feature(cfg!(feature = "cpp"), "cpp"),
        L::CSharp => feature(cfg!(feature = "csharp"), "csharp"),
        L::Css => feature(cfg!(feature = "css"), "css"),
        L::Html => feature(cfg!(feature = "html"), "html"),
        L::Json => feature(cfg!(feature = "json"), "json"),
        L::Kotlin => feature(cfg!(feature = "kotlin"), "kotlin"),
        L::Lua => feature(cfg!(feature = "lua"), "lua"),
        L::Php => feature(cfg!(feature = "php"), "php"),
        L::Ruby => feature(cfg!(feature = "ruby"), "ruby"),
        L::Scala => feature(cfg!(feature = "scala"), "scala"),
        L::Swift => feature(cfg!(feature = "swift"), "swift"),
        L::Yaml => feature(cfg!(feature = "yaml"), "yaml"),
        L::Dart | L::Elixir | L::Haskell | L::Hcl | L::Markdown | L::Nix | L::Solidity | L::Zig => Grammar::Never,
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
