//! Linearizability: every operation on a key seems to happen at once, between its call and its answer.
//!
//! The search is Wing and Gong's with Lowe's cache: take any operation that no
//! other had to precede, see whether the key could have answered so, go on, and
//! never look at the same set of operations with the same key twice. An operation
//! whose outcome was never learned may happen at any time after its call, or never.

use std::collections::{BTreeMap, BTreeSet};

/// What was asked of a key. Every value is written at most once, so a value stands for its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Read it.
    Get,
    /// Write it.
    Put(u64),
    /// Write it if it has this value; `None` when it must be absent.
    Cas(Option<u64>, u64),
    /// Write and lock it for this session.
    Lock(u8, u64),
    /// Write it and give the lock back.
    Unlock(u8, u64),
    /// Remove it.
    Delete,
}

/// What it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// What was read.
    Read(Key),
    /// Whether it was done.
    Done(bool),
}

/// A key at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its value; `None` when it is absent.
    pub value: Option<u64>,
    /// The session that holds its lock.
    pub holder: Option<u8>,
}

impl Key {
    /// What the key becomes, and what it answers.
    fn ask(self, asked: Asked) -> (Key, Answered) {
        let is_free_for = |session| self.holder.is_none_or(|holder| holder == session);
        let (after, done) = match asked {
            Asked::Get => return (self, Answered::Read(self)),
            Asked::Put(value) => (Key { value: Some(value), ..self }, true),
            Asked::Cas(expected, value) if self.value == expected => (Key { value: Some(value), ..self }, true),
            Asked::Lock(session, value) if is_free_for(session) => {
                (Key { value: Some(value), holder: Some(session) }, true)
            }
            Asked::Unlock(session, value) if self.holder == Some(session) => {
                (Key { value: Some(value), holder: None }, true)
            }
            Asked::Delete => (Key::default(), true),
            Asked::Cas(..) | Asked::Lock(..) | Asked::Unlock(..) => (self, false),
        };
        (after, Answered::Done(done))
    }
}

/// An operation, with the order of its ends among all calls and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    asked: Asked,
    answered: Option<Answered>,
    called_at: u64,
    answered_at: u64,
}

/// The operations on every key.
#[derive(Default)]
pub struct Histories {
    keys: BTreeMap<String, Vec<Operation>>,
    events: u64,
}

/// An operation that has no answer yet.
pub struct Call {
    key: String,
    place: usize,
}

impl Histories {
    /// An operation begins. If nothing more is said of it, its outcome is not known.
    pub fn called(&mut self, key: &str, asked: Asked) -> Call {
        self.events += 1;
        let history = self.keys.entry(key.to_owned()).or_default();
        history.push(Operation { asked, answered: None, called_at: self.events, answered_at: u64::MAX });
        Call { key: key.to_owned(), place: history.len() - 1 }
    }

    /// It was answered.
    pub fn answered(&mut self, call: &Call, answered: Answered) {
        self.events += 1;
        if let Some(operation) = self.keys.get_mut(&call.key).and_then(|history| history.get_mut(call.place)) {
            operation.answered = Some(answered);
            operation.answered_at = self.events;
        }
    }

    /// It certainly did not happen.
    pub fn refused(&mut self, call: &Call) {
        // A read that tells nothing: it fits anywhere.
        if let Some(operation) = self.keys.get_mut(&call.key).and_then(|history| history.get_mut(call.place)) {
            operation.asked = Asked::Get;
        }
    }

    /// How many operations were answered.
    pub fn count(&self) -> usize {
        self.keys.values().flatten().filter(|operation| operation.answered.is_some()).count()
    }

    /// Looks for an order in which every key could have answered as it did.
    ///
    /// # Errors
    /// When there is none.
    pub fn check(&self) -> Result<(), String> {
        for (key, history) in &self.keys {
            if !is_linearizable(history) {
                let shown: Vec<String> = history.iter().map(|operation| format!("  {operation:?}")).collect();
                return Err(format!("linear: {key} has no order that explains its answers:\n{}", shown.join("\n")));
            }
        }
        Ok(())
    }
}

/// A step of the search that can be taken back.
struct Step {
    operation: usize,
    before: Key,
}

