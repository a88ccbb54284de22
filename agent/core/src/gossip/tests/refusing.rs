//! What is refused: strangers, other pools, taken names and ids, other networks.

use super::super::*;
use super::pool::{Pool, address, config};

fn join_failure(pool: &Pool, number: usize) -> String {
    let failure = pool.events.iter().find_map(|(at, event)| match event {
        Event::Joined { failures, .. } if *at == number => failures.first().cloned(),
        _ => None,
    });
    failure.unwrap().1
}

#[test]
fn another_data_centre_is_refused_counted_and_noted_once() {
    let mut pool = Pool::joined(2);
    pool.add(Config { label: "lan.dc2".to_owned(), ..config(2) });
    for _ in 0..3 {
        pool.join(2, 0);
    }
    pool.run(1);
    assert_eq!((pool.status(2, 0), pool.status(0, 2)), (None, None));
    assert_eq!(pool.members[0].counters().refused_label, 3);
    assert_eq!(pool.notes.iter().filter(|(at, _)| *at == 0).count(), 1);
    assert_eq!(join_failure(&pool, 2), "the peer is of another pool: lan.dc1");
}

#[test]
fn a_taken_name_is_refused_and_stays_with_who_has_it() {
    let mut pool = Pool::joined(3);
    pool.add(Config { name: "m1".into(), ..config(5) });
    pool.join(3, 0);
    pool.run(60);
    assert_eq!(pool.members[0].member("m1").unwrap().profile.address, address(1));
    assert_eq!(join_failure(&pool, 3), "Member 'm1' has conflicting name with the member at 10.0.0.2:8301");
    assert_eq!(pool.members[0].counters().name_conflicts, 1);
}

#[test]
fn our_own_name_is_ours() {
    let mut pool = Pool::joined(2);
    pool.add(Config { name: "m0".into(), ..config(5) });
    pool.join(2, 0);
    pool.run(10);
    assert_eq!(pool.status(0, 1), Some(Status::Alive));
    assert_eq!(pool.members[1].member("m0").unwrap().profile.address, address(0));
    assert_eq!(pool.members[0].counters().name_conflicts, 1);
}

#[test]
fn a_taken_node_id_is_refused_in_consuls_words() {
    let mut pool = Pool::joined(2);
    let id = config(1).id;
    pool.add(Config { id, ..config(2) });
    pool.join(2, 0);
    pool.run(10);
    assert_eq!(pool.status(2, 0), None);
    assert_eq!(join_failure(&pool, 2), format!("Member 'm2' has conflicting node ID '{id}' with member 'm1'"));
}

#[test]
fn a_name_goes_to_a_new_host_when_the_old_one_has_been_dead_for_a_while() {
    let mut pool = Pool::joined(3);
    pool.dead.insert(2);
    pool.run(20);
    pool.add(Config { name: "m2".into(), incarnation: 9, ..config(6) });
    pool.join(3, 0);
    pool.run(1);
    assert_eq!(pool.status(2, 0), Some(Status::Failed));
    pool.run(60);
    pool.join(3, 0);
    pool.run(5);
    assert_eq!(pool.members[1].member("m2").unwrap().profile.address, address(6));
    assert_eq!(pool.status(2, 1), Some(Status::Alive));
}

#[test]
fn members_from_other_networks_are_refused() {
    let mut pool = Pool::default();
    let allowed = vec![Network::parse("10.0.0.0/30").unwrap()];
    for number in [0, 1, 5] {
        pool.add(Config { allowed: allowed.clone(), ..config(number) });
    }
    pool.join(1, 0);
    pool.join(2, 0);
    pool.run(10);
    assert_eq!((pool.status(1, 0), pool.status(5, 0)), (Some(Status::Alive), None));
    assert!(pool.members[0].counters().refused_network > 0);
}

#[test]
fn garbage_is_counted_and_noted_once_for_each_sender() {
    let mut pool = Pool::joined(2);
    for byte in 100..200 {
        pool.inject(0, ([192, 0, 2, 1], 7).into(), &[byte; 50]);
    }
    assert_eq!(pool.members[0].counters().malformed, 100);
    assert_eq!(pool.notes.iter().filter(|(_, note)| matches!(note, Note::Malformed { .. })).count(), 1);
}

/// A member failed, another left, one changed its tags, a key was rolled: hearing all of that again changes nothing.
#[test]
fn replayed_packets_change_nothing() {
    let key = |byte| Key::new(&[byte; 16]).unwrap();
    let mut pool = Pool::default();
    (0..5).for_each(|number| pool.add(Config { keys: KeyRing::new([key(1)]), ..config(number) }));
    (1..5).for_each(|number| pool.join(number, 0));
    pool.run(5);
    pool.step(1, Input::SetTags(Tags::new([("build".to_owned(), "2".to_owned())].into()).unwrap()));
    pool.step(3, Input::Leave);
    pool.dead.insert(4);
    pool.run(60);
    for operation in [KeyOperation::Install(key(2)), KeyOperation::Remove(key(2)), KeyOperation::Install(key(2))] {
        pool.step(0, Input::Keys { ticket: Ticket(1), operation });
        pool.run(30);
    }
    let state = |pool: &Pool| {
        let members: Vec<Member> = pool.members[0].members().collect();
        (members, pool.members[0].keys().clone(), pool.events.len())
    };
    let before = state(&pool);
    for (to, from, bytes) in std::mem::take(&mut pool.heard) {
        if to == 0 {
            pool.inject(to, from, &bytes);
        }
    }
    assert_eq!(state(&pool), before);
}

#[test]
fn notes_come_to_an_end() {
    let mut pool = Pool::joined(2);
    for number in 0..5000u16 {
        pool.inject(0, ([192, 0, 2, 1], number).into(), b"x");
    }
    assert_eq!(pool.members[0].counters().malformed, 5000);
    assert!(pool.notes.len() <= 1024);
}
