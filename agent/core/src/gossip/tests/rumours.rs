//! User events, and rumours in general.

use super::super::*;
use super::pool::{Pool, config};

fn fired(id: u128, payload: usize) -> Fired {
    let [node_filter, service_filter, tag_filter] = [const { String::new() }; 3];
    Fired { id, name: "deploy".to_owned(), payload: vec![7; payload], node_filter, service_filter, tag_filter }
}

fn heard(event: &Event) -> bool {
    matches!(event, Event::UserEvent(_))
}

#[test]
fn everybody_hears_an_event_once() {
    let mut pool = Pool::joined(8);
    pool.step(3, Input::Fire(fired(1, 500)));
    pool.run(100);
    assert!((0..8).all(|at| pool.saw(at, heard) == 1));
}

#[test]
fn a_newcomer_does_not_hear_what_was_before() {
    let mut pool = Pool::joined(3);
    pool.step(0, Input::Fire(fired(1, 10)));
    pool.run(5);
    pool.add(config(3));
    pool.join(3, 0);
    pool.run(100);
    assert_eq!(pool.saw(3, heard), 0);
    pool.step(1, Input::Fire(fired(2, 10)));
    pool.run(5);
    assert_eq!(pool.saw(3, heard), 1);
}

#[test]
fn an_event_too_large_goes_nowhere() {
    let mut pool = Pool::joined(2);
    pool.step(0, Input::Fire(fired(1, 507)));
    pool.run(2);
    assert_eq!((pool.saw(0, heard), pool.saw(1, heard)), (0, 0));
}

#[test]
fn who_missed_an_event_hears_it_with_the_next_exchange() {
    let mut pool = Pool::joined(3);
    pool.blocked.insert(2);
    pool.step(0, Input::Fire(fired(1, 10)));
    pool.run(120);
    assert_eq!(pool.saw(2, heard), 1);
}

#[test]
fn the_latest_events_are_listed() {
    let mut pool = Pool::joined(2);
    for id in 0..300 {
        pool.step(0, Input::Fire(fired(id, 1)));
    }
    pool.run(60);
    let listed: Vec<u128> = pool.members[0].user_events().map(|event| event.fired.id).collect();
    assert_eq!((listed.len(), listed[0], listed[255]), (256, 44, 299));
    assert_eq!(pool.members[1].user_events().count(), 256);
}
