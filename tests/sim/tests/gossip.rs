//! Large pools: how soon a death and a change are noticed, and who is wrongly given up.
//!
//! `GOSSIP_MEMBERS=5000` simulates that many instead of a thousand; `--nocapture` prints the figures.

use std::time::Duration;

use agent_core::Instant;
use agent_core::gossip::{Config, Counters, Event, Gossip, Input, Key, KeyOperation, KeyRing, Status, Ticket, Timing};
use sim::gossip::world::{address, config, tagged};
use sim::gossip::{Weather, World};

fn members() -> usize {
    std::env::var("GOSSIP_MEMBERS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn show(what: &str, time: Option<Duration>) {
    println!("{:>6} members  {what:<52} {:>8.2} s", members(), time.map_or(f64::NAN, |time| time.as_secs_f64()));
}

/// A settled pool, some way into its life.
fn pool(weather: Weather) -> World {
    let mut world = World::settled(members(), weather);
    world.run(seconds(2));
    world
}

#[test]
fn a_change_and_a_death_are_noticed() {
    let mut world = pool(Weather::good(1));
    world.tell(7, Input::SetTags(tagged("2")));
    let name = world.member(7).me().profile.name.clone();
    let has_heard =
        |member: &Gossip| member.member(&name).is_some_and(|member| member.profile.tags.get("build") == Some("2"));
    let most = world.run_until(0.99, seconds(30), has_heard);
    show("a change reaches 99 % after", most);
    show("  memberlist's defaults, by Monte Carlo, for 1,000", Some(Duration::from_millis(1400)));
    assert!(most.unwrap() < Duration::from_millis(1600), "{most:?}");

    let name = world.member(8).me().profile.name.clone();
    world.kill(8);
    let has_failed = |member: &Gossip| member.member(&name).is_some_and(|member| member.status == Status::Failed);
    let first = world.run_until(0.5 / members() as f64, seconds(120), has_failed);
    let most = world.run_until(0.99, seconds(60), has_failed).zip(first).map(|(rest, first)| first + rest);
    let shortest = Timing::LAN.suspicion_min(members());
    show("a death is noticed by the first after", first);
    show("a death is noticed by 99 % after", most);
    show("  memberlist's shortest suspicion", Some(shortest));
    show("  memberlist's longest suspicion", Some(Timing::LAN.suspicion_max(members())));
    assert!(first.unwrap() >= shortest);
    assert!(most.unwrap() < shortest + seconds(8), "{most:?}");
    assert!(world.falsely_failed(Instant::START).0.is_empty());
}

/// Small pools, where the published times are shortest and most hosts live.
#[test]
fn a_death_is_noticed_soon_in_small_pools() {
    for count in [3, 5, 10, 100] {
        let mut times: Vec<Duration> = (0..10).map(|seed| death_noticed_by_all(count, seed)).collect();
        times.sort();
        let shortest = Timing::LAN.suspicion_min(count);
        let [least, half, most, formula] = [times[0], times[5], times[9], shortest].map(|time| time.as_secs_f64());
        println!(
            "{count:>6} members  a death is noticed by all after {least:.1} to {most:.1} s, half of the time {half:.1} s"
        );
        println!("{count:>6} members    memberlist's shortest suspicion {formula:.1} s");
        assert!(times[0] >= shortest && times[9] < shortest + seconds(8), "{count}: {times:?}");
    }
}

fn death_noticed_by_all(count: usize, seed: u64) -> Duration {
    let mut world = World::settled(count, Weather::good(seed));
    world.run(Duration::from_millis(3000 + 137 * seed));
    let name = world.member(1).me().profile.name.clone();
    world.kill(1);
    let has_failed = |member: &Gossip| member.member(&name).is_some_and(|member| member.status == Status::Failed);
    world.run_until(1.0, seconds(60), has_failed).expect("a death is noticed within a minute")
}

#[test]
fn two_halves_find_each_other_again() {
    let mut world = World::settled(100, Weather { split: Some(50), ..Weather::good(7) });
    world.run(seconds(90));
    let living = |member: &Gossip| member.members().filter(|member| member.status == Status::Alive).count();
    assert!(world.up().all(|number| living(world.member(number)) == 50));
    world.weather.split = None;
    let took = world.run_until(1.0, seconds(300), |member| living(member) == 100).unwrap();
    println!("   100 members  two halves are one again after {:.1} s", took.as_secs_f64());
    assert!(took < seconds(60), "{took:?}");
}

#[test]
fn nobody_is_given_up_for_lost_datagrams() {
    let mut world = pool(Weather { loss: 0.05, ..Weather::good(2) });
    world.run(seconds(40));
    let sum =
        |count: fn(&Counters) -> u64| -> u64 { world.up().map(|number| count(world.member(number).counters())).sum() };
    let (failed, by_stream) = (sum(|counters| counters.probes_failed), sum(|counters| counters.probes_by_stream));
    println!("5 % loss: {failed} probes failed, {by_stream} were answered by stream alone");
    // A lost datagram is made good by others; hardly ever does it take a stream, and never a warning.
    assert!(by_stream * 1000 < sum(|counters| counters.probes), "{by_stream}");
    assert_eq!(world.notes().len(), 0, "{:?}", world.notes().first());
    assert_eq!(world.falsely_failed(Instant::START).0.len(), 0);
}

/// Small pools are hit harder: few others help, and a suspicion that nobody has to confirm is short.
#[test]
fn nobody_is_given_up_in_a_small_pool_on_a_lossy_network() {
    const POOLS: u64 = 200;
    for (count, percent) in [(2, 20), (3, 20), (5, 20), (3, 30)] {
        let (mut given_up, mut suspicions) = (0, 0);
        for seed in 0..POOLS {
            let mut world = World::settled(count, Weather { loss: f64::from(percent) / 100.0, ..Weather::good(seed) });
            world.run(seconds(60));
            given_up += usize::from(!world.falsely_failed(Instant::START).0.is_empty());
            suspicions += world.up().map(|number| world.member(number).counters().suspicions).sum::<u64>();
        }
        println!(
            "{count:>6} members, {percent} % loss: {suspicions} suspicions in {POOLS} pools, {given_up} gave up somebody"
        );
        assert_eq!(given_up, 0);
    }
}

#[test]
fn slow_members_do_not_take_others_down() {
    let mut weather = Weather::good(3);
    weather.slow = (0..members()).step_by(100).collect();
    let slow = weather.slow.clone();
    let mut world = pool(weather);
    world.run(seconds(20));
    let (accused, opinions) = world.falsely_failed(Instant::START);
    let healthy = accused.difference(&slow).count();
    println!(
        "1 % slow: {healthy} healthy and {} slow members given up, by {opinions} opinions in all",
        accused.len() - healthy
    );
    assert_eq!(healthy, 0);
}

/// Hosts that stand still for longer than a suspicion lasts are given up, and rightly. What they missed meanwhile must not
/// make them give up others.
#[test]
fn hosts_that_stand_still_for_long_give_up_nobody() {
    let mut weather = Weather::good(8);
    weather.slow = (0..100).step_by(25).collect();
    weather.stall = seconds(12);
    weather.run = Duration::from_millis(200);
    let slow = weather.slow.clone();
    let mut world = World::settled(100, weather);
    world.run(seconds(60));
    let (accused, opinions) = world.falsely_failed(Instant::START);
    println!("   100 members  4 stand still for 12 s at a time: given up {accused:?}, by {opinions} opinions in all");
    assert_eq!(accused, slow);
}

/// A member that hears every answer too late would suspect everybody it probes. Local health makes it patient instead.
#[test]
fn members_that_hear_late_accuse_less_for_knowing_it() {
    let healthy_accused = |awareness_max| {
        let timing = Timing { awareness_max, ..Timing::LAN };
        let weather = Weather { late: (0..100).step_by(20).collect(), ..Weather::good(9) };
        let mut world = World::settled_as(100, weather, |number| Config { timing, ..config(number) });
        world.run(seconds(60));
        assert!(world.falsely_failed(Instant::START).0.iter().all(|number| number % 20 == 0));
        let healthy = world.up().filter(|number| number % 20 != 0);
        healthy.map(|number| world.member(number).counters().refutations).sum::<u64>()
    };
    let (with, without) = (healthy_accused(Timing::LAN.awareness_max), healthy_accused(1));
    println!(
        "   100 members  5 hear everything 2 s late: {with} healthy members accused, {without} without local health"
    );
    assert!(with * 3 < without);
}

#[test]
fn a_member_whose_datagrams_are_blocked_stays_alive() {
    let mut weather = Weather::good(4);
    weather.blocked = [5].into();
    let mut world = World::settled(100, weather);
    world.run(seconds(300));
    assert!(world.falsely_failed(Instant::START).0.is_empty());
    assert!(world.up().all(|at| world.status(5, at) == Some(Status::Alive)));
}

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).expect("32 bytes are a key")
}

