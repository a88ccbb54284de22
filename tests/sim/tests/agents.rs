//! Clusters of whole agents under eighty seeds, in parts so that cores share them.

use sim::agents::{Bugs, Plan, run};
use sim::world::Report;

fn world(seed: u64, bugs: Bugs) -> Report {
    run(seed, Plan { bugs, ..Plan::of(seed) })
}

/// Runs one seed; a failure says how to see it again.
fn check(seed: u64) -> Report {
    let report = world(seed, Bugs::default());
    if !report.broken.is_empty() {
        eprintln!("{}", report.tail);
        panic!("{:#?}\nSEED={seed} cargo nextest run -p sim --no-capture one_world", report.broken);
    }
    report
}

#[test]
fn worlds_00_to_19() {
    (0..20).for_each(|seed| drop(check(seed)));
}

#[test]
fn worlds_20_to_39() {
    (20..40).for_each(|seed| drop(check(seed)));
}

#[test]
fn worlds_40_to_59() {
    (40..60).for_each(|seed| drop(check(seed)));
}

#[test]
fn worlds_60_to_79() {
    (60..80).for_each(|seed| drop(check(seed)));
}

/// The seeds from `SEED`, as many as `SEEDS` says; without them a single fixed one.
#[test]
fn one_world() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, count) = (number("SEED").unwrap_or(0), number("SEEDS").unwrap_or(1));
    for seed in first..first + count {
        let report = check(seed);
        let (hash, lines) = report.digest;
        let last = report.tail.lines().last().unwrap_or_default().trim();
        println!("world {seed}: {lines} lines, digest {hash:016x}, {last}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..4 {
        let (first, second) = (world(seed, Bugs::default()), world(seed, Bugs::default()));
        assert_eq!(first.digest, second.digest, "seed {seed}:\n{}\n---\n{}", first.tail, second.tail);
    }
}

/// The first seed that finds a bug, with what it says.
fn first_to_find(bugs: Bugs) -> (u64, String) {
    let found = (0..40).find_map(|seed| Some((seed, world(seed, bugs).broken.into_iter().next()?)));
    let (seed, what) = found.expect("it is found");
    println!("{seed}: {what}");
    (seed, what)
}

#[test]
fn disks_that_lie_are_found_out() {
    first_to_find(Bugs { lying_disks: true, ..Bugs::default() });
}

#[test]
fn stale_leader_reads_are_found_out() {
    let (_, found) = first_to_find(Bugs { stale_leader_reads: true, ..Bugs::default() });
    assert!(found.starts_with("linear: ") || found.starts_with("index: "), "{found}");
}

#[test]
fn lost_wake_ups_are_found_out() {
    let (_, found) = first_to_find(Bugs { late_subscriptions: true, ..Bugs::default() });
    assert!(found.starts_with("wake: "), "{found}");
}
