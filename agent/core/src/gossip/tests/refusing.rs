//! What is refused: strangers, other pools, taken names and ids, other networks.

use rand::SeedableRng;
use rand::rngs::StdRng;

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
        pool.inject(0, ([192, 0, 2, 1], byte.into()).into(), &[byte; 50]);
    }
    let broken = Input::StreamBroken { from: ([192, 0, 2, 1], 9).into() };
    pool.step(0, broken);
    assert_eq!(pool.members[0].counters().malformed, 101);
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
        let [high, low] = number.to_be_bytes();
        pool.inject(0, ([192, 0, high, low], 7).into(), b"x");
    }
    assert_eq!(pool.members[0].counters().malformed, 5000);
    assert_eq!(pool.notes.len(), 1024);
    // Strangers have used up theirs; what members do is still said.
    pool.add(Config { name: "m1".into(), ..config(5) });
    pool.join(2, 0);
    pool.run(1);
    assert!(pool.notes.iter().any(|(at, note)| *at == 0 && matches!(note, Note::NameConflict { .. })));
}

/// The first packets of a joined pool, sealed and plain, cut at every place: what is left is refused and counted, or says
/// less; it says nothing else.
#[test]
fn truncated_packets_are_refused_and_counted() {
    for keys in [KeyRing::default(), KeyRing::new([Key::new(&[1; 16]).unwrap()])] {
        let mut pool = Pool::default();
        (0..2).for_each(|number| pool.add(Config { keys: keys.clone(), ..config(number) }));
        let mut body = Vec::new();
        let suspect = wire::Message::Suspect { name: "m1".into(), incarnation: 1, accuser: "m7".into() };
        wire::append(&mut body, &suspect.encode());
        let envelope = envelope::Envelope::new("lan.dc1", keys, true, true);
        let packet = envelope.seal(&body, &mut StdRng::seed_from_u64(1));
        pool.join(1, 0);
        pool.run(1);
        let header = packet.len() - body.len();
        for cut in (0..packet.len()).filter(|cut| *cut != header) {
            pool.inject(0, address(7), &packet[..cut]);
        }
        let counters = pool.members[0].counters();
        let refused = counters.malformed + counters.refused_key;
        assert_eq!(refused, packet.len() as u64 - u64::from(header < packet.len()), "{counters:?}");
        assert_eq!(pool.status(1, 0), Some(Status::Alive));
        pool.inject(0, address(7), &packet);
        assert_eq!(pool.members[0].counters().suspicions, 1);
    }
}

/// A wrong key at every port: sealed with a key that is not ours, and plain.
#[test]
fn packets_under_a_wrong_key_or_none_are_counted_and_noted_once() {
    let key = |byte| KeyRing::new([Key::new(&[byte; 32]).unwrap()]);
    let mut pool = Pool::default();
    pool.add(Config { keys: key(1), ..config(0) });
    let mut body = Vec::new();
    wire::append(&mut body, &wire::Message::Nack { seq: 1 }.encode());
    for ring in [key(2), KeyRing::default()] {
        let packet = envelope::Envelope::new("lan.dc1", ring, true, true).seal(&body, &mut StdRng::seed_from_u64(1));
        for port in 1..=50 {
            pool.inject(0, ([192, 0, 2, 1], port).into(), &packet);
        }
    }
    let counters = pool.members[0].counters();
    assert_eq!((counters.refused_key, counters.refused_plain, pool.notes.len()), (50, 50, 2));
}

#[test]
fn a_member_that_accepts_streams_and_never_answers_is_counted_and_noted_once() {
    let mut pool = Pool::joined(2);
    pool.silent.insert(1);
    pool.run(200);
    assert!(pool.members[0].counters().streams_failed >= 3, "{:?}", pool.members[0].counters());
    let reason = "connection refused".to_owned();
    assert_eq!(pool.notes, [(0, Note::ExchangeFailed { address: address(1), reason })]);
    assert_eq!(pool.status(1, 0), Some(Status::Alive));
}
