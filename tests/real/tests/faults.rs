//! What a cluster of real processes does when hosts, links and disks fail: one story a test, each with a promise.

#![expect(clippy::disallowed_types, reason = "processes run in real time")]

use std::time::{Duration, Instant};

use real::http::Connection;
use real::namespaces::SmallDisk;
use real::pool::{Pool, throughout, until};
use rustix::process::Signal;

/// How soon after the loss of its leader a cluster takes writes again.
const FAILOVER_MAX: Duration = Duration::from_secs(3);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gossip that gives up a dead member within a few seconds.
const QUICK_GOSSIP: &str = r#"gossip_lan { probe_interval = "200ms", probe_timeout = "100ms", suspicion_mult = 3 }"#;

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

/// A leader that was paused thinks for a moment that it still leads when it wakes.
#[test]
fn a_leader_that_slept_answers_no_stale_default_read_when_it_wakes() {
    let mut pool = three();
    let sleeper = pool.leader();
    let others = others(&pool, sleeper);
    assert!(pool.put(sleeper, "key", "old"));
    let connect = || pool.host(sleeper).connect().expect("the agent accepts connections");
    let mut asleep: Vec<Connection> = (0..20).map(|_| connect()).collect();

    pool.signal(sleeper, Signal::STOP);
    // These wait for it to wake: they are the first thing it does.
    for connection in &mut asleep {
        connection.send(b"GET /v1/kv/key?raw HTTP/1.1\r\nHost: agent\r\n\r\n").expect("the kernel takes it");
    }
    until(PATIENCE, "acknowledged write", || pool.put(others[0], "key", "new").then_some(()));
    pool.signal(sleeper, Signal::CONT);

    let answers: Vec<(u16, String)> = asleep
        .iter_mut()
        .map(|asleep| asleep.response().expect("it answers"))
        .map(|it| (it.status, it.text()))
        .collect();
    assert!(answers.iter().all(|(status, text)| *status != 200 || text == "new"), "{answers:?}");
    until(PATIENCE, "answer of the one that slept", || pool.value(sleeper, "key", "").filter(|value| value == "new"));
    assert_eq!(pool.status_of(sleeper, others[0]), Some("alive"));
}

#[test]
fn a_follower_that_was_cut_off_fails_and_catches_up_when_it_is_back() {
    let pool = three();
    let leader = pool.leader();
    let others = others(&pool, leader);
    let (lost, other) = (others[0], others[1]);

    pool.network().cut_off(&[lost]);
    until(PATIENCE, "failed member", || pool.status_of(lost, leader).filter(|status| *status == "failed"));
    for number in 0..100 {
        assert!(pool.put(other, &format!("meanwhile/{number}"), "1"), "two of three take writes");
    }
    assert_eq!(pool.value(lost, "meanwhile/0", "&stale"), None);
    pool.network().heal();

    until(PATIENCE, "member that is alive", || pool.status_of(lost, leader).filter(|status| *status == "alive"));
    until(PATIENCE, "follower that caught up", || pool.value(lost, "meanwhile/99", "&stale"));
    assert_eq!(pool.value(lost, "meanwhile/50", "").as_deref(), Some("1"), "and it answers default reads");
    assert_eq!(pool.leader(), leader, "who comes back disturbs nobody");
}

#[test]
fn a_leader_that_is_cut_off_neither_takes_writes_nor_answers_default_reads() {
    let pool = three();
    let lost = pool.leader();
    let others = others(&pool, lost);
    assert!(pool.put(lost, "key", "old"));

    pool.network().cut_off(&[lost]);
    let cut = Instant::now();
    let is_written = until(PATIENCE, "acknowledged write", || pool.put(others[0], "key", "new").then(|| cut.elapsed()));
    println!("writes were accepted again {} ms after the leader was cut off", is_written.as_millis());
    for read in ["", "&consistent"] {
        let answer = pool.value(lost, "key", read);
        assert_eq!(answer, None, "the smaller side knows nothing of the newer value ({read})");
    }
    assert!(!pool.put(lost, "key", "lost"), "the smaller side can't keep a write");
    assert_eq!(pool.value(lost, "key", "&stale").as_deref(), Some("old"), "what is known to be old is answered");
    pool.network().heal();

    until(PATIENCE, "answer of the old leader", || pool.value(lost, "key", "").filter(|value| value == "new"));
    assert_eq!(pool.value(others[1], "key", "").as_deref(), Some("new"));
}

