//! The grammars of tree-sitter in this binary: which there are, and which one a file is read with. Asking ast-grep
//! for one that is not built in, panics.

use std::path::Path;

use ast_grep_language::{Language as _, SupportLang};

/// Is the grammar of a language in this binary?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// It is.
    In,
    /// With this feature of the crate it would be.
    Feature(&'static str),
    /// No feature has it.
    Never,
}

/// Where the grammar of a language is.
pub(crate) fn grammar(language: SupportLang) -> Grammar {
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

/// The languages whose grammars are here.
pub(crate) fn built_in() -> impl Iterator<Item = SupportLang> {
    SupportLang::all_langs().iter().copied().filter(|language| grammar(*language) == Grammar::In)
}

/// The language of a file by its extension, where its grammar is built in.
pub(crate) fn of_path(path: &Path) -> Option<SupportLang> {
    SupportLang::from_path(path).filter(|language| grammar(*language) == Grammar::In)
}
