//! Joining, being seen, coming back.

use super::super::*;
use super::pool::{Pool, address, config};

#[test]
fn a_lone_member_waits_for_nothing() {
    let mut pool = Pool::default();
    pool.add(config(0));
    assert_eq!(pool.members[0].deadline(), None);
}

#[test]
fn everybody_sees_everybody() {
    let pool = Pool::joined(5);
    for at in 0..5 {
        let names: Vec<String> = pool.members[at].members().map(|member| member.profile.name.to_string()).collect();
        assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
        assert_eq!(pool.saw(at, |event| matches!(event, Event::MemberUp(_))), 4);
    }
}

#[test]
fn a_join_says_whom_it_reached() {
    let mut pool = Pool::default();
    (0..2).for_each(|number| pool.add(config(number)));
    pool.join_at(1, &[address(1), address(0), address(9)]);
    pool.run(1);
    let joined = Event::Joined {
        ticket: Ticket(1),
        contacted: 2,
        failures: vec![(address(9), "connection refused".to_owned())],
    };
    assert_eq!(pool.saw(1, |event| *event == joined), 1);
}

#[test]
fn two_pools_become_one() {
    let mut pool = Pool::default();
    (0..6).for_each(|number| pool.add(config(number)));
    for number in [1, 2] {
        pool.join(number, 0);
    }
    for number in [4, 5] {
        pool.join(number, 3);
    }
    pool.run(5);
    assert_eq!(pool.status(5, 1), None);
    pool.join(3, 0);
    pool.run(5);
    assert!((0..6).all(|of| pool.everybody_says(of, Status::Alive)));
}

#[test]
fn a_restarted_member_is_itself_with_what_it_says_now() {
    let mut pool = Pool::joined(3);
    pool.dead.insert(2);
    let tags = Tags::new([("build".to_owned(), "2".to_owned())].into()).unwrap();
    pool.add(Config { tags: tags.clone(), incarnation: 50, ..config(2) });
    pool.join(3, 0);
    pool.run(5);
    for at in [0, 1] {
        assert_eq!(pool.members[at].member("m2").unwrap().profile.tags, tags);
        assert_eq!(pool.saw(at, |event| matches!(event, Event::MemberFailed(_))), 0);
        assert_eq!(pool.saw(at, |event| matches!(event, Event::MemberChanged(_))), 1);
    }
}

#[test]
fn a_restarted_member_whose_clock_went_back_outbids_its_past() {
    let mut pool = Pool::default();
    pool.add(config(0));
    pool.add(Config { incarnation: 1_000_000, ..config(1) });
    pool.join(1, 0);
    pool.run(2);
    pool.dead.insert(1);
    pool.run(60);
    assert_eq!(pool.status(1, 0), Some(Status::Failed));
    let tags = Tags::new([("build".to_owned(), "2".to_owned())].into()).unwrap();
    pool.add(Config { tags: tags.clone(), incarnation: 5, ..config(1) });
    pool.join(2, 0);
    pool.run(5);
    let member = pool.members[0].member("m1").unwrap();
    assert_eq!((member.status, &member.profile.tags), (Status::Alive, &tags));
    assert!(member.incarnation > 1_000_000);
}

#[test]
fn a_failed_member_that_moved_is_the_same() {
    let mut pool = Pool::joined(3);
    pool.dead.insert(2);
    pool.run(10);
    pool.add(Config { address: address(7), incarnation: 50, ..config(2) });
    pool.join(3, 0);
    pool.run(5);
    for at in [0, 1] {
        let member = pool.members[at].member("m2").unwrap();
        assert_eq!((member.status, member.profile.address), (Status::Alive, address(7)));
    }
}

#[test]
fn where_a_member_was_before_is_no_conflict() {
    let mut pool = Pool::joined(3);
    let before = pool.members[0].member("m2").unwrap().profile;
    pool.dead.insert(2);
    pool.run(10);
    pool.add(Config { address: address(7), incarnation: 50, ..config(2) });
    pool.join(3, 0);
    pool.run(5);
    let stale = wire::Message::Alive { name: "m2".into(), incarnation: 1, revision: 1, profile: Some(before) };
    pool.inject_message(0, 1, &stale);
    assert_eq!(pool.members[0].member("m2").unwrap().profile.address, address(7));
    assert_eq!(pool.members[0].counters().name_conflicts, 0);
}

#[test]
fn a_newcomer_learns_of_those_that_are_gone() {
    let mut pool = Pool::joined(4);
    pool.step(2, Input::Leave);
    pool.dead.insert(3);
    pool.run(60);
    pool.add(config(4));
    pool.join(4, 0);
    pool.run(5);
    assert_eq!((pool.status(2, 4), pool.status(3, 4)), (Some(Status::Left), Some(Status::Failed)));
}

#[test]
fn new_tags_are_heard_by_all() {
    let mut pool = Pool::joined(5);
    let tags = Tags::new([("role".to_owned(), "server".to_owned())].into()).unwrap();
    pool.step(1, Input::SetTags(tags.clone()));
    pool.run(3);
    for at in 0..5 {
        assert_eq!(pool.members[at].member("m1").unwrap().profile.tags, tags);
        assert_eq!(pool.saw(at, |event| matches!(event, Event::MemberChanged(_))), 1);
    }
}

#[test]
fn recent_peers_are_the_living_others() {
    let mut pool = Pool::joined(3);
    pool.dead.insert(2);
    pool.run(60);
    assert_eq!(pool.members[0].recent_peers(), [("m1".into(), address(1))]);
}

#[test]
fn places_on_the_map_tell_the_round_trip() {
    let mut pool = Pool::joined(3);
    pool.run(120);
    let ours = pool.members[0].coordinate();
    let theirs = pool.members[0].coordinate_of("m1").unwrap();
    let round_trip = ours.distance(theirs).as_micros();
    assert!((1_500..2_500).contains(&round_trip), "{round_trip} µs");
}
