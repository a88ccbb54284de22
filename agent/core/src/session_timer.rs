//! When sessions with a TTL expire: the leader's machine.
//!
//! TTLs live in the leader's memory alone. A session expires when it was not
//! renewed for twice its TTL (Consul's grace); a new leader gives every session
//! a full period again, because it cannot know when the last renewal was. An
//! expired session is asked to be destroyed again every [`RETRY`] until it is
//! gone: the write that destroys it may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Instant;
use crate::state::tables::{Session, SessionId};

/// Time between two attempts to destroy an expired session.
pub const RETRY: Duration = Duration::from_secs(1);

/// How many TTLs a session lives without renewal.
const GRACE_TTLS: u32 = 2;

/// A session and its TTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The session.
    pub id: SessionId,
    /// Its TTL in milliseconds; zero never expires.
    pub ttl_ms: u64,
}

impl Lease {
    /// What the timer needs to know of a session.
    pub fn of(session: &Session) -> Lease {
        Lease { id: session.id.clone(), ttl_ms: session.ttl_ms }
    }
}

/// What the leader tells the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This server leads now; these are all sessions.
    BecameLeader(Vec<Lease>),
    /// This server no longer leads: nothing expires here.
    LostLeadership,
    /// These are all sessions now: others are gone, known ones keep their time. For who only knows that some changed.
    Sessions(Vec<Lease>),
    /// A session exists. Known ones keep their time.
    SessionSeen(Lease),
    /// A client renewed a session.
    Renewed(SessionId),
    /// A session was destroyed.
    Gone(SessionId),
    /// Time has passed.
    Tick,
}

/// What the leader must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Destroy this session: it was not renewed in time.
    Expire(SessionId),
}

/// The time left to each session. Empty, and deaf to all but [`Input::BecameLeader`], while not leading.
#[derive(Debug, Default)]
pub struct SessionTimer {
    leading: bool,
    sessions: BTreeMap<SessionId, Timer>,
    due: BTreeSet<(Instant, SessionId)>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    grace: Duration,
    at: Instant,
}

impl SessionTimer {
    /// Takes in one input and returns the sessions that are due, soonest first.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::BecameLeader(leases) => {
                *self = SessionTimer { leading: true, ..SessionTimer::default() };
                for lease in leases {
                    self.see(now, lease);
                }
            }
            Input::LostLeadership => *self = SessionTimer::default(),
            Input::Sessions(leases) => self.see_all(now, leases),
            Input::SessionSeen(lease) => self.see(now, lease),
            Input::Renewed(id) => {
                if let Some(timer) = self.sessions.get(&id).copied() {
                    self.arm(id, Timer { at: now + timer.grace, ..timer });
                }
            }
            Input::Gone(id) => self.disarm(&id),
            Input::Tick => {}
        }
        self.expire(now)
    }

    /// When to call [`SessionTimer::step`] again at the latest, and why.
    pub fn deadline(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(at, _)| (*at, "a session's ttl runs out"))
    }

    fn see(&mut self, now: Instant, lease: Lease) {
        if self.leading && lease.ttl_ms > 0 && !self.sessions.contains_key(&lease.id) {
            let grace = Duration::from_millis(lease.ttl_ms).saturating_mul(GRACE_TTLS);
            self.arm(lease.id, Timer { grace, at: now + grace });
        }
    }

    fn see_all(&mut self, now: Instant, leases: Vec<Lease>) {
        let living: BTreeSet<&SessionId> = leases.iter().map(|lease| &lease.id).collect();
        let gone: Vec<SessionId> = self.sessions.keys().filter(|id| !living.contains(id)).cloned().collect();
        for id in gone {
            self.disarm(&id);
        }
        for lease in leases {
            self.see(now, lease);
        }
    }

    fn expire(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some((at, id)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id.clone()));
            if let Some(timer) = self.sessions.get(&id).copied() {
                self.arm(id.clone(), Timer { at: now + RETRY, ..timer });
            }
            outputs.push(Output::Expire(id));
        }
        outputs
    }

    fn arm(&mut self, id: SessionId, timer: Timer) {
        if let Some(before) = self.sessions.insert(id.clone(), timer) {
            self.due.remove(&(before.at, id.clone()));
        }
        self.due.insert((timer.at, id));
    }

    fn disarm(&mut self, id: &SessionId) {
        if let Some(timer) = self.sessions.remove(id) {
            self.due.remove(&(timer.at, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn lease(id: &str, ttl_seconds: u64) -> Lease {
        Lease { id: id.to_string(), ttl_ms: ttl_seconds * 1000 }
    }

    fn leader(leases: &[Lease]) -> SessionTimer {
        let mut timer = SessionTimer::default();
        assert_eq!(timer.step(at(0), Input::BecameLeader(leases.to_vec())), []);
        timer
    }

    fn expire(id: &str) -> Vec<Output> {
        vec![Output::Expire(id.to_string())]
    }

    #[test]
    fn a_session_expires_after_twice_its_ttl() {
        let mut timer = leader(&[lease("a", 10)]);
        assert_eq!(timer.deadline().map(|(at, _)| at), Some(at(20)));
        assert_eq!(timer.step(at(19), Input::Tick), []);
        assert_eq!(timer.step(at(20), Input::Tick), expire("a"));
    }

    #[test]
    fn renewal_starts_the_time_again() {
        let mut timer = leader(&[lease("a", 10)]);
        timer.step(at(15), Input::Renewed("a".to_string()));
        assert_eq!(timer.step(at(34), Input::Tick), []);
        assert_eq!(timer.step(at(35), Input::Tick), expire("a"));
    }

    #[test]
    fn seeing_a_known_session_does_not_renew_it() {
        let mut timer = leader(&[lease("a", 10)]);
        timer.step(at(15), Input::SessionSeen(lease("a", 10)));
        assert_eq!(timer.deadline().map(|(at, _)| at), Some(at(20)));
    }

    #[test]
    fn an_expired_session_is_asked_for_again_until_it_is_gone() {
        let mut timer = leader(&[lease("a", 10)]);
        timer.step(at(20), Input::Tick);
        assert_eq!(timer.step(at(21), Input::Tick), expire("a"));
        timer.step(at(21), Input::Gone("a".to_string()));
        assert_eq!(timer.deadline(), None);
    }

    #[test]
    fn a_list_of_all_sessions_adds_the_new_and_forgets_the_gone() {
        let mut timer = leader(&[lease("a", 10), lease("b", 20)]);
        timer.step(at(5), Input::Sessions(vec![lease("b", 20), lease("c", 10)]));
        assert_eq!(timer.step(at(40), Input::Tick), [expire("c"), expire("b")].concat());
    }

    #[test]
    fn sessions_without_ttl_never_expire() {
        assert_eq!(leader(&[lease("a", 0)]).deadline(), None);
    }

    #[test]
    fn who_does_not_lead_expires_nothing() {
        let mut timer = leader(&[lease("a", 10)]);
        timer.step(at(1), Input::LostLeadership);
        timer.step(at(2), Input::SessionSeen(lease("b", 10)));
        assert_eq!((timer.deadline(), timer.step(at(99), Input::Tick)), (None, vec![]));
    }

    #[test]
    fn a_new_leader_gives_every_session_a_full_period() {
        let mut timer = leader(&[lease("a", 10)]);
        timer.step(at(5), Input::LostLeadership);
        timer.step(at(18), Input::BecameLeader(vec![lease("a", 10)]));
        assert_eq!(timer.deadline().map(|(at, _)| at), Some(at(38)));
    }
}
