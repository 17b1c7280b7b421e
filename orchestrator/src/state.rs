//! The four state machines of Wattle, as tables: step, attempt, landing and run.
//!
//! Each machine is one table of rows `(state, event, next state, what it leaves behind)` and one total
//! function, `next`, that gives the next state or an [`Illegal`]. Nothing else in the program decides
//! what may follow what; the journal is replayed through the same functions. The tables below are
//! printed from the code (a test holds them together).
#![doc = include_str!("state/tables.md")]

pub(crate) mod attempt;
pub(crate) mod landing;
pub(crate) mod run;
pub(crate) mod step;

use std::fmt::{Debug, Display};

/// An event that has no row for the state it met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("apply {event} to a {machine} that is {state}")]
pub(crate) struct Illegal {
    /// Which machine.
    pub(crate) machine: &'static str,
    /// The state it was in.
    pub(crate) state: &'static str,
    /// The event that is not legal there.
    pub(crate) event: &'static str,
}

/// One legal transition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<S: 'static, E: 'static> {
    /// States it starts from.
    pub(crate) from: &'static [S],
    /// What happens.
    pub(crate) event: E,
    /// The state it leads to.
    pub(crate) to: S,
    /// What it leaves behind in the world and in the journal.
    pub(crate) leaves: &'static str,
}

/// A machine: names for its states and events, and its table.
pub(crate) trait Machine: Copy + Eq + Debug + 'static {
    /// Its events.
    type Event: Copy + Eq + Debug + 'static;
    /// Its name.
    const NAME: &'static str;
    /// All its states, in the order people read them.
    const STATES: &'static [Self];
    /// All its events.
    const EVENTS: &'static [Self::Event];
    /// All legal transitions.
    const ROWS: &'static [Row<Self, Self::Event>];
    /// Name of a state, as in the journal and in JSON.
    fn name(self) -> &'static str;
    /// Name of an event.
    fn event_name(event: Self::Event) -> &'static str;
    /// Can nothing but a human's verb follow?
    fn terminal(self) -> bool;
    /// Exit code of a run that ends while something is in this state.
    fn exit(self) -> u8;
    /// The `why` codes that go with this state.
    fn why(self) -> &'static [&'static str];
}

/// The state that follows, or why there is none.
pub(crate) fn next<M: Machine>(state: M, event: M::Event) -> Result<M, Illegal> {
    M::ROWS.iter().find(|row| row.event == event && row.from.contains(&state)).map(|row| row.to).ok_or(Illegal {
        machine: M::NAME,
        state: state.name(),
        event: M::event_name(event),
    })
}

/// The table of one machine in Markdown.
pub(crate) fn markdown<M: Machine>() -> String {
    debug_assert!(M::EVENTS.iter().all(|event| M::ROWS.iter().any(|row| row.event == *event)));
    let mut text = format!("\n## {}\n\n| state | end | exit | why |\n|---|---|---|---|\n", M::NAME);
    for &state in M::STATES {
        let end = if state.terminal() { "yes" } else { "" };
        let why = state.why().join(", ");
        push_row(&mut text, &[&state.name(), &end, &state.exit(), &why]);
    }
    text.push_str("\n| from | event | to | leaves behind |\n|---|---|---|---|\n");
    for row in M::ROWS {
        let from = row.from.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ");
        push_row(&mut text, &[&from, &M::event_name(row.event), &row.to.name(), &row.leaves]);
    }
    text
}

fn push_row(text: &mut String, cells: &[&dyn Display]) {
    text.push('|');
    for cell in cells {
        text.push_str(&format!(" {cell} |"));
    }
    text.push('\n');
}

/// All four tables in Markdown.
pub(crate) fn all_tables() -> String {
    [markdown::<step::Step>(), markdown::<attempt::Attempt>(), markdown::<landing::Landing>(), markdown::<run::Run>()]
        .concat()
}

/// Declares an enum of states or events with their names.
macro_rules! names {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $vis enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant,)* }
        impl $name {
            /// All variants, in order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The name in the journal and in JSON.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use names;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What holds for every machine.
    fn check_machine<M: Machine>() {
        for &state in M::STATES {
            for &event in M::EVENTS {
                let rows = M::ROWS.iter().filter(|r| r.event == event && r.from.contains(&state));
                assert!(rows.count() <= 1, "{} has two rows for {state:?} {event:?}", M::NAME);
            }
            let leaves = M::ROWS.iter().any(|row| row.from.contains(&state));
            assert!(leaves || state.terminal(), "{} cannot leave {state:?}", M::NAME);
        }
        let mut reached = vec![M::STATES[0]];
        for _ in M::STATES {
            for row in M::ROWS {
                if row.from.iter().any(|s| reached.contains(s)) && !reached.contains(&row.to) {
                    reached.push(row.to);
                }
            }
        }
        for &state in M::STATES {
            assert!(reached.contains(&state), "{} never reaches {state:?}", M::NAME);
        }
        for &event in M::EVENTS {
            assert!(M::ROWS.iter().any(|r| r.event == event), "{} never uses {event:?}", M::NAME);
        }
    }

    #[test]
    fn every_table_is_sound() {
        check_machine::<step::Step>();
        check_machine::<attempt::Attempt>();
        check_machine::<landing::Landing>();
        check_machine::<run::Run>();
    }

    #[test]
    fn the_printed_tables_are_those_of_the_code() {
        let printed = include_str!("state/tables.md");
        assert_eq!(printed, all_tables(), "write the right-hand text to state/tables.md");
    }

    proptest! {
        /// Any history: what is legal leads to a known state, what is not changes nothing, and an end is
        /// left only by an event that a human's verb causes.
        #[test]
        fn any_history_of_a_step_stays_in_its_table(picks in prop::collection::vec(0usize..1000, 0..60)) {
            let mut state = step::Step::Waiting;
            for pick in picks {
                let event = step::StepEvent::ALL[pick % step::StepEvent::ALL.len()];
                match next(state, event) {
                    Ok(to) => {
                        if state.terminal() {
                            prop_assert!(event.by_verb(), "{state:?} left by {event:?}");
                        }
                        state = to;
                    }
                    Err(illegal) => prop_assert_eq!(illegal.state, state.as_str()),
                }
            }
        }
    }
}
