//! What a cluster of real processes does when hosts, links and disks fail: one story a test, each with a promise.

#![expect(clippy::disallowed_types, reason = "processes run in real time")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use real::http::Connection;
use real::namespaces::SmallDisk;
use real::pool::{Plan, Pool, throughout, until};
use rustix::process::Signal;
use serde_json::Value;

/// How soon after the loss of its leader a cluster takes writes again.
const FAILOVER_MAX: Duration = Duration::from_secs(3);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gossip that gives up a dead member within a few seconds.
const QUICK_GOSSIP: &str = r#"gossip_lan { probe_interval = "200ms", probe_timeout = "100ms", suspicion_mult = 3 }"#;

/// Three servers at default timing.
fn three() -> Pool {
    Pool::start(&Plan { servers: 3, ..Plan::default() })
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
    // Where the election took long, the others gave it up meanwhile: it objects once it hears that.
    until(PATIENCE, "member that is alive", || pool.status_of(sleeper, others[0]).filter(|status| *status == "alive"));
}

#[test]
fn a_follower_that_was_cut_off_fails_and_catches_up_when_it_is_back() {
    let pool = Pool::start(&Plan { servers: 3, config: QUICK_GOSSIP, ..Plan::default() });
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
    // All at the same time, since each waits for a leader as long as a request is held.
    let ask = |head: &str, body: &str| {
        let mut connection = pool.host(lost).connect().expect("the agent accepts connections");
        let message = format!("{head} HTTP/1.1\r\nHost: agent\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        connection.send(message.as_bytes()).expect("the agent reads");
        connection
    };
    let reads = ["GET /v1/kv/key?raw", "GET /v1/kv/key?raw&consistent"].map(|head| ask(head, ""));
    let write = ask("PUT /v1/kv/key", "lost");
    for mut asked in reads.into_iter().chain([write]) {
        let answer = asked.response().expect("the agent answers");
        assert_eq!(answer.status, 500, "the smaller side knows nothing of the newer value and can't keep another");
    }
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
    let pool = Pool::start(&Plan { servers: 3, config: QUICK_GOSSIP, ..Plan::default() });
    let mute = 2;

    pool.network().block_udp(&[mute]);
    // Longer than it takes to give up one that is dead, as is seen below.
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

/// Leases, elections, sessions and gossip follow the clock that only goes forward.
#[test]
fn a_wall_clock_that_jumps_costs_nothing() {
    let pool = Pool::start(&Plan { servers: 3, clocks: true, ..Plan::default() });
    let leader = pool.leader();
    let other = others(&pool, leader)[0];
    let term = || pool.get(other, "/v1/agent/self").map(|about| about["Stats"]["raft"]["term"].clone());
    let before = term();
    // A session needs its node in the catalog, where a new leader puts it after it is known to lead.
    let health = format!("/v1/health/node/{}", pool.name(other));
    until(PATIENCE, "node in the catalog", || pool.get(other, &health).filter(|it| it[0]["Status"] == "passing"));
    let created = pool.request(other, "PUT", "/v1/session/create", br#"{"TTL": "10s"}"#).expect("it answers").text();
    let session = serde_json::from_str::<Value>(&created).expect("JSON")["ID"].as_str().expect("an id").to_owned();
    assert!(pool.put(other, &format!("lock?acquire={session}"), "1"));

    for offset in ["+1d", "-1d", "+0"] {
        for place in [leader, other] {
            pool.set_clock(place, offset);
            throughout(Duration::from_millis(500), || assert!(pool.put(other, "key", offset), "{offset}"));
        }
    }

    let held = pool.get(leader, "/v1/kv/lock").expect("it answers");
    assert_eq!(held[0]["Session"].as_str(), Some(session.as_str()), "a session of ten seconds lives after three");
    assert_eq!(term(), before, "nobody had to be elected");
    assert!(pool.servers().all(|place| pool.status_of(place, other) == Some("alive")));
}

#[test]
fn a_rolling_restart_of_all_servers_costs_no_request_through_a_client() {
    let mut pool = Pool::start(&Plan { servers: 3, clients: 1, ..Plan::default() });
    let client = pool.clients().start;
    let mut connection = pool.host(client).connect().expect("the agent accepts connections");
    let is_over = AtomicBool::new(false);

    thread::scope(|scope| {
        let user = scope.spawn(|| use_until(&is_over, &mut connection));
        let end = End(&is_over);
        for place in pool.servers() {
            let written = format!("restarted/{place}");
            pool.terminate(place);
            assert!(pool.put(client, &written, "1"));
            pool.begin(place);
            until(PATIENCE, "server that caught up", || pool.value(place, &written, "&stale"));
            until(PATIENCE, "member that is alive", || pool.status_of(place, client).filter(|is| *is == "alive"));
            // The next one may only go when this one counts again.
            until(PATIENCE, "healthy cluster", || pool.get(client, "/v1/operator/autopilot/health"));
        }
        drop(end);
        let (requests, failed) = user.join().expect("the user does not panic");
        println!("{requests} requests through a client while all servers were restarted, {} failed", failed.len());
        assert!(requests > 100 && failed.is_empty(), "{failed:#?}");
    });
}

/// Sends a user home when it is dropped, also by a test that fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes and reads without a pause; returns how many requests that were, and what failed.
fn use_until(is_over: &AtomicBool, connection: &mut Connection) -> (usize, Vec<String>) {
    let mut failed = Vec::new();
    let mut requests = 0;
    while !is_over.load(Ordering::Relaxed) {
        let value = requests.to_string();
        let asked = [
            ("PUT", "/v1/kv/rolling", value.as_bytes()),
            ("GET", "/v1/kv/rolling?raw", b""),
            ("GET", "/v1/health/service/consul", b""),
        ];
        for (method, path, body) in asked {
            requests += 1;
            match connection.request(method, path, body) {
                Ok(answer) if answer.status != 200 => failed.push(format!("{method} {path}: {}", answer.text())),
                Ok(answer) if path.ends_with("raw") && answer.text() != value => {
                    failed.push(format!("{method} {path}: {}, not {value}", answer.text()));
                }
                Ok(_) => {}
                Err(error) => failed.push(format!("{method} {path}: {error}")),
            }
        }
    }
    (requests, failed)
}

#[test]
fn a_full_disk_costs_a_cluster_one_server_and_no_write() {
    let disk = SmallDisk::of(32);
    let full = 0;
    let mut pool = Pool::start(&Plan { servers: 3, disk: Some((full, &disk)), ..Plan::default() });
    let other = 1;
    assert!(pool.put(other, "before", "1"));

    disk.fill();
    let value = "x".repeat(100_000);
    let (acknowledged, refused): (Vec<_>, Vec<_>) = (0..100)
        .map(|number| {
            let key = format!("full/{number}");
            let answer = pool.request(other, "PUT", &format!("/v1/kv/{key}"), value.as_bytes());
            (key, answer.map_or_else(|error| error.to_string(), |answer| answer.text()))
        })
        .partition(|(_, answer)| answer.trim() == "true");
    println!("{} of 100 writes were acknowledged while a disk filled up, not {refused:#?}", acknowledged.len());
    assert!(acknowledged.len() > 90, "the other two go on");
    let (code, said) = pool.wait(full);
    assert_eq!(code, 1, "an agent that can't write stops");
    assert!(said.contains("No space left on device"), "and says why:\n{said}");

    disk.make_room();
    pool.begin(full);
    for (key, _) in acknowledged {
        until(PATIENCE, "acknowledged write on the server whose disk was full", || pool.value(full, &key, "&stale"));
        let answer = pool.request(other, "GET", &format!("/v1/kv/{key}?raw"), b"").expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, value.len()), "{key}: {}", answer.text());
    }
}
