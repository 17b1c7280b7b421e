//! 500 workers that wait for a slow model: what they take of memory and of one core. The server is a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wattle_cache::warm::Policy;
use wattle_worker::scripted;

use crate::Res;
use crate::client::{SERVED, Worker, prefix, runtime, shared};
use crate::table::{Line, Table};

/// The argument that makes this program the server.
pub(crate) const SERVE: &str = "serve";

const WORKERS: usize = 500;
const PREFIX_TOKENS: usize = 8_000;
/// How long the replies stand still, and for how long of that is measured.
const STILL_MS: u64 = 25_000;
const MEASURED: Duration = Duration::from_secs(8);

/// Serves a model that begins its replies and then stands still, until its input ends.
pub(crate) fn serve() -> Res<()> {
    let script = format!(
        "version: 1\n{SERVED}\nreplies: [{{ blocks: [{{ text: ok }}], fault: {{ stall_after_bytes: 500, stall_ms: {STILL_MS} }} }}]\n"
    );
    runtime()?.block_on(async {
        let server = scripted::serve_text(&script, 0).await?;
        writeln!(std::io::stdout(), "{}", server.base_url())?;
        std::io::stdout().flush()?;
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        Ok(())
    })
}

/// The server, until dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    #[expect(clippy::disallowed_methods, reason = "the server has to be a process of its own: ours is measured")]
    let child = Command::new(std::env::current_exe()?)
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut server = Server(child);
    let out = server.0.stdout.take().ok_or("the server has no output")?;
    let mut url = String::new();
    BufReader::new(out).read_line(&mut url)?;
    let runtime = runtime()?;
    let model = shared(url.trim().to_owned(), Policy { ramp_ms: 0, ..Policy::default() })?;
    let prefix = Arc::new(prefix(PREFIX_TOKENS)?);
    let begun = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..WORKERS)
        .map(|index| {
            let mut worker = Worker::new(&model, &prefix, &format!("w{index}"));
            let begun = Arc::clone(&begun);
            runtime.spawn(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                worker.ask().await.is_ok()
            })
        })
        .collect();
    let connected = wait_until_connected()?;
    let (before, start) = (cpu()?, Instant::now());
    std::thread::sleep(MEASURED);
    let (after, spent) = (cpu()?, start.elapsed());
    let still = tasks.iter().filter(|task| !task.is_finished()).count();
    let (resident, percent) = (resident_mb()?, 100.0 * (after - before).as_secs_f64() / spent.as_secs_f64());
    table.add(Line {
        what: format!(
            "{still} workers waiting for a slow model ({connected} connections), {PREFIX_TOKENS} tokens of prefix each"
        ),
        measured: format!("{resident} MB resident, {percent:.2} % of one core"),
        goal: "500: ≤ 120 MB, ≤ 3 %",
        reached: Some(still == WORKERS && connected >= WORKERS && resident <= 120 && percent <= 3.0),
    });
    for task in &tasks {
        task.abort();
    }
    Ok(())
}

/// Waits until all have sent their request, and gives the number of open sockets.
fn wait_until_connected() -> Res<usize> {
    let start = Instant::now();
    loop {
        let sockets = std::fs::read_dir("/proc/self/fd")?
            .flatten()
            .filter(|entry| {
                std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
            })
            .count();
        if sockets >= WORKERS || start.elapsed() > Duration::from_secs(12) {
            // The last of them are still being sent.
            std::thread::sleep(Duration::from_secs(1));
            return Ok(sockets);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processor time of this process.
fn cpu() -> Res<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit_once(')').ok_or("/proc/self/stat")?.1.split_whitespace().collect();
    let ticks = |at: usize| -> Res<u64> { Ok(fields.get(at).ok_or("/proc/self/stat")?.parse()?) };
    // User and system time, in hundredths of a second on every Linux.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn resident_mb() -> Res<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("/proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}
