//! Leaving, being made to leave, being pruned.

use super::super::*;
use super::pool::{Pool, config};

fn left(event: &Event) -> bool {
    matches!(event, Event::MemberLeft(_))
}

fn force(name: &str, prune: bool) -> Input {
    Input::ForceLeave { name: name.to_owned(), prune }
}

#[test]
fn who_leaves_has_left_and_not_failed() {
    let mut pool = Pool::joined(4);
    pool.step(2, Input::Leave);
    pool.run(10);
    pool.dead.insert(2);
    pool.run(60);
    assert!(pool.everybody_says(2, Status::Left));
    assert_eq!(pool.saw(2, |event| *event == Event::LeftPool), 1);
    assert_eq!(pool.saw(0, left), 1);
    assert_eq!(pool.saw(0, |event| matches!(event, Event::MemberFailed(_))), 0);
    assert_eq!(pool.members[2].deadline(), None);
}

#[test]
fn leaving_takes_about_a_second() {
    let mut pool = Pool::joined(4);
    pool.step(2, Input::Leave);
    let took = pool.run_until(10, |pool| pool.saw(2, |event| *event == Event::LeftPool) == 1).unwrap();
    assert!(took.as_millis() < 1500, "{took:?}");
}

#[test]
fn a_lone_member_leaves_at_once() {
    let mut pool = Pool::joined(1);
    pool.step(0, Input::Leave);
    assert_eq!(pool.saw(0, |event| *event == Event::LeftPool), 1);
}

#[test]
fn a_member_whose_datagrams_are_blocked_can_leave() {
    let mut pool = Pool::joined(4);
    pool.blocked.insert(2);
    pool.step(2, Input::Leave);
    pool.run(10);
    assert!(pool.everybody_says(2, Status::Left));
}

#[test]
fn who_left_may_come_back() {
    let mut pool = Pool::joined(3);
    pool.step(2, Input::Leave);
    pool.run(10);
    pool.dead.insert(2);
    pool.add(Config { incarnation: 9, ..config(2) });
    pool.join(3, 0);
    pool.run(60);
    assert_eq!((pool.status(2, 0), pool.status(2, 1)), (Some(Status::Alive), Some(Status::Alive)));
}

#[test]
fn a_failed_member_is_made_to_leave_everywhere() {
    let mut pool = Pool::joined(4);
    pool.dead.insert(3);
    pool.run(30);
    pool.step(1, force("m3", false));
    pool.run(5);
    assert!(pool.everybody_says(3, Status::Left));
    assert_eq!((0..3).map(|at| pool.saw(at, left)).sum::<usize>(), 3);
}

#[test]
fn a_pruned_member_is_forgotten_everywhere_and_stays_forgotten() {
    let mut pool = Pool::joined(4);
    pool.dead.insert(3);
    pool.run(30);
    pool.step(1, force("m3", true));
    pool.run(200);
    assert_eq!([0, 1, 2].map(|at| pool.status(3, at)), [None, None, None]);
}

#[test]
fn a_living_member_objects_to_being_made_to_leave() {
    let mut pool = Pool::joined(4);
    pool.step(1, force("m3", true));
    pool.run(10);
    assert!(pool.everybody_says(3, Status::Alive));
}
