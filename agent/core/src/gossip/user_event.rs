//! User events: small notices that every member hears once.
//!
//! Owns their size limit, their logical clock, the memory of which were heard,
//! and the last [`RECENT_MAX`] for `event list`. Passing them on is the
//! business of [`machine`](super::machine).

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lamport::{LamportClock, LamportTime};

/// How many events are kept to be listed, as in Consul.
pub const RECENT_MAX: usize = 256;

/// An event this far behind the newest is taken for heard.
const WINDOW: u64 = 512;

/// The most events remembered as heard.
const HEARD_MAX: usize = 4096;

/// An event somebody wants to fire, small enough to be passed on. See [`Fired::within`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// Its id: a UUID, chosen by who fires it.
    pub id: u128,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// A regular expression of node names; empty is everyone.
    pub node_filter: String,
    /// A regular expression of service names; empty is everyone.
    pub service_filter: String,
    /// A regular expression of tags; empty is everyone.
    pub tag_filter: String,
}

impl Fired {
    /// The same event, when it is within `bytes_max`.
    ///
    /// # Errors
    /// In Consul's words, when name, payload and filters together are larger.
    pub fn within(self, bytes_max: usize) -> Result<Fired, EventTooLarge> {
        if self.is_within(bytes_max) { Ok(self) } else { Err(EventTooLarge { bytes_max }) }
    }

    pub(super) fn is_within(&self, bytes_max: usize) -> bool {
        self.bytes() <= bytes_max
    }

    fn bytes(&self) -> usize {
        let filters = self.node_filter.len() + self.service_filter.len() + self.tag_filter.len();
        self.name.len() + self.payload.len() + filters
    }
}

/// An event too large to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub bytes_max: usize,
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "user event exceeds configured limit of {} bytes before encoding", self.bytes_max)
    }
}

impl std::error::Error for EventTooLarge {}

/// An event that was fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEvent {
    /// When, in logical time.
    pub time: LamportTime,
    /// What.
    pub fired: Fired,
}

/// The events heard so far.
#[derive(Debug, Default)]
pub(super) struct UserEvents {
    clock: LamportClock,
    oldest: LamportTime,
    heard: BTreeSet<(LamportTime, u128)>,
    recent: VecDeque<Arc<UserEvent>>,
}

impl UserEvents {
    /// Stamps an event of ours.
    pub(super) fn stamp(&mut self, fired: Fired) -> UserEvent {
        UserEvent { time: self.clock.tick(), fired }
    }

    /// The event, when it was not heard before.
    pub(super) fn hear(&mut self, event: UserEvent) -> Option<Arc<UserEvent>> {
        self.clock.witness(event.time);
        self.oldest = self.oldest.max(LamportTime(self.clock.time().0.saturating_sub(WINDOW)));
        if event.time < self.oldest || event.time > self.clock.time() {
            return None;
        }
        if !self.heard.insert((event.time, event.fired.id)) {
            return None;
        }
        self.forget();
        let event = Arc::new(event);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(&event));
        Some(event)
    }

    /// Takes everything up to this moment for heard: what a pool did before we joined is not news.
    pub(super) fn skip_until(&mut self, time: LamportTime) {
        self.clock.witness(time);
        self.oldest = self.oldest.max(LamportTime(self.clock.time().0.saturating_add(1)));
    }

    /// The latest events, oldest first.
    pub(super) fn recent(&self) -> impl DoubleEndedIterator<Item = &Arc<UserEvent>> {
        self.recent.iter()
    }

    pub(super) fn time(&self) -> LamportTime {
        self.clock.time()
    }

    fn forget(&mut self) {
        self.heard = self.heard.split_off(&(self.oldest, 0));
        while self.heard.len() > HEARD_MAX {
            if let Some((time, _)) = self.heard.pop_first() {
                self.oldest = self.oldest.max(LamportTime(time.0.saturating_add(1)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(id: u128) -> Fired {
        let name = "deploy".to_owned();
        let [node_filter, service_filter, tag_filter] = [const { String::new() }; 3];
        Fired { id, name, payload: Vec::new(), node_filter, service_filter, tag_filter }
    }

    fn event(time: u64, id: u128) -> UserEvent {
        UserEvent { time: LamportTime(time), fired: fired(id) }
    }

    #[test]
    fn an_event_is_heard_once() {
        let mut events = UserEvents::default();
        assert!(events.hear(event(3, 1)).is_some());
        assert!(events.hear(event(3, 1)).is_none());
        assert!(events.hear(event(3, 2)).is_some());
        assert_eq!(events.stamp(fired(9)).time, LamportTime(4));
    }

    #[test]
    fn old_events_are_not_news() {
        let mut events = UserEvents::default();
        events.hear(event(1000, 1));
        assert!(events.hear(event(487, 2)).is_none());
        assert!(events.hear(event(488, 2)).is_some());
        let mut joined = UserEvents::default();
        joined.skip_until(LamportTime(10));
        assert!(joined.hear(event(10, 1)).is_none());
        assert!(joined.hear(event(11, 1)).is_some());
    }

    #[test]
    fn the_last_are_kept() {
        let mut events = UserEvents::default();
        for id in 0..300 {
            events.hear(event(id, id.into()));
        }
        let kept: Vec<u128> = events.recent().map(|event| event.fired.id).collect();
        assert_eq!((kept.len(), kept[0], kept[255]), (RECENT_MAX, 44, 299));
    }

    #[test]
    fn what_is_heard_at_one_moment_is_bounded() {
        let mut events = UserEvents::default();
        for id in 0..5000 {
            events.hear(event(7, id));
        }
        assert!(events.heard.len() <= HEARD_MAX);
    }

    #[test]
    fn an_event_is_bounded_in_consuls_words() {
        let large = Fired { payload: vec![0; 507], ..fired(1) };
        let refused = large.clone().within(512).unwrap_err().to_string();
        assert_eq!(refused, "user event exceeds configured limit of 512 bytes before encoding");
        assert!(large.within(513).is_ok());
    }
}
