//! The commands of one conversation that run, and those that have ended and were not looked at yet.
//!
//! Every command starts as a job. One that ends while its caller waits was a plain command; one that does not is
//! told by its id, and goes on. All of them end with the conversation ([`Jobs::close`]): files that a job writes are
//! the step's work only while somebody answers for them, and a commit must not be made of a file half written. They
//! are ended and not waited for, because a server would never end, and a build that nobody looks at is worth nothing.
//! A job that nobody can be told of any more is killed when this is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch::{self, Receiver};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{OUTPUT_BYTES_MAX, Shell, Watch};
use crate::assignment::Command;
use crate::process::{Ended, How, Tap};

/// How long a command is waited for before it becomes a background job: most builds of one crate and most test files
/// are over by then, and a model that waits longer could be reading.
const PATIENCE: Duration = Duration::from_secs(15);
/// Jobs of one conversation that run at once: a server, its client, a build and a watcher, twice. The machine is
/// shared with the other workers.
const LIVE_MAX: usize = 8;
/// Ended jobs that can still be looked at; each keeps its output (256 KiB at most). The oldest is forgotten first.
const ENDED_MAX: usize = 16;
/// How long KillShell waits: longer than a process has between the two signals, and than it may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// The jobs of one conversation.
pub(crate) struct Jobs {
    shell: Arc<dyn Shell>,
    stop: CancellationToken,
    patience: Duration,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u32,
    jobs: BTreeMap<u32, Job>,
    /// Joined when the conversation ends; dropping it kills what runs.
    tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Job {
    command: String,
    since: Instant,
    watch: Watch,
    ended: Receiver<Option<Arc<Ended>>>,
    /// Does the model know its id?
    known: bool,
    /// Does the model know that it has ended?
    told: bool,
    /// Has it seen how, and is that in the journal?
    seen: bool,
}

/// What came of starting a command.
pub(super) enum Started {
    Ended(Arc<Ended>),
    Runs { id: String, look: Look },
}

/// What a job has done since the last look.
pub(super) struct Look {
    pub(super) command: String,
    pub(super) fresh: String,
    pub(super) elapsed: Duration,
    /// `None` = it runs.
    pub(super) ended: Option<Arc<Ended>>,
}

/// A job that ran when its conversation ended, or that had ended and was not looked at.
#[derive(Debug)]
pub(crate) struct Unseen {
    pub(crate) id: String,
    pub(crate) command: String,
    pub(crate) ended: Arc<Ended>,
}

impl Jobs {
    /// Jobs that end with `stop`.
    pub(crate) fn new(shell: Arc<dyn Shell>, stop: &CancellationToken) -> Jobs {
        Jobs { shell, stop: stop.child_token(), patience: PATIENCE, table: Mutex::default() }
    }

