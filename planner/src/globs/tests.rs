//! Globs by example, and against brute force over paths.

use super::*;
use proptest::prelude::*;
use regex::Regex;

fn glob(text: &str) -> Glob {
    Glob::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn matches_by_example() {
    let check = |pattern: &str, yes: &[&str], no: &[&str]| {
        let glob = glob(pattern);
        let regex = Regex::new(glob.regex()).unwrap();
        for (paths, expected) in [(yes, true), (no, false)] {
            for path in paths {
                assert_eq!(glob.matches(path), expected, "{pattern} on {path}");
                assert_eq!(regex.is_match(path), expected, "{} on {path}", glob.regex());
            }
        }
    };
    check("**", &["a", "a/b/c", ".x/y", "a\nb"], &[]);
    check("*", &["a", ".x"], &["a/b"]);
    check("src/**", &["src/a", "src/a/b"], &["src", "srcx/a", "x/src/a"]);
    check("**/*.rs", &["a.rs", "x/y/a.rs"], &["a.rsx", "a.rs/x"]);
    check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "a/b/c"]);
    check("a**", &["a", "ab/c"], &["ba"]);
    check("**b/c", &["b/c", "x/yb/c"], &["b/x/c"]);
    check("**/x/**", &["x/a", "a/x/b/c"], &["x", "a/x"]);
    check("?.rs", &["a.rs", "é.rs"], &["/.rs", "ab.rs"]);
    check("[a-c]x", &["ax", "cx"], &["dx", "-x"]);
    check("[!a-c]x", &["dx", "-x"], &["ax", "x"]);
    check("[]-]x", &["]x", "-x"], &["ax"]);
    check("{a,b/{c,d}}.rs", &["a.rs", "b/c.rs", "b/d.rs"], &["b.rs", "c.rs"]);
    check("a{,.b}", &["a", "a.b"], &["a."]);
    check("a,b", &["a,b"], &["a", "b"]);
    check("\\*\\{x\\}[*]", &["*{x}*"], &["a{x}*"]);
    check("crates/*/src/**", &["crates/a/src/x.rs"], &["crates/a/b/src/x.rs", "crates/src/x.rs"]);
}

#[test]
fn refuses_what_matches_no_path() {
    for bad in [
        "", "/a", "a/", "a//b", "./a", "a/../b", ".", "..", "!a", "[a", "{a", "a}", "[z-a]", "[]", "[/]", "a\\",
        "{a,}", "{a/,b}", "a\0b",
    ] {
        assert!(Glob::parse(bad).is_err(), "{bad:?}");
    }
    let bombs = ["{a,b}".repeat(40), "{".repeat(100) + &"}".repeat(100), "x".repeat(5000), "{a,b,c,d,e,f}".repeat(12)];
    for bomb in bombs {
        assert!(matches!(Glob::parse(&bomb), Err(GlobError::TooLarge { .. })), "{bomb}");
    }
}

#[test]
fn the_largest_glob_is_a_regex_that_compiles() {
    // The dearest token per byte of text is a negated class.
    let half = "[!a]".repeat(900);
    let text = format!("{{{half},b}}");
    assert!(Regex::new(glob(&text).regex()).is_ok());
    let stars = "*?".repeat(2000);
    assert!(Regex::new(glob(&stars).regex()).is_ok());
    let braces = format!("{}{}", "?".repeat(120), "{a,b}".repeat(6));
    assert!(Regex::new(glob(&braces).regex()).is_ok());
}

#[test]
fn overlap_by_example() {
    let check = |a: &str, b: &str, expected: bool| {
        assert_eq!(glob(a).overlaps(&glob(b)), expected, "{a} and {b}");
        assert_eq!(glob(b).overlaps(&glob(a)), expected, "{b} and {a}");
    };
    check("**", "a/b", true);
    check("src/**", "src/a/*.rs", true);
    check("src/*", "src/a/**", false);
    check("src/**", "doc/**", false);
    check("crates/*/src/**", "crates/api/**", true);
    check("crates/*/src/**", "crates/api/tests/**", false);
    check("**/*.rs", "**/*.md", false);
    check("**/*.rs", "src/**", true);
    check("*.{rs,md}", "a.{md,txt}", true);
    check("[a-m]*", "[n-z]*", false);
    check("[a-m]*", "[m-z]*", true);
    check("a*b", "*ba", false);
    check("a*b", "*bb", true);
    check("a/**", "a", false);
    check("?", "**/?", true);
    check("a/**/b", "**/a/b", true);
    assert!(globs_overlap(&[glob("a"), glob("b/*")], &[glob("b/c")]));
    assert!(!globs_overlap(&[], &[glob("**")]));
}