fn is_linearizable(history: &[Operation]) -> bool {
    // What nobody learned of a read tells nothing.
    let mut left: Vec<Operation> =
        history.iter().copied().filter(|op| op.answered.is_some() || op.asked != Asked::Get).collect();
    left.sort_by_key(|operation| operation.called_at);
    let mut taken = Taken(vec![0; left.len().div_ceil(64)]);
    let mut key = Key::default();
    let mut seen: BTreeSet<(Taken, Key)> = BTreeSet::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut from = 0;
    loop {
        // Only what was called before the first answer of what is left may come next.
        let open = (0..left.len()).filter(|place| !taken.has(*place));
        let first_answer = open.clone().map(|place| left[place].answered_at).min().unwrap_or(u64::MAX);
        if first_answer == u64::MAX {
            return true;
        }
        let next = open.skip_while(|place| *place < from).find_map(|place| {
            let operation = left[place];
            if operation.called_at > first_answer {
                return None;
            }
            let (after, answer) = key.ask(operation.asked);
            let fits = operation.answered.is_none_or(|answered| answered == answer);
            (fits && seen.insert((taken.with(place), after))).then_some((place, after))
        });
        match next {
            Some((operation, after)) => {
                steps.push(Step { operation, before: key });
                taken = taken.with(operation);
                key = after;
                from = 0;
            }
            None => {
                let Some(step) = steps.pop() else { return false };
                taken = taken.without(step.operation);
                key = step.before;
                from = step.operation + 1;
            }
        }
    }
}

/// A set of operations.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Taken(Vec<u64>);

impl Taken {
    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn with(&self, place: usize) -> Taken {
        let mut taken = self.clone();
        taken.0[place / 64] |= 1 << (place % 64);
        taken
    }

    fn without(&self, place: usize) -> Taken {
        let mut taken = self.clone();
        taken.0[place / 64] &= !(1 << (place % 64));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Key = Key { value: None, holder: None };

    fn read(value: u64) -> Answered {
        Answered::Read(Key { value: Some(value), holder: None })
    }

    /// Operations one after another.
    fn in_turn(operations: &[(Asked, Answered)]) -> Histories {
        let mut histories = Histories::default();
        for (asked, answered) in operations {
            let call = histories.called("k", *asked);
            histories.answered(&call, *answered);
        }
        histories
    }

    #[test]
    fn what_a_key_does_is_linearizable() {
        let done = Answered::Done;
        let histories = in_turn(&[
            (Asked::Get, Answered::Read(ABSENT)),
            (Asked::Put(1), done(true)),
            (Asked::Cas(Some(1), 2), done(true)),
            (Asked::Cas(Some(1), 3), done(false)),
            (Asked::Lock(7, 4), done(true)),
            (Asked::Lock(8, 5), done(false)),
            (Asked::Unlock(8, 6), done(false)),
            (Asked::Unlock(7, 7), done(true)),
            (Asked::Get, read(7)),
            (Asked::Delete, done(true)),
            (Asked::Get, Answered::Read(ABSENT)),
        ]);

        assert_eq!(histories.check(), Ok(()));
    }

    #[test]
    fn a_stale_read_is_noticed() {
        let stale = in_turn(&[
            (Asked::Put(1), Answered::Done(true)),
            (Asked::Put(2), Answered::Done(true)),
            (Asked::Get, read(1)),
        ]);

        assert!(stale.check().is_err());
    }

    #[test]
    fn two_holders_of_a_lock_are_noticed() {
        let twice = in_turn(&[(Asked::Lock(1, 1), Answered::Done(true)), (Asked::Lock(2, 2), Answered::Done(true))]);

        assert!(twice.check().is_err());
    }

    #[test]
    fn a_write_of_unknown_outcome_may_happen_late_or_never_but_not_twice() {
        let with_unknown = |reads: &[u64]| {
            let mut histories = in_turn(&[(Asked::Put(1), Answered::Done(true))]);
            histories.called("k", Asked::Put(2));
            for value in reads {
                let call = histories.called("k", Asked::Get);
                histories.answered(&call, read(*value));
            }
            histories.check()
        };

        assert!(with_unknown(&[1, 1]).is_ok() && with_unknown(&[1, 2]).is_ok() && with_unknown(&[2, 2]).is_ok());
        assert!(with_unknown(&[2, 1]).is_err());
    }

    #[test]
    fn operations_at_the_same_time_may_come_in_any_order() {
        let mut histories = Histories::default();
        let (put, get) = (histories.called("k", Asked::Put(1)), histories.called("k", Asked::Get));
        histories.answered(&put, Answered::Done(true));
        histories.answered(&get, Answered::Read(ABSENT));

        assert_eq!(histories.check(), Ok(()));
    }

    #[test]
    fn a_refused_write_never_happens() {
        let mut histories = in_turn(&[(Asked::Put(1), Answered::Done(true))]);
        let refused = histories.called("k", Asked::Put(2));
        histories.refused(&refused);
        let get = histories.called("k", Asked::Get);
        histories.answered(&get, read(2));

        assert!(histories.check().is_err());
    }
}
