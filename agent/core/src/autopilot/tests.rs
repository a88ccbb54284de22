//! Servers come, settle, die and leave.

use super::*;

fn address(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 8300).into()
}

fn id(number: u8) -> String {
    format!("id-{number}")
}

fn known(number: u8, presence: Presence) -> Known {
    Known { id: id(number), name: format!("s{number}"), address: address(number), presence }
}

fn peer(number: u8, voter: bool) -> Peer {
    Peer { id: id(number), address: address(number), voter, silence: Some(Duration::ZERO), behind: 0 }
}

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// Server 1 leads and looks.
fn look(autopilot: &mut Autopilot, now: Instant, known: &[Known], peers: &[Peer]) -> Option<Step> {
    autopilot.look(now, &Settings::default(), View { own_id: "id-1", known, peers })
}

#[test]
fn a_server_that_appears_follows_and_gets_its_vote_once_it_is_stable() {
    let mut autopilot = Autopilot::default();
    let pool = [known(1, Presence::Alive), known(2, Presence::Alive)];
    let step = look(&mut autopilot, at(0), &pool, &[peer(1, true)]);
    assert_eq!(step, Some(Step::Add(pool[1].clone())));

    let peers = [peer(1, true), peer(2, false)];
    assert_eq!(look(&mut autopilot, at(1), &pool, &peers), None);
    assert_eq!(look(&mut autopilot, at(10), &pool, &peers), None);
    assert_eq!(look(&mut autopilot, at(11), &pool, &peers), Some(Step::Promote(id(2))));
}

#[test]
fn a_follower_that_lags_or_is_silent_starts_anew() {
    let mut autopilot = Autopilot::default();
    let pool = [known(1, Presence::Alive), known(2, Presence::Alive)];
    look(&mut autopilot, at(0), &pool, &[peer(1, true), peer(2, false)]);
    let lagging = Peer { behind: 251, ..peer(2, false) };
    look(&mut autopilot, at(5), &pool, &[peer(1, true), lagging]);
    let silent = Peer { silence: Some(Duration::from_millis(201)), ..peer(2, false) };
    look(&mut autopilot, at(6), &pool, &[peer(1, true), silent]);

    look(&mut autopilot, at(7), &pool, &[peer(1, true), peer(2, false)]);
    assert_eq!(look(&mut autopilot, at(16), &pool, &[peer(1, true), peer(2, false)]), None);
    assert_eq!(look(&mut autopilot, at(17), &pool, &[peer(1, true), peer(2, false)]), Some(Step::Promote(id(2))));
}

#[test]
fn a_server_that_moved_is_added_again() {
    let moved = Known { address: address(9), ..known(2, Presence::Alive) };
    let pool = [known(1, Presence::Alive), moved.clone()];
    let step = look(&mut Autopilot::default(), at(0), &pool, &[peer(1, true), peer(2, true)]);
    assert_eq!(step, Some(Step::Add(moved)));
}

#[test]
fn the_leader_does_not_follow_itself() {
    let elsewhere = Known { address: address(9), ..known(1, Presence::Alive) };
    assert_eq!(look(&mut Autopilot::default(), at(0), &[elsewhere], &[peer(1, true)]), None);
}

#[test]
fn a_server_that_left_goes_at_once_and_one_not_heard_of_stays() {
    let pool = [known(1, Presence::Alive), known(2, Presence::Gone)];
    let peers = [peer(1, true), peer(2, true), peer(3, true)];
    assert_eq!(look(&mut Autopilot::default(), at(0), &pool, &peers), Some(Step::Remove(id(2))));
    assert_eq!(look(&mut Autopilot::default(), at(0), &pool[..1], &peers), None);
}

#[test]
fn the_dead_go_while_those_that_remain_are_a_majority() {
    use Presence::{Alive, Failed};
    let cases = [
        // voters, dead, whether one goes
        (3, 1, false),
        (4, 1, true),
        (4, 2, false),
        (5, 1, true),
        (5, 2, false),
        (7, 2, true),
        (2, 1, false),
    ];
    for (voters, dead, goes) in cases {
        let is_dead = |number: u8| number > voters - dead;
        let pool: Vec<Known> =
            (1..=voters).map(|number| known(number, if is_dead(number) { Failed } else { Alive })).collect();
        let peers: Vec<Peer> = (1..=voters).map(|number| peer(number, true)).collect();
        let step = look(&mut Autopilot::default(), at(0), &pool, &peers);
        assert_eq!(step.is_some(), goes, "{dead} of {voters} are dead");
    }
}

#[test]
fn a_dead_follower_goes_whatever_the_voters_do() {
    let pool = [known(1, Presence::Alive), known(2, Presence::Failed)];
    let step = look(&mut Autopilot::default(), at(0), &pool, &[peer(1, true), peer(2, false)]);
    assert_eq!(step, Some(Step::Remove(id(2))));
}

#[test]
fn an_operator_can_keep_the_dead() {
    let pool: Vec<Known> = (1..=5).map(|n| known(n, if n == 5 { Presence::Failed } else { Presence::Alive })).collect();
    let peers: Vec<Peer> = (1..=5).map(|n| peer(n, true)).collect();
    let keeping = [
        Settings { cleanup_dead_servers: false, ..Settings::default() },
        Settings { quorum_min: 5, ..Settings::default() },
    ];
    for settings in keeping {
        let view = View { own_id: "id-1", known: &pool, peers: &peers };
        assert_eq!(Autopilot::default().look(at(0), &settings, view), None);
    }
}

