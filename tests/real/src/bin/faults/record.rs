//! What was asked and what was answered: counted, kept until it can be checked, and judged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use linear::{Answered, Asked, Call, Histories};
use real::pool::{Pool, until};

/// How soon an answer must be right once everything is healed.
const SETTLING_MAX: Duration = Duration::from_secs(15);

/// What all users share.
pub struct Record {
    /// Sessions that take locks.
    pub sessions: Vec<String>,
    /// Whether users go home.
    pub is_over: AtomicBool,
    values: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    epoch: u64,
    histories: BTreeMap<u64, Histories>,
    checked: usize,
    ledger: BTreeMap<String, Vec<Option<u64>>>,
    /// The last value of the bell that each watcher heard.
    heard: BTreeMap<usize, String>,
    counts: [Counts; 2],
    last_write: Instant,
    broken: Vec<String>,
}

/// In this round, and in all before it.
#[derive(Clone, Copy, Default)]
struct Counts {
    writes: u64,
    reads: u64,
    wakes: u64,
    unanswered: u64,
    longest_wait: Duration,
}

/// An operation on a key whose history is kept.
pub struct Open {
    epoch: u64,
    call: Call,
    is_write: bool,
}

impl Record {
    /// Nothing has happened yet.
    pub fn new(sessions: Vec<String>) -> Record {
        let inner = Inner {
            epoch: 0,
            histories: BTreeMap::new(),
            checked: 0,
            ledger: BTreeMap::new(),
            heard: BTreeMap::new(),
            counts: [Counts::default(); 2],
            last_write: Instant::now(),
            broken: Vec::new(),
        };
        Record { sessions, is_over: AtomicBool::new(false), values: AtomicU64::new(1), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nobody had before.
    pub fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    /// Keys of one epoch have one history, which is checked when the next but one begins.
    pub fn epoch(&self) -> u64 {
        self.inner().epoch
    }

    /// A new epoch begins; what was asked in the one before the last has been answered by now or never will be.
    pub fn next_epoch(&self, pool: &Pool) {
        let old = {
            let mut inner = self.inner();
            inner.epoch += 1;
            let epoch = inner.epoch;
            epoch.checked_sub(2).and_then(|old| inner.histories.remove(&old).map(|histories| (old, histories)))
        };
        if let Some((old, histories)) = old {
            self.check(&histories);
            // If this is lost, a few keys stay.
            let _ = pool.request(0, "DELETE", &format!("/v1/kv/linear/{old}/?recurse"), b"");
        }
    }

    fn check(&self, histories: &Histories) {
        self.judge(histories.check());
        self.inner().checked += histories.count();
    }

    /// Somebody asks a key of this epoch.
    pub fn called(&self, epoch: u64, key: &str, asked: Asked) -> Open {
        let call = self.inner().histories.entry(epoch).or_default().called(key, asked);
        Open { epoch, call, is_write: asked != Asked::Get }
    }

    /// The answer came.
    pub fn answered(&self, open: &Open, answered: Answered) {
        let mut inner = self.inner();
        if let Some(histories) = inner.histories.get_mut(&open.epoch) {
            histories.answered(&open.call, answered);
        }
        if open.is_write { inner.wrote() } else { inner.counts[0].reads += 1 }
    }

    /// It was said that it did not happen.
    pub fn refused(&self, open: &Open) {
        let mut inner = self.inner();
        inner.counts[0].unanswered += 1;
        if let Some(histories) = inner.histories.get_mut(&open.epoch) {
            histories.refused(&open.call);
        }
    }

    /// No answer came, or one that tells nothing.
    pub fn unanswered(&self) {
        self.inner().counts[0].unanswered += 1;
    }

    /// A record is about to become this, `None` when it is to be removed.
    pub fn began(&self, record: &str, value: Option<u64>) {
        self.inner().ledger.entry(record.to_owned()).or_insert_with(|| vec![None]).push(value);
    }

    /// It was acknowledged, so it is nothing else until the next change begins.
    pub fn acknowledged(&self, record: &str, value: Option<u64>) {
        let mut inner = self.inner();
        inner.ledger.insert(record.to_owned(), vec![value]);
        inner.wrote();
    }

    /// A watcher woke, or its time was over.
    pub fn heard(&self, place: usize, value: String) {
        let mut inner = self.inner();
        inner.counts[0].wakes += 1;
        inner.heard.insert(place, value);
    }

    /// Keeps a verdict.
    pub fn judge(&self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.inner().broken.push(what);
        }
    }

    /// What was broken so far.
    pub fn broken(&self) -> Vec<String> {
        self.inner().broken.clone()
    }

    /// What happened in this round, and begins the next.
    pub fn progress(&self) -> String {
        let mut inner = self.inner();
        let round = std::mem::take(&mut inner.counts[0]);
        let all = &mut inner.counts[1];
        all.writes += round.writes;
        all.reads += round.reads;
        all.wakes += round.wakes;
        all.unanswered += round.unanswered;
        all.longest_wait = all.longest_wait.max(round.longest_wait);
        round.to_string()
    }

    /// What happened in all rounds.
    pub fn summary(&self) -> String {
        let inner = self.inner();
        let (records, checked) = (inner.ledger.len(), inner.checked);
        format!("{}; {records} records compared, {checked} operations in order", inner.counts[1])
    }

    /// Everybody has gone home and everything is healed: compares what is with what was acknowledged.
    pub fn check_in_the_end(&self, pool: &Pool) {
        let histories = std::mem::take(&mut self.inner().histories);
        histories.values().for_each(|histories| self.check(histories));
        for place in pool.servers().chain(pool.clients()) {
            self.check_ledger(pool, place);
        }
        let last = self.next_value().to_string();
        let is_rung = pool.put(0, "bell", &last);
        self.judge(is_rung.then_some(()).ok_or_else(|| "a healed cluster takes no writes".to_owned()));
        let everybody = pool.servers().chain(pool.clients()).collect::<Vec<_>>();
        until(SETTLING_MAX, "watcher of every agent that wakes for the last change", || {
            let inner = self.inner();
            everybody.iter().all(|place| inner.heard.get(place) == Some(&last)).then_some(())
        });
    }

    fn check_ledger(&self, pool: &Pool, place: usize) {
        let ledger = self.inner().ledger.clone();
        let found = crate::load::ledger_seen_by(pool, place);
        for (record, possible) in &ledger {
            let is = found.get(record).copied();
            if !possible.contains(&is) {
                let name = pool.name(place);
                self.judge(Err(format!("{name}: {record} is {is:?}, and only {possible:?} can be")));
            }
        }
    }
}

impl Inner {
    fn wrote(&mut self) {
        let waited = self.last_write.elapsed();
        self.last_write = Instant::now();
        let round = &mut self.counts[0];
        round.writes += 1;
        round.longest_wait = round.longest_wait.max(waited);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { writes, reads, wakes, unanswered, longest_wait } = self;
        let waited = longest_wait.as_secs_f64();
        write!(f, "{writes} writes, {reads} reads, {wakes} wakes, {unanswered} unanswered, ")?;
        write!(f, "{waited:.1} s without a write")
    }
}
