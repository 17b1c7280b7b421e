//! The servers of one process: who may use them, how many live, and when they end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Question};
use super::connection::{Connection, Fault};
use super::heard::{Facts, Gone};
use super::session::Session;
use super::settings::ServerSettings;
use super::trouble::Trouble;
use super::{Limits, RESTARTS_MAX, Reader, SERVERS_MAX, UNANSWERED_MAX, language, uri};
use crate::process::server::Program;

/// The language servers of one process.
pub struct Pool {
    servers: BTreeMap<String, ServerSettings>,
    limits: Limits,
    /// One permit for each server that lives.
    room: Arc<Semaphore>,
    /// Told when a server may be evicted that could not be before.
    freed: Notify,
    used: AtomicU64,
    seats: Mutex<Seats>,
}

/// Which worktrees are leased, and the servers on them.
#[derive(Default)]
struct Seats {
    /// Leases of each worktree: a snapshot has several readers.
    leases: BTreeMap<PathBuf, usize>,
    seats: BTreeMap<(PathBuf, String), Arc<Seat>>,
}

/// A server on a worktree: live, or how it ended.
#[derive(Default)]
struct Seat {
    /// When it was last asked, in the order of asking.
    used: AtomicU64,
    work: tokio::sync::Mutex<Work>,
}

#[derive(Default)]
struct Work {
    session: Option<Session>,
    /// A question was begun; if that is still so for the next one, its asker was stopped half way.
    asking: bool,
    crashes: u32,
    last_words: String,
}

impl Pool {
    /// A pool of these servers, none of them started.
    pub fn new(servers: BTreeMap<String, ServerSettings>) -> Arc<Pool> {
        Pool::with_limits(servers, Limits::default())
    }

    pub(crate) fn with_limits(servers: BTreeMap<String, ServerSettings>, limits: Limits) -> Arc<Pool> {
        Arc::new(Pool {
            servers,
            limits,
            room: Arc::new(Semaphore::new(SERVERS_MAX)),
            freed: Notify::new(),
            used: AtomicU64::new(0),
            seats: Mutex::new(Seats::default()),
        })
    }

    /// Lets a step use the servers on its worktree. `env`: the whole environment of its processes.
    pub(crate) fn lease(
        self: &Arc<Pool>,
        root: &Path,
        env: BTreeMap<OsString, OsString>,
        cancel: CancellationToken,
    ) -> Arc<Lease> {
        // A worktree that is not there fails when a server is started in it.
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        *self.seats().leases.entry(root.clone()).or_default() += 1;
        Arc::new(Lease { pool: Arc::clone(self), root, env, cancel, closed: AtomicBool::new(false) })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server for a file: the one with the longest extension, then the first by name.
    fn server_for(&self, file: &str) -> Result<(&String, &ServerSettings), Trouble> {
        if self.servers.is_empty() {
            return Err(Trouble::NoneSet);
        }
        let length = |settings: &ServerSettings| {
            let fitting = settings.extension_to_language.keys().filter(|extension| file.ends_with(extension.as_str()));
            fitting.map(String::len).max()
        };
        let own = self.servers.iter().filter(|(_, settings)| language(settings, file).is_some());
        own.rev().max_by_key(|(_, settings)| length(settings)).ok_or_else(|| {
            let mut known: Vec<&str> = self
                .servers
                .values()
                .flat_map(|server| server.extension_to_language.keys())
                .map(String::as_str)
                .collect();
            known.sort_unstable();
            known.dedup();
            Trouble::NotForFile { file: file.to_owned(), known: known.join(", ") }
        })
    }

    /// The seat of a server on a leased worktree.
    fn seat(&self, root: &Path, name: &str) -> Result<Arc<Seat>, Trouble> {
        let mut seats = self.seats();
        if !seats.leases.contains_key(root) {
            return Err(Trouble::Stopped);
        }
        let seat = seats.seats.entry((root.to_owned(), name.to_owned())).or_default();
        seat.used.store(self.used.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok(Arc::clone(seat))
    }

    /// Ends one lease of a worktree; the seats that nobody has a lease of any more.
    fn leave(&self, root: &Path) -> Vec<Arc<Seat>> {
        let mut seats = self.seats();
        let left = match seats.leases.get_mut(root) {
            Some(count) => {
                *count -= 1;
                *count
            }
            None => 0,
        };
        if left > 0 {
            return Vec::new();
        }
        seats.leases.remove(root);
        let keys: Vec<_> = seats.seats.keys().filter(|(place, _)| place == root).cloned().collect();
        keys.iter().filter_map(|key| seats.seats.remove(key)).collect()
    }

    /// A place for one more server; if need be that of the one that was asked longest ago and is not being asked now.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let deadline = Instant::now() + self.limits.room;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                return Ok(permit);
            }
            if self.evict().await {
                continue;
            }
            tokio::select! {
                permit = Arc::clone(&self.room).acquire_owned() => return permit.map_err(|_| Trouble::Stopped),
                () = freed => {}
                () = sleep_until(deadline) => return Err(Trouble::Full),
            }
        }
    }

    async fn evict(&self) -> bool {
        let mut seats: Vec<Arc<Seat>> = self.seats().seats.values().cloned().collect();
        seats.sort_by_key(|seat| seat.used.load(Ordering::Relaxed));
        for seat in seats {
            if let Ok(mut work) = seat.work.try_lock()
                && let Some(session) = work.session.take()
            {
                session.close().await;
                return true;
            }
        }
        false
    }

    #[cfg(test)]
    pub(super) fn free_places(&self) -> usize {
        self.room.available_permits()
    }
}

