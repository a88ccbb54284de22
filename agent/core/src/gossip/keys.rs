//! Questions to every member about its keys, and their answers.
//!
//! A question is a rumour; answers go straight to who asked. Half-way through
//! its time, those that have not answered are asked again, and answer, over a
//! stream. A question is acted upon once, however often it arrives, and an old
//! one never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::input::{Event, KeyOperation, KeyReport, Ticket};
use super::lamport::{LamportClock, LamportTime};
use super::machine::Gossip;
use super::queue::Subject;
use super::timers::Timer;
use super::wire::{KeyAnswer, KeyQuery, Message};
use crate::Instant;

/// The most questions of ours that are under way.
const ASKED_MAX: usize = 16;

/// The most members asked again, each over a stream of its own.
const ASKED_AGAIN_MAX: usize = 64;

/// Questions this far behind the newest are not acted upon.
const WINDOW: u64 = 256;

/// The most questions remembered as heard.
const HEARD_MAX: usize = 1024;

/// Rounds of gossip a question has for each digit of the pool's size (serf's timeout).
const ROUNDS: u32 = 16;

/// Our questions and those we heard.
#[derive(Debug, Default)]
pub(super) struct KeyQueries {
    clock: LamportClock,
    asked: BTreeMap<u64, Asked>,
    /// What came of the questions we heard.
    heard: BTreeMap<(LamportTime, u64), Option<String>>,
    oldest: LamportTime,
}

#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    query: KeyQuery,
    waiting: BTreeSet<Arc<str>>,
    answers: BTreeMap<Arc<str>, KeyAnswer>,
    end: Instant,
}

impl KeyQueries {
    pub(super) fn time(&self) -> LamportTime {
        self.clock.time()
    }
}

impl Gossip {
    /// Asks everybody, ourselves included.
    pub(super) fn ask_about_keys(&mut self, now: Instant, ticket: Ticket, operation: KeyOperation) {
        if self.key_queries.asked.len() >= ASKED_MAX {
            let errors = [(self.config.name.to_string(), "too many operations on keys at a time".to_owned())].into();
            let report = KeyReport { members: 1, errors, ..KeyReport::default() };
            return self.emit(Event::KeysAnswered { ticket, report });
        }
        let (id, time) = (self.rng.random(), self.key_queries.clock.tick());
        let (origin, answer_to) = (self.my_name(), self.config.address);
        let query = KeyQuery { time, id, origin, answer_to, again: false, operation };
        let living = self.table.iter().filter(|entry| entry.is_living());
        let waiting = living.map(|entry| Arc::clone(&entry.profile.name)).collect();
        let time = self.key_query_time();
        let asked = Asked { ticket, query: query.clone(), waiting, answers: BTreeMap::new(), end: now + time };
        self.key_queries.asked.insert(id, asked);
        self.timers.set(Timer::Keys(id), now + time / 2);
        self.hear_key_query(now, query);
    }

    pub(super) fn hear_key_query(&mut self, now: Instant, query: KeyQuery) {
        let queries = &mut self.key_queries;
        queries.clock.witness(query.time);
        queries.oldest = queries.oldest.max(LamportTime(queries.clock.time().0.saturating_sub(WINDOW)));
        let turn = (query.time, query.id);
        let is_current = query.time >= queries.oldest && query.time <= queries.clock.time();
        let heard = queries.heard.get(&turn).cloned();
        let error = match heard {
            Some(error) if query.again => error,
            Some(_) => return,
            None if !is_current => return,
            None => {
                let error = self.change_keys(&query.operation).err();
                self.remember_key_query(turn, error.clone());
                let query = KeyQuery { again: false, ..query.clone() };
                self.spread(now, Subject::Keys(query.id), &Message::KeyQuery(query));
                error
            }
        };
        let keys = self.envelope.ring.keys().cloned().collect();
        let answer = KeyAnswer { id: query.id, name: self.my_name(), error, keys };
        if self.is_me(&query.origin) {
            self.hear_key_answer(answer);
        } else if query.again {
            self.deliver(query.answer_to, &Message::KeyAnswer(answer));
        } else {
            self.send_whole(query.answer_to, Message::KeyAnswer(answer));
        }
    }

