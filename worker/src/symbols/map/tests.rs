//! Tests of maps, on files in memory.

use super::*;

/// Files of a commit, by path.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        Files(files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect())
    }

    /// Many files that refer to each other.
    fn many(count: usize) -> Files {
        let file = |n: usize| {
            let (a, b) = (n / 2, n / 3);
            format!(
                "use crate::m{a}::{{Thing{a}, make_thing_{b}}};\npub struct Thing{n};\npub fn make_thing_{n}(x: Thing{a}) -> Thing{n} {{\n    make_thing_{a}(make_thing_{b}(x))\n}}\n"
            )
        };
        Files((0..count).map(|n| (format!("src/m{}/f{n}.rs", n % 7), file(n))).collect())
    }

    fn listed(&self) -> Vec<Listed> {
        let listed = self.0.iter().map(|(path, text)| Listed {
            path: path.clone(),
            blob: id(text),
            bytes: Some(text.len() as u64),
            regular: true,
        });
        listed.collect()
    }

    fn map(&self, o: &MapOptions) -> SymbolMap {
        let blobs: BTreeMap<BlobId, &String> = self.0.values().map(|text| (id(text), text)).collect();
        map_of(&|blob| Ok(blobs[blob].as_bytes().to_vec()), &self.listed(), o).unwrap()
    }
}

fn id(text: &str) -> BlobId {
    blake3::hash(text.as_bytes()).to_hex()[..40].parse().unwrap()
}

fn unbounded(tokens_max: u64) -> MapOptions {
    MapOptions { wall: Duration::from_secs(600), ..MapOptions::new(tokens_max) }
}

#[test]
fn a_map_shows_what_is_used_most_and_says_what_it_leaves_out() {
    let files = Files::new(&[
        ("src/a.rs", "use crate::wire::Frame;\nfn a(f: &Frame) { f.decode_all(); helper(1) }\nfn b() {}\n"),
        ("src/c.rs", "fn c(f: &Frame) { f.decode_all() }\n"),
        (
            "src/wire.rs",
            "pub struct Frame {\n    x: u8,\n}\n\nimpl Frame {\n    pub fn decode_all(\n        &self,\n    ) -> u8 { 1 }\n}\nfn helper(x: u8) {}\n",
        ),
        ("data.json", "{}"),
    ]);
    let map = files.map(&unbounded(1000));
    insta::assert_snapshot!(map.text, @r"
    src/a.rs
      2: fn a(f: &Frame)
      3: fn b()
    src/c.rs
      1: fn c(f: &Frame)
    src/wire.rs
      1: pub struct Frame
      6: pub fn decode_all( &self, ) -> u8  [Frame]
      10: fn helper(x: u8)
    ");
    assert!(map.left_out.is_empty() && !map.summary, "{map:?}");
    let map = files.map(&unbounded(82_u64.div_ceil(3)));
    insta::assert_snapshot!(map.text, @r"
    src/wire.rs
      1: pub struct Frame
      6: pub fn decode_all( &self, ) -> u8  [Frame]
    ");
    assert_eq!(map.left_out, ["4 of 6 definitions, the least used ones"]);
    assert_eq!(files.map(&unbounded(0)).text, "");
    assert_eq!(Files::new(&[]).map(&unbounded(100)), SymbolMap::default());
}

#[test]
fn the_same_files_give_the_same_bytes_however_they_are_read() {
    let files = Files::many(400);
    let dir = tempfile::tempdir().unwrap();
    let first = files.map(&unbounded(700));
    assert!(estimate_tokens(first.text.len()) <= 700 && first.text.lines().count() > 20, "{}", first.text);
    for threads in [1, 2, 5, 16] {
        for store in [None, Some(dir.path().join("symbols"))] {
            let o = MapOptions { threads: NonZero::new(threads), store, ..unbounded(700) };
            assert_eq!(files.map(&o), first, "{threads} threads");
        }
    }
    // From the store alone: nothing is read again.
    let o = MapOptions { store: Some(dir.path().join("symbols")), ..unbounded(700) };
    let map = map_of(&|blob| panic!("{blob} is read again"), &files.listed(), &o).unwrap();
    assert_eq!(map, first);
}

/// Aider-AI/aider#1587: a map of 165,000 files that never comes.
#[test]
fn aider_1587_what_is_read_is_decided_by_number_and_size() {
    let files = Files::new(&[
        ("a/deep/down/x.rs", "fn deepest() {}"),
        ("a/y.rs", "fn middle() {}"),
        ("top.rs", "fn top() {}"),
        ("vendor/z.rs", "fn theirs() {}"),
    ]);
    let map = files.map(&MapOptions { files_max: 2, ..unbounded(1000) });
    assert_eq!(map.text, "a/y.rs\n  1: fn middle()\ntop.rs\n  1: fn top()\n");
    assert_eq!(map.left_out, ["2 of 4 source files, beyond 2 files or 48 MiB"]);
    let map = files.map(&MapOptions { bytes_max: 32, ..unbounded(1000) });
    assert_eq!(map.text.matches("fn ").count(), 2, "{}", map.text);

    let mut listed = files.listed();
    listed[0].bytes = Some(FILE_BYTES_MAX + 1);
    listed[1].bytes = None;
    listed[2].regular = false;
    listed.truncate(3);
    let map = map_of(&|_| panic!("nothing is read"), &listed, &unbounded(1000)).unwrap();
    assert_eq!(map.text, "");
    assert_eq!(
        map.left_out,
        ["1 source files larger than 1 MiB", "1 source files that this partial clone does not hold"]
    );
}

#[test]
fn files_that_cannot_be_parsed_are_named() {
    let heap = "(".repeat(5000);
    let files = Files::new(&[("a\n# b.c", "int x;\0"), ("heap.c", &heap), ("ok.c", "int ok(void) { return 1; }")]);
    let map = files.map(&unbounded(1000));
    assert_eq!(map.text, "ok.c\n  1: int ok(void)\n");
    assert_eq!(map.left_out, ["1 source files, not text: a # b.c", "1 source files, too hard to parse: heap.c"]);
}

/// Aider-AI/aider#5529 and #3912: a large repository takes half an hour, and again with every prompt.
#[test]
fn aider_5529_3912_without_time_there_is_a_summary_and_the_next_try_goes_on() {
    let files = Files::many(30);
    let dir = tempfile::tempdir().unwrap();
    let store = Some(dir.path().to_owned());
    let map = files.map(&MapOptions { wall: Duration::ZERO, store: store.clone(), ..unbounded(700) });
    assert!(map.summary && map.left_out.last().unwrap().contains("all symbols"), "{map:?}");
    insta::assert_snapshot!(map.text, @r"
    src/m0/: 5 rust
    src/m1/: 5 rust
    src/m2/: 4 rust
    src/m3/: 4 rust
    src/m4/: 4 rust
    src/m5/: 4 rust
    src/m6/: 4 rust
    ");
    assert!(!files.map(&MapOptions { store, ..unbounded(700) }).summary);
}

/// What a repository calls its files and functions cannot break out of its line.
#[test]
fn every_line_is_a_path_or_a_definition() {
    let files = Files::new(&[
        ("a\n# Heading\u{202e}.py", "def f(x='\u{2028}```', y=\"\r\n\"):\n    pass\n"),
        ("b```.py", "class `x`: pass\ndef g(): pass\n"),
    ]);
    let map = files.map(&unbounded(1000));
    assert_eq!(map.text.lines().count(), map.text.matches('\n').count());
    for line in map.text.lines() {
        assert!(line.starts_with("  ") || line.ends_with(".py"), "{line:?}");
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{line:?}");
    }
}