#[test]
fn tolerance_is_what_may_still_die() {
    for (voters, healthy, tolerance) in [(1, 1, 0), (3, 3, 1), (3, 2, 0), (5, 5, 2), (5, 2, 0), (4, 4, 1)] {
        assert_eq!(failure_tolerance(voters, healthy), tolerance, "{healthy} of {voters}");
    }
}

fn candidate(number: u8, expect: usize) -> Candidate {
    Candidate { server: known(number, Presence::Alive), expect, bootstrap: false, cluster: None }
}

#[test]
fn a_cluster_is_formed_once_as_many_are_there_as_all_expect() {
    let three = [candidate(1, 3), candidate(2, 3), candidate(3, 3)];
    assert_eq!(founders(3, &three[..2]), Ok(None));
    let names = |founders: Vec<Known>| founders.into_iter().map(|known| known.name).collect::<Vec<_>>();
    assert_eq!(
        founders(3, &three).map(|found| found.map(names)),
        Ok(Some(vec!["s1".into(), "s2".into(), "s3".into()]))
    );
    let dead = Candidate { server: known(3, Presence::Failed), ..candidate(3, 3) };
    assert_eq!(founders(3, &[candidate(1, 3), candidate(2, 3), dead]), Ok(None));
}

#[test]
fn nobody_forms_a_second_cluster_beside_one() {
    let member = Candidate { cluster: Some(7), ..candidate(4, 3) };
    let candidates = [candidate(1, 3), candidate(2, 3), candidate(3, 3), member];
    assert_eq!(founders(3, &candidates), Ok(None));
}

#[test]
fn a_leader_leaves_servers_of_another_cluster_alone() {
    let candidates = [
        Candidate { cluster: Some(7), ..candidate(1, 0) },
        candidate(2, 0),
        Candidate { cluster: Some(8), ..candidate(3, 0) },
    ];
    let names: Vec<_> = of_cluster(Some(7), &candidates).into_iter().map(|known| known.name).collect();
    assert_eq!(names, ["s1", "s2"]);
}

#[test]
fn contradicting_servers_form_nothing() {
    assert!(founders(3, &[candidate(1, 3), candidate(2, 5)]).unwrap_err().contains("s2 has a conflicting expect"));
    let alone = Candidate { bootstrap: true, ..candidate(2, 0) };
    assert!(founders(3, &[candidate(1, 3), alone]).unwrap_err().contains("s2 has bootstrap mode"));
}

#[test]
fn a_stored_record_says_what_the_rules_go_by() {
    let config = AutopilotConfig {
        cleanup_dead_servers: false,
        last_contact_threshold_ns: 300,
        server_stabilization_time_ns: -1,
        min_quorum: 3,
        ..AutopilotConfig::default()
    };
    let expected = Settings {
        cleanup_dead_servers: false,
        last_contact_max: Duration::from_nanos(300),
        trailing_logs_max: 250,
        quorum_min: 3,
        stabilization: Duration::ZERO,
    };
    assert_eq!(Settings::from(&config), expected);
}

/// The report of server 1, which leads and has looked once at the start.
fn reported(now: Instant, known: &[Known], peers: &[Peer]) -> Report {
    let mut autopilot = Autopilot::default();
    look(&mut autopilot, at(0), known, &[peer(1, true), peer(2, true), peer(3, true)]);
    report(now, &Settings::default(), View { own_id: "id-1", known, peers }, autopilot.health())
}

#[test]
fn a_report_says_who_is_well_and_since_when() {
    let pool = [known(1, Presence::Alive), known(2, Presence::Alive), known(3, Presence::Alive)];
    let well = [peer(1, true), peer(2, true), peer(3, true)];
    let report = reported(at(5), &pool, &well);
    assert!(report.healthy && report.servers.iter().all(|server| server.healthy && server.since == at(0)));
    assert_eq!(report.failure_tolerance, 1);
}

#[test]
fn one_server_that_is_not_well_makes_all_unhealthy() {
    let pool = [known(1, Presence::Alive), known(2, Presence::Alive), known(3, Presence::Alive)];
    let silent = Peer { silence: None, ..peer(3, true) };
    let report = reported(at(5), &pool, &[peer(1, true), peer(2, true), silent]);
    let seen: Vec<_> = report.servers.iter().map(|server| (server.healthy, server.since)).collect();
    assert_eq!(seen, [(true, at(0)), (true, at(0)), (false, at(5))]);
    assert_eq!((report.healthy, report.failure_tolerance), (false, 0));
}

#[test]
fn followers_without_a_vote_count_for_health_but_not_for_tolerance() {
    let pool = [known(1, Presence::Alive), known(2, Presence::Failed)];
    let report = reported(at(5), &pool, &[peer(1, true), peer(2, false)]);
    assert_eq!((report.healthy, report.failure_tolerance), (false, 0));
}

#[test]
fn no_servers_are_not_a_healthy_cluster() {
    assert!(!reported(at(5), &[], &[]).healthy);
}
