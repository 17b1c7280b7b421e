//! Which step can be reached from which, kept up to date while edges are added. Bit sets: with the largest plan that
//! is accepted a table is 3 MB.

/// A square table of bits.
#[derive(Clone, Debug)]
pub(crate) struct Square {
    words: usize,
    bits: Vec<u64>,
}

impl Square {
    pub(crate) fn new(side: usize) -> Self {
        let words = side.div_ceil(64);
        Self { words, bits: vec![0; words * side] }
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> bool {
        self.bits[row * self.words + column / 64] & (1 << (column % 64)) != 0
    }

    pub(crate) fn set(&mut self, row: usize, column: usize) {
        self.bits[row * self.words + column / 64] |= 1 << (column % 64);
    }

    /// Adds the bits of `from` to those of `to`.
    fn unite(&mut self, to: usize, from: usize) {
        for word in 0..self.words {
            self.bits[to * self.words + word] |= self.bits[from * self.words + word];
        }
    }
}

/// The paths of a growing acyclic graph.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// Row: a step; bits: all that come before it.
    before: Square,
    next: Vec<Vec<usize>>,
}

impl Reach {
    pub(super) fn new(count: usize) -> Self {
        Self { before: Square::new(count), next: vec![Vec::new(); count] }
    }

    /// Whether `to` comes after `from`.
    pub(super) fn path(&self, from: usize, to: usize) -> bool {
        self.before.get(to, from)
    }

    /// Adds an edge, which must not close a cycle.
    pub(super) fn add(&mut self, from: usize, to: usize) {
        // Where there is a path already, the edge says nothing new, now or later.
        if self.path(from, to) {
            return;
        }
        self.next[from].push(to);
        // Whatever already has `from` before it has all that comes before `from`, too, and so have its followers.
        let mut open = vec![to];
        while let Some(i) = open.pop() {
            if self.before.get(i, from) {
                continue;
            }
            self.before.unite(i, from);
            self.before.set(i, from);
            open.extend(&self.next[i]);
        }
    }
}
