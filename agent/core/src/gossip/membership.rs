//! What follows from what is said about members.
//!
//! SWIM's order of statements (Das and others, 2002, section 4.2): a higher
//! incarnation wins; at the same one suspicion beats life and failure beats
//! both; only the member itself takes a higher one. Also owns who may use a
//! name, a node id and an address.

use std::net::SocketAddr;
use std::sync::Arc;

use super::input::{Event, Note};
use super::machine::Gossip;
use super::member::{Profile, Tags};
use super::queue::Subject;
use super::suspicion::Suspicion;
use super::table::{Entry, ME, Slot, State};
use super::timers::Timer;
use super::wire::{MEMBERS_MAX, Message};
use crate::Instant;

/// The furthest one statement may move an incarnation: a century of milliseconds. More would leave a member no number
/// to object with.
const INCARNATION_JUMP_MAX: u64 = 1 << 42;

/// Why a member is not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// The name belongs to a living member elsewhere.
    Name { holder: SocketAddr },
    /// The node id belongs to a living member.
    Id { holder: Arc<str> },
    /// The address is outside the allowed networks.
    Network,
    /// There are too many members.
    Full,
}

impl Gossip {
    /// A member is there. `spreads` is off when everybody else knows already.
    pub(super) fn hear_alive(
        &mut self,
        now: Instant,
        name: &Arc<str>,
        incarnation: u64,
        revision: u64,
        profile: Option<Arc<Profile>>,
        spreads: bool,
    ) {
        if self.is_me(name) {
            return self.hear_of_myself(now, incarnation, profile.as_deref());
        }
        let known = self.table.find(name);
        if let Some(profile) = &profile {
            let entry = known.and_then(|slot| self.table.get(slot));
            if entry.is_some_and(|entry| {
                entry.profile.id == profile.id
                    && incarnation <= entry.incarnation
                    && profile.revision < entry.profile.revision
            }) {
                // Somebody's memory of where the same member was before.
                return;
            }
            if let Some(conflict) = self.conflict(now, profile) {
                return self.refuse_member(name, profile.address, conflict);
            }
        }
        match known {
            Some(slot) => self.known_alive(now, slot, incarnation, revision, profile, spreads),
            // Without a profile nothing is known but a name; the rest comes with the next full exchange.
            None => profile.into_iter().for_each(|profile| self.new_alive(now, profile, incarnation, spreads)),
        }
    }

    fn new_alive(&mut self, now: Instant, profile: Arc<Profile>, incarnation: u64, spreads: bool) {
        let name = Arc::clone(&profile.name);
        let entry = Entry::new(profile, incarnation, State::Alive, now);
        let slot = self.table.insert(entry, &mut self.rng);
        if let Some(intent) = self.intents.take(&name)
            && let Some(entry) = self.table.get_mut(slot)
        {
            entry.time = intent.time;
            entry.leaving = intent.leaves;
        }
        if spreads {
            self.spread_alive(now, slot, true);
        }
        self.emit_member(slot, Event::MemberUp);
        self.keep_time(now);
    }