fn encrypted(count: usize, weather: Weather) -> World {
    let mut world = World::new(weather);
    for number in 0..count {
        world.add(Config { keys: KeyRing::new([key(1)]), ..config(number) });
    }
    for number in 1..count {
        world.tell(number, Input::Join { ticket: Ticket(0), addresses: vec![address(0)] });
    }
    world.run(seconds(20));
    world
}

#[test]
fn a_wrongly_keyed_member_is_refused() {
    let mut world = encrypted(20, Weather::good(5));
    world.add(Config { keys: KeyRing::new([key(9)]), ..config(20) });
    world.tell(20, Input::Join { ticket: Ticket(0), addresses: vec![address(0), address(1)] });
    world.run(seconds(30));
    let contacted = world.events_of(20).find_map(|event| match event {
        Event::Joined { contacted, .. } => Some(*contacted),
        _ => None,
    });
    assert_eq!(contacted, Some(0));
    assert!((0..20).all(|at| world.status(20, at).is_none()));
    assert_eq!(world.member(0).counters().refused_key, 1);
}

#[test]
fn a_key_is_rolled_under_loss() {
    let count = 50;
    let mut world = encrypted(count, Weather { loss: 0.05, ..Weather::good(6) });
    let steps = [KeyOperation::Install(key(2)), KeyOperation::Use(key(2)), KeyOperation::Remove(key(1))];
    for (number, operation) in steps.into_iter().enumerate() {
        let ticket = Ticket(number as u64);
        world.tell(3, Input::Keys { ticket, operation });
        world.run(seconds(15));
        let answered = world.events_of(3).find_map(|event| match event {
            Event::KeysAnswered { ticket: of, report } if *of == ticket => Some(report.answered - report.errors.len()),
            _ => None,
        });
        assert_eq!(answered, Some(count));
    }
    world.run(seconds(60));
    assert!(world.up().all(|number| world.member(number).keys() == &KeyRing::new([key(2)])));
    assert!(world.falsely_failed(Instant::START).0.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut world = World::settled(60, Weather { loss: 0.05, ..Weather::good(seed) });
        world.run(seconds(5));
        world.kill(3);
        world.run(seconds(40));
        world.digest()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
