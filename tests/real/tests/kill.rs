//! Acknowledged writes survive `kill -9` at any moment.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use real::agent::{Agent, Binary, own_address};
use real::http::Connection;

const KILLS: usize = 100;
const WRITERS: usize = 4;

/// A write that was answered `true`.
#[derive(Debug)]
struct Acknowledged {
    key: String,
    value: String,
}

/// Writes until the connection breaks and reports what was acknowledged.
fn write_until_killed(address: std::net::Ipv4Addr, round: usize, writer: usize, report: &mpsc::Sender<Acknowledged>) {
    let Ok(mut connection) = Connection::open(address) else { return };
    for number in 0_u32.. {
        // Keys are written over and over, so an old value coming back is noticed too.
        let key = format!("kill/{writer}/{}", number % 7);
        let value = format!("{round}-{number}");
        match connection.request("PUT", &format!("/v1/kv/{key}"), value.as_bytes()) {
            Ok(response) if response.status == 200 && response.text().trim() == "true" => {
                if report.send(Acknowledged { key, value }).is_err() {
                    return;
                }
            }
            Ok(response) => panic!("a write was refused: {response:?}"),
            Err(_) => return,
        }
    }
}

#[test]
fn acknowledged_writes_survive_a_hundred_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = format!("-data-dir={}", folder.path().display());
    let address = own_address();
    let start = || {
        let mut agent = Agent::start_at(
            address,
            Binary::Lictor,
            &["-server", "-bootstrap", "-node=kill", "-log-level=info", &data_dir],
        );
        agent.wait_for_leadership();
        agent
    };
    let mut newest = std::collections::BTreeMap::new();
    let mut acknowledged_total = 0;
    for round in 0..KILLS {
        let agent = start();
        verify(address, &newest);
        let (report, acknowledged) = mpsc::channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let report = report.clone();
                thread::spawn(move || write_until_killed(address, round, writer, &report))
            })
            .collect();
        drop(report);
        // The kill falls after a number of writes that differs from round to round, not after a time.
        let writes = 1 + (round * 37) % 211;
        for _ in 0..writes {
            let write = acknowledged.recv_timeout(Duration::from_secs(30)).expect("writes go on until the kill");
            newest.insert(write.key, write.value);
        }
        agent.kill();
        acknowledged_total += writes;
        for write in &acknowledged {
            newest.insert(write.key, write.value);
            acknowledged_total += 1;
        }
        writers.into_iter().for_each(|writer| writer.join().expect("a writer does not panic"));
    }
    let agent = start();
    verify(address, &newest);
    agent.kill();
    println!("{KILLS} kills, {acknowledged_total} acknowledged writes, none lost");
}

/// Every key holds the newest acknowledged value, or one that was written after it and never answered.
fn verify(address: std::net::Ipv4Addr, newest: &std::collections::BTreeMap<String, String>) {
    let mut connection = Connection::open(address).expect("a leading agent accepts connections");
    for (key, value) in newest {
        let found = connection.request("GET", &format!("/v1/kv/{key}?raw"), b"").expect("a leading agent answers");
        assert_eq!(found.status, 200, "{key} is gone; {value} was acknowledged");
        assert!(position(&found.text()) >= position(value), "{key} is {}, but {value} was acknowledged", found.text());
    }
}

/// Where a value stands in the order of writes of its writer.
fn position(value: &str) -> (usize, u32) {
    let (round, number) = value.split_once('-').expect("values are ROUND-NUMBER");
    (round.parse().expect("a number"), number.parse().expect("a number"))
}