    fn known_alive(
        &mut self,
        now: Instant,
        slot: Slot,
        incarnation: u64,
        revision: u64,
        profile: Option<Arc<Profile>>,
        spreads: bool,
    ) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        if !is_possible(entry.incarnation, incarnation) {
            return;
        }
        let is_newer = incarnation > entry.incarnation;
        let fresh = profile.filter(|profile| profile.revision == revision && revision > entry.profile.revision);
        if !is_newer && (fresh.is_none() || !entry.is_living()) {
            return;
        }
        let was_living = entry.is_living();
        let is_changed = fresh.is_some();
        if is_newer {
            entry.incarnation = incarnation;
            entry.suspicion = None;
            entry.leaving &= was_living;
            self.timers.cancel(Timer::Suspect(slot));
            if entry.state != State::Alive {
                self.table.set_state(slot, State::Alive, now);
            }
        }
        if let Some(profile) = fresh {
            self.table.set_profile(slot, profile);
        }
        if spreads {
            self.spread_alive(now, slot, is_changed);
        }
        if !was_living {
            self.emit_member(slot, Event::MemberUp);
            self.keep_time(now);
        } else if is_changed {
            self.emit_member(slot, Event::MemberChanged);
        }
    }

    /// The living member that an accusation is about, unless that is of an incarnation that is over or cannot be. What is
    /// said of us is refuted.
    fn accused(&mut self, now: Instant, name: &str, incarnation: u64, accuser: &Arc<str>) -> Option<Slot> {
        if self.is_me(name) {
            self.refute(now, incarnation, accuser);
            return None;
        }
        let slot = self.table.find(name)?;
        let entry = self.table.get(slot)?;
        let is_current = incarnation >= entry.incarnation && is_possible(entry.incarnation, incarnation);
        (is_current && entry.is_living()).then_some(slot)
    }

    /// A member does not answer somebody.
    pub(super) fn hear_suspect(&mut self, now: Instant, name: &str, incarnation: u64, accuser: &Arc<str>) {
        let Some(slot) = self.accused(now, name, incarnation, accuser) else { return };
        let Some(entry) = self.table.get_mut(slot) else { return };
        if let Some(suspicion) = &mut entry.suspicion {
            if suspicion.confirm(accuser) {
                self.timers.set(Timer::Suspect(slot), suspicion.deadline());
                self.spread_suspicion(now, slot, accuser);
            }
            return;
        }
        let (timing, members) = (self.config.timing, self.table.living());
        let (min, max) = (timing.suspicion_min(members), timing.suspicion_max(members));
        let confirmations = timing.confirmations(members);
        let suspicion = Suspicion::new(now, Arc::clone(accuser), min, max, confirmations);
        let deadline = suspicion.deadline();
        self.timers.set(Timer::Suspect(slot), deadline);
        self.table.set_state(slot, State::Suspect, now);
        if let Some(entry) = self.table.get_mut(slot) {
            entry.incarnation = incarnation;
            entry.suspicion = Some(Box::new(suspicion));
        }
        self.counters.suspicions += 1;
        self.note(Note::Suspected { name: name.to_owned() });
        self.spread_suspicion(now, slot, accuser);
        // Whoever accuses asks. In a tiny pool nobody else has to confirm it, and each member gives up on its own.
        if self.is_me(accuser) || confirmations == 0 {
            self.ask_for_objection(slot, deadline.saturating_since(now));
        }
    }

    /// Nobody heard of a suspected member in time.
    pub(super) fn suspicion_ran_out(&mut self, now: Instant, slot: Slot) {
        let Some(entry) = self.table.get(slot).filter(|entry| entry.state == State::Suspect) else { return };
        let (name, incarnation) = (Arc::clone(&entry.profile.name), entry.incarnation);
        let accuser = self.my_name();
        self.hear_dead(now, &name, incarnation, &accuser);
    }

    /// A member has failed, or has left when it says so itself.
    pub(super) fn hear_dead(&mut self, now: Instant, name: &Arc<str>, incarnation: u64, accuser: &Arc<str>) {
        let Some(slot) = self.accused(now, name, incarnation, accuser) else { return };
        let Some(entry) = self.table.get_mut(slot) else { return };
        let leaves = name == accuser || entry.leaving;
        entry.incarnation = incarnation;
        entry.suspicion = None;
        self.timers.cancel(Timer::Suspect(slot));
        self.table.set_state(slot, if leaves { State::Left } else { State::Failed }, now);
        let (name, accuser) = (Arc::clone(name), Arc::clone(accuser));
        self.spread(now, Subject::Member(Arc::clone(&name)), &Message::Dead { name, incarnation, accuser });
        self.gone(now, slot, leaves);
    }

    /// Sees to what a failed or left member brings with it.
    pub(super) fn gone(&mut self, now: Instant, slot: Slot, has_left: bool) {
        let (event, wait): (fn(_) -> Event, _) = if has_left {
            (Event::MemberLeft, self.config.tombstone_timeout)
        } else {
            self.counters.failures += 1;
            self.reconnect_later(now);
            (Event::MemberFailed, self.config.reconnect_timeout)
        };
        self.emit_member(slot, event);
        // What we learned of late has been gone for a while.
        let since = self.table.get(slot).map_or(now, |entry| entry.since);
        self.timers.set_no_later(Timer::Reap, (since + wait).max(now));
    }

    /// Says something else about ourselves.
    pub(super) fn set_tags(&mut self, now: Instant, tags: Tags) {
        let me = self.table.me_mut();
        me.incarnation = me.incarnation.saturating_add(1);
        let profile = Profile { tags, revision: me.incarnation, ..(*me.profile).clone() };
        self.table.set_profile(ME, Arc::new(profile));
        self.spread_alive(now, ME, true);
        self.emit_member(ME, Event::MemberChanged);
    }

    /// Passes on that a member is there, with its profile when that is new, or still new to others.
    pub(super) fn spread_alive(&mut self, now: Instant, slot: Slot, is_new: bool) {
        let Some(entry) = self.table.get(slot) else { return };
        let (name, incarnation) = (Arc::clone(&entry.profile.name), entry.incarnation);
        let subject = Subject::Member(Arc::clone(&name));
        let carries = is_new || self.queue.holds_profile(&subject);
        let profile = carries.then(|| Arc::clone(&entry.profile));
        let revision = entry.profile.revision;
        self.spread(now, subject, &Message::Alive { name, incarnation, revision, profile });
    }

    fn spread_suspicion(&mut self, now: Instant, slot: Slot, accuser: &Arc<str>) {
        let Some(entry) = self.table.get(slot) else { return };
        let (name, incarnation) = (Arc::clone(&entry.profile.name), entry.incarnation);
        let subject = Subject::Member(Arc::clone(&name));
        self.spread(now, subject, &Message::Suspect { name, incarnation, accuser: Arc::clone(accuser) });
    }

    fn hear_of_myself(&mut self, now: Instant, incarnation: u64, profile: Option<&Profile>) {
        let me = self.table.me();
        if let Some(theirs) = profile.filter(|theirs| theirs.id != me.profile.id) {
            let (name, holder) = (self.my_name(), me.profile.address);
            return self.refuse_member(&name, theirs.address, Conflict::Name { holder });
        }
        // What the pool remembers of an earlier life, when our clock went back since.
        if incarnation > me.incarnation {
            let name = self.my_name();
            self.refute(now, incarnation, &name);
        }
    }

    /// Whether this accusation is of us, and of an incarnation that we went beyond: the objection did not arrive everywhere.
    pub(super) fn was_refuted(&self, name: &str, incarnation: u64) -> bool {
        self.is_me(name) && incarnation < self.table.me().incarnation
    }

    /// That we are there, as we last said it; nothing while we leave.
    pub(super) fn objection(&self) -> Option<Message> {
        let me = self.table.me();
        let (name, incarnation, revision) = (self.my_name(), me.incarnation, me.profile.revision);
        (!self.is_leaving()).then_some(Message::Alive { name, incarnation, revision, profile: None })
    }

    /// Objects: we are there.
    pub(super) fn refute(&mut self, now: Instant, incarnation: u64, accuser: &Arc<str>) {
        let is_leaving = self.is_leaving();
        let me = self.table.me_mut();
        if is_leaving || incarnation < me.incarnation || !is_possible(me.incarnation, incarnation) {
            return;
        }
        let is_of_earlier_life = incarnation > me.incarnation;
        me.incarnation = incarnation.saturating_add(1);
        if is_of_earlier_life {
            // Others hold a profile of that life, too, which ours must outbid.
            let profile = Profile { revision: me.incarnation, ..(*me.profile).clone() };
            self.table.set_profile(ME, Arc::new(profile));
        }
        self.awareness.worsen(1);
        self.counters.refutations += 1;
        self.spread_alive(now, ME, is_of_earlier_life);
        self.note(Note::Refuted { accuser: accuser.to_string() });
    }

    /// Why a member with this profile is not taken in.
    pub(super) fn conflict(&self, now: Instant, profile: &Profile) -> Option<Conflict> {
        if !self.config.allows(profile.address.ip()) {
            return Some(Conflict::Network);
        }
        if let Some(holder) = self.table.holder(profile.id)
            && holder.is_living()
            && holder.profile.name != profile.name
        {
            return Some(Conflict::Id { holder: Arc::clone(&holder.profile.name) });
        }
        match self.table.find(&profile.name).and_then(|slot| self.table.get(slot)) {
            Some(known) if !self.may_become(now, known, profile) => {
                Some(Conflict::Name { holder: known.profile.address })
            }
            Some(_) => None,
            None => (self.table.len() >= MEMBERS_MAX).then_some(Conflict::Full),
        }
    }

    /// Whether a name may go to this profile: to the same member, unless it is alive elsewhere; to another one when
    /// the first has left, or has failed for a while.
    fn may_become(&self, now: Instant, known: &Entry, profile: &Profile) -> bool {
        let is_same = known.profile.id == profile.id;
        if is_same && known.profile.address == profile.address {
            return true;
        }
        match known.state {
            State::Alive => false,
            State::Suspect => is_same,
            State::Left => true,
            State::Failed => is_same || now.saturating_since(known.since) >= self.config.timing.reclaim_after,
        }
    }

    pub(super) fn refuse_member(&mut self, name: &str, theirs: SocketAddr, conflict: Conflict) {
        let name = name.to_owned();
        match conflict {
            Conflict::Name { holder } => {
                self.counters.name_conflicts += 1;
                self.note_once(Note::NameConflict { name, ours: holder, theirs });
            }
            Conflict::Id { holder } => {
                self.counters.id_conflicts += 1;
                self.note_once(Note::IdConflict { name, holder: holder.to_string() });
            }
            Conflict::Network => {
                self.counters.refused_network += 1;
                self.note_once(Note::NotAllowed { address: theirs.ip() });
            }
            Conflict::Full => {
                self.counters.pool_full += 1;
                self.note_once(Note::PoolFull { name });
            }
        }
    }

    pub(super) fn emit_member(&mut self, slot: Slot, event: fn(super::member::Member) -> Event) {
        if let Some(member) = self.table.get(slot).map(Entry::member) {
            self.emit(event(member));
        }
    }
}

fn is_possible(known: u64, claimed: u64) -> bool {
    claimed.saturating_sub(known) <= INCARNATION_JUMP_MAX
}
