//! The numbers of the git engine, each beside git's own figure, taken in the same run on generated repositories.
//!
//! `cargo bench -p wattle --bench git -- [--quick] [FILTER]`. The full run takes up to a quarter of an hour, most of which
//! is the shell script of the 32 steps on 50,000 files; `--quick` takes two minutes, on smaller trees. Everything is
//! written below cargo's own scratch folder, where the generated repositories are kept between runs. Where a figure of
//! git's and one of ours are compared they were measured in turns, so that a busy machine slows both.

mod landing;
mod machine;
mod measure;
mod pairs;
mod place;
mod repository;
mod slots;
mod status;
mod steps;
mod storm;
mod table;

use std::error::Error;
use std::process::ExitCode;

use place::Place;
use table::Table;

/// Whatever stops a measurement; the bench names it and goes on with the next.
type Res<T> = Result<T, Box<dyn Error>>;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Every line at its full size.
    Full,
    /// Small trees and few repetitions.
    Quick,
}

impl Size {
    /// One of two numbers.
    fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Size::Full => full,
            Size::Quick => quick,
        }
    }
}

/// One group of lines: its name for the filter, and what measures it.
type Group = (&'static str, fn(&Place, Size, &mut Table) -> Res<()>);

/// In the order of the table.
const GROUPS: &[Group] = &[
    ("slot", slots::run),
    ("land", landing::run),
    ("pairs", pairs::run),
    ("storm", storm::run),
    ("steps-ext4", steps::on_disk),
    ("steps-tmpfs", steps::in_memory),
    ("status", status::run),
];

fn main() -> ExitCode {
    // Cargo hands every bench `--bench`; what it hands on of the user's comes after.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let size = if arguments.iter().any(|a| a == "--quick") { Size::Quick } else { Size::Full };
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let mut table = Table::default();
    let place = match Place::new() {
        Ok(place) => place,
        Err(error) => {
            table.say(&format!("no place to work in: {error}"));
            return ExitCode::FAILURE;
        }
    };
    table.say(&machine::describe(&place));
    table.say("queue and scheduler: their numbers come from `cargo bench -p wattle --bench queue`");
    let mut good = true;
    for (name, measure) in GROUPS {
        if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        if let Err(error) = measure(&place, size, &mut table) {
            table.say(&format!("{name}: not measured: {error}"));
            good = false;
        }
    }
    table.print();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
