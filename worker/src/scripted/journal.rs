//! What came in, byte by byte, and what was billed for it.
//!
//! A record is opened when a request has arrived and settled when its reply has ended, however that was: what
//! was sent until then is charged. Authorisation is never recorded.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::HeaderMap;
use serde::Serialize;
use serde_json::json;

use super::bill::{Rates, Tier, Tokens};

/// Bound on the bytes of bodies that are kept in memory: a run of 1,000 requests of 250 kB. Later bodies are
/// left out of memory (their records say so), not out of the file.
const KEPT_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Bound on the number of records that are kept in memory; later ones are counted.
const RECORDS_MAX: usize = 200_000;
/// Headers that are recorded: what tells clients apart, and nothing secret.
const HEADERS: [&str; 5] =
    ["anthropic-version", "anthropic-beta", "content-type", "user-agent", "x-stainless-retry-count"];

/// One request, with what became of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// Its number, from 1, in the order of arrival.
    pub seq: u64,
    /// When it had arrived, in milliseconds of the server's clock.
    pub at_ms: u64,
    /// Path of the address.
    pub path: String,
    /// Some of its headers.
    pub headers: Vec<(String, String)>,
    /// Its body; empty where the bound on memory has been reached.
    #[serde(skip)]
    pub body: Bytes,
    /// Length of its body.
    pub body_bytes: usize,
    /// Status of the answer; 0 = none was given yet.
    pub status: u16,
    /// Name of the model that was asked for.
    pub model: String,
    /// Number of the reply in the script, from 1.
    pub reply: Option<usize>,
    /// What went wrong by order of the script; empty = nothing.
    pub fault: String,
    /// What is charged.
    pub tokens: Tokens,
    /// In money; absent where the script gives no rates, or nothing was charged.
    pub nano_usd: Option<u64>,
    /// Has a reply been sent to its end?
    pub complete: bool,
    /// Is it settled: will it stay as it is?
    pub settled: bool,
}

/// All records.
#[derive(Debug, Default)]
pub(super) struct Journal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<Record>,
    kept_bytes: usize,
    /// Number of all requests.
    count: u64,
    file: Option<File>,
    /// The first error of writing the file.
    broken: Option<io::Error>,
}

impl Journal {
    /// A journal that also writes every record to a file, once it is settled.
    pub(super) fn to_file(path: &Path) -> io::Result<Journal> {
        let inner = Inner { file: Some(File::create(path)?), ..Inner::default() };
        Ok(Journal { inner: Mutex::new(inner) })
    }

    /// A request has arrived.
    pub(super) fn open(self: &Arc<Self>, path: &str, headers: &HeaderMap, body: &Bytes, at_ms: u64) -> Receipt {
        let mut inner = self.lock();
        inner.count += 1;
        let recorded = HEADERS.iter().filter_map(|name| {
            let value = headers.get(*name)?.to_str().ok()?;
            Some(((*name).to_owned(), value.to_owned()))
        });
        let record = Record {
            seq: inner.count,
            at_ms,
            path: path.to_owned(),
            headers: recorded.collect(),
            body: body.clone(),
            body_bytes: body.len(),
            ..Record::default()
        };
        let mut place = None;
        if inner.records.len() < RECORDS_MAX {
            let kept = inner.kept_bytes + body.len() <= KEPT_BYTES_MAX;
            inner.kept_bytes += if kept { body.len() } else { 0 };
            place = Some(inner.records.len());
            inner.records.push(Record { body: if kept { body.clone() } else { Bytes::new() }, ..record.clone() });
        }
        drop(inner);
        Receipt { journal: Arc::clone(self), place, record, price: None }
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Everything that was settled has reached the file, or this says why not.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(error) = inner.broken.take() {
            return Err(error);
        }
        inner.file.as_mut().map_or(Ok(()), File::flush)
    }

    fn settle(&self, place: Option<usize>, record: &Record) {
        let mut inner = self.lock();
        if inner.broken.is_none()
            && let Some(file) = &mut inner.file
            && let Err(error) = file.write_all(line(record, &record.body).as_bytes())
        {
            inner.broken = Some(error);
        }
        if let Some(place) = place {
            let body = inner.records[place].body.clone();
            inner.records[place] = Record { body, ..record.clone() };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes records to a file, one JSON object a line.
pub(super) fn write(records: &[Record], path: &Path) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    for record in records {
        file.write_all(line(record, &record.body).as_bytes())?;
    }
    file.flush()
}

/// A record as a line; its body is in `body` as text, or in `body_hex` where it is none.
fn line(record: &Record, body: &[u8]) -> String {
    let mut value = serde_json::to_value(record).expect("a record has string keys");
    value["v"] = json!(1);
    match std::str::from_utf8(body) {
        Ok(text) => value["body"] = json!(text),
        Err(_) => value["body_hex"] = json!(body.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
    format!("{value}\n")
}

/// A record that is not settled yet; it is when this is dropped.
#[derive(Debug)]
pub(super) struct Receipt {
    journal: Arc<Journal>,
    place: Option<usize>,
    record: Record,
    price: Option<(Rates, Vec<Tier>)>,
}

impl Receipt {
    /// What is known of it by now.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut Record)) {
        note(&mut self.record);
    }

    /// From here on it costs something.
    pub(super) fn charge(&mut self, tokens: Tokens, rates: Option<Rates>, tiers: &[Tier]) {
        self.record.tokens = tokens;
        self.price = rates.map(|rates| (rates, tiers.to_vec()));
    }

    /// So many output tokens have gone out.
    pub(super) fn produced(&mut self, out: u64) {
        self.record.tokens.out += out;
    }

    /// The reply has been sent to its end.
    pub(super) fn complete(mut self) {
        self.record.complete = true;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some((rates, tiers)) = &self.price {
            self.record.nano_usd = Some(self.record.tokens.nano_usd(rates, tiers));
        }
        self.record.settled = true;
        self.journal.settle(self.place, &self.record);
    }
}
