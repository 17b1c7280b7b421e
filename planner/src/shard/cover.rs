//! Globs for shards: few, wide, and never two of different shards for one path.
//!
//! For a file of a shard the widest of these is taken: `folder/**`, where no file of another shard is below that
//! folder; `folder/*`, where none is directly in it; the file itself. No two of different shards overlap: below the
//! folder of a `**` there are only files of its own shard, so another shard's glob is rooted elsewhere or is a `*`
//! further up, which does not reach down.

use std::collections::{BTreeMap, BTreeSet};

use super::parent;
use crate::globs::escape;

/// Files of one step.
#[derive(Clone, Debug)]
pub(super) struct Shard<'a> {
    /// What its id is made of.
    pub(super) id: String,
    /// What people read.
    pub(super) title: String,
    /// The folder its globs stay below.
    pub(super) root: &'a str,
    /// Its files, sorted.
    pub(super) files: Vec<&'a str>,
}

/// The one shard that has files in a place, or none of several.
#[derive(Clone, Copy)]
enum Holder {
    One(usize),
    Several,
}

fn hold<'a>(holders: &mut BTreeMap<&'a str, Holder>, folder: &'a str, shard: usize) {
    holders
        .entry(folder)
        .and_modify(|holder| {
            if !matches!(holder, Holder::One(other) if *other == shard) {
                *holder = Holder::Several;
            }
        })
        .or_insert(Holder::One(shard));
}

/// The globs of each shard.
pub(super) fn cover(shards: &[Shard<'_>]) -> Vec<BTreeSet<String>> {
    let mut below = BTreeMap::new();
    let mut directly = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        for file in &shard.files {
            hold(&mut directly, parent(file), i);
            folders(file).for_each(|folder| hold(&mut below, folder, i));
        }
    }
    let alone = |holders: &BTreeMap<&str, Holder>, folder: &str, i: usize| matches!(holders.get(folder), Some(Holder::One(holder)) if *holder == i);
    let widest = |file: &str, root: &str, i: usize| {
        let wide = folders(file)
            .filter(|folder| folder.len() >= root.len())
            .filter(|folder| alone(&below, folder, i))
            .min_by_key(|folder| folder.len());
        match wide {
            Some("") => "**".to_owned(),
            Some(folder) => format!("{}/**", escape(folder)),
            None if alone(&directly, parent(file), i) => match parent(file) {
                "" => "*".to_owned(),
                folder => format!("{}/*", escape(folder)),
            },
            None => escape(file),
        }
    };
    shards
        .iter()
        .enumerate()
        .map(|(i, shard)| shard.files.iter().map(|file| widest(file, shard.root, i)).collect())
        .collect()
}

/// The folders above a file, the root (empty) included.
fn folders(file: &str) -> impl Iterator<Item = &str> {
    std::iter::once("").chain(file.match_indices('/').map(|(end, _)| &file[..end]))
}
