//! Fixtures whose results were recorded from ast-grep's own CLI (0.51.1), and, where that CLI is to be had, the
//! comparison with it itself.
//!
//! `tests/cases.txt` holds the fixtures: rules or a pattern, files, and those files that change as they are afterwards.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::assignment::{Bounds, Rewrite};
use crate::process::{self, Job};

const CASES: &str = include_str!("tests/cases.txt");

type Files = BTreeMap<String, String>;

struct Case {
    name: String,
    rewrite: Rewrite,
    before: Files,
    after: Files,
}

/// Splits a text at lines that begin with a mark; the rest of such a line is the title.
fn sections<'a>(text: &'a str, mark: &str) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(mark) {
            found.push((at, at + line.len()));
        }
        at += line.len();
    }
    let ends = found.iter().skip(1).map(|(start, _)| *start).chain([text.len()]);
    found
        .iter()
        .zip(ends)
        .map(|((start, body), end)| (text[start + mark.len()..*body].trim(), &text[*body..end]))
        .collect()
}

fn cases() -> Vec<Case> {
    sections(CASES, "=== ").into_iter().map(|(name, body)| case(name, body)).collect()
}

fn case(name: &str, body: &str) -> Case {
    let (mut before, mut after) = (Files::new(), Files::new());
    let (mut rules, mut pattern, mut fix) = (None, None, None);
    for (title, text) in sections(body, "--- ") {
        match title.split_once(' ').unwrap_or((title, "")) {
            ("rule", path) => rules = Some((path.to_owned(), text.to_owned())),
            ("pattern", lang) => pattern = Some((text.trim_end().to_owned(), lang.to_owned())),
            ("fix", _) => fix = Some(text.trim_end().to_owned()),
            ("file", path) => _ = before.insert(path.to_owned(), text.to_owned()),
            ("after", path) => _ = after.insert(path.to_owned(), text.to_owned()),
            other => panic!("{name}: {other:?}"),
        }
    }
    let rewrite = match (rules, pattern, fix) {
        (Some((name, yaml)), None, None) => Rewrite::Rules { name, yaml },
        (None, Some((pattern, lang)), Some(fix)) => Rewrite::Pattern { pattern, fix, lang },
        other => panic!("{name}: {other:?}"),
    };
    Case { name: name.to_owned(), rewrite, before, after }
}

/// A repository of these files; ignore files count only in one.
fn repository(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".git")).unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn changed(root: &Path, before: &Files) -> Files {
    let read = |path: &String| (path.clone(), std::fs::read_to_string(root.join(path)).unwrap());
    before.keys().map(read).filter(|(path, text)| before[path] != *text).collect()
}

fn rules(yaml: &str) -> Rewrite {
    Rewrite::Rules { name: "rules/r.yml".to_owned(), yaml: yaml.to_owned() }
}

fn all(root: &Path, rewrite: &Rewrite) -> Applied {
    apply(root, rewrite, &[], &CancellationToken::new()).unwrap()
}

#[test]
fn every_case_ends_as_recorded() {
    let cases = cases();
    assert!(cases.len() > 25);
    for case in cases {
        let dir = repository(&case.before);
        let applied = apply(dir.path(), &case.rewrite, &[], &CancellationToken::new()).unwrap();
        assert_eq!(changed(dir.path(), &case.before), case.after, "{}", case.name);
        let files: Vec<&String> = applied.files.iter().map(|file| &file.path).collect();
        assert_eq!(files, case.after.keys().collect::<Vec<_>>(), "{}", case.name);
    }
}

#[test]
fn the_files_that_match_are_those_that_change() {
    for case in cases() {
        let dir = repository(&case.before);
        let matching = matching_files(dir.path(), &case.rewrite).unwrap();
        assert_eq!(matching, case.after.keys().cloned().collect::<Vec<_>>(), "{}", case.name);
        assert_eq!(changed(dir.path(), &case.before), Files::new());
    }
}

