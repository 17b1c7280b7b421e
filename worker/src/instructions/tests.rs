//! Tests of [`super`].

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::gather::File;
use super::{About, Loaded, SHARED_BYTES_MAX, loaded};

/// Files of a tree; one that begins with `-> ` is a link.
fn of(files: &[(&str, &str)]) -> Loaded {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &str| {
        let text = files.get(path);
        Ok(text.map(|text| match text.strip_prefix("-> ") {
            Some(to) => File { bytes: to.as_bytes().to_vec(), link: true },
            None => File { bytes: text.as_bytes().to_vec(), link: false },
        }))
    };
    loaded(files.keys().map(|name| (*name).to_owned()).collect(), &read).unwrap()
}

/// The shared part without its blank lines, and the warnings.
fn check(files: &[(&str, &str)], shared: &str, warnings: &[&str]) {
    let found = of(files);
    let lines: Vec<&str> = found.shared.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.join("\n"), shared, "{files:?}");
    assert_eq!(found.warnings, warnings, "{files:?}");
}

#[test]
fn what_says_the_same_is_said_once() {
    let both = "# AGENTS.md\na\n# CLAUDE.md\nb";
    check(&[], "", &[]);
    check(&[("CLAUDE.md", "b"), ("AGENTS.md", "a"), ("README.md", "c")], both, &[]);
    check(&[("AGENTS.md", "a"), (".claude/CLAUDE.md", "b")], "# AGENTS.md\na\n# .claude/CLAUDE.md\nb", &[]);
    for other in ["a\n", "@AGENTS.md", "\u{feff}@AGENTS.md\r\n", "-> AGENTS.md", "-> ./AGENTS.md", "\r\na\r\n\r\n"] {
        check(&[("AGENTS.md", "a"), ("CLAUDE.md", other)], "# AGENTS.md\na", &[]);
    }
    check(&[("AGENTS.md", "-> CLAUDE.md"), ("CLAUDE.md", "b")], "# AGENTS.md\nb", &[]);
    check(&[("AGENTS.md", "see @CLAUDE.md"), ("CLAUDE.md", "b")], "# AGENTS.md\nsee @CLAUDE.md\n# CLAUDE.md\nb", &[]);
    check(&[("AGENTS.md", "@CLAUDE.md"), ("CLAUDE.md", "b @AGENTS.md")], "# CLAUDE.md\nb @AGENTS.md", &[]);
    // Another case is another file, and no instruction file.
    check(&[("agents.md", "a"), ("Claude.md", "b")], "", &[]);
}

#[test]
fn links_lead_nowhere_else() {
    let outside = &["read CLAUDE.md: it is a link that leads outside the repository"];
    check(&[("CLAUDE.md", "-> ../secret")], "", outside);
    check(&[("CLAUDE.md", "-> /etc/passwd")], "", outside);
    check(&[("CLAUDE.md", "-> CLAUDE.md")], "", &["read CLAUDE.md: it is a link that leads nowhere"]);
    check(&[("CLAUDE.md", "-> gone.md")], "", &["read CLAUDE.md: gone.md is not in the repository"]);
}

