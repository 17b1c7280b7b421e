//! What of a commit a slot holds: everything, or less. A slot has one shape for life, so that nothing is ever taken for
//! deleted that was merely never there.
//!
//! A shape is a folder that stands for the repository (see `config`) with a few settings more: the cone of a sparse
//! checkout, an LFS filter that leaves pointers as they are.

use std::fs;
use std::path::PathBuf;

use git2::{ObjectType, Oid};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::git::GitError;
use crate::repo::Repo;

/// What of a commit slots hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Submodules hold their files, as far as the repository has them.
    pub submodules: bool,
    /// Files of Git LFS hold their content, not pointers to it.
    pub lfs: bool,
    /// Only these folders, and the files of those above them; empty is everything.
    pub sparse: Vec<String>,
}

/// Everything but submodules.
impl Default for Shape {
    fn default() -> Self {
        Self { submodules: false, lfs: true, sparse: Vec::new() }
    }
}

/// Names a shape, as the record of a slot does; the empty one is the default's.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShapeId(String);

/// Digits of a shape's name: a repository sees a handful.
const ID_DIGITS: usize = 12;
/// What the shape's folder says of itself.
const FILE: &str = "shape.json";

impl ShapeId {
    pub(crate) fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl Repo {
    /// Fixes what slots that are leased from now on hold. Repeating it is harmless.
    pub fn check_out_as(&self, shape: &Shape) -> Result<(), GitError> {
        let id = if *shape == Shape::default() { ShapeId::default() } else { self.make_shape(shape)? };
        self.git().set_shape(id);
        Ok(())
    }

    fn make_shape(&self, shape: &Shape) -> Result<ShapeId, GitError> {
        let json = serde_json::to_vec(shape).expect("a record of strings and flags serialises");
        let name = Oid::hash_object(ObjectType::Blob, &json).map_err(|e| GitError::Output {
            command: "git hash-object".to_owned(),
            what: e.message().to_owned(),
        })?;
        let mut name = name.to_string();
        name.truncate(ID_DIGITS);
        let id = ShapeId(name);
        let store = self.store_of(&id);
        config::write_shape(self.git().store(), &store, shape)?;
        config::place(&store.join(FILE), &json).map_err(|e| GitError::io(&store, e))?;
        Ok(id)
    }

    /// The folder that stands for the repository where slots of this shape are concerned.
    pub(crate) fn store_of(&self, id: &ShapeId) -> PathBuf {
        let store = self.git().store();
        if id.is_default() { store.to_owned() } else { store.with_extension(&id.0) }
    }

    /// The shape of that name.
    pub(crate) fn shape_of(&self, id: &ShapeId) -> Result<Shape, GitError> {
        if id.is_default() {
            return Ok(Shape::default());
        }
        let path = self.store_of(id).join(FILE);
        let read = fs::read(&path).and_then(|json| serde_json::from_slice(&json).map_err(std::io::Error::from));
        read.map_err(|e| GitError::io(&path, e))
    }
}
