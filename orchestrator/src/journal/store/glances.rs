//! The rows that `status` reads, and their making for a journal of an older version.

use rusqlite::{Connection, OptionalExtension, params};

use super::{JournalError, Reader};
use crate::ids::RunId;
use crate::journal::glance::{FRAME, Frame, Glance, HEAD, Head, Row, StepGlance, rows};

/// Their table. A change of what is in the rows is a new schema, whose migration makes them anew.
pub(super) const GLANCE: &str = "CREATE TABLE IF NOT EXISTS glance (
    run TEXT NOT NULL, place INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (run, place)) WITHOUT ROWID;";
/// The first schema with this table.
const SINCE: i64 = 3;

impl Reader {
    /// A run, as far as `status` shows it: from its rows, else from its events.
    pub(crate) fn glance(&self, run: &RunId) -> Result<Glance, JournalError> {
        match self.kept_glance(run)? {
            Some(glance) => Ok(glance),
            None => Ok(Glance::of(&self.replay(run)?)),
        }
    }

    /// A run as its rows tell it; `None` = they do not.
    pub(crate) fn kept_glance(&self, run: &RunId) -> Result<Option<Glance>, JournalError> {
        if self.schema < SINCE {
            return Ok(None);
        }
        self.check("read", read(&self.db, run))
    }

    /// Are there rows of a run?
    pub(crate) fn has_glance(&self, run: &RunId) -> Result<bool, JournalError> {
        let query = self.db.query_row(
            "SELECT 1 FROM glance WHERE run = ?1 AND place = ?2",
            params![run.as_str(), FRAME],
            |_| Ok(()),
        );
        Ok(self.check("read", query.optional())?.is_some())
    }

    /// Place of the last event of a run; 0 = it has none.
    pub(crate) fn seq(&self, run: &RunId) -> Result<u64, JournalError> {
        self.check("read", last(&self.db, run))
    }

    /// Makes the rows of all runs that have none. A run that cannot be rebuilt goes without: whoever asks for it is told
    /// why.
    pub(super) fn backfill(&mut self) -> Result<(), JournalError> {
        for run in self.runs()? {
            if self.has_glance(&run.run)? {
                continue;
            }
            let Ok(view) = self.replay(&run.run) else { continue };
            let write = |db: &mut Connection| {
                let tx = db.transaction()?;
                write(&tx, &run.run, &rows(&view))?;
                tx.commit()
            };
            let written = write(&mut self.db);
            self.check("migrate", written)?;
        }
        Ok(())
    }
}

fn last(db: &Connection, run: &RunId) -> rusqlite::Result<u64> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE run = ?1")?;
    statement.query_row([run.as_str()], |row| row.get::<_, i64>(0)).map(|seq| seq as u64)
}

/// All rows of a run as of one moment.
fn read(db: &Connection, run: &RunId) -> rusqlite::Result<Option<Glance>> {
    let tx = db.unchecked_transaction()?;
    let seq = last(&tx, run)?;
    let mut statement = tx.prepare_cached("SELECT place, json FROM glance WHERE run = ?1 ORDER BY place")?;
    let mut rows = statement.query([run.as_str()])?;
    let (mut frame, mut head, mut steps): (Option<Frame>, Option<Head>, Vec<StepGlance>) = (None, None, Vec::new());
    while let Some(row) = rows.next()? {
        let (place, json): (i64, &str) = (row.get(0)?, row.get_ref(1)?.as_str()?);
        // What cannot be read is made from the events instead.
        let known = match place {
            FRAME => serde_json::from_str(json).map(|found| frame = Some(found)),
            HEAD => serde_json::from_str(json).map(|found| head = Some(found)),
            place => serde_json::from_str(json).map(|found| {
                steps.resize(place as usize, StepGlance::default());
                steps.push(found);
            }),
        };
        if known.is_err() {
            return Ok(None);
        }
    }
    let (Some(frame), Some(head)) = (frame, head) else { return Ok(None) };
    steps.resize(frame.steps.len(), StepGlance::default());
    Ok(Some(Glance { run: run.clone(), seq, frame, head, steps }))
}

/// Writes rows, in a transaction of the caller's.
pub(super) fn write(tx: &Connection, run: &RunId, rows: &[Row]) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached("INSERT OR REPLACE INTO glance (run, place, json) VALUES (?1, ?2, ?3)")?;
    for row in rows {
        statement.execute(params![run.as_str(), row.place, row.json])?;
    }
    Ok(())
}