#[test]
fn an_escaped_path_matches_itself_only() {
    for path in ["a", "!a/[x].rs", "{a,b}", "a*b?", "a\\b", "a,b", "x/é ü"] {
        let exact = Glob::literal(path).unwrap();
        assert!(exact.matches(path), "{path}");
        assert!(!exact.matches(&format!("{path}x")), "{path}");
        assert!(!exact.overlaps(&glob("zzz")));
    }
}

/// Patterns over few characters, so that they often meet.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "*", "?", "**", "/", "/**/", "**/", "[ab]", "[!a]", "{a,b}", "{a/b,b*}", "{,a}b",
    ]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Every path of up to five characters `a`, `b` and `/`.
fn paths() -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..5 {
        last = last.iter().flat_map(|p| ["a", "b", "/"].map(|c| format!("{p}{c}"))).collect();
        all.extend(last.iter().cloned());
    }
    all.retain(|path| !path.split('/').any(str::is_empty));
    all
}

proptest! {
    #[test]
    fn matching_agrees_with_the_regex(text in pattern()) {
        if let Ok(glob) = Glob::parse(&text) {
            let regex = Regex::new(glob.regex()).unwrap();
            for path in paths() {
                prop_assert_eq!(glob.matches(&path), regex.is_match(&path), "{} on {}", text, path);
            }
        }
    }

    #[test]
    fn overlap_agrees_with_brute_force(a in pattern(), b in pattern()) {
        if let (Ok(a), Ok(b)) = (Glob::parse(&a), Glob::parse(&b)) {
            let common = paths().into_iter().find(|path| a.matches(path) && b.matches(path));
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            if let Some(path) = common {
                prop_assert!(a.overlaps(&b), "{} and {} have {}", a, b, path);
            } else if a.as_str().len() + b.as_str().len() <= 6 {
                // Patterns this short share a short path, or none.
                prop_assert!(!a.overlaps(&b), "{} and {} have no common path", a, b);
            }
        }
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,20}|[*?{}\\[\\],!\\\\/a-c-]{0,20}") {
        if let Ok(glob) = Glob::parse(&text) {
            prop_assert!(Regex::new(glob.regex()).is_ok());
        }
    }

    #[test]
    fn an_escaped_path_matches_itself(path in "[a-c*?{}\\[\\],!\\\\ -]{1,6}(/[a-c*?{}\\[\\],!\\\\ -]{1,6}){0,2}") {
        let exact = Glob::literal(&path).unwrap();
        prop_assert!(exact.matches(&path));
        prop_assert!(Regex::new(exact.regex()).unwrap().is_match(&path));
    }
}

#[test]
fn one_pattern_lies_within_others() {
    let check = |outer: &[&str], inner: &str, expected: bool| {
        let outer: Vec<Glob> = outer.iter().map(|text| glob(text)).collect();
        assert_eq!(globs_cover(&outer, &glob(inner)), expected, "{inner}");
    };
    check(&["**"], "src/**", true);
    check(&["src/**"], "src/a/*.rs", true);
    check(&["src/**"], "src/x.rs", true);
    check(&["src/**"], "**", false);
    check(&["src/*"], "src/**", false);
    check(&["src/a", "src/[b-z]*"], "src/{a,b,cc}", true);
    check(&["src/a", "src/[b-z]*"], "src/A", false);
    check(&["src/a", "src/b"], "src/?", false);
    check(&["**/*.rs"], "a/**/x.rs", true);
    check(&["[!a]*", "a*"], "*", true);
    check(&[], "a", false);
}

proptest! {
    /// What lies within others matches nothing that they do not, and what they do not match lies not within them.
    #[test]
    fn within_is_what_brute_force_finds(
        outer in proptest::collection::vec("[ab/*?]{1,5}", 0..3),
        inner in "[ab/*?]{1,5}",
        paths in proptest::collection::vec("[abc]{1,2}(/[abc]{1,2}){0,2}", 1..40),
    ) {
        let outer: Vec<Glob> = outer.iter().filter_map(|text| Glob::parse(text).ok()).collect();
        let Ok(inner) = Glob::parse(&inner) else { return Ok(()) };
        let within = globs_cover(&outer, &inner);
        for path in paths.iter().filter(|path| inner.matches(path)) {
            let matched = outer.iter().any(|glob| glob.matches(path));
            prop_assert!(matched || !within, "{inner} within {outer:?}, and yet {path}");
        }
        let mut with = outer.clone();
        with.push(inner.clone());
        prop_assert!(globs_cover(&with, &inner), "a pattern lies within itself");
    }
}