    #[cfg(test)]
    pub(super) fn patient(self, patience: Duration) -> Jobs {
        Jobs { patience, ..self }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command, and waits a little unless it belongs in the background.
    pub(super) async fn start(&self, command: Command, background: bool) -> Result<Started, String> {
        let (number, job) = self.spawn(command, background)?;
        let wait = if background { Duration::ZERO } else { self.patience };
        let mut ended = over(&job, wait).await;
        if ended.is_none() && !background && self.table().live() > LIVE_MAX {
            // There is no room for one more job: this one keeps its caller waiting until its own time is over.
            ended = over(&job, Duration::MAX).await;
        }
        let mut table = self.table();
        match ended {
            Some(ended) if !background => {
                table.jobs.remove(&number);
                Ok(Started::Ended(ended))
            }
            ended => {
                if let Some(job) = table.jobs.get_mut(&number) {
                    job.known = true;
                }
                Ok(Started::Runs { id: name(number), look: look(&job, ended) })
            }
        }
    }

    fn spawn(&self, command: Command, background: bool) -> Result<(u32, Job), String> {
        let mut table = self.table();
        if self.stop.is_cancelled() {
            return Err("the work is being stopped".to_owned());
        }
        if background && table.live() >= LIVE_MAX {
            return Err(format!("{LIVE_MAX} jobs run already: {}. End one with KillShell first", table.ids()));
        }
        while table.tasks.try_join_next().is_some() {}
        table.forget();
        let watch = Watch { stop: self.stop.child_token(), tap: Arc::new(Tap::new(OUTPUT_BYTES_MAX)) };
        let (tell, ended) = watch::channel(None);
        let job = Job {
            command: command.run.clone(),
            since: Instant::now(),
            watch: watch.clone(),
            ended,
            known: false,
            told: false,
            seen: false,
        };
        let shell = Arc::clone(&self.shell);
        table.tasks.spawn(async move {
            let ended = shell.run(command, watch).await.unwrap_or_else(not_started);
            tell.send_replace(Some(Arc::new(ended)));
        });
        table.last += 1;
        let number = table.last;
        table.jobs.insert(number, job.clone());
        Ok((number, job))
    }

    /// What is new of a job, after waiting for its end.
    pub(super) async fn look(&self, id: &str, wait: Duration) -> Result<Look, String> {
        let (number, job) = self.find(id)?;
        let ended = over(&job, wait).await;
        if ended.is_some() {
            self.mark_seen(number);
        }
        Ok(look(&job, ended))
    }

    /// Ends a job with all that it has started.
    pub(super) async fn kill(&self, id: &str) -> Result<Look, String> {
        let (number, job) = self.find(id)?;
        job.watch.stop.cancel();
        let ended = over(&job, KILL_WAIT).await;
        if ended.is_some() {
            self.mark_seen(number);
        }
        Ok(look(&job, ended))
    }

    fn find(&self, id: &str) -> Result<(u32, Job), String> {
        let table = self.table();
        let known = id.strip_prefix("bash_").and_then(|number| number.parse().ok());
        let found = known.and_then(|number: u32| Some((number, table.jobs.get(&number)?.clone())));
        found.filter(|(_, job)| job.known).ok_or_else(|| {
            let ids = table.ids();
            let ids = if ids.is_empty() { "there is none now".to_owned() } else { format!("there are {ids}") };
            format!("there is no job {id}: {ids}. A job that ran before an interruption was ended by it")
        })
    }

    fn mark_seen(&self, number: u32) {
        if let Some(job) = self.table().jobs.get_mut(&number) {
            (job.told, job.seen) = (true, true);
        }
    }

    /// Jobs that have ended, each given once.
    pub(super) fn untold(&self) -> Vec<(String, Arc<Ended>)> {
        let mut table = self.table();
        let jobs = table.jobs.iter_mut().filter(|(_, job)| job.known && !job.told);
        let ended = jobs.filter_map(|(number, job)| {
            let ended = job.ended.borrow().clone()?;
            job.told = true;
            Some((name(*number), ended))
        });
        ended.collect()
    }

    /// Ends what runs and waits until nothing of it is left. Gives the jobs whose end the model has not seen.
    pub(crate) async fn close(&self) -> Vec<Unseen> {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut self.table().tasks);
        while tasks.join_next().await.is_some() {}
        let mut table = self.table();
        let unseen = std::mem::take(&mut table.jobs).into_iter().filter(|(_, job)| job.known && !job.seen);
        let unseen = unseen.filter_map(|(number, job)| {
            let ended = job.ended.borrow().clone()?;
            Some(Unseen { id: name(number), command: job.command, ended })
        });
        unseen.collect()
    }
}

impl Table {
    fn live(&self) -> usize {
        self.jobs.values().filter(|job| job.ended.borrow().is_none()).count()
    }

    fn ids(&self) -> String {
        let known = self.jobs.iter().filter(|(_, job)| job.known);
        known.map(|(number, _)| name(*number)).collect::<Vec<_>>().join(", ")
    }

    /// Forgets ended jobs, the oldest first, so that one more fits.
    fn forget(&mut self) {
        let ended = self.jobs.iter().filter(|(_, job)| job.known && job.ended.borrow().is_some());
        let ended: Vec<u32> = ended.map(|(number, _)| *number).collect();
        let excess = (ended.len() + 1).saturating_sub(ENDED_MAX);
        for number in &ended[..excess] {
            self.jobs.remove(number);
        }
    }
}

fn name(number: u32) -> String {
    format!("bash_{number}")
}

/// Waits for the end of a job; `None` = it still runs.
async fn over(job: &Job, wait: Duration) -> Option<Arc<Ended>> {
    let mut receiver = job.ended.clone();
    let seen = receiver.wait_for(Option::is_some);
    match timeout(wait, seen).await {
        Ok(Ok(ended)) => ended.clone(),
        Ok(Err(_)) => Some(Arc::new(not_started("the command was lost".to_owned()))),
        Err(_) => None,
    }
}

fn look(job: &Job, ended: Option<Arc<Ended>>) -> Look {
    Look {
        command: job.command.clone(),
        fresh: job.watch.tap.take(ended.is_some()),
        elapsed: job.since.elapsed(),
        ended,
    }
}

fn not_started(why: String) -> Ended {
    Ended { how: How::NotStarted(why), evidence: crate::outcome::Evidence::default() }
}
