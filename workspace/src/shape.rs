//! What of a commit a slot holds: everything, or less. A slot has one shape for life, so that nothing is ever taken for
//! deleted that was merely never there.
//!
//! A shape is a folder that stands for the repository (see `config`) with a few settings more: the cone of a sparse
//! checkout, an LFS filter that leaves pointers as they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Shape};
use crate::git::GitError;
use crate::repo::Repo;
use git2::{ObjectType, Oid};

/// Names a shape, as the record of a slot does; the empty one is the default's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShapeId(String);

/// Digits of a shape's name: a repository sees a handful.
const ID_DIGITS: usize = 12;
/// Extension of the file beside a slot that names its shape.
pub(crate) const MARK: &str = "shape";
/// What the shape's folder says of itself.
const FILE: &str = "shape.json";

impl ShapeId {
    fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl Repo {
    /// Fixes what slots that are leased from now on hold. Repeating it is harmless.
    pub fn check_out_as(&self, shape: &Shape) -> Result<(), GitError> {
        let id = if *shape == Shape::default() { ShapeId::default() } else { self.make_shape(shape)? };
        self.git().set_shape(id.0);
        Ok(())
    }

    /// What slots hold now, as a word to compare by; empty for everything.
    pub fn shape_name(&self) -> String {
        self.git().shape()
    }

    fn make_shape(&self, shape: &Shape) -> Result<ShapeId, GitError> {
        let json = serde_json::to_vec(shape).expect("a record of strings and flags serialises");
        let name = Oid::hash_object(ObjectType::Blob, &json)
            .map_err(|e| GitError::Output { command: "git hash-object".to_owned(), what: e.message().to_owned() })?;
        let mut name = name.to_string();
        name.truncate(ID_DIGITS);
        let id = ShapeId(name);
        let store = self.store_of(&id);
        config::write_shape(self.git().store(), &store, shape)?;
        config::place(&store.join(FILE), &json).map_err(|e| GitError::io(&store, e))?;
        Ok(id)
    }

    /// Records that the slot that is being made there holds what is wanted now, for life.
    pub(crate) fn mark_shape(&self, slot: &Path) -> Result<(), GitError> {
        let (file, shape) = (slot.with_extension(MARK), ShapeId(self.git().shape()));
        let io = |e| GitError::io(&file, e);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
            Ok(()) | Err(_) => {}
        }
        if shape.is_default() { Ok(()) } else { config::place(&file, shape.0.as_bytes()).map_err(io) }
    }

    /// Whether a slot holds what is wanted now.
    pub(crate) fn has_wanted_shape(&self, slot: &Path) -> bool {
        self.shape_at(slot).0 == self.git().shape()
    }

    /// The shape of a slot; of any other worktree, everything.
    fn shape_at(&self, slot: &Path) -> ShapeId {
        let ours = slot.parent() == Some(&self.state_dir().join("slots"));
        let named = if ours { fs::read_to_string(slot.with_extension(MARK)).ok() } else { None };
        ShapeId(named.unwrap_or_default())
    }

    /// The folder that stands for the repository where this slot is concerned.
    pub(crate) fn store_at(&self, slot: &Path) -> PathBuf {
        self.store_of(&self.shape_at(slot))
    }

    /// The folder that stands for the repository where slots that are made now are concerned.
    pub(crate) fn wanted_store(&self) -> PathBuf {
        self.store_of(&ShapeId(self.git().shape()))
    }

    /// Whether this slot's submodules are filled.
    pub(crate) fn fills_submodules(&self, slot: &Path) -> Result<bool, GitError> {
        Ok(self.shape_of(&self.shape_at(slot))?.submodules)
    }

    /// The folder that stands for the repository where slots of this shape are concerned.
    fn store_of(&self, id: &ShapeId) -> PathBuf {
        let store = self.git().store();
        if id.is_default() { store.to_owned() } else { store.with_extension(&id.0) }
    }

    /// The shape of that name.
    fn shape_of(&self, id: &ShapeId) -> Result<Shape, GitError> {
        if id.is_default() {
            return Ok(Shape::default());
        }
        let path = self.store_of(id).join(FILE);
        let read = fs::read(&path).and_then(|json| serde_json::from_slice(&json).map_err(std::io::Error::from));
        read.map_err(|e| GitError::io(&path, e))
    }
}
