//! Tags on disk, by blob, so that the map of the next commit reads only what has changed.
//!
//! A repository's tags are spread over 256 files by the first byte of the blob's id; each is replaced whole. Nothing
//! here is precious: a file that is torn, or of another version, holds nothing, and a file that cannot be written is
//! left out.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wattle_workspace::BlobId;

use super::{Definition, EXTRACTOR, Kind, Language, Tags, Untagged};

/// Bound on one file: all of them stay below 96 MiB, the tags of some 40,000 files of usual size.
const SHARD_BYTES_MAX: usize = 384 << 10;

/// What a map needs of a file: where each name is used does not matter to it, how often does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Digest {
    pub(super) definitions: Vec<Definition>,
    pub(super) references: BTreeMap<String, u32>,
}

/// A digest as it is written: most of it would be names of fields.
#[derive(Serialize, Deserialize)]
struct Written(Vec<Line>, BTreeMap<String, u32>);

/// A definition as it is written, field by field.
type Line = (String, Kind, u32, u32, u32, Option<String>, String);

impl From<Digest> for Written {
    fn from(digest: Digest) -> Written {
        let line = |d: Definition| (d.name, d.kind, d.line, d.end_line, d.depth, d.container, d.signature);
        Written(digest.definitions.into_iter().map(line).collect(), digest.references)
    }
}

impl From<Written> for Digest {
    fn from(Written(lines, references): Written) -> Digest {
        let definitions = lines.into_iter().map(|(name, kind, line, end_line, depth, container, signature)| {
            Definition { name, kind, line, end_line, depth, container, signature }
        });
        Digest { definitions: definitions.collect(), references }
    }
}

impl From<Tags> for Digest {
    fn from(tags: Tags) -> Digest {
        let mut references = BTreeMap::new();
        for reference in tags.references {
            *references.entry(reference.name).or_default() += 1;
        }
        Digest { definitions: tags.definitions, references }
    }
}

/// Tags of a file, or why it has none.
pub(super) type Outcome = Result<Digest, Untagged>;

/// What is kept of one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) blob: BlobId,
    pub(super) language: Language,
}

impl Key {
    /// How its line begins.
    fn head(&self) -> String {
        format!("{} {} ", self.blob, self.language.name())
    }

    /// Which file it is in.
    fn shard(&self) -> String {
        self.blob.as_str().chars().take(2).collect()
    }
}

/// Tags of one repository on disk.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn new(folder: &Path) -> Store {
        Store { folder: folder.to_owned() }
    }

    /// What is kept of these.
    pub(super) fn load<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> BTreeMap<Key, Outcome> {
        let mut shards: BTreeMap<String, Vec<&Key>> = BTreeMap::new();
        for key in keys {
            shards.entry(key.shard()).or_default().push(key);
        }
        let mut loaded = BTreeMap::new();
        for (shard, keys) in shards {
            let Some(text) = self.read(&shard) else { continue };
            let lines: BTreeMap<&str, &str> = text.lines().filter_map(split).collect();
            for key in keys {
                let line = lines.get(key.head().trim_end());
                if let Some(outcome) = line.and_then(|json| serde_json::from_str(json).ok()) {
                    loaded.insert(key.clone(), outcome);
                }
            }
        }
        loaded
    }

    /// Keeps these as well. What an older commit had gives way where there is no room for both.
    pub(super) fn save(&self, made: &BTreeMap<Key, Outcome>) {
        let mut shards: BTreeMap<String, Vec<(&Key, &Outcome)>> = BTreeMap::new();
        for (key, outcome) in made {
            // A second try may find the time.
            if !matches!(outcome, Err(Untagged::Late)) {
                shards.entry(key.shard()).or_default().push((key, outcome));
            }
        }
        for (shard, made) in shards {
            if let Err(error) = self.write(&shard, &made) {
                tracing::debug!(%error, shard, "tags are not kept");
                return;
            }
        }
    }

    fn read(&self, shard: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join(shard)).ok()?;
        let (head, body) = text.split_once('\n')?;
        (head == header(body)).then(|| body.to_owned())
    }

    fn write(&self, shard: &str, made: &[(&Key, &Outcome)]) -> std::io::Result<()> {
        let mut body = String::new();
        let mut push = |line: &str| {
            if body.len() + line.len() <= SHARD_BYTES_MAX {
                body.push_str(line);
            }
        };
        for (key, outcome) in made {
            push(&format!("{}{}\n", key.head(), serde_json::to_string(outcome)?));
        }
        let old = self.read(shard).unwrap_or_default();
        let heads: std::collections::BTreeSet<String> = made.iter().map(|(key, _)| key.head()).collect();
        for line in old.lines() {
            let known = split(line).is_some_and(|(head, _)| heads.contains(&format!("{head} ")));
            if !known {
                push(&format!("{line}\n"));
            }
        }
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(format!("{}\n{body}", header(&body)).as_bytes())?;
        file.persist(self.folder.join(shard)).map(drop).map_err(|error| error.error)
    }
}