/// Needs `ast-grep` 0.51.1; `WATTLE_AST_GREP` names it if it is not on the path.
#[tokio::test]
async fn every_case_ends_as_with_the_cli() {
    #[expect(clippy::disallowed_methods, reason = "a program that only some machines have")]
    let (named, path) = (std::env::var("WATTLE_AST_GREP").ok(), std::env::var("PATH").unwrap());
    let cli = named.unwrap_or_else(|| "ast-grep".to_owned());
    let env: BTreeMap<_, _> = [("PATH".into(), path.into()), ("HOME".into(), "/nonexistent".into())].into();
    let run = async |dir: &Path, run: String| {
        let bounds = Bounds { timeout_ms: 60_000, idle_ms: None, output_bytes_max: 1 << 20 };
        let job = Job { run, dir: dir.to_path_buf(), env: env.clone(), bounds };
        process::run(&job, &CancellationToken::new()).await.evidence.output
    };
    let dir = tempfile::tempdir().unwrap();
    if run(dir.path(), format!("{cli} --version")).await.trim() != "ast-grep 0.51.1" {
        return;
    }
    for case in cases() {
        let (ours, theirs) = (repository(&case.before), repository(&case.before));
        apply(ours.path(), &case.rewrite, &[], &CancellationToken::new()).unwrap();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let command = match &case.rewrite {
            Rewrite::Rules { name, yaml } => {
                let file = theirs.path().join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, yaml).unwrap();
                format!("{cli} scan -U -r {}", quoted(name))
            }
            Rewrite::Pattern { pattern, fix, lang } => {
                format!("{cli} run -U -p {} -r {} -l {lang}", quoted(pattern), quoted(fix))
            }
        };
        let output = run(theirs.path(), command).await;
        let expected = changed(theirs.path(), &case.before);
        assert_eq!(changed(ours.path(), &case.before), expected, "{}: {output}", case.name);
    }
}

#[test]
fn line_ends_marks_and_modes_are_kept() {
    let text = "\u{feff}fn f() {\r\n    old(1);\r\n    old(\r\n        2\r\n    );\r\n}\r\n";
    let dir = repository(&Files::from([("a.rs".to_owned(), text.to_owned())]));
    let path = dir.path().join("a.rs");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.path().join("latin.rs"), b"fn f() { old(\"\xe9\") }").unwrap();
    std::fs::write(dir.path().join("empty.rs"), "").unwrap();
    std::os::unix::fs::symlink("latin.rs", dir.path().join("link.rs")).unwrap();
    let rewrite = Rewrite::Pattern { pattern: "old($A)".into(), fix: "new($A)".into(), lang: "rs".into() };
    let applied = all(dir.path(), &rewrite);
    assert_eq!(applied.replacements, 2);
    // The argument alone is captured, so the line breaks around it go with the match, as in the CLI.
    let expected = "\u{feff}fn f() {\r\n    new(1);\r\n    new(2);\r\n}\r\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "no temporary file is left: {left:?}");
}

#[test]
fn only_what_is_within_is_rewritten() {
    let files = ["src/a.rs", "src/b/c.rs", "tests/a.rs", "xsrc/a.rs"];
    let dir = repository(&files.map(|path| (path.to_owned(), "fn f() { a() }\n".to_owned())).into());
    let rewrite = Rewrite::Pattern { pattern: "a()".into(), fix: "b()".into(), lang: "Rust".into() };
    let within = ["src/[^/]*".to_owned(), "^tests/.*$".to_owned()];
    let applied = apply(dir.path(), &rewrite, &within, &CancellationToken::new()).unwrap();
    let paths: Vec<_> = applied.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["src/a.rs", "tests/a.rs"]);
}

#[test]
fn many_files_in_parallel_in_order_and_once() {
    let text = "fn f() { a(a(1)); a(2) }\n";
    let files: Files = (0..300).map(|n| (format!("src/m{}/f{n}.rs", n % 7), text.to_owned())).collect();
    let dir = repository(&files);
    let rewrite = Rewrite::Pattern { pattern: "a($A)".into(), fix: "b($A)".into(), lang: "rust".into() };
    let found = matches(dir.path(), &rewrite, &[], &CancellationToken::new()).unwrap();
    assert_eq!(found.len(), 900);
    assert!(found.is_sorted_by(|a, b| (&a.path, a.line) <= (&b.path, b.line)));
    let applied = all(dir.path(), &rewrite);
    assert_eq!((applied.files.len(), applied.replacements), (300, 600));
    assert!(applied.files.is_sorted_by(|a, b| a.path < b.path));
    assert!(changed(dir.path(), &files).values().all(|text| text == "fn f() { b(a(1)); b(2) }\n"));
}

#[test]
fn cancelled_before_it_began_changes_nothing() {
    let files = Files::from([("a.rs".to_owned(), "fn f() { a() }\n".to_owned())]);
    let dir = repository(&files);
    let rewrite = Rewrite::Pattern { pattern: "a()".into(), fix: "b()".into(), lang: "rust".into() };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = apply(dir.path(), &rewrite, &[], &cancel);
    assert!(matches!(result, Err(RuleError::Cancelled)), "{result:?}");
    assert_eq!(changed(dir.path(), &files), Files::new());
}