/// The followers hear a leader that hears nobody: it must not keep them from choosing another.
#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    let pool = three();
    let deaf = pool.leader();
    let others = others(&pool, deaf);

    pool.network().deafen(&[deaf]);
    let began = Instant::now();
    until(PATIENCE, "acknowledged write", || pool.put(others[0], "key", "1").then_some(()));
    println!("writes were accepted again {} ms after the leader went deaf", began.elapsed().as_millis());
    pool.network().heal();
    until(PATIENCE, "leader that follows", || pool.value(deaf, "key", "&stale"));
}

/// Probes that get no answer over UDP are repeated over TCP, so a firewall costs nobody its health.
#[test]
fn a_member_without_udp_stays_alive() {
    let pool = Pool::start(3, 0, QUICK_GOSSIP);
    let mute = 2;

    pool.network().block_udp(&[mute]);
    // A dead member would be given up four times as soon.
    throughout(Duration::from_secs(8), || {
        for place in pool.servers() {
            let seen: Vec<_> = pool.servers().map(|member| pool.status_of(member, place)).collect();
            assert_eq!(seen, [Some("alive"); 3], "seen by {}", pool.name(place));
        }
    });
    pool.network().cut_off(&[mute]);
    let cut = Instant::now();
    until(PATIENCE, "failed member", || pool.status_of(mute, 0).filter(|status| *status == "failed"));
    assert!(
        cut.elapsed() < Duration::from_secs(8),
        "a dead one took {:?}: it was looked at for too short",
        cut.elapsed()
    );
}

#[test]
fn a_lossy_network_costs_nobody_its_health_and_writes_go_on() {
    let mut pool = three();
    pool.network().lose();

    let (mut written, mut slowest) = (0, Duration::ZERO);
    throughout(Duration::from_secs(30), || {
        let began = Instant::now();
        until(PATIENCE, "acknowledged write", || pool.put(written % 3, "key", "1").then_some(()));
        slowest = slowest.max(began.elapsed());
        written += 1;
    });

    println!("{written} writes while a fifth of all packets is lost, the slowest in {} ms", slowest.as_millis());
    for place in pool.servers() {
        let failed: Vec<String> =
            pool.agent(place).said().iter().filter(|line| line.contains("EventMemberFailed")).cloned().collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[test]
fn a_full_disk_costs_a_cluster_one_server_and_no_write() {
    let disk = SmallDisk::of(32);
    let full = 0;
    let mut pool = Pool::start_with_disk(3, 0, "", Some((full, &disk)));
    let other = 1;
    assert!(pool.put(other, "before", "1"));

    disk.fill();
    let value = "x".repeat(100_000);
    let acknowledged: Vec<String> = (0..100)
        .map(|number| format!("full/{number}"))
        .filter(|key| until(PATIENCE, "answer", || Some(pool.put(other, key, &value))))
        .collect();
    println!("{} of 100 writes were acknowledged while a disk filled up", acknowledged.len());
    assert!(acknowledged.len() > 90, "the other two go on");
    let (code, said) = pool.wait(full);
    assert_eq!(code, 1, "an agent that can't write stops");
    assert!(said.contains("No space left on device"), "and says why:\n{said}");

    disk.make_room();
    pool.begin(full);
    for key in acknowledged {
        until(PATIENCE, "acknowledged write on the server whose disk was full", || pool.value(full, &key, "&stale"));
        assert_eq!(pool.value(other, &key, "").map(|value| value.len()), Some(value.len()), "{key} was lost");
    }
}
