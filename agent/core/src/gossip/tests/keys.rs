//! Encrypted pools: rolling a key, rolling encryption out.

use super::super::*;
use super::pool::{Pool, address, config};

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

fn ring(bytes: &[u8]) -> KeyRing {
    KeyRing::new(bytes.iter().map(|byte| key(*byte)))
}

fn encrypted(count: usize) -> Pool {
    let mut pool = Pool::default();
    (0..count).for_each(|number| pool.add(Config { keys: ring(&[1]), ..config(number) }));
    (1..count).for_each(|number| pool.join(number, 0));
    pool.run(10);
    pool
}

fn ask(pool: &mut Pool, operation: KeyOperation) -> KeyReport {
    pool.events.clear();
    pool.step(0, Input::Keys { ticket: Ticket(7), operation });
    pool.run(10);
    let reports = pool.events.iter().filter_map(|(_, event)| match event {
        Event::KeysAnswered { ticket: Ticket(7), report } => Some(report.clone()),
        _ => None,
    });
    let reports: Vec<KeyReport> = reports.collect();
    assert_eq!(reports.len(), 1);
    reports.into_iter().next().unwrap()
}

#[test]
fn a_key_is_rolled_while_the_pool_lives() {
    let mut pool = encrypted(5);
    let steps = [KeyOperation::Install(key(2)), KeyOperation::Use(key(2)), KeyOperation::Remove(key(1))];
    for operation in steps {
        let report = ask(&mut pool, operation);
        assert_eq!((report.members, report.answered, report.errors.len()), (5, 5, 0));
    }
    let report = ask(&mut pool, KeyOperation::List);
    assert_eq!((report.keys, report.primary_keys), ([(key(2), 5)].into(), [(key(2), 5)].into()));
    pool.run(60);
    assert!((0..5).all(|of| pool.everybody_says(of, Status::Alive)));
    assert_eq!(pool.members.iter().map(|member| member.counters().refused_key).sum::<u64>(), 0);
}

#[test]
fn changed_keys_are_to_be_kept() {
    let mut pool = encrypted(2);
    ask(&mut pool, KeyOperation::Install(key(2)));
    assert_eq!(pool.saw(1, |event| *event == Event::KeysChanged(ring(&[1, 2]))), 1);
}

#[test]
fn members_say_why_they_refuse() {
    let mut pool = encrypted(2);
    let report = ask(&mut pool, KeyOperation::Remove(key(1)));
    let refused = "Removing the primary key is not allowed".to_owned();
    assert_eq!(report.errors, [("m0".to_owned(), refused.clone()), ("m1".to_owned(), refused)].into());
    let report = ask(&mut pool, KeyOperation::Use(key(9)));
    assert_eq!(report.errors["m1"], "Requested key is not in the keyring");
}

#[test]
fn a_plain_pool_has_no_keys() {
    let mut pool = Pool::joined(2);
    let report = ask(&mut pool, KeyOperation::List);
    assert_eq!(report.errors["m1"], "Keyring is empty (encryption not enabled)");
}

#[test]
fn the_silent_are_named_in_the_end() {
    let mut pool = encrypted(3);
    pool.dead.insert(2);
    let report = ask(&mut pool, KeyOperation::List);
    assert_eq!((report.members, report.answered, report.silent), (3, 2, vec!["m2".to_owned()]));
}

#[test]
fn a_member_whose_datagrams_are_blocked_is_asked_by_stream() {
    let mut pool = encrypted(3);
    pool.blocked.insert(2);
    let report = ask(&mut pool, KeyOperation::Install(key(2)));
    assert_eq!((report.members, report.answered), (3, 3));
    assert_eq!(pool.members[2].keys(), &ring(&[1, 2]));
}

#[test]
fn a_wrongly_keyed_member_is_refused_and_told() {
    let mut pool = encrypted(2);
    pool.add(Config { keys: ring(&[9]), ..config(2) });
    pool.join(2, 0);
    pool.run(5);
    assert_eq!(pool.status(2, 0), None);
    let reason = "No installed keys could decrypt the message".to_owned();
    let failures = vec![(address(0), reason)];
    assert_eq!(
        pool.saw(2, |event| *event == Event::Joined { ticket: Ticket(1), contacted: 0, failures: failures.clone() }),
        1
    );
    assert_eq!(pool.members[0].counters().refused_key, 1);
}

#[test]
fn a_plain_member_is_refused_by_an_encrypted_pool() {
    let mut pool = encrypted(2);
    pool.add(config(2));
    pool.join(2, 0);
    pool.run(5);
    assert_eq!(pool.status(2, 0), None);
    assert_eq!(pool.members[0].counters().refused_plain, 1);
}

/// Consul's order: keys without verifying, then sealing, then verifying. Every mixture on the way is one pool.
#[test]
fn encryption_is_rolled_out_without_a_split() {
    let plain = config(0);
    let accepts = Config { keys: ring(&[1]), verify_incoming: false, verify_outgoing: false, ..config(1) };
    let seals = Config { keys: ring(&[1]), verify_incoming: false, ..config(1) };
    let verifies = Config { keys: ring(&[1]), ..config(2) };
    for [first, second] in [[plain, accepts.clone()], [accepts, seals.clone()], [seals, verifies]] {
        let mut pool = Pool::default();
        pool.add(Config { name: "m0".into(), id: NodeId(1), address: address(0), ..first });
        pool.add(Config { name: "m1".into(), id: NodeId(2), address: address(1), ..second });
        pool.join(1, 0);
        pool.run(60);
        assert_eq!((pool.status(1, 0), pool.status(0, 1)), (Some(Status::Alive), Some(Status::Alive)));
    }
}