#[test]
fn imports_are_followed_four_times() {
    let chain = [
        ("AGENTS.md", "0 @docs/1.md"),
        ("docs/1.md", "1 @sub/2.md"),
        ("docs/sub/2.md", "2 @../3.md"),
        ("docs/3.md", "3 @../4.md"),
        ("4.md", "4 @5.md"),
        ("5.md", "5"),
    ];
    let found = of(&chain);
    assert_snapshot!(found.shared.replace("\n\n", "\n"), @r"

    # AGENTS.md
    0 @docs/1.md
    # docs/1.md
    1 @sub/2.md
    # docs/sub/2.md
    2 @../3.md
    # docs/3.md
    3 @../4.md
    # 4.md
    4 @5.md
    ");
    assert_eq!(found.warnings, ["import @5.md in 4.md: it is more than 4 imports away"]);
}

#[test]
fn an_import_is_a_path_outside_code_and_comments() {
    let alone = |text: &str, warnings: &[&str]| {
        let found = of(&[("AGENTS.md", text), ("x.md", "canary"), ("README", "canary")]);
        assert!(!found.shared.contains("canary"), "{text}: {}", found.shared);
        assert_eq!(found.warnings, warnings, "{text}");
    };
    let follows = |text: &str| {
        let found = of(&[("AGENTS.md", text), ("x.md", "canary"), ("README", "canary")]);
        assert!(found.shared.contains("canary"), "{text}: {}", found.shared);
        assert_eq!(found.warnings, [""; 0], "{text}");
    };
    for text in
        ["@x.md", "see @x.md.", "(so)\n- @./x.md,", "* `a` @x.md `b`", "@README", "a ` b @x.md", "@docs/../x.md"]
    {
        follows(text);
    }
    for text in [
        "`@x.md`",
        "``a ` @x.md``",
        "```\n@x.md\n```",
        "~~~sh\n```\n@x.md\n~~~",
        "<!-- @x.md -->\nb",
        "<!--\n@x.md\n-->\nb",
        "<!-- never closed\n@x.md",
        "me@x.md",
        "ask @alice, or use @property and @scope/package",
    ] {
        alone(text, &[]);
    }
    alone("@gone.md", &["import @gone.md in AGENTS.md: there is no such file"]);
    alone("@X.md", &["import @X.md in AGENTS.md: there is no such file"]);
    for path in ["../x.md", "~/.claude/x.md", "/etc/passwd", "a/../../x.md"] {
        alone(&format!("@{path}"), &[&format!("import @{path} in AGENTS.md: it lies outside the repository")]);
    }
}

#[test]
fn comments_that_begin_a_line_are_left_out() {
    let text = "a\n<!-- one -->\n  <!-- two\nlines --> b\n```\n<!-- kept -->\n```\nc <!-- kept too -->\n";
    check(&[("AGENTS.md", text)], "# AGENTS.md\na\n b\n```\n<!-- kept -->\n```\nc <!-- kept too -->", &[]);
}

#[test]
fn rules_hold_everywhere_or_for_some_paths() {
    let found = of(&[
        (".claude/rules/all.md", "everywhere"),
        (".claude/rules/deep/rust.md", "---\npaths: \"src/**/*.{rs,toml}, build.rs\"\n---\nfor rust"),
        (".claude/rules/list.md", "---\r\ndescription: x\r\npaths:\r\n  - docs/**\r\n---\r\nfor docs"),
        (".claude/rules/none.md", "---\ndescription: x\n---\nno paths"),
        (".claude/rules/broken.md", "---\npaths: [\n---\nbroken"),
        (".claude/rules/bad.md", "---\npaths: [\"a[\"]\n---\nnever"),
        (".claude/rules/readme.txt", "no rule"),
    ]);
    assert_snapshot!(found.shared.replace("\n\n", "\n"), @r"

    # .claude/rules/all.md
    everywhere
    # .claude/rules/broken.md
    broken
    # .claude/rules/none.md
    no paths
    ");
    assert_snapshot!(found.warnings.join("\n"), @r"
    use `paths` of .claude/rules/bad.md: `a[` is no glob
    use the rule .claude/rules/bad.md: its `paths` name nothing
    read the frontmatter of .claude/rules/broken.md: it is no YAML mapping; the rule holds everywhere
    ");
    let held: Vec<_> = found.instructions.held.iter().map(|held| (&held.about, held.text.as_str())).collect();
    let paths = |globs: &[&str]| About::Paths(globs.iter().map(|glob| (*glob).to_owned()).collect());
    assert_eq!(held, [(&paths(&["src/**/*.{rs,toml}", "build.rs"]), "for rust"), (&paths(&["docs/**"]), "for docs")]);
}

#[test]
fn what_lies_in_folders_is_held_back_outer_first() {
    let found = of(&[
        ("AGENTS.md", "root"),
        ("a/AGENTS.md", "of a @../AGENTS.md @more.md"),
        ("a/more.md", "more"),
        ("a/b/.claude/CLAUDE.md", "of b"),
        ("a/b/AGENTS.md", "agents of b"),
        ("a/b/CLAUDE.md", "-> AGENTS.md"),
        ("c/CLAUDE.md", "-> ../AGENTS.md"),
        ("d/AGENTS.md", "root"),
        ("e/XAGENTS.md", "none"),
    ]);
    let blocks: Vec<String> = found.instructions.held.iter().map(super::Held::block).collect();
    assert_snapshot!(blocks.join("\n---\n"), @r"
    # Instructions for what lies in a/ (from a/AGENTS.md, a/more.md)

    of a @../AGENTS.md @more.md

    more
    ---
    # Instructions for what lies in a/b/ (from a/b/AGENTS.md, a/b/.claude/CLAUDE.md)

    agents of b

    of b
    ");
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let found = of(&[("AGENTS.md", &"ñ\n".repeat(SHARED_BYTES_MAX)), ("a/AGENTS.md", &"x".repeat(100_000))]);
    assert!(found.shared.len() < SHARED_BYTES_MAX + 100, "{}", found.shared.len());
    assert!(found.shared.ends_with("(Cut here: there is more than 32 KiB.)\n"));
    assert_eq!(found.warnings, ["cut AGENTS.md at 32 KiB: they have 97", "cut a/AGENTS.md at 16 KiB"]);
    let many: Vec<(String, String)> =
        (0..600).map(|index| (format!("d{index:03}/AGENTS.md"), format!("of {index}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let found = of(&many);
    assert_eq!(found.instructions.held.len(), 500);
    assert_eq!(found.warnings, ["read the instructions of 100 more folders: 500 are enough"]);
    let long = "x".repeat(15_000);
    let many: Vec<(&str, &str)> = many[..40].iter().map(|(path, _)| (*path, long.as_str())).collect();
    let found = of(&many);
    assert_eq!(found.instructions.held.len(), 34);
    assert_eq!(found.warnings, ["leave out 6 instructions: together they are too long"]);
}

#[test]
fn the_hard_rules_are_those_under_always() {
    let check = |files: &[(&str, &str)], rules: &str| {
        assert_eq!(of(files).instructions.rules, rules, "{files:?}");
    };
    check(
        &[("AGENTS.md", "# A\n## Always\n- x\n\n### Sub\ny\n## Never\n- z"), ("CLAUDE.md", "- w")],
        "- x\n\n### Sub\ny",
    );
    check(&[("AGENTS.md", "# ALWAYS #\nx\n# B\ny"), ("CLAUDE.md", "###### always\nz")], "x\nz");
    check(&[("AGENTS.md", "```\n## Always\n- x\n```\n- y\n  - inner\n* z\n1. one\ntext")], "- y\n* z\n1. one");
    check(&[("AGENTS.md", "prose"), ("README.md", "## Always\nobey me"), ("a/AGENTS.md", "## Always\nnot here")], "");
    let long = format!("## Always\n{}", "- rule\n".repeat(100_000 / 7));
    let rules = of(&[("AGENTS.md", &long)]).instructions.rules;
    assert!(rules.len() < 2200 && rules.starts_with("- rule\n- rule"), "{}", rules.len());
}
