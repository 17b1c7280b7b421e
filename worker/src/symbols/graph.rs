//! Which definitions matter: files that refer to each other's names are a graph, and its PageRank flows on to the names.
//!
//! The weights follow what the repository map of Aider has shown to work, without anything of a prompt in them: a name
//! used often counts by the square root of it; long composed names say more than short ones; private ones less; and a
//! name that many files define says little of any of them. A file's use of its own names counts for nothing.
//! All sums are made in one order, so that the same files give the same bits.

use std::collections::BTreeMap;

use super::store::Digest;
use super::{Definition, Kind, Language};

/// Part of a file's rank that flows on; the rest is dealt out evenly.
const DAMPING: f64 = 0.85;
/// Rounds of the iteration: the error falls to 0.85 to this power, below a thousandth.
const ROUNDS: usize = 45;
/// A name that more files define than this ties nothing together (`main`, `new`, `setUp`).
const DEFINERS_MAX: usize = 20;
/// Edges at which fewer definers of a name are let in: each costs a step of every round.
const EDGES_MAX: usize = 1_000_000;
/// A name that more files define than this is weak.
const DEFINERS_STRONG_MAX: usize = 5;
/// A composed name of this length is hardly chosen twice.
const LONG_NAME_CHARS: usize = 8;
/// Weight of a long composed name.
const LONG: f64 = 10.0;
/// Weight of what is weak: private names, single small words, names with many definers, definitions in tests and in code of others.
const WEAK: f64 = 0.1;

/// A file of the graph.
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) language: Language,
    pub(super) digest: &'a Digest,
}

/// One definition: which file, and which of its definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ranked {
    pub(super) file: usize,
    pub(super) definition: usize,
}

/// A name that one file uses and another defines.
struct Edge<'a> {
    from: usize,
    to: usize,
    name: &'a str,
    weight: f64,
}

/// The definitions of these files that others could use, those that matter most first. Files are in the order of
/// their paths.
pub(super) fn rank(files: &[File<'_>]) -> Vec<Ranked> {
    let edges = edges(files);
    let rank = page_rank(files.len(), &edges);
    let out = sums(files.len(), &edges, |edge| edge.from);
    let mut scores: BTreeMap<(usize, &str), f64> = BTreeMap::new();
    for edge in &edges {
        *scores.entry((edge.to, edge.name)).or_default() += rank[edge.from] * edge.weight / out[edge.from];
    }
    let mut ranked: Vec<(f64, f64, Ranked)> = Vec::new();
    for (file, File { digest, .. }) in files.iter().enumerate() {
        let mut same: BTreeMap<&str, u32> = BTreeMap::new();
        for found in digest.definitions.iter().filter(|found| shown(found)) {
            *same.entry(&found.name).or_default() += 1;
        }
        for (definition, found) in digest.definitions.iter().enumerate() {
            if !shown(found) {
                continue;
            }
            let score = scores.get(&(file, found.name.as_str())).copied().unwrap_or_default();
            let score = score / f64::from(same[found.name.as_str()]);
            // What nobody uses comes last, of the files that matter most first, and only what stands on its own.
            if score > 0.0 || (found.depth == 0 && found.kind != Kind::Constant) {
                ranked.push((score, rank[file], Ranked { file, definition }));
            }
        }
    }
    ranked.sort_by(|(score, file, _), (other, others, _)| other.total_cmp(score).then(others.total_cmp(file)));
    ranked.into_iter().map(|(.., ranked)| ranked).collect()
}

/// Does a definition introduce its name?
fn shown(definition: &Definition) -> bool {
    !matches!(definition.kind, Kind::Implementation | Kind::Module)
}

fn edges<'a>(files: &[File<'a>]) -> Vec<Edge<'a>> {
    let mut definers: BTreeMap<(u8, &str), Vec<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for definition in file.digest.definitions.iter().filter(|definition| shown(definition)) {
            let of = definers.entry((file.language.family(), &definition.name)).or_default();
            if of.last() != Some(&index) && of.len() <= DEFINERS_MAX {
                of.push(index);
            }
        }
    }
    let count = |limit: usize| {
        let of =
            |file: &File<'_>, name: &String| definers.get(&(file.language.family(), name.as_str())).map_or(0, Vec::len);
        let names = files.iter().flat_map(|file| file.digest.references.keys().map(move |name| of(file, name)));
        names.filter(|of| *of <= limit).sum::<usize>()
    };
    let limits = [DEFINERS_MAX, DEFINERS_STRONG_MAX, 1];
    let limit = limits.into_iter().find(|limit| count(*limit) <= EDGES_MAX).unwrap_or(1);
    let weak: Vec<bool> = files.iter().map(|file| is_aside(file.path)).collect();
    let mut edges = Vec::new();
    for (from, file) in files.iter().enumerate() {
        for (name, count) in &file.digest.references {
            let Some(of) = definers.get(&(file.language.family(), name.as_str())) else { continue };
            if of.len() > limit || of.contains(&from) {
                continue;
            }
            let mut weight = of_name(name) * f64::from(*count).sqrt();
            if of.len() > DEFINERS_STRONG_MAX {
                weight *= WEAK;
            }
            for &to in of {
                let weight = if weak[to] { weight * WEAK } else { weight };
                edges.push(Edge { from, to, name, weight });
            }
        }
    }
    edges
}

