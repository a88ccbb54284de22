//! What a cluster of real processes does when hosts, links and disks fail: one story a test, each with a promise.

#![expect(clippy::disallowed_types, reason = "processes run in real time")]

use std::time::{Duration, Instant};

use real::namespaces::SmallDisk;
use real::pool::{Pool, throughout, until};
use rustix::process::Signal;

/// How soon after the loss of its leader a cluster takes writes again.
const FAILOVER_MAX: Duration = Duration::from_secs(3);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three servers at default timing.
fn three() -> Pool {
    Pool::start(3, 0, "")
}

/// The servers but this one.
fn others(pool: &Pool, one: usize) -> Vec<usize> {
    pool.servers().filter(|place| *place != one).collect()
}

#[test]
fn writes_go_on_within_three_seconds_of_the_leaders_death() {
    let mut pool = three();
    let lost = pool.leader();
    let others = others(&pool, lost);
    assert!(pool.put(others[0], "before", "1"));

    pool.kill(lost);
    let died = Instant::now();
    until(PATIENCE, "acknowledged write", || pool.put(others[0], "after", "2").then_some(()));
    let took = died.elapsed();

    println!("writes were accepted again {} ms after the leader was killed", took.as_millis());
    assert!(took < FAILOVER_MAX, "{took:?}");
    assert_eq!(pool.value(others[1], "before", "").as_deref(), Some("1"));
    pool.begin(lost);
    until(PATIENCE, "leader that caught up", || pool.value(lost, "after", "&stale").filter(|value| value == "2"));
}
