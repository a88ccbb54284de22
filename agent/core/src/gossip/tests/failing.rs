//! Failing, being suspected, objecting.

use std::time::Duration;

use super::super::*;
use super::pool::{Pool, address, config};

fn failed(event: &Event) -> bool {
    matches!(event, Event::MemberFailed(_))
}

#[test]
fn a_dead_member_fails_within_the_published_time() {
    let mut pool = Pool::joined(5);
    pool.dead.insert(4);
    let took = pool.run_until(60, |pool| pool.everybody_says(4, Status::Failed)).unwrap();
    // Probed within a round, then suspected for at least the shortest time.
    assert!((4..15).contains(&took.as_secs()), "{took:?}");
    assert_eq!((0..4).map(|at| pool.saw(at, failed)).sum::<usize>(), 4);
}

#[test]
fn a_failed_member_that_comes_back_is_found_without_a_join() {
    let mut pool = Pool::joined(4);
    pool.dead.insert(3);
    pool.run(30);
    assert!(pool.everybody_says(3, Status::Failed));
    pool.dead.remove(&3);
    let took = pool.run_until(300, |pool| pool.everybody_says(3, Status::Alive)).unwrap();
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[test]
fn a_failed_member_is_reaped_after_its_time() {
    let mut pool = Pool::default();
    for number in 0..3 {
        pool.add(Config { reconnect_timeout: Duration::from_secs(600), ..config(number) });
    }
    (1..3).for_each(|number| pool.join(number, 0));
    pool.run(5);
    pool.dead.insert(2);
    pool.run(590);
    assert!(pool.everybody_says(2, Status::Failed));
    pool.run(60);
    assert_eq!((pool.status(2, 0), pool.status(2, 1)), (None, None));
    assert_eq!(pool.saw(0, |event| matches!(event, Event::MemberReaped(_))), 1);
}

#[test]
fn a_newcomer_reaps_a_failed_member_when_the_others_do() {
    let mut pool = Pool::default();
    for number in 0..4 {
        pool.add(Config { reconnect_timeout: Duration::from_secs(600), ..config(number) });
    }
    (1..3).for_each(|number| pool.join(number, 0));
    pool.run(5);
    pool.dead.insert(2);
    pool.run(500);
    pool.join(3, 0);
    pool.run(5);
    assert_eq!(pool.status(2, 3), Some(Status::Failed));
    pool.run(150);
    assert_eq!([0, 1, 3].map(|at| pool.status(2, at)), [None; 3]);
    assert_eq!(pool.saw(3, |event| matches!(event, Event::MemberReaped(_))), 1);
}

#[test]
fn a_member_whose_datagrams_are_blocked_stays_alive() {
    let mut pool = Pool::joined(5);
    pool.blocked.insert(2);
    pool.run(300);
    assert!((0..5).all(|of| pool.everybody_says(of, Status::Alive)));
    assert_eq!((0..5).map(|at| pool.saw(at, failed)).sum::<usize>(), 0);
    let blocked = Note::DatagramsBlocked { name: "m2".to_owned(), address: address(2) };
    let said = pool.notes.iter().filter(|(at, note)| *at == 0 && *note == blocked).count();
    assert_eq!(said, 1);
}

#[test]
fn news_reach_a_member_whose_datagrams_are_blocked() {
    let mut pool = Pool::joined(5);
    pool.blocked.insert(2);
    pool.dead.insert(4);
    let took = pool.run_until(120, |pool| pool.everybody_says(4, Status::Failed)).unwrap();
    assert!(took < Duration::from_secs(45), "{took:?}");
}

/// Somebody suspects `m0`.
fn accusation(incarnation: u64) -> wire::Message {
    wire::Message::Suspect { name: "m0".into(), incarnation, accuser: "m1".into() }
}

#[test]
fn an_accusation_that_leaves_no_answer_is_ignored() {
    let mut pool = Pool::joined(3);
    for at in [0, 2] {
        pool.inject_message(at, 1, &accusation(u64::MAX));
    }
    pool.run(60);
    assert!(pool.everybody_says(0, Status::Alive));
    assert_eq!(pool.members[0].counters().refutations, 0);
}

#[test]
fn a_suspect_is_told_and_objects() {
    let mut pool = Pool::joined(3);
    pool.inject_message(2, 1, &accusation(1));
    assert!(pool.notes.iter().any(|(at, note)| *at == 2 && *note == Note::Suspected { name: "m0".to_owned() }));
    pool.run(5);
    assert!(pool.everybody_says(0, Status::Alive));
    assert!(pool.members[2].member("m0").unwrap().incarnation > 1);
    assert_eq!(pool.members[0].counters().refutations, 1);
    assert_eq!(pool.saw(2, failed), 0);
}

#[test]
fn a_suspect_that_no_datagram_reaches_is_told_by_stream_and_objects() {
    let mut pool = Pool::joined(3);
    pool.blocked.insert(0);
    pool.inject_message(2, 1, &accusation(1));
    pool.run_for(Duration::from_millis(3));
    assert_eq!(pool.status(0, 2), Some(Status::Alive), "there and back again");
    assert!(pool.members[2].member("m0").unwrap().incarnation > 1);
}

/// Its objection is no rumour any more when somebody who missed it accuses it again.
#[test]
fn who_missed_an_objection_is_told_it_again() {
    for old in [accusation(1), wire::Message::Dead { name: "m0".into(), incarnation: 1, accuser: "m1".into() }] {
        let mut pool = Pool::joined(3);
        pool.inject_message(0, 1, &accusation(1));
        pool.run(30);
        pool.heard.clear();
        pool.inject_message(0, 1, &old);
        let [(to, from, bytes)] = &pool.heard[..] else { panic!("one answer to whoever says so") };
        let objection = wire::Message::Alive { name: "m0".into(), incarnation: 2, revision: 1, profile: None }.encode();
        assert_eq!((*to, *from), (1, address(0)));
        assert!(bytes.ends_with(&objection), "{bytes:?}");
    }
}

/// It was told of a suspicion, froze, and missed the objection: when it is back, the suspicion is long due.
#[test]
fn a_member_that_stood_still_gives_up_nobody() {
    let mut pool = Pool::joined(4);
    let suspicion = wire::Message::Suspect { name: "m2".into(), incarnation: 1, accuser: "m1".into() };
    pool.inject_message(0, 1, &suspicion);
    pool.dead.insert(0);
    pool.run(40);
    pool.dead.remove(&0);
    pool.run(60);
    assert_eq!(pool.saw(0, failed), 0);
    assert!((0..4).all(|of| pool.everybody_says(of, Status::Alive)));
}

#[test]
fn an_idle_pool_only_probes() {
    let mut pool = Pool::joined(10);
    pool.run(60);
    let before = pool.members[3].counters().datagrams_out;
    pool.run(100);
    let sent = pool.members[3].counters().datagrams_out - before;
    // One ping and about one ack a second.
    assert!((150..250).contains(&sent), "{sent}");
}