/// One step's use of the servers on its worktree. With the last lease of a worktree its servers end.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    root: PathBuf,
    env: BTreeMap<OsString, OsString>,
    cancel: CancellationToken,
    closed: AtomicBool,
}

impl Lease {
    /// Asks about a file as it is now.
    pub(crate) async fn ask(&self, question: &Question, read: &Reader) -> Result<Answer, Trouble> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Trouble::Stopped),
            answer = self.answer(question, read) => answer,
        }
    }

    /// Ends the servers, if this was the last lease of the worktree, and waits until they are gone.
    pub(crate) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let ends = self.pool.leave(&self.root).into_iter().map(|seat| async move {
            let session = seat.work.lock().await.session.take();
            if let Some(session) = session {
                session.close().await;
            }
        });
        join_all(ends).await;
        self.pool.freed.notify_waiters();
    }

    async fn answer(&self, question: &Question, read: &Reader) -> Result<Answer, Trouble> {
        let (name, settings) = self.pool.server_for(&question.file)?;
        let seat = self.pool.seat(&self.root, name)?;
        let mut work = seat.work.lock().await;
        if work.asking {
            // What the server was told last is not known.
            work.session = None;
        }
        work.asking = true;
        let answer = self.tried(&mut work, name, settings, question, read).await;
        work.asking = false;
        drop(work);
        self.pool.freed.notify_waiters();
        answer
    }

    /// Asks; a server that goes meanwhile is started once more.
    async fn tried(
        &self,
        work: &mut Work,
        name: &str,
        settings: &ServerSettings,
        question: &Question,
        read: &Reader,
    ) -> Result<Answer, Trouble> {
        let mut again = false;
        loop {
            let session = self.live(work, name, settings).await?;
            let answer = session.ask(question, read).await;
            let hangs = session.unanswered >= UNANSWERED_MAX;
            match &answer {
                Err(Trouble::Gone(gone)) => {
                    work.gone(gone);
                    if std::mem::replace(&mut again, true) {
                        return answer;
                    }
                }
                Err(Trouble::Late(_)) if hangs => {
                    work.gone(&Gone::Crashed("it did not answer any more".to_owned()));
                    return answer;
                }
                Ok(_) | Err(_) => return answer,
            }
        }
    }

    /// A live server, started if need be.
    async fn live<'a>(
        &self,
        work: &'a mut Work,
        name: &str,
        settings: &ServerSettings,
    ) -> Result<&'a mut Session, Trouble> {
        if let Some(gone) = work.session.as_ref().and_then(Session::is_gone) {
            work.gone(&gone);
        }
        if work.session.is_none() {
            if work.crashes > RESTARTS_MAX {
                let (server, times, why) = (name.to_owned(), work.crashes, work.last_words.clone());
                return Err(Trouble::GivenUp { server, times, why });
            }
            let permit = self.pool.permit().await?;
            let session = self.start(name, settings, permit).await.inspect_err(|trouble| {
                work.crashes += 1;
                work.last_words = trouble.to_string();
            })?;
            work.session = Some(session);
        }
        Ok(work.session.as_mut().expect("it was put there just now"))
    }

    async fn start(
        &self,
        name: &str,
        settings: &ServerSettings,
        permit: OwnedSemaphorePermit,
    ) -> Result<Session, Trouble> {
        let refused = |why: String| Trouble::NoStart { server: name.to_owned(), why };
        let folder = self.folder(settings).map_err(refused)?;
        let mut env = self.env.clone();
        env.extend(settings.env.iter().map(|(name, value)| (name.into(), value.into())));
        let program = Program { command: &settings.command, args: &settings.args, dir: &folder, env: &env };
        let facts = Facts { settings: settings.settings.clone(), folder: uri::of(&folder) };
        let connection = Connection::open(&program, facts, self.pool.limits.idle, permit).map_err(refused)?;
        let begun = Session::begin(connection, &self.root, &folder, settings, self.pool.limits).await;
        begun.map_err(|fault| match fault {
            Fault::Late => {
                let after = Duration::from_millis(settings.startup_ms());
                Trouble::SlowStart { server: name.to_owned(), after }
            }
            Fault::Gone(Gone::Crashed(why)) => refused(why),
            Fault::Gone(Gone::Ended) => refused("it was ended".to_owned()),
            Fault::Refused(refusal) => refused(refusal.message),
        })
    }

    /// The folder that a server works on: never outside of the worktree, whatever a worker has put there.
    fn folder(&self, settings: &ServerSettings) -> Result<PathBuf, String> {
        let Some(inside) = &settings.workspace_folder else { return Ok(self.root.clone()) };
        let folder = self.root.join(inside).canonicalize().map_err(|error| format!("open {inside}: {error}"))?;
        if folder.starts_with(&self.root) { Ok(folder) } else { Err(format!("{inside} is outside the worktree")) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // With a session its process group goes.
            drop(self.pool.leave(&self.root));
            self.pool.freed.notify_waiters();
        }
    }
}

impl Work {
    /// The server is gone, or has to go.
    fn gone(&mut self, gone: &Gone) {
        self.session = None;
        match gone {
            Gone::Ended => {}
            Gone::Crashed(why) => {
                self.crashes += 1;
                self.last_words.clone_from(why);
            }
        }
    }
}
