//! Clusters of three to seven servers under 380 seeds, in parts so that cores share them.

use sim::cluster::{Bugs, Plan, run};
use sim::seeds;
use sim::world::Report;

fn cluster(seed: u64, bugs: Bugs) -> Report {
    seeds::on_virtual_time(run(seed, Plan { bugs, ..Plan::of(seed) }))
}

/// Runs one seed; a failure says how to see it again.
fn check(seed: u64) -> Report {
    let report = cluster(seed, Bugs::default());
    if !report.broken.is_empty() {
        eprintln!("{}", report.tail);
        panic!("{:#?}\nSEED={seed} cargo nextest run -p sim --no-capture one_cluster", report.broken);
    }
    report
}

#[test]
fn clusters_000_to_094() {
    (0..95).for_each(|seed| drop(check(seed)));
}

#[test]
fn clusters_095_to_189() {
    (95..190).for_each(|seed| drop(check(seed)));
}

#[test]
fn clusters_190_to_284() {
    (190..285).for_each(|seed| drop(check(seed)));
}

#[test]
fn clusters_285_to_379() {
    (285..380).for_each(|seed| drop(check(seed)));
}

/// The seeds from `SEED`, as many as `SEEDS` says; without them a single fixed one.
#[test]
fn one_cluster() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, count) = (number("SEED").unwrap_or(0), number("SEEDS").unwrap_or(1));
    for seed in first..first + count {
        let report = check(seed);
        let (hash, lines) = report.digest;
        let last = report.tail.lines().last().unwrap_or_default().trim();
        println!("cluster {seed}: {lines} lines, digest {hash:016x}, {last}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        let (first, second) = (cluster(seed, Bugs::default()), cluster(seed, Bugs::default()));
        assert_eq!(first.digest, second.digest, "seed {seed}:\n{}\n---\n{}", first.tail, second.tail);
    }
}

/// The first seed that finds a bug, with what it says.
fn first_to_find(bugs: Bugs) -> Option<(u64, String)> {
    (0..40).find_map(|seed| Some((seed, cluster(seed, bugs).broken.into_iter().next()?)))
}

#[test]
fn disks_that_lie_are_found_out() {
    let found = first_to_find(Bugs { lying_disks: true, ..Bugs::default() });
    println!("{found:?}");
    assert!(found.is_some());
}

#[test]
fn stale_leader_reads_are_found_out() {
    let (seed, found) = first_to_find(Bugs { stale_leader_reads: true, ..Bugs::default() }).expect("it is found");
    println!("{seed}: {found}");
    assert!(found.starts_with("linear: ") || found.starts_with("index: "), "{found}");
}

#[test]
fn lost_wake_ups_are_found_out() {
    let (seed, found) = first_to_find(Bugs { late_subscriptions: true, ..Bugs::default() }).expect("it is found");
    println!("{seed}: {found}");
    assert!(found.starts_with("wake: "), "{found}");
}
