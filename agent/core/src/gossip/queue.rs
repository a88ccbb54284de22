//! Rumours waiting to be passed on.
//!
//! Each is passed on a number of times that grows with the logarithm of the
//! pool (SWIM, section 4.1); those passed on least go first, news about members
//! before everything else. A newer rumour about the same subject replaces the
//! older one. Bounded: what was told most often is given up first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire;

/// The most rumours kept beside two for every member.
const RUMOURS_MAX: usize = 4096;

/// Nothing shorter is ever passed on, so less space is full.
const RUMOUR_BYTES_MIN: usize = 8;

/// What a rumour is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Whether a member is there.
    Member(Arc<str>),
    /// Whether it wants to be.
    Intent(Arc<str>),
    /// A question about keys.
    Keys(u64),
    /// A user event.
    Event(u64, u128),
}

impl Subject {
    /// Lower goes first.
    fn class(&self) -> u8 {
        match self {
            Subject::Member(_) | Subject::Intent(_) => 0,
            Subject::Keys(_) | Subject::Event(..) => 1,
        }
    }
}

type Turn = (u8, u32, Reverse<u64>);

#[derive(Debug)]
struct Rumour {
    subject: Subject,
    bytes: Vec<u8>,
    has_profile: bool,
}

/// The rumours, in the order they go.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: BTreeMap<Turn, Rumour>,
    subjects: BTreeMap<Subject, Turn>,
    next: u64,
}

impl Queue {
    /// Adds a rumour and returns how many had to be given up for it.
    pub(super) fn push(&mut self, subject: Subject, bytes: Vec<u8>, has_profile: bool, members: usize) -> u64 {
        if let Some(turn) = self.subjects.remove(&subject) {
            self.turns.remove(&turn);
        }
        let turn = (subject.class(), 0, Reverse(self.next));
        self.next += 1;
        self.subjects.insert(subject.clone(), turn);
        self.turns.insert(turn, Rumour { subject, bytes, has_profile });
        self.give_up(RUMOURS_MAX + 2 * members)
    }

    /// Appends as many rumours to `body` as `bytes_max` leaves room for, each at most `limit` times over all calls.
    pub(super) fn fill(&mut self, body: &mut Vec<u8>, bytes_max: usize, limit: u32) {
        let mut told = Vec::new();
        for (turn, rumour) in &self.turns {
            if body.len() + RUMOUR_BYTES_MIN > bytes_max {
                break;
            }
            if body.len() + wire::LENGTH_BYTES + rumour.bytes.len() <= bytes_max {
                wire::append(body, &rumour.bytes);
                told.push(*turn);
            }
        }
        told.into_iter().for_each(|turn| self.count(turn, limit));
    }

    /// The rumours about members as they are, without counting them as told; at most `count`.
    pub(super) fn peek(&self, count: usize) -> Vec<Vec<u8>> {
        self.turns.values().take(count).map(|rumour| rumour.bytes.clone()).collect()
    }

    /// Whether a rumour about this is still to be passed on.
    pub(super) fn holds(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    /// Whether a rumour about this that carries a profile is still to be passed on.
    pub(super) fn holds_profile(&self, subject: &Subject) -> bool {
        let rumour = self.subjects.get(subject).and_then(|turn| self.turns.get(turn));
        rumour.is_some_and(|rumour| rumour.has_profile)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// How many rumours about members and intents, about keys, and about events wait.
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Subject) -> bool| self.subjects.keys().filter(|subject| wanted(subject)).count();
        let keys = count(|subject| matches!(subject, Subject::Keys(_)));
        let events = count(|subject| matches!(subject, Subject::Event(..)));
        (self.subjects.len() - keys - events, keys, events)
    }

    fn count(&mut self, turn: Turn, limit: u32) {
        let Some(rumour) = self.turns.remove(&turn) else { return };
        let (class, told, id) = turn;
        if told + 1 >= limit {
            self.subjects.remove(&rumour.subject);
            return;
        }
        let turn = (class, told + 1, id);
        self.subjects.insert(rumour.subject.clone(), turn);
        self.turns.insert(turn, rumour);
    }

    fn give_up(&mut self, count_max: usize) -> u64 {
        let mut dropped = 0;
        while self.turns.len() > count_max {
            if let Some((_, rumour)) = self.turns.pop_last() {
                self.subjects.remove(&rumour.subject);
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str) -> Subject {
        Subject::Member(name.into())
    }

    fn next(queue: &mut Queue, bytes_max: usize) -> Vec<Vec<u8>> {
        let mut body = Vec::new();
        queue.fill(&mut body, bytes_max, 2);
        wire::split(&body).unwrap().into_iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn news_goes_first_and_everything_a_few_times() {
        let mut queue = Queue::default();
        queue.push(Subject::Event(1, 1), vec![9; 10], false, 1);
        queue.push(about("a"), vec![1; 10], false, 1);
        assert_eq!(next(&mut queue, 12), [[1; 10]]);
        queue.push(about("b"), vec![2; 10], false, 1);
        assert_eq!(next(&mut queue, 24), [[2; 10], [1; 10]]);
        assert_eq!(next(&mut queue, 24), [[2; 10], [9; 10]]);
        assert_eq!(next(&mut queue, 24), [[9; 10]]);
        assert!(queue.is_empty() && queue.subjects.is_empty());
    }

    #[test]
    fn a_newer_rumour_replaces_the_older() {
        let mut queue = Queue::default();
        queue.push(about("a"), vec![1; 10], true, 1);
        assert!(queue.holds_profile(&about("a")));
        queue.push(about("a"), vec![2; 10], false, 1);
        assert!(!queue.holds_profile(&about("a")));
        assert_eq!(next(&mut queue, 100), [[2; 10]]);
    }

    #[test]
    fn what_does_not_fit_waits_for_a_larger_packet() {
        let mut queue = Queue::default();
        queue.push(about("a"), vec![1; 100], false, 1);
        assert_eq!(next(&mut queue, 50), Vec::<Vec<u8>>::new());
        assert_eq!(next(&mut queue, 102), [[1; 100]]);
    }

    #[test]
    fn there_is_an_end_to_rumours() {
        let mut queue = Queue::default();
        let dropped: u64 = (0..5000).map(|id| queue.push(Subject::Event(1, id), vec![0; 10], false, 0)).sum();
        assert_eq!((dropped, queue.lengths()), (904, (0, 0, 4096)));
    }
}
