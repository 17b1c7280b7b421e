//! The merge queue against others, simulated: `cargo bench -p wattle --bench queue` (`-- --long` for more seeds and
//! the whole grid). Times are in seconds for a check of 300 s, or in check times.

#[path = "queue/rivals.rs"]
mod rivals;
#[path = "queue/sim.rs"]
mod sim;

use rivals::{Batches, Ours, Prefixes, Serial};
use sim::{Faults, Policy, Seen, World};
use wattle::bench::train::{self, Limits};

/// A check, in seconds.
const CHECK_S: f64 = 300.0;
/// A week, in check times.
const WEEK: f64 = 7.0 * 86_400.0 / CHECK_S;
/// Of the changes that came in a week, more than this still waiting means that the queue grows without bound.
const STABLE: f64 = 0.02;
/// The rows of `spec/git.md` 1.4, and the goal's with flakes: slots, changes per hour, share of reds, of flakes.
const ROWS: [(usize, f64, f64, f64); 9] = [
    (1, 16.0, 0.05, 0.0),
    (1, 32.0, 0.05, 0.0),
    (2, 16.0, 0.05, 0.0),
    (2, 32.0, 0.05, 0.0),
    (4, 32.0, 0.05, 0.0),
    (4, 32.0, 0.05, 0.01),
    (4, 48.0, 0.05, 0.01),
    (8, 48.0, 0.05, 0.01),
    (8, 16.0, 0.10, 0.03),
];
/// Who is compared.
const NAMES: [&str; 4] = ["serial", "batches <= 8", "prefixes", "wattle"];

fn main() -> std::io::Result<()> {
    let long = std::env::args().any(|argument| argument == "--long");
    let mut out = std::io::stdout().lock();
    bursts(&mut out)?;
    streams(&mut out, long)?;
    faults(&mut out)
}

fn policy(name: &str) -> Box<dyn Policy> {
    match name {
        "serial" => Box::new(Serial),
        "batches <= 8" => Box::new(Batches::new(8)),
        "prefixes" => Box::new(Prefixes),
        _ => Box::new(Ours),
    }
}

fn limits(slots: usize, red_share: f64, flake_share: f64) -> Limits {
    Limits { slots, look_ahead: 32, red_share, flake_share }
}

/// How long a burst takes, in check times: mean of 100 seeds, with the 95 % interval.
fn bursts(out: &mut impl std::io::Write) -> std::io::Result<()> {
    writeln!(out, "burst drain, check times (mean of 100 seeds ± 95 % interval)")?;
    let header = NAMES.map(|name| format!("{name:>16}")).join("");
    writeln!(out, "{:<34}{header}{:>20}", "changes, slots, red, flakes", "checks per change")?;
    let flaky = [(32, 0.05, 0.01), (32, 0.10, 0.0)];
    for (changes, red, flakes) in [(15, 0.05, 0.0), (32, 0.05, 0.0)].into_iter().chain(flaky) {
        for slots in [1, 2, 4, 8] {
            write!(out, "{:<34}", format!("{changes}, {slots}, {red:.2}, {flakes:.2}"))?;
            let mut cost = 0.0;
            for name in NAMES {
                let drain = |seed| {
                    World::new(seed, limits(slots, red, flakes), Faults::default()).burst(changes, &mut *policy(name))
                };
                let seen: Vec<Seen> = (1..=100).map(drain).collect();
                let (mean, interval) = mean(&seen.iter().map(|seen| seen.end).collect::<Vec<_>>());
                write!(out, "{:>16}", format!("{mean:.2} ± {interval:.2}"))?;
                cost = seen.iter().map(|seen| seen.spent).sum::<f64>() / (changes * seen.len()) as f64;
            }
            writeln!(out, "{cost:>20.2}")?;
        }
    }
    Ok(())
}

fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, 1.96 * (variance / count).sqrt())
}

/// A week of changes: median and 95th percentile of the time to a decision, checks per change, false ejects.
fn streams(out: &mut impl std::io::Write, long: bool) -> std::io::Result<()> {
    let seeds = if long { 20 } else { 4 };
    writeln!(out, "\na week of changes, {seeds} seeds: p50/p95 in s, check times per change (begun), false ejects")?;
    writeln!(out, "{:<24}{}", "slots, /h, red, flakes", NAMES.map(|name| format!("{name:>36}")).join(""))?;
    let mut rows = ROWS.to_vec();
    if long {
        for slots in [1, 2, 4, 8] {
            for per_hour in [8.0, 16.0, 32.0, 64.0] {
                for (red, flakes) in [(0.02, 0.0), (0.05, 0.01), (0.10, 0.03), (0.20, 0.0)] {
                    rows.push((slots, per_hour, red, flakes));
                }
            }
        }
    }
    for (slots, per_hour, red, flakes) in rows {
        write!(out, "{:<24}", format!("{slots}, {per_hour}, {red:.2}, {flakes:.2}"))?;
        for name in NAMES {
            write!(out, "{:>36}", week(name, per_hour, limits(slots, red, flakes), seeds))?;
            out.flush()?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn week(name: &str, per_hour: f64, limits: Limits, seeds: u64) -> String {
    let every = 3600.0 / CHECK_S / per_hour;
    let mut all = Seen::default();
    for seed in 1..=seeds {
        let seen = World::new(seed, limits, Faults::default()).stream(every, WEEK, usize::MAX, &mut *policy(name));
        if seen.left as f64 > STABLE * WEEK / every {
            return "∞".to_owned();
        }
        all.waits.extend(seen.waits);
        all.checks += seen.checks;
        all.spent += seen.spent;
        all.false_ejects += seen.false_ejects;
    }
    all.waits.sort_by(f64::total_cmp);
    let changes = all.waits.len() as f64;
    let at = |share: f64| all.waits[(changes * share) as usize] * CHECK_S;
    let (spent, begun) = (all.spent / changes, all.checks as f64 / changes);
    let wrong = 100.0 * all.false_ejects as f64 / changes;
    format!("{:.0}/{:.0} {spent:.2} ({begun:.2}) {wrong:.3} %", at(0.5), at(0.95))
}

/// 10,000 landings with everything going wrong, counted by a world that knows the truth.
fn faults(out: &mut impl std::io::Write) -> std::io::Result<()> {
    let faults = Faults { clashes: 0.05, hangs: 0.01, timeouts: 0.01, crashes: 0.02, strangers: 0.02 };
    let world = World::new(7, limits(4, 0.05, 0.01), faults);
    let seen = world.stream(0.6, f64::INFINITY, 10_000, &mut Ours);
    writeln!(out, "\nwith 5 % red, 1 % flakes, 5 % clashes, 1 % hangs, 1 % timeouts, crashes, commits of others:")?;
    writeln!(out, "landings {}, changes landed {}, sent back {}", seen.landings, seen.landed, seen.ejected)?;
    writeln!(out, "stopped for a red base {} (wrongly {})", seen.base_reds, seen.false_stops)?;
    let wrong = 100.0 * seen.false_ejects as f64 / seen.waits.len() as f64;
    writeln!(out, "sent back wrongly {} ({wrong:.3} %), landed red {}", seen.false_ejects, seen.red_landed)?;
    writeln!(out, "landings on a tree that no check had found green: {}", seen.unverified)
}