#[test]
fn rules_without_a_fix_still_match() {
    let dir = repository(&Files::from([("a.rs".to_owned(), "fn f() {\n a();\n b() }\n".to_owned())]));
    let lint = "id: x\nlanguage: rust\nrule: { pattern: a() }\n";
    assert_eq!(matching_files(dir.path(), &rules(lint)).unwrap(), ["a.rs"]);
    assert_eq!(all(dir.path(), &rules(lint)), Applied::default());
    // Next to a rule with a fix, one without says nothing about what is left to do.
    let both = format!("{lint}---\nid: y\nlanguage: rust\nrule: {{ pattern: c() }}\nfix: d()\n");
    assert_eq!(matching_files(dir.path(), &rules(&both)).unwrap(), Vec::<String>::new());
    let found = matches(dir.path(), &rules(lint), &[], &CancellationToken::new()).unwrap();
    let expected = Match { path: "a.rs".to_owned(), line: 2, rule: "x".to_owned() };
    assert_eq!(found, [expected]);
}

fn refused(rewrite: &Rewrite) -> String {
    let error = validate(rewrite).unwrap_err();
    assert!(error.is_rule());
    error.to_string()
}

#[test]
fn what_is_wrong_with_a_rule_is_said() {
    let rule = |language: &str, rest: &str| rules(&format!("id: x\nlanguage: {language}\n{rest}\n"));
    let pattern = |pattern: &str, lang: &str| Rewrite::Pattern {
        pattern: pattern.to_owned(),
        fix: "b()".to_owned(),
        lang: lang.to_owned(),
    };
    let transform = "transform: { U: { replace: { source: $NAME, replace: x, by: y } } }\nfix: $U";
    let wrong = [
        rule("klingon", "rule: { pattern: a }"),
        rule("zig", "rule: { pattern: a }"),
        rule("rust", "rule: { pattern: a }\nfixx: b"),
        rule("rust", "rule: { kind: nonsense }"),
        rule("rust", "rule: { pattern: f($A) }\nfix: g($B)"),
        rule("rust", "rule: { regex: a }"),
        rule("python", &format!("rule: {{ pattern: old_$NAME() }}\n{transform}")),
        rules("id: x\nrule: ["),
        rules("id: x\nrule: { pattern: a }"),
        rules("# nothing\n"),
        rules("- a\n- b\n"),
        pattern("f(", "klingon"),
        pattern("", "rust"),
        pattern("a; b", "rust"),
    ];
    let said: Vec<String> = wrong.iter().map(refused).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    use rules/r.yml: there is no language `klingon`
    use rules/r.yml: the grammar of Zig is not built in (no feature of wattle has it)
    use rules/r.yml: Fail to parse yaml as RuleConfig: line 4 column 1: unknown field `fixx`, expected one of id, language, rule, constraints, utils, transform, fix, rewriters, message, note, severity, labels, files, ignores, url, metadata
    use rules/r.yml: Fail to parse yaml as Rule: `rule` is not configured correctly: Rule contains invalid kind matcher: Invalid Kind: Kind `nonsense` is invalid
    use rules/r.yml: Fail to parse yaml as Rule: Undefined meta var `B` used in `fix`
    use rules/r.yml: Rule must specify a set of AST kinds to match. Try adding `kind` rule
    use rules/r.yml: Fail to parse yaml as Rule: Undefined meta var `NAME` used in `transform`
    use rules/r.yml: line 2 column 7: unclosed bracket '['
    use rules/r.yml: Fail to parse yaml as RuleConfig: line 2 column 1: missing field `language`
    use rules/r.yml: there is no rule in it
    use rules/r.yml: line 1 column 1: expected mapping start
    use the pattern `f(`: there is no language `klingon`
    use the pattern ``: No AST root is detected. Please check the pattern source ``
    use the pattern `a; b`: Multiple AST nodes are detected. Please check the pattern source `a; b`
    ");
    let within = ["(".to_owned()];
    let valid = Rewrite::Pattern { pattern: "a()".into(), fix: "b()".into(), lang: "rust".into() };
    let error = matches(Path::new("/"), &valid, &within, &CancellationToken::new()).unwrap_err();
    assert!(error.to_string().starts_with("use the write set of the step: "), "{error}");
}

#[cfg(not(feature = "swift"))]
#[test]
fn a_grammar_that_is_not_built_in_names_its_feature() {
    let yaml = "id: x\nlanguage: swift\nrule: { pattern: a }\n";
    let expected = "use rules/r.yml: the grammar of Swift is not built in (build wattle with the feature `swift`)";
    assert_eq!(refused(&rules(yaml)), expected);
}
