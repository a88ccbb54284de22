//! The members a member knows of.
//!
//! Owns the entries, finding them by name and id, choosing some at random, and
//! the order in which they are probed: round robin over a shuffled list, so
//! that the time until everybody was probed is bounded (SWIM, section 4.3).
//! Entries stay in their slot until they are removed. What makes a member
//! alive or failed is in `membership`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::lamport::LamportTime;
use super::member::{Member, NodeId, Profile, Status};
use super::suspicion::Suspicion;
use crate::Instant;
use crate::coordinate::Coordinate;

/// Where an entry is. Used again after the entry was removed.
pub(super) type Slot = u32;

/// The slot of ourselves.
pub(super) const ME: Slot = 0;

/// Pools up to this size are searched whole when members are chosen; in larger ones a few guesses do.
const GUESS_FROM: usize = 64;

/// What SWIM knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Suspect,
    Failed,
    Left,
}

/// A member.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) profile: Arc<Profile>,
    pub(super) incarnation: u64,
    pub(super) state: State,
    /// It said that it will leave, and has not yet.
    pub(super) leaving: bool,
    /// The logical time of its last intent.
    pub(super) time: LamportTime,
    /// When the state began.
    pub(super) since: Instant,
    pub(super) suspicion: Option<Box<Suspicion>>,
    pub(super) coordinate: Option<Box<Coordinate>>,
    /// How many of our probes in a row only a stream answered.
    pub(super) by_stream: u8,
}

impl Entry {
    pub(super) fn new(profile: Arc<Profile>, incarnation: u64, state: State, since: Instant) -> Entry {
        let time = LamportTime::default();
        let (leaving, suspicion, coordinate, by_stream) = (false, None, None, 0);
        Entry { profile, incarnation, state, leaving, time, since, suspicion, coordinate, by_stream }
    }

    /// Whether it counts as there: alive, or only suspected.
    pub(super) fn is_living(&self) -> bool {
        match self.state {
            State::Alive | State::Suspect => true,
            State::Failed | State::Left => false,
        }
    }

    pub(super) fn status(&self) -> Status {
        match (self.state, self.leaving) {
            (State::Alive | State::Suspect, false) => Status::Alive,
            (State::Alive | State::Suspect, true) => Status::Leaving,
            (State::Left, _) => Status::Left,
            (State::Failed, _) => Status::Failed,
        }
    }

    pub(super) fn member(&self) -> Member {
        Member { profile: Arc::clone(&self.profile), status: self.status(), incarnation: self.incarnation }
    }
}

/// All members; we are in slot [`ME`].
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Entry>>,
    free: Vec<Slot>,
    /// Sorted by the hash of the name: found without touching other members, which are cold in a large pool.
    by_hash: Vec<(u64, Slot)>,
    by_id: BTreeMap<NodeId, Slot>,
    /// Everybody but us, in the order they are probed.
    order: Vec<Slot>,
    cursor: usize,
    /// How many are living, us included.
    living: usize,
}

impl Table {
    /// A table with us alone.
    pub(super) fn new(me: Entry) -> Table {
        let by_id = BTreeMap::from([(me.profile.id, ME)]);
        let (free, order) = (Vec::new(), Vec::new());
        let by_hash = vec![(hash(&me.profile.name), ME)];
        Table { slots: vec![Some(me)], free, by_hash, by_id, order, cursor: 0, living: 1 }
    }

    pub(super) fn me(&self) -> &Entry {
        self.get(ME).expect("we are never removed")
    }

    pub(super) fn me_mut(&mut self) -> &mut Entry {
        self.get_mut(ME).expect("we are never removed")
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.position(name).map(|at| self.by_hash[at].1)
    }

    /// The member that has this node id.
    pub(super) fn holder(&self, id: NodeId) -> Option<&Entry> {
        self.get(*self.by_id.get(&id)?)
    }