/// A line is `blob language json`.
fn split(line: &str) -> Option<(&str, &str)> {
    let language = line.find(' ')? + 1;
    let json = language + line[language..].find(' ')?;
    Some((&line[..json], &line[json + 1..]))
}

/// The first line of a file with this body: a version, and what shows that the rest is whole.
fn header(body: &str) -> String {
    format!("wattle symbols {EXTRACTOR} {}", blake3::hash(body.as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(blob: &str, language: Language) -> Key {
        Key { blob: blob.parse().unwrap(), language }
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_torn_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("symbols"));
        let digest = |text: &str| Ok(super::super::tags(Language::Rust, text.as_bytes(), None).unwrap().into());
        let (a, b) = (key(&"ab".repeat(20), Language::Rust), key(&"ac".repeat(20), Language::Rust));
        let twin = key(&"ab".repeat(20), Language::C);
        let made = BTreeMap::from([
            (a.clone(), digest("fn a() { b(); b() }")),
            (b.clone(), Err(Untagged::TooHard)),
            (twin.clone(), Err(Untagged::Late)),
        ]);
        assert!(store.load([&a].into_iter()).is_empty());
        store.save(&made);
        let mut loaded = store.load(made.keys());
        assert!(loaded.remove(&twin).is_none(), "what was late is tried again");
        assert!(loaded.iter().all(|(key, outcome)| made[key] == *outcome) && loaded.len() == 2);

        // A second blob of the same file joins the first.
        let other = key(&format!("ab{}", "0".repeat(38)), Language::Rust);
        store.save(&BTreeMap::from([(other.clone(), digest("struct X;"))]));
        assert_eq!(store.load([&a, &other].into_iter()).len(), 2);

        let path = dir.path().join("symbols/ab");
        let text = std::fs::read_to_string(&path).unwrap();
        for torn in [&text[..text.len() - 1], &text.replace("struct X", "struct Y"), "", "wattle symbols 0 \n"] {
            std::fs::write(&path, torn).unwrap();
            assert!(store.load([&a].into_iter()).is_empty());
        }
        store.save(&made);
        assert_eq!(store.load([&a].into_iter()).len(), 1, "it is written anew");
    }

    #[test]
    fn a_file_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let long: Outcome = Ok(Digest {
            definitions: Vec::new(),
            references: (0..5_000).map(|n| (format!("a_name_of_some_length_{n}"), 1)).collect(),
        });
        for n in 0..7 {
            store.save(&BTreeMap::from([(key(&format!("ab{n:038}"), Language::Go), long.clone())]));
        }
        let size = std::fs::metadata(dir.path().join("ab")).unwrap().len();
        assert!(size > 200_000 && size <= SHARD_BYTES_MAX as u64 + 100, "{size}");
        assert_eq!(store.load([&key(&format!("ab{:038}", 6), Language::Go)].into_iter()).len(), 1, "the newest stays");
    }
}
