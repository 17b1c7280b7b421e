//! Whether to wait for a slot or to make another: as with skis, rented until the rent has cost what a pair does, then bought.
//!
//! A new slot costs a checkout, which keeps all processors and the disk busy for seconds in a large repository, while one
//! that somebody holds may come back in an instant. Nobody knows when. So slots of one class are made one after the other
//! (two at once would both come later than one alone), and whoever finds none free waits until the waiting, of all who
//! wait, has cost what the last making did; with that, no more than twice of what would have been best is ever paid. Where
//! nothing has come back for as long, holders stay long, and the next slot is made at once.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::slot::Class;

/// The lines of those who wait, by class.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lines: Mutex<BTreeMap<Class, Line>>,
    moved: Condvar,
}

/// Who waits for slots of one class, and what is known of their price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    waiting: u32,
    making: bool,
    /// What the last making took.
    price: Option<Duration>,
    /// What waiting has cost since then, up to `counted`.
    rent: Duration,
    counted: Instant,
    /// When a slot last came back; at first, when the first one was made.
    back: Instant,
}

impl Line {
    fn new(now: Instant) -> Line {
        Line { waiting: 0, making: false, price: None, rent: Duration::ZERO, counted: now, back: now }
    }

    /// Brings the rent up to date.
    fn count(&mut self, now: Instant) {
        if !self.making {
            self.rent += now.saturating_duration_since(self.counted) * self.waiting;
        }
        self.counted = now;
    }

    /// How long from now until another slot is worth its price; zero = now.
    fn left(&self, now: Instant) -> Duration {
        let Some(price) = self.price else { return Duration::ZERO };
        let by_rent = price.saturating_sub(self.rent) / self.waiting.max(1);
        let by_silence = price.saturating_sub(now.saturating_duration_since(self.back));
        by_rent.min(by_silence)
    }
}

/// One who waits, until dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    turns: &'a Turns,
    class: Class,
}

/// The right to make a slot, until dropped.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    turns: &'a Turns,
    class: Class,
    begun: Instant,
}

impl Turns {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<Class, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, class: Class, what: impl FnOnce(&mut Line, Instant) -> T) -> T {
        let now = Instant::now();
        let mut lines = self.lines();
        let line = lines.entry(class).or_insert_with(|| Line::new(now));
        line.count(now);
        what(line, now)
    }

    /// Joins the line.
    pub(crate) fn wait(&self, class: Class) -> Waiting<'_> {
        self.change(class, |line, _| line.waiting += 1);
        Waiting { turns: self, class }
    }

    /// A slot has come back.
    pub(crate) fn back(&self, class: Class) {
        self.change(class, |line, now| line.back = now);
        self.moved.notify_all();
    }
}

impl<'a> Waiting<'a> {
    /// Waits until it is worth another look: the right to make a slot, or none where one may have come back. With `alone`
    /// nobody has a slot that could.
    pub(crate) fn turn(&self, alone: bool) -> Option<Making<'a>> {
        let now = Instant::now();
        let mut lines = self.turns.lines();
        let line = lines.entry(self.class).or_insert_with(|| Line::new(now));
        line.count(now);
        let left = line.left(now);
        if !line.making && (alone || left.is_zero()) {
            line.making = true;
            return Some(Making { turns: self.turns, class: self.class, begun: now });
        }
        // While one is being made only its end or a slot that comes back is worth a look.
        let left = if line.making { Duration::MAX } else { left };
        let looked = line.back;
        let news = |lines: &mut BTreeMap<Class, Line>| {
            let line = &lines[&self.class];
            line.back == looked && line.making == (left == Duration::MAX)
        };
        match left {
            Duration::MAX => drop(self.turns.moved.wait_while(lines, news)),
            left => drop(self.turns.moved.wait_timeout_while(lines, left, news)),
        }
        None
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.change(self.class, |line, _| line.waiting -= 1);
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let begun = self.begun;
        self.turns.change(self.class, |line, now| {
            if line.price.is_none() {
                line.back = now;
            }
            (line.making, line.price, line.rent) = (false, Some(now.saturating_duration_since(begun)), Duration::ZERO);
        });
        self.turns.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Duration = Duration::from_secs(8);

    fn line(waiting: u32, rent_s: u64, silent_s: u64) -> Duration {
        let now = Instant::now() + Duration::from_secs(3600);
        let back = now - Duration::from_secs(silent_s);
        let rent = Duration::from_secs(rent_s);
        Line { waiting, making: false, price: Some(PRICE), rent, counted: now, back }.left(now)
    }

    #[test]
    fn another_slot_is_made_when_waiting_has_cost_as_much_or_nothing_comes_back() {
        assert_eq!(line(1, 0, 0), PRICE);
        assert_eq!(line(4, 0, 0), PRICE / 4, "four wait at once");
        assert_eq!(line(1, 6, 0), Duration::from_secs(2));
        assert_eq!(line(1, 9, 0), Duration::ZERO);
        assert_eq!(line(1, 0, 5), Duration::from_secs(3));
        assert_eq!(line(3, 0, 8), Duration::ZERO, "holders stay long");
        let now = Instant::now();
        assert_eq!(Line::new(now).left(now), Duration::ZERO, "the price is not known yet");
    }

    #[test]
    fn while_a_slot_is_made_waiting_costs_nothing() {
        let now = Instant::now();
        let mut line = Line { waiting: 3, price: Some(PRICE), ..Line::new(now) };
        line.count(now + Duration::from_secs(1));
        assert_eq!(line.rent, Duration::from_secs(3));
        line.making = true;
        line.count(now + Duration::from_secs(9));
        assert_eq!(line.rent, Duration::from_secs(3));
    }

    #[test]
    fn who_waits_gets_what_comes_back() {
        let turns = Turns::default();
        let first = turns.wait(Class::Work);
        let making = first.turn(true).expect("nobody has a slot");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| turns.wait(Class::Work).turn(false).is_none());
            while !second.is_finished() {
                turns.back(Class::Work);
                std::thread::yield_now();
            }
            assert!(second.join().unwrap(), "one is being made: it gets no right to make another");
        });
        drop(making);
    }
}
