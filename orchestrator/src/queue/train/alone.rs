//! Where one slot cuts: the nested plan with the fewest expected checks (Sobel and Groll, "Group testing to eliminate
//! efficiently all defectives in a binomial sample", 1959), which is exact for prefixes.

/// Length of the prefix to check, of a line of `len` of which the first `red` are red together.
pub(super) fn cut(len: usize, red: Option<usize>, share: f64) -> usize {
    let mut table = Table::new(share);
    for end in 1..=len {
        table.grow(end);
    }
    match red {
        None => table.free[len].1.min(longest(share)),
        Some(red) => table.gaps[len][red.min(len)].1.max(1),
    }
}

/// A first cut is at most this over the root of the share of reds. Whole bursts would drain with somewhat fewer checks
/// without it; in a queue that is always full the 95th percentile of the wait is then an eighth longer (simulated).
const CUT: f64 = 2.4;

fn longest(share: f64) -> usize {
    (1..=super::LOOK_AHEAD_MAX).take_while(|&len| len as f64 * share.sqrt() <= CUT).last().unwrap_or(1)
}

/// Expected checks, with the first cut, of what is left.
struct Table {
    /// Powers of the share of greens.
    good: Vec<f64>,
    /// Of a line of so many of which nothing is known.
    free: Vec<(f64, usize)>,
    /// Of a line of so many, of which the first so many are red together.
    gaps: Vec<Vec<(f64, usize)>>,
}

impl Table {
    fn new(share: f64) -> Self {
        Self { good: vec![1.0, 1.0 - share], free: vec![(0.0, 0)], gaps: vec![Vec::new()] }
    }

    /// Adds the lines of length `len`, those below being there.
    fn grow(&mut self, len: usize) {
        self.good.push(self.good[len] * self.good[1]);
        // The culprit of a gap of one is known.
        let mut gaps = vec![(0.0, 0), (self.free[len - 1].0, 1)];
        for red in 2..=len {
            let any = 1.0 - self.good[red];
            let cost = |cut: usize| {
                let green = (self.good[cut] - self.good[red]) / any;
                1.0 + green * self.gaps[len - cut][red - cut].0 + (1.0 - green) * gaps[cut].0
            };
            gaps.push(cheapest(1..red, cost));
        }
        let cost = |cut: usize| {
            let green = self.good[cut];
            1.0 + green * self.free[len - cut].0 + (1.0 - green) * gaps[cut].0
        };
        self.free.push(cheapest(1..len + 1, cost));
        self.gaps.push(gaps);
    }
}

fn cheapest(cuts: std::ops::Range<usize>, cost: impl Fn(usize) -> f64) -> (f64, usize) {
    let mut best = (f64::INFINITY, 1);
    for cut in cuts {
        let cost = cost(cut);
        if cost < best.0 {
            best = (cost, cut);
        }
    }
    best
}
