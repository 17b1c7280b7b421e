//! Progress of a run while it is driven here: a line for each live worker and a total on a terminal, plain
//! lines elsewhere, events as JSON with `--json`.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::journal::Event;
use crate::journal::event::{Body, StepChange};
use crate::report::events::describe;
use crate::report::reason::reason;
use crate::state::step::Step;
use crate::ui::Ui;
use crate::ui::clean::one_line;

/// How often a spinner moves: often enough to look alive, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(120);
/// Lines of live workers on the screen; more would scroll it.
const LINES_MAX: usize = 12;

/// Shows events as they come.
pub(crate) struct Progress<'u> {
    ui: &'u Ui,
    live: Option<Live>,
}

struct Live {
    all: MultiProgress,
    total: ProgressBar,
    workers: BTreeMap<String, ProgressBar>,
}

impl<'u> Progress<'u> {
    /// Progress of a run; the number of its steps becomes known with its first events.
    pub(crate) fn new(ui: &'u Ui, steps: usize) -> Self {
        let live = ui.live().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {elapsed}  {msg}").expect("a literal");
            let total = all.add(ProgressBar::new(steps as u64).with_style(style));
            total.enable_steady_tick(TICK);
            Live { all, total, workers: BTreeMap::new() }
        });
        Self { ui, live }
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: &Event) {
        if self.ui.json {
            return self.ui.object(event);
        }
        // The end is said by who asked for the run, in one line with what waits.
        let words = if matches!(event.body, Body::RunFinished { .. }) { None } else { describe(event) };
        let Some(live) = &mut self.live else {
            if let Some((_, text)) = words {
                self.ui.talk(&text);
            }
            return;
        };
        if let Body::PlanAmended { steps, .. } = &event.body {
            live.total.inc_length(steps.len() as u64);
        }
        if let Body::StepState(change) = &event.body {
            live.step(change);
        } else if let Some((_, text)) = words {
            live.all.suspend(|| self.ui.talk(&text));
        }
    }
}

impl Live {
    fn step(&mut self, change: &StepChange) {
        let id = change.step.to_string();
        let at_work = matches!(change.state, Step::Running | Step::Checking | Step::Landing);
        if at_work && (self.workers.contains_key(&id) || self.workers.len() < LINES_MAX) {
            let all = &self.all;
            let bar = self.workers.entry(id.clone()).or_insert_with(|| {
                let style =
                    ProgressStyle::with_template("{spinner} {prefix:28} {elapsed:>4}  {msg}").expect("a literal");
                let bar = all.insert(0, ProgressBar::new_spinner().with_style(style));
                bar.set_prefix(one_line(&id, 28));
                bar.enable_steady_tick(TICK);
                bar
            });
            bar.set_message(change.state.as_str());
        } else if let Some(bar) = self.workers.remove(&id) {
            bar.finish_and_clear();
        }
        if change.terminal {
            self.total.inc(1);
        }
        if change.terminal || matches!(change.state, Step::Review | Step::NeedsInput) {
            let words = change.message.as_deref().or(change.why.as_deref().map(reason)).unwrap_or_default();
            let line = format!("{id}: {} {}", change.state, one_line(words, 100));
            self.all.println(line.trim_end()).ok();
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            live.total.finish_and_clear();
        }
    }
}