/// What a name alone says.
fn of_name(name: &str) -> f64 {
    let has = |is: fn(&char) -> bool| name.chars().any(|c| is(&c));
    let letters = has(|c| c.is_alphabetic());
    let composed =
        (letters && has(|c| matches!(c, '_' | '-'))) || (has(|c| c.is_uppercase()) && has(|c| c.is_lowercase()));
    let weight = match composed {
        true if name.chars().count() >= LONG_NAME_CHARS => LONG,
        true => 1.0,
        // One small word (`iter`, `len`, `insert`) is as a rule somebody else's, whoever defines it here, too.
        false if name.starts_with(char::is_uppercase) => 1.0,
        false => WEAK,
    };
    if name.starts_with('_') { weight * WEAK } else { weight }
}

/// Is a file a test, an example, or somebody else's code?
pub(super) fn is_aside(path: &str) -> bool {
    const FOLDERS: [&str; 17] = [
        "test",
        "tests",
        "testing",
        "testdata",
        "fixtures",
        "__tests__",
        "spec",
        "specs",
        "bench",
        "benches",
        "benchmarks",
        "examples",
        "vendor",
        "third_party",
        "node_modules",
        "dist",
        "external",
    ];
    let mut parts = path.rsplit('/');
    let stem = parts.next().unwrap_or_default().split('.').next().unwrap_or_default();
    let file = path.contains(".test.") || path.contains(".spec.") || path.contains(".min.");
    file || stem == "tests"
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || parts.any(|part| FOLDERS.contains(&part))
}

fn sums(files: usize, edges: &[Edge<'_>], end: impl Fn(&Edge<'_>) -> usize) -> Vec<f64> {
    let mut sums = vec![0.0; files];
    for edge in edges {
        sums[end(edge)] += edge.weight;
    }
    sums
}

