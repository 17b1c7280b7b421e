//! Timing: in turns, medians, and how far the single figures lie apart.

use std::time::{Duration, Instant};

use crate::Res;

/// Durations of one thing, done several times.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sample {
    sorted: Vec<Duration>,
}

impl Sample {
    /// Adds one.
    pub(crate) fn add(&mut self, took: Duration) {
        let at = self.sorted.partition_point(|other| *other < took);
        self.sorted.insert(at, took);
    }

    /// The share of the sorted durations: 0.5 gives the median.
    fn at(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.sorted.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// The median in milliseconds.
    pub(crate) fn median_ms(&self) -> f64 {
        self.median().as_secs_f64() * 1e3
    }

    /// Median, then least and greatest of how many.
    pub(crate) fn shown(&self) -> String {
        match self.sorted.len() {
            0 => "none".to_owned(),
            1 => time(self.median()),
            n => format!("{} ({}–{}, {n}x)", time(self.median()), time(self.at(0.0)), time(self.at(1.0))),
        }
    }
}

/// How many times less one median is than another, or more.
pub(crate) fn ratio(ours: &Sample, theirs: &Sample) -> f64 {
    ours.median().as_secs_f64() / theirs.median().as_secs_f64().max(f64::EPSILON)
}

/// A duration in the unit that suits it.
pub(crate) fn time(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// How long something takes.
pub(crate) fn timed<T>(what: impl FnOnce() -> Res<T>) -> Res<(Duration, T)> {
    let begun = Instant::now();
    let given = what()?;
    Ok((begun.elapsed(), given))
}

/// Two things in turns; each is given the number of the turn.
pub(crate) fn in_turns(
    turns: usize,
    mut ours: impl FnMut(usize) -> Res<Duration>,
    mut theirs: impl FnMut(usize) -> Res<Duration>,
) -> Res<(Sample, Sample)> {
    let (mut a, mut b) = (Sample::default(), Sample::default());
    for turn in 0..turns {
        a.add(ours(turn)?);
        b.add(theirs(turn)?);
    }
    Ok((a, b))
}