    /// Members of every state, us included, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flatten()
    }

    /// Members of every state, us included, by name.
    pub(super) fn sorted(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.iter().collect();
        entries.sort_by(|a, b| a.profile.name.cmp(&b.profile.name));
        entries
    }

    /// Slots of everybody but us.
    pub(super) fn others(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.order.iter().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// Members of every state, us included.
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Members that are living, us included.
    pub(super) fn living(&self) -> usize {
        self.living
    }

    /// Moves a member to another state, which begins now.
    pub(super) fn set_state(&mut self, slot: Slot, state: State, now: Instant) {
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        self.living -= usize::from(entry.is_living());
        (entry.state, entry.since) = (state, now);
        self.living += usize::from(entry.is_living());
    }

    /// Adds a member whose name is new.
    pub(super) fn insert(&mut self, entry: Entry, rng: &mut impl Rng) -> Slot {
        let slot = self.free.pop().unwrap_or(self.slots.len() as Slot);
        let hash = hash(&entry.profile.name);
        let at = self.by_hash.partition_point(|(other, _)| *other < hash);
        self.by_hash.insert(at, (hash, slot));
        self.place(slot, entry);
        // A random place in what is left of the round, so that newcomers are not probed by everybody at once.
        let at = rng.random_range(0..=self.order.len());
        self.order.push(slot);
        let last = self.order.len() - 1;
        self.order.swap(at, last);
        slot
    }

    /// Adds many members whose names are new at once, in no random order.
    pub(super) fn extend(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            let slot = self.slots.len() as Slot;
            self.by_hash.push((hash(&entry.profile.name), slot));
            self.order.push(slot);
            self.place(slot, entry);
        }
        self.by_hash.sort_unstable();
        self.cursor = self.order.len();
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let name = Arc::clone(&self.get(slot)?.profile.name);
        if let Some(at) = self.position(&name) {
            self.by_hash.remove(at);
        }
        let entry = self.slots[slot as usize].take()?;
        self.living -= usize::from(entry.is_living());
        self.release_id(entry.profile.id, slot);
        self.order.retain(|listed| *listed != slot);
        self.free.push(slot);
        Some(entry)
    }

    /// Gives a member another profile of the same name.
    pub(super) fn set_profile(&mut self, slot: Slot, profile: Arc<Profile>) {
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let (old, new) = (entry.profile.id, profile.id);
        entry.profile = profile;
        if old != new {
            self.release_id(old, slot);
        }
        self.by_id.insert(new, slot);
    }

    /// The next living member to probe.
    pub(super) fn next_to_probe(&mut self, rng: &mut impl Rng) -> Option<Slot> {
        // What is left of this round, and a whole new one.
        for _ in 0..=2 * self.order.len() {
            if self.cursor >= self.order.len() {
                shuffle(&mut self.order, rng);
                self.cursor = 0;
            }
            let slot = *self.order.get(self.cursor)?;
            self.cursor += 1;
            if self.get(slot).is_some_and(Entry::is_living) {
                return Some(slot);
            }
        }
        None
    }

    /// Up to `count` members that are `wanted`, at random, never us.
    pub(super) fn choose(&self, count: usize, rng: &mut impl Rng, wanted: impl Fn(Slot, &Entry) -> bool) -> Vec<Slot> {
        let is_wanted = |slot: Slot| self.get(slot).is_some_and(|entry| wanted(slot, entry));
        if self.order.len() <= GUESS_FROM {
            let mut candidates: Vec<Slot> = self.order.iter().copied().filter(|slot| is_wanted(*slot)).collect();
            shuffle(&mut candidates, rng);
            candidates.truncate(count);
            return candidates;
        }
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..3 * self.order.len() {
            if chosen.len() == count {
                break;
            }
            let slot = self.order[rng.random_range(0..self.order.len())];
            if !chosen.contains(&slot) && is_wanted(slot) {
                chosen.push(slot);
            }
        }
        chosen
    }

    fn place(&mut self, slot: Slot, entry: Entry) {
        self.by_id.insert(entry.profile.id, slot);
        self.living += usize::from(entry.is_living());
        if slot as usize == self.slots.len() {
            self.slots.push(Some(entry));
        } else {
            self.slots[slot as usize] = Some(entry);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let hash = hash(name);
        let start = self.by_hash.partition_point(|(other, _)| *other < hash);
        let same = self.by_hash[start..].iter().take_while(|(other, _)| *other == hash);
        let is_it = |slot: &Slot| self.get(*slot).is_some_and(|entry| *entry.profile.name == *name);
        same.into_iter().position(|(_, slot)| is_it(slot)).map(|at| start + at)
    }

    fn release_id(&mut self, id: NodeId, slot: Slot) {
        if self.by_id.get(&id) == Some(&slot) {
            self.by_id.remove(&id);
        }
    }
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Fisher and Yates.
fn shuffle(slots: &mut [Slot], rng: &mut impl Rng) {
    for last in (1..slots.len()).rev() {
        slots.swap(last, rng.random_range(0..=last));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::gossip::member::Tags;

    fn entry(number: u128) -> Entry {
        let (name, address) = (format!("m{number}").into(), ([127, 0, 0, 1], 8301).into());
        let profile = Profile { name, id: NodeId(number), address, tags: Tags::default(), revision: 1 };
        Entry::new(Arc::new(profile), 1, State::Alive, Instant::START)
    }

    fn table(others: u128) -> (Table, StdRng) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut table = Table::new(entry(0));
        (1..=others).for_each(|number| {
            table.insert(entry(number), &mut rng);
        });
        (table, rng)
    }

    #[test]
    fn every_member_is_probed_once_a_round() {
        let (mut table, mut rng) = table(50);
        // The first round is as members came.
        assert_eq!((0..50).filter_map(|_| table.next_to_probe(&mut rng)).count(), 50);
        for _ in 0..3 {
            let round: BTreeSet<Slot> = (0..50).filter_map(|_| table.next_to_probe(&mut rng)).collect();
            assert_eq!(round.len(), 50);
        }
    }

    #[test]
    fn only_the_living_are_probed() {
        let (mut table, mut rng) = table(3);
        for slot in 1..=2 {
            table.set_state(slot, State::Failed, Instant::START);
        }
        let probed: BTreeSet<Option<Slot>> = (0..10).map(|_| table.next_to_probe(&mut rng)).collect();
        assert_eq!(probed, [Some(3)].into());
        table.set_state(3, State::Left, Instant::START);
        assert_eq!(table.living(), 1);
        assert_eq!(table.next_to_probe(&mut rng), None);
    }

    #[test]
    fn chosen_members_differ_and_are_wanted() {
        for others in [5, 200] {
            let (table, mut rng) = table(others);
            for _ in 0..100 {
                let chosen = table.choose(3, &mut rng, |slot, _| slot != 2);
                assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 3);
                assert!(!chosen.contains(&2) && !chosen.contains(&ME));
            }
        }
    }

    #[test]
    fn a_removed_member_is_gone_and_its_slot_is_used_again() {
        let (mut table, mut rng) = table(3);
        let slot = table.find("m2").unwrap();
        table.remove(slot);
        assert_eq!((table.find("m2"), table.holder(NodeId(2)).is_none(), table.len()), (None, true, 3));
        assert_eq!(table.insert(entry(9), &mut rng), slot);
        assert_eq!(table.holder(NodeId(9)).unwrap().profile.name.as_ref(), "m9");
        let names: Vec<&str> = table.sorted().iter().map(|entry| entry.profile.name.as_ref()).collect();
        assert_eq!(names, ["m0", "m1", "m3", "m9"]);
    }
}