    pub(super) fn hear_key_answer(&mut self, answer: KeyAnswer) {
        let Some(asked) = self.key_queries.asked.get_mut(&answer.id) else { return };
        if asked.waiting.remove(&answer.name) {
            asked.answers.insert(Arc::clone(&answer.name), answer);
        }
    }

    /// Ends questions that everybody has answered.
    pub(super) fn finish_key_queries(&mut self) {
        let complete = |asked: &Asked| asked.waiting.is_empty();
        while let Some(id) = self.key_queries.asked.iter().find(|(_, asked)| complete(asked)).map(|(id, _)| *id) {
            self.finish_key_query(id);
        }
    }

    /// Asks the silent again, or gives them up.
    pub(super) fn key_query_late(&mut self, now: Instant, id: u64) {
        let Some(asked) = self.key_queries.asked.get(&id) else { return };
        if asked.end <= now {
            return self.finish_key_query(id);
        }
        let end = asked.end;
        let query = KeyQuery { again: true, ..asked.query.clone() };
        let silent: Vec<Arc<str>> = asked.waiting.iter().take(ASKED_AGAIN_MAX).cloned().collect();
        let message = Message::KeyQuery(query);
        for name in silent {
            if let Some(to) = self.table.find(&name).and_then(|slot| self.address_of(slot)) {
                self.deliver(to, &message);
            }
        }
        self.timers.set(Timer::Keys(id), end);
    }

    fn finish_key_query(&mut self, id: u64) {
        self.timers.cancel(Timer::Keys(id));
        if let Some(asked) = self.key_queries.asked.remove(&id) {
            let report = report(&asked.answers, &asked.waiting);
            self.emit(Event::KeysAnswered { ticket: asked.ticket, report });
        }
    }

    fn change_keys(&mut self, operation: &KeyOperation) -> Result<(), String> {
        let before = self.envelope.ring.clone();
        let ring = &mut self.envelope.ring;
        match operation {
            KeyOperation::List if ring.is_empty() => Err("Keyring is empty (encryption not enabled)".to_owned()),
            KeyOperation::List => Ok(()),
            KeyOperation::Install(key) => ring.install(key.clone()),
            KeyOperation::Use(key) => ring.use_key(key),
            KeyOperation::Remove(key) => ring.remove(key),
        }?;
        if self.envelope.ring != before {
            let ring = self.envelope.ring.clone();
            self.emit(Event::KeysChanged(ring));
        }
        Ok(())
    }

    fn remember_key_query(&mut self, turn: (LamportTime, u64), error: Option<String>) {
        let queries = &mut self.key_queries;
        queries.heard.insert(turn, error);
        queries.heard = queries.heard.split_off(&(queries.oldest, 0));
        while queries.heard.len() > HEARD_MAX {
            if let Some(((time, _), _)) = queries.heard.pop_first() {
                queries.oldest = queries.oldest.max(LamportTime(time.0.saturating_add(1)));
            }
        }
    }

    fn key_query_time(&self) -> Duration {
        let digits = ((self.table.living() + 1) as f64).log10().ceil() as u32;
        self.config.timing.gossip_interval * ROUNDS * digits
    }
}

fn report(answers: &BTreeMap<Arc<str>, KeyAnswer>, silent: &BTreeSet<Arc<str>>) -> KeyReport {
    let mut report = KeyReport { members: answers.len() + silent.len(), ..KeyReport::default() };
    report.answered = answers.len();
    report.silent = silent.iter().map(|name| name.to_string()).collect();
    for KeyAnswer { name, error, keys, id: _ } in answers.values() {
        if let Some(error) = error {
            report.errors.insert(name.to_string(), error.clone());
        }
        for key in keys {
            *report.keys.entry(key.clone()).or_default() += 1;
        }
        if let Some(primary) = keys.first() {
            *report.primary_keys.entry(primary.clone()).or_default() += 1;
        }
    }
    report
}
