//! The file of the journal: SQLite, one writer, readers in any process.

mod glances;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use wattle_worker::outcome::Verdict;

use super::blob::{BlobError, Blobs};
use super::event::{Body, Event, VERSION};
use super::glance::Row;
use super::record::RunView;
use super::replay::{ReplayError, replay};
use crate::ids::RunId;
use glances::GLANCE;
use wattle_workspace::fault;

/// Schema of the file. A newer one is refused, an older one is migrated forward after a backup.
const SCHEMA: i64 = 3;
/// Marks the file as ours: "WTTL".
const APPLICATION_ID: i64 = 0x5754_544c;
/// How long a reader waits for a lock: a group commit takes milliseconds, five seconds mean a stuck disk.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Green verdicts by what they depend on: a projection of `check_finished`.
const VERDICT: &str =
    "CREATE TABLE IF NOT EXISTS verdict (key TEXT PRIMARY KEY, output TEXT NOT NULL, at_ms INTEGER NOT NULL);";

/// A failure of the journal. Nothing goes on after one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// SQLite refused.
    #[error("{action} the journal {path}: {source}")]
    Sql {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer Wattle has written the file.
    #[error("read the journal {path}: its schema is {found}, this wattle knows {SCHEMA}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// An event is not in a form that this version reads.
    #[error("read event {seq} of the journal: {source}")]
    Event {
        /// Its place.
        seq: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Another process has become the owner.
    #[error("write the journal: another process owns this repository since (epoch {found}, ours is {ours})")]
    Fenced {
        /// Our epoch.
        ours: i64,
        /// The newest epoch.
        found: i64,
    },
    /// A blob is missing or cannot be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A run cannot be rebuilt.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl JournalError {
    /// Whether another process held the file for longer than is waited: nothing is wrong with it.
    pub(crate) fn is_busy(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        let Self::Sql { source, .. } = self else { return false };
        matches!(source.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
    }
}

/// One run in a list.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct RunSummary {
    /// Its id.
    pub(crate) run: RunId,
    /// Its name.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: String,
    /// When it started, RFC 3339.
    pub(crate) since: String,
    /// What was asked.
    pub(crate) task: String,
}

/// A command that waits for the owner.
#[derive(Debug, Clone)]
pub(crate) struct CommandRow {
    /// Its number.
    pub(crate) id: i64,
    /// The run.
    pub(crate) run: RunId,
    /// The verb, JSON.
    pub(crate) verb: String,
    /// Who.
    pub(crate) by: String,
}

/// Reads the journal.
pub(crate) struct Reader {
    db: Connection,
    path: PathBuf,
    schema: i64,
    /// The blobs beside it.
    pub(crate) blobs: Blobs,
}

/// Reads and writes the journal; there is one per repository (`OwnerLock`).
pub(crate) struct Writer {
    /// What it can read.
    pub(crate) reader: Reader,
    epoch: i64,
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("journal.db")
}

impl Reader {
    /// Opens the journal of a repository; `None` when there is none yet.
    pub(crate) fn open(state_dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = file(state_dir);
        if !path.exists() {
            return Ok(None);
        }
        // Not read-only: a WAL left by a killed writer needs recovery, which a reader may do.
        let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(|source| JournalError::Sql { action: "open", path: path.clone(), source })?;
        let mut reader = Self { db, path, schema: 0, blobs: Blobs::open(state_dir)? };
        reader.check("open", reader.db.busy_timeout(BUSY_TIMEOUT))?;
        let found = reader.check("open", reader.db.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
        if found > SCHEMA {
            return Err(JournalError::Newer { path: reader.path, found });
        }
        reader.schema = found;
        Ok((found > 0).then_some(reader))
    }

    fn check<T>(&self, action: &'static str, result: rusqlite::Result<T>) -> Result<T, JournalError> {
        result.map_err(|source| JournalError::Sql { action, path: self.path.clone(), source })
    }

    /// All runs, newest first.
    pub(crate) fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        let query = || {
            let mut statement = self.db.prepare("SELECT id, name, state, since, task FROM run ORDER BY rowid DESC")?;
            let rows = statement.query_map([], |row| {
                Ok(RunSummary {
                    run: RunId::from_text(row.get::<_, String>(0)?),
                    name: row.get(1)?,
                    state: row.get(2)?,
                    since: row.get(3)?,
                    task: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        self.check("read", query())
    }

    /// Ids under which a lead has spent something while it planned: they have events and are no runs.
    pub(crate) fn plannings(&self) -> Result<Vec<RunId>, JournalError> {
        let query = || {
            let sql = "SELECT DISTINCT run FROM event WHERE run NOT IN (SELECT id FROM run)";
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok(RunId::from_text(row.get::<_, String>(0)?)))?;
            rows.collect()
        };
        self.check("read", query())
    }

    /// Events of a run after a place, oldest first.
    pub(crate) fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, JournalError> {
        let query = || {
            let mut statement =
                self.db.prepare_cached("SELECT seq, json FROM event WHERE run = ?1 AND seq > ?2 ORDER BY seq")?;
            let rows = statement.query_map(params![run.as_str(), after as i64], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = self.check("read", query())?;
        rows.into_iter()
            .map(|(seq, json)| serde_json::from_str(&json).map_err(|source| JournalError::Event { seq, source }))
            .collect()
    }

    /// Rebuilds a run.
    pub(crate) fn replay(&self, run: &RunId) -> Result<RunView, JournalError> {
        Ok(replay(&self.events(run, 0)?, &self.blobs)?)
    }

    /// The evidence of a check that was green on this key since a time (milliseconds since the epoch), JSON.
    pub(crate) fn verdict(&self, key: &str, since_ms: i64) -> Result<Option<String>, JournalError> {
        let query = self.db.query_row(
            "SELECT output FROM verdict WHERE key = ?1 AND at_ms >= ?2",
            params![key, since_ms],
            |row| row.get::<_, String>(0),
        );
        let Some(output) = self.check("read", query.optional())? else { return Ok(None) };
        // A blob that was cleaned away takes its verdict with it.
        Ok(self.blobs.text(&crate::ids::Blob(output)).ok())
    }

    /// The result of a command: `None` while nobody has taken it up.
    pub(crate) fn command_result(&self, id: i64) -> Result<Option<String>, JournalError> {
        let query = self.db.query_row("SELECT result FROM command WHERE id = ?1", [id], |row| row.get(0));
        Ok(self.check("read", query.optional())?.flatten())
    }

    /// Commands that nobody has taken up.
    pub(crate) fn commands(&self) -> Result<Vec<CommandRow>, JournalError> {
        let query = || {
            let mut statement =
                self.db.prepare_cached("SELECT id, run, verb, by FROM command WHERE result IS NULL ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(CommandRow {
                    id: row.get(0)?,
                    run: RunId::from_text(row.get::<_, String>(1)?),
                    verb: row.get(2)?,
                    by: row.get(3)?,
                })
            })?;
            rows.collect()
        };
        self.check("read", query())
    }

    /// Adds a command for the owner.
    pub(crate) fn add_command(&self, run: &RunId, verb: &str, by: &str) -> Result<i64, JournalError> {
        let insert =
            self.db.execute("INSERT INTO command (run, verb, by) VALUES (?1, ?2, ?3)", params![run.as_str(), verb, by]);
        self.check("write", insert)?;
        Ok(self.db.last_insert_rowid())
    }

    /// Takes back a command that nobody has taken up. `false` = somebody has, meanwhile.
    pub(crate) fn withdraw_command(&self, id: i64) -> Result<bool, JournalError> {
        let delete = self.db.execute("DELETE FROM command WHERE id = ?1 AND result IS NULL", [id]);
        Ok(self.check("write", delete)? == 1)
    }
}

impl Writer {
    /// Opens or makes the journal for its owner and starts a new epoch.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let path = file(state_dir);
        let sql = |source| JournalError::Sql { action: "open", path: path.clone(), source };
        let db = Connection::open(&path).map_err(sql)?;
        db.busy_timeout(BUSY_TIMEOUT).map_err(sql)?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sql)?;
        if found > SCHEMA {
            return Err(JournalError::Newer { path, found });
        }
        db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;").map_err(sql)?;
        if (1..SCHEMA).contains(&found) {
            migrate(&db, &path, found).map_err(sql)?;
        }
        if found == 0 {
            db.execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS event (
                   seq INTEGER PRIMARY KEY, run TEXT NOT NULL, epoch INTEGER NOT NULL,
                   type TEXT NOT NULL, json TEXT NOT NULL);
                 CREATE INDEX IF NOT EXISTS event_run ON event (run, seq);
                 CREATE TABLE IF NOT EXISTS run (
                   id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, since TEXT NOT NULL,
                   task TEXT NOT NULL);
                 CREATE TABLE IF NOT EXISTS command (
                   id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, verb TEXT NOT NULL,
                   by TEXT NOT NULL, result TEXT);
                 CREATE TABLE IF NOT EXISTS owner (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL);
                 INSERT OR IGNORE INTO owner VALUES (1, 0);
                 {VERDICT}
                 {GLANCE}
                 PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {SCHEMA};
                 COMMIT;"
            ))
            .map_err(sql)?;
        }
        db.execute("UPDATE owner SET epoch = epoch + 1", []).map_err(sql)?;
        let epoch = db.query_row("SELECT epoch FROM owner", [], |row| row.get(0)).map_err(sql)?;
        let mut reader = Reader { db, path, schema: SCHEMA, blobs: Blobs::open(state_dir)? };
        if (1..SCHEMA).contains(&found) {
            reader.backfill()?;
        }
        Ok(Self { reader, epoch })
    }

    /// Place of the newest event.
    pub(crate) fn last_seq(&self) -> Result<u64, JournalError> {
        let query = self.reader.db.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get::<_, i64>(0));
        Ok(self.reader.check("read", query)? as u64)
    }

    /// Appends events of a run, with the results of commands they answer and the rows that they change, in one
    /// transaction that is on the disk when this returns; what they name is there before.
    pub(crate) fn append(
        &mut self,
        run: &RunId,
        events: &[Event],
        answered: &[(i64, String)],
        rows: &[Row],
    ) -> Result<(), JournalError> {
        let epoch = self.epoch;
        self.reader.blobs.flush()?;
        let found = match fault::fails("journal.before") {
            Ok(()) => self.transaction(run, events, answered, rows),
            Err(_) => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)),
        };
        fault::point("journal.after");
        let found = self.reader.check("write", found)?;
        if found == epoch { Ok(()) } else { Err(JournalError::Fenced { ours: epoch, found }) }
    }

    fn transaction(
        &mut self,
        run: &RunId,
        events: &[Event],
        answered: &[(i64, String)],
        rows: &[Row],
    ) -> rusqlite::Result<i64> {
        let epoch = self.epoch;
        let tx = self.reader.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: i64 = tx.query_row("SELECT epoch FROM owner", [], |row| row.get(0))?;
        if found != epoch {
            return Ok(found);
        }
        for event in events {
            let json = serde_json::to_string(event).expect("an event is plain data");
            tx.prepare_cached("INSERT INTO event (seq, run, epoch, type, json) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![event.seq as i64, event.run.as_str(), epoch, event.body.kind(), json])?;
            match &event.body {
                Body::RunStarted(started) => {
                    tx.execute(
                        "INSERT INTO run (id, name, state, since, task) VALUES (?1, ?2, 'planning', ?3, ?4)",
                        params![event.run.as_str(), started.name, event.ts, started.task],
                    )?;
                }
                Body::RunState { state, .. } => {
                    tx.execute("UPDATE run SET state = ?2 WHERE id = ?1", params![event.run.as_str(), state.as_str()])?;
                }
                Body::CheckFinished { check, verdict: Verdict::Green, cached: false, output: Some(output), .. } => {
                    if let Some(key) = &check.key {
                        tx.prepare_cached("INSERT OR REPLACE INTO verdict (key, output, at_ms) VALUES (?1, ?2, ?3)")?
                            .execute(params![key, output.0, millis(&event.ts)])?;
                    }
                }
                _ => {}
            }
        }
        glances::write(&tx, run, rows)?;
        for (id, result) in answered {
            tx.execute("UPDATE command SET result = ?2 WHERE id = ?1", params![id, result])?;
        }
        tx.commit()?;
        Ok(epoch)
    }
}

/// Brings a journal of an older schema forward, after a backup beside it.
fn migrate(db: &Connection, path: &Path, found: i64) -> rusqlite::Result<()> {
    let backup = path.with_extension(format!("db.schema-{found}"));
    if !backup.exists() {
        db.execute("VACUUM INTO ?1", [backup.to_string_lossy()])?;
    }
    db.execute_batch(&format!("BEGIN IMMEDIATE; {VERDICT} {GLANCE} PRAGMA user_version = {SCHEMA}; COMMIT;"))
}

/// Milliseconds since the epoch of an event's time.
fn millis(ts: &str) -> i64 {
    ts.parse::<jiff::Timestamp>().map_or(0, |time| time.as_millisecond())
}

/// Makes an event of its parts.
pub(crate) fn event(seq: u64, now_ms: i64, run: &RunId, body: Body) -> Event {
    Event { v: VERSION, seq, ts: crate::clock::rfc3339(now_ms), run: run.clone(), body }
}
