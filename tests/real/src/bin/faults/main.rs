//! A cluster under mixed load for as long as you like, with a fault every twenty seconds.
//!
//! `faults MINUTES SEED CLIENTS` runs three servers and that many clients on hosts of a private network, uses them
//! through every agent (`load.rs`, `record.rs`), and lets something go wrong over and over (`trouble.rs`). In the end everything is
//! healed, and it says whether an acknowledged write was lost, whether the histories of keys are linearizable, and
//! what memory each agent took at most (`memory.rs`). The exit code is 1 when a promise was broken.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "processes run in real time")]

mod load;
mod memory;
mod record;
mod trouble;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use memory::Memory;
use real::pool::{Plan, Pool, until};
use record::Record;
use trouble::Trouble;

/// From the beginning of a fault to that of the next.
const ROUND: Duration = Duration::from_secs(20);

const SERVERS: usize = 3;

/// How soon after healing everything must be well.
const HEALING_MAX: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let number = |place: usize, default: u64| {
        let given = std::env::args().nth(place).map(|text| text.parse().expect("usage: faults MINUTES SEED CLIENTS"));
        given.unwrap_or(default)
    };
    let (minutes, seed, clients) = (number(1, 30), number(2, 1), number(3, 2));
    let clients = usize::try_from(clients).expect("a small number of clients");
    println!("{minutes} minutes, seed {seed}: {SERVERS} servers, {clients} clients, a fault every {ROUND:?}");
    let broken = run(Duration::from_secs(60 * minutes), seed, clients);
    for what in &broken {
        println!("BROKEN {what}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A whole run; returns what was broken.
fn run(length: Duration, seed: u64, clients: usize) -> Vec<String> {
    let mut pool = Pool::start(&Plan { servers: SERVERS, clients, ..Plan::default() });
    let hosts: Vec<_> = (0..SERVERS + clients).map(|place| pool.host(place).clone()).collect();
    let record = Arc::new(Record::new(load::sessions(&pool)));
    let users: Vec<_> = hosts.iter().enumerate().flat_map(|(place, host)| load::start(&record, place, host)).collect();
    let mut trouble = Trouble::new(seed);
    let mut memory = Memory::new(SERVERS, clients);
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < length && record.broken().is_empty() {
        round += 1;
        let ends = began + round * ROUND;
        let what = trouble.begin(&mut pool);
        let mut is_healed = false;
        while Instant::now() < ends && record.broken().is_empty() {
            memory.look(&mut pool);
            is_healed = is_healed || trouble.heal_when_over(&mut pool);
            note_ends(&mut pool, &record);
            thread::sleep(Duration::from_millis(200));
        }
        trouble.heal(&mut pool);
        record.next_epoch(&pool);
        println!("{:>5} s  {what:<34} {}  {memory}", began.elapsed().as_secs(), record.progress());
    }
    println!("healed; now everything must be as it was acknowledged");
    record.is_over.store(true, Ordering::Relaxed);
    for user in users {
        user.join().expect("a user does not panic");
    }
    settle(&pool);
    record.check_in_the_end(&pool);
    let logs = std::env::temp_dir().join("lictor-faults-logs");
    println!("{}\nlogs in {}", record.summary(), logs.display());
    pool.write_logs(&logs);
    print!("{}", memory.report());
    let mut broken = record.broken();
    broken.extend(memory.over_budget());
    broken
}

/// No agent may end by itself.
fn note_ends(pool: &mut Pool, record: &Record) {
    for place in pool.servers().chain(pool.clients()) {
        if pool.is_up(place) && pool.agent(place).has_ended() {
            let said = pool.agent(place).said();
            let last = said[said.len().saturating_sub(20)..].join("\n");
            record.judge(Err(format!("{} ended by itself; its last words:\n{last}", pool.name(place))));
        }
    }
}

/// Waits until every agent sees every other alive and answers a default read.
fn settle(pool: &Pool) {
    let places = || pool.servers().chain(pool.clients());
    for place in places() {
        until(HEALING_MAX, "agent that sees everybody alive", || {
            places().all(|other| pool.status_of(other, place) == Some("alive")).then_some(())
        });
        until(HEALING_MAX, "agent that takes writes", || pool.put(place, "settled", "1").then_some(()));
    }
}
