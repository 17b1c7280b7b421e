//! What deciding and remembering cost, with no git and no process: `cargo bench -p wattle --bench core` (`-- NAME` for one
//! group: `scheduler`, `journal`; `-- scheduler STEPS` for runs of that size).

use std::io::{self, Write};

use wattle::bench::{History, Scheduled, history, scheduled};

/// Microseconds that a decision may take at the largest size.
const GOAL_US: f64 = 2.0;
/// Where nothing lands before the end, each commit is told with all that it stands on: larger runs are not waited for.
const GATHERED_MAX: usize = 1_000;
/// Steps of the runs that are scheduled, and the seed of their world.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sizes: Vec<usize> = named.iter().filter_map(|given| given.parse().ok()).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|given| given == name);
    let mut out = io::stdout().lock();
    if wanted("scheduler") {
        scheduler(&mut out, if sizes.is_empty() { &SIZES } else { &sizes })?;
    }
    if wanted("journal") {
        journal(&mut out)?;
    }
    Ok(())
}

/// Mean, median and 99th percentile, in microseconds.
fn figures(nanos: impl IntoIterator<Item = u32>) -> (f64, f64, f64) {
    let mut nanos: Vec<u32> = nanos.into_iter().collect();
    nanos.sort_unstable();
    let at = |share: f64| nanos.get((nanos.len() as f64 * share) as usize).map_or(0.0, |ns| f64::from(*ns) / 1e3);
    let sum: f64 = nanos.iter().map(|ns| f64::from(*ns)).sum();
    (sum / nanos.len().max(1) as f64 / 1e3, at(0.5), at(0.99))
}

fn scheduler(out: &mut impl Write, sizes: &[usize]) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(
        out,
        "decisions of whole runs with a check of each landing, µs: mean / median / 99th percentile (goal: mean ≤ {GOAL_US} \
         at 100,000 steps)"
    )?;
    writeln!(
        out,
        "\n| steps | final check | edges | plan s | decisions | all | scheduler | queue | nothing to do | fold, per event | |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for (steps, last) in sizes.iter().flat_map(|steps| [(*steps, false), (*steps, true)]) {
        if last && steps > GATHERED_MAX {
            continue;
        }
        let run = scheduled(steps, last, SEED)?;
        let Scheduled { scheduler, queue, idle, .. } = &run;
        let shown = |nanos: &[u32]| {
            let (mean, median, high) = figures(nanos.iter().copied());
            format!("{mean:.2} / {median:.2} / {high:.2} ({})", nanos.len())
        };
        let all: Vec<u32> = [scheduler, queue, idle].into_iter().flatten().copied().collect();
        let mark = if figures(all.iter().copied()).0 <= GOAL_US { "reached" } else { "MISSED" };
        let fold = run.rest.as_secs_f64() * 1e6 / run.events as f64;
        writeln!(
            out,
            "| {} | {} | {} | {:.2} | {} | {} | {} | {} | {} | {fold:.2} ({}) | {mark} |",
            run.steps,
            if last { "yes" } else { "no" },
            run.edges,
            run.planning.as_secs_f64(),
            all.len(),
            shown(&all),
            shown(scheduler),
            shown(queue),
            shown(idle),
            run.events
        )?;
        writeln!(out, "<!-- ends: {:?} -->", run.ends)?;
        out.flush()?;
    }
    Ok(())
}

fn journal(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    writeln!(out, "\na journal of 1,000 steps: writing it, and what `status` reads of it")?;
    writeln!(
        out,
        "\n| events | per commit | rows | events/s | ms per commit | MB | status reads, ms | all events, ms |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for (events, batch) in [(10_000, 1), (100_000, 20), (100_000, 200)] {
        for rows in [false, true] {
            let History { events, writing, commits, bytes, glance, fold } = history(1_000, events, batch, rows)?;
            writeln!(
                out,
                "| {events} | {batch} | {} | {:.0} | {:.2} | {:.1} | {:.2} | {:.0} |",
                if rows { "with" } else { "without" },
                events as f64 / writing.as_secs_f64(),
                writing.as_secs_f64() * 1e3 / commits.max(1) as f64,
                bytes as f64 / 1e6,
                glance.as_secs_f64() * 1e3,
                fold.as_secs_f64() * 1e3
            )?;
            out.flush()?;
        }
    }
    Ok(())
}
