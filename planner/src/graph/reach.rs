//! Which step can be reached from which, kept up to date while edges are added, and a table for pairs.
//!
//! Paths are found by looking, not by a table: a table of all pairs would be the square of the plan. So that a look is
//! short, a topological order is kept while edges are added (Pearce and Kelly, "A dynamic topological sort algorithm for
//! directed acyclic graphs", 2006): a path only goes forward in it, so nothing outside of the stretch between two steps is
//! ever looked at, and where the second is not behind the first, nothing at all.

/// A square table of bits. With the largest plan file that is accepted it is 3 MB.
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
}

/// The paths of a growing acyclic graph.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    before: Vec<Vec<usize>>,
    next: Vec<Vec<usize>>,
    /// Place of each in a topological order.
    place: Vec<usize>,
    /// What has been seen in the look of this number.
    seen: Vec<u64>,
    look: u64,
    /// How often places have changed.
    moves: u64,
}

impl Reach {
    /// No edges yet; `place` says where each begins in the order.
    pub(super) fn new(place: Vec<usize>) -> Self {
        let count = place.len();
        let (before, next) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        Self { before, next, place, seen: vec![0; count], look: 0, moves: 0 }
    }

    /// Place of one in the order of now.
    pub(super) fn place(&self, of: usize) -> usize {
        self.place[of]
    }

    /// How often places have changed.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether `to` comes after `from`.
    pub(super) fn path(&mut self, from: usize, to: usize) -> bool {
        if self.place[from] >= self.place[to] {
            return false;
        }
        self.begin();
        self.see(to, self.place[from]);
        self.saw(from)
    }

    /// Begins a new look.
    pub(super) fn begin(&mut self) {
        self.look += 1;
    }

    /// Looks at `of` and all that comes before it, down to a place; what this look has seen already is not seen again.
    pub(super) fn see(&mut self, of: usize, floor: usize) {
        let mut open = vec![of];
        while let Some(i) = open.pop() {
            if std::mem::replace(&mut self.seen[i], self.look) != self.look {
                open.extend(self.before[i].iter().filter(|before| self.place[**before] >= floor));
            }
        }
    }

    /// Has this look seen it?
    pub(super) fn saw(&self, of: usize) -> bool {
        self.seen[of] == self.look
    }

    /// Adds an edge, which must not close a cycle.
    pub(super) fn add(&mut self, from: usize, to: usize) {
        self.before[to].push(from);
        self.next[from].push(to);
        let (low, high) = (self.place[to], self.place[from]);
        if low > high {
            return;
        }
        // What comes before the edge moves in front of what comes after it, within the places that both have now.
        let mut before = self.reached(from, |i| &self.before[i], |place| place >= low);
        let mut after = self.reached(to, |i| &self.next[i], |place| place <= high);
        before.sort_unstable_by_key(|i| self.place[*i]);
        after.sort_unstable_by_key(|i| self.place[*i]);
        before.append(&mut after);
        let mut places: Vec<usize> = before.iter().map(|i| self.place[*i]).collect();
        places.sort_unstable();
        for (i, place) in before.into_iter().zip(places) {
            self.place[i] = place;
        }
        self.moves += 1;
    }

    fn reached<'a>(
        &self,
        start: usize,
        edges: impl Fn(usize) -> &'a Vec<usize>,
        inside: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let mut found = std::collections::BTreeSet::from([start]);
        let mut open = vec![start];
        while let Some(i) = open.pop() {
            open.extend(edges(i).iter().filter(|next| inside(self.place[**next]) && found.insert(**next)));
        }
        found.into_iter().collect()
    }
}
