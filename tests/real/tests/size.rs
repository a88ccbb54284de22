//! What the agent takes does not grow unnoticed: memory at rest, memory of a key, and the code of the binary.
//!
//! Figures are recorded in `sizes.txt` beside this file; a test fails when one has grown by more than a tenth. It
//! measures the build the tests run with, because a release build takes minutes: what grows in one grows in the
//! other. To keep it from failing by chance, memory is that of the process alone (`RssAnon`, so neither debug
//! information nor the C library counts), the agent runs on one processor (each one more brings a thread and its
//! stacks), the binary counts as what is loaded of it, and memory above the limit has time to be given back.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a process of its own runs in real time")]

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use real::Binary;
use real::agent::Agent;
use real::http::Connection;

/// How far a figure may be above the recorded one, in percent.
const GROWTH_MAX: u64 = 10;

/// How long memory may take to come down to the limit.
const PATIENCE: Duration = Duration::from_secs(10);

const KEYS: u64 = 20_000;
/// The most operations of one transaction.
const TXN_OPS: u64 = 64;

fn recorded(name: &str) -> u64 {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sizes.txt");
    let text = fs::read_to_string(file).expect("sizes.txt is beside this file");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let figure = line.and_then(|figure| figure.split(' ').next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("sizes.txt has no line `{name}: NUMBER`"))
}

/// Takes `figure` until it is at most a tenth above the recorded one.
fn stays(name: &str, mut figure: impl FnMut() -> u64) {
    let limit = recorded(name) * (100 + GROWTH_MAX) / 100;
    let began = Instant::now();
    let mut now = figure();
    while now > limit && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100));
        now = figure();
    }
    println!("{name}: {now}");
    assert!(
        now <= limit,
        "{name}: {now}, and at most {limit} are allowed. Find what grew; if it is worth it, record the new figure in \
         tests/real/tests/sizes.txt with the reason in the commit"
    );
}

fn anonymous_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux counts anonymous memory");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// The base64 of 99 bytes.
fn value() -> String {
    "dmFs".repeat(33)
}

#[test]
fn memory_does_not_grow_unnoticed() {
    let mut agent = Agent::start_on_one_processor(&["-dev", "-hcl=ports { grpc = -1 }"]);
    agent.wait_for_leadership();
    stays("memory of an idle agent, KiB", || anonymous_kib(&agent));

    let mut connection = Connection::open(agent.address).expect("the agent accepts connections");
    for first in (0..KEYS).step_by(TXN_OPS as usize) {
        let set = |number| format!(r#"{{"KV":{{"Verb":"set","Key":"size/{number:06}","Value":"{}"}}}}"#, value());
        let ops: Vec<String> = (first..KEYS.min(first + TXN_OPS)).map(set).collect();
        let body = format!("[{}]", ops.join(","));
        let answer = connection.request("PUT", "/v1/txn", body.as_bytes()).expect("the agent answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    stays("memory with 20 000 keys, KiB", || anonymous_kib(&agent));
}

/// The bytes of an ELF file that are loaded to run it (64-bit, little-endian; elf(5)).
fn loaded_bytes(elf: &[u8]) -> u64 {
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    const PT_LOAD: u64 = 1;
    let (headers, size, count) = (number(32, 8) as usize, number(54, 2) as usize, number(56, 2) as usize);
    let loaded = (0..count).map(|place| headers + place * size).filter(|header| number(*header, 4) == PT_LOAD);
    loaded.map(|header| number(header + 32, 8)).sum()
}

#[test]
fn the_binary_does_not_grow_unnoticed() {
    let elf = fs::read(Binary::Lictor.path()).expect("the binary is readable");
    assert!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    stays("loaded code and data of the binary, KiB", || loaded_bytes(&elf) / 1024);
}