/// The rank of each file; all together are 1.
fn page_rank(files: usize, edges: &[Edge<'_>]) -> Vec<f64> {
    if files == 0 {
        return Vec::new();
    }
    let even = 1.0 / files as f64;
    let out = sums(files, edges, |edge| edge.from);
    let mut rank = vec![even; files];
    for _ in 0..ROUNDS {
        // What a file gives that refers to nothing is dealt out evenly.
        let idle: f64 = rank.iter().zip(&out).filter(|(_, out)| **out == 0.0).map(|(rank, _)| rank).sum();
        let mut next = vec![even * (1.0 - DAMPING + DAMPING * idle); files];
        for edge in edges {
            next[edge.to] += DAMPING * rank[edge.from] * edge.weight / out[edge.from];
        }
        rank = next;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(files: &[(&str, &str)]) -> Vec<(String, Language, Digest)> {
        let mut made: Vec<_> = files
            .iter()
            .map(|(path, text)| {
                let language = Language::of(path).unwrap();
                (path.to_string(), language, super::super::tags(language, text.as_bytes(), None).unwrap().into())
            })
            .collect();
        made.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        made
    }

    fn ranked(files: &[(&str, &str)]) -> Vec<String> {
        let digests = digests(files);
        let files: Vec<File<'_>> =
            digests.iter().map(|(path, language, digest)| File { path, language: *language, digest }).collect();
        let name =
            |r: &Ranked| format!("{}:{}", files[r.file].path, files[r.file].digest.definitions[r.definition].name);
        rank(&files).iter().map(name).collect()
    }

    #[test]
    fn what_is_used_most_comes_first() {
        let files = [
            ("src/a.rs", "use crate::core::read_config; fn a() { read_config(); helper(); }"),
            ("src/b.rs", "fn b() { crate::core::read_config(); read_config() }"),
            ("src/c.rs", "fn c() { a(); private() } fn private() {}"),
            ("src/core.rs", "pub fn read_config() { parse_line() } fn unused() {} const UNUSED: u32 = 1;"),
            ("src/parse.rs", "pub fn parse_line() {} pub fn helper() {}"),
            ("tests/t.rs", "fn test_helper() {} fn t() { read_config(); test_helper() }"),
            ("tests/u.rs", "fn u() { test_helper(); test_helper(); test_helper() }"),
        ];
        let ranked = ranked(&files);
        // It passes its own weight on to what it alone uses.
        assert_eq!(ranked[..2], ["src/parse.rs:parse_line", "src/core.rs:read_config"], "{ranked:?}");
        let at = |name: &str| ranked.iter().position(|found| found == name).unwrap();
        assert!(at("src/a.rs:a") < at("src/core.rs:unused"), "{ranked:?}");
        assert!(!ranked.iter().any(|name| name.ends_with("UNUSED")), "{ranked:?}");
        assert!(at("src/c.rs:private") > at("src/parse.rs:helper"), "its own use does not count: {ranked:?}");
    }

    #[test]
    fn names_of_other_languages_and_of_everyone_tie_nothing() {
        let mut files: Vec<(String, String)> =
            (0..30).map(|n| (format!("m{n:02}.py"), "def common_name(): pass\n".to_owned())).collect();
        files.push(("use.py".to_owned(), "common_name()\nspecial_name()\n".to_owned()));
        files.push(("z.py".to_owned(), "def special_name(): pass\n".to_owned()));
        files.push(("z.c".to_owned(), "int special_name(void) { return 0; }\n".to_owned()));
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let digests = digests(&files);
        let files: Vec<File<'_>> =
            digests.iter().map(|(path, language, digest)| File { path, language: *language, digest }).collect();
        let edges: Vec<_> = edges(&files).iter().map(|edge| (files[edge.to].path, edge.name)).collect();
        assert_eq!(edges, [("z.py", "special_name")]);
    }

    #[test]
    fn weights_of_names() {
        let check = |name: &str, weight: f64| assert_eq!(of_name(name), weight, "{name}");
        check("get", WEAK);
        check("Frame", 1.0);
        check("a_b", 1.0);
        check("parse_line", LONG);
        check("ParseLine", LONG);
        check("parseline", WEAK);
        check("_parse_line", LONG * WEAK);
        check("__", WEAK * WEAK);
        for aside in ["tests/a.rs", "a/b_test.go", "x.test.ts", "src/foo/tests.rs", "vendor/a/b.c", "test_x.py"] {
            assert!(is_aside(aside), "{aside}");
        }
        assert!(!is_aside("src/latest.rs") && !is_aside("src/contest/a.rs"));
    }

    #[test]
    fn ranks_are_a_distribution() {
        assert!(page_rank(0, &[]).is_empty());
        let edges = [(0, 1), (1, 2), (3, 2)].map(|(from, to)| Edge { from, to, name: "", weight: 2.0 });
        let rank = page_rank(4, &edges);
        assert!((rank.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{rank:?}");
        assert!(rank[2] > rank[1] && rank[1] > rank[0] && rank[0] == rank[3], "{rank:?}");
    }
}
