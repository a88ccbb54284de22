//! Whole agents under five hundred seeds, in four tests so that two cores share them.

use sim::seeds;
use sim::world::{Plan, Report, run};

/// Runs one seed; a failure says how to see it again.
fn check(seed: u64) -> Report {
    let report = world(seed, Plan::of(seed));
    if !report.broken.is_empty() {
        eprintln!("{}", report.tail);
        panic!("{:#?}\nSEED={seed} cargo nextest run -p sim --no-capture one_seed", report.broken);
    }
    report
}

fn world(seed: u64, plan: Plan) -> Report {
    seeds::on_virtual_time(run(seed, plan))
}

#[test]
fn seeds_000_to_124() {
    (0..125).for_each(|seed| drop(check(seed)));
}

#[test]
fn seeds_125_to_249() {
    (125..250).for_each(|seed| drop(check(seed)));
}

#[test]
fn seeds_250_to_374() {
    (250..375).for_each(|seed| drop(check(seed)));
}

#[test]
fn seeds_375_to_499() {
    (375..500).for_each(|seed| drop(check(seed)));
}

/// The seed in the variable `SEED`; without it a fixed one.
#[test]
fn one_seed() {
    let seed = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("SEED must be a number"));
    let (hash, lines) = check(seed).digest;
    println!("seed {seed}: {lines} lines, digest {hash:016x}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..10 {
        let (first, second) = (world(seed, Plan::of(seed)), world(seed, Plan::of(seed)));
        assert_eq!(first.digest, second.digest, "seed {seed}:\n{}\n---\n{}", first.tail, second.tail);
    }
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let lying = Plan { disk_lies: true, ..Plan::SHORT };
    let found = (0..20).flat_map(|seed| world(seed, lying).broken).any(|broken| broken.starts_with("durability: "));
    assert!(found, "no acknowledged write was missed");
}
