//! A tree like that of a large repository: 50,000 files of the usual sizes, some of them ignored, some binary.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files in all.
const FILES: usize = 50_000;
/// One in this many is below an ignored folder.
const IGNORED_EVERY: usize = 10;
/// Files of a folder.
const FOLDER_FILES: usize = 24;

/// What was made.
pub(crate) struct Made {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// A generator whose numbers are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const WORDS: [&str; 16] = [
    "value",
    "buffer",
    "checkpoint",
    "resolve",
    "index",
    "cursor",
    "window",
    "token",
    "branch",
    "worker",
    "queue",
    "record",
    "alpha",
    "gamma",
    "delta",
    "journal",
];

/// Makes the tree.
pub(crate) fn make(root: &Path) -> io::Result<Made> {
    fs::create_dir(root.join(".git"))?;
    fs::write(root.join(".gitignore"), "target/\n*.log\n/build-*\n!keep.log\n")?;
    let mut random = Random(1);
    let mut bytes = 0;
    let mut folder = PathBuf::new();
    for number in 0..FILES - 1 {
        if number % FOLDER_FILES == 0 {
            folder = root.join(place(number / FOLDER_FILES, &mut random));
            fs::create_dir_all(&folder)?;
            if random.next(40) == 0 {
                fs::write(folder.join(".gitignore"), "*.tmp\ngenerated/\n")?;
            }
        }
        let (name, text) = (name(number, &mut random), text(&mut random));
        bytes += text.len() as u64;
        fs::write(folder.join(name), text)?;
    }
    Ok(Made { files: FILES, bytes })
}

/// A folder some levels deep.
fn place(number: usize, random: &mut Random) -> String {
    let top =
        if number.is_multiple_of(IGNORED_EVERY) { "target" } else { ["src", "crates", "tests", "docs"][number % 4] };
    let mut place = format!("{top}/pkg{}", number % 90);
    for _ in 0..random.next(5) {
        write!(place, "/{}", WORDS[random.next(16) as usize]).expect("writing to a string cannot fail");
    }
    write!(place, "/d{number}").expect("writing to a string cannot fail");
    place
}

fn name(number: usize, random: &mut Random) -> String {
    let end = match random.next(100) {
        0..45 => "rs",
        45..65 => "py",
        65..80 => "ts",
        80..90 => "json",
        90..95 => "md",
        95..97 => "log",
        97..99 => "bin",
        _ => "tmp",
    };
    let stem = if random.next(5) == 0 { "mod" } else { "file" };
    format!("{stem}_{number}.{end}")
}

/// Mostly 1 to 8 KiB, a few up to 200; 2 % are binary.
fn text(random: &mut Random) -> Vec<u8> {
    let lines = match random.next(100) {
        0..60 => 20 + random.next(80),
        60..95 => 80 + random.next(250),
        _ => 500 + random.next(4000),
    };
    let mut out = String::new();
    if random.next(50) == 0 {
        out.push_str("\0binary\0");
    }
    for line in 0..lines {
        let word = |random: &mut Random| WORDS[random.next(16) as usize];
        let (one, two, three) = (word(random), word(random), word(random));
        let written = match random.next(400) {
            0 => writeln!(out, "    resolve_checkpoint({one}, {two}, {line});"),
            1..20 => writeln!(out, "fn {one}_{two}{line}({three}: usize) -> usize {{"),
            20..40 => writeln!(out, "}}\n"),
            40..120 => writeln!(out, "    let {one} = {two}.{three}({line}).map(|{one}| {one} + 1);"),
            _ => writeln!(out, "    {one}.{two}_{three}(&{three}, {line}); // {two} of the {one}"),
        };
        written.expect("writing to a string cannot fail");
    }
    out.into_bytes()
}
