//! What happens in a pool, as lines of the log.
//!
//! Members that come and go in Consul's words, which people search for; what
//! is refused as warnings. Decides nothing.

use agent_core::gossip::{Event, Member, Note};

/// Writes an event down.
pub(super) fn event(event: &Event) {
    match event {
        Event::MemberUp(member) => tracing::info!("serf: EventMemberJoin: {}", shown(member)),
        Event::MemberFailed(member) => tracing::info!("serf: EventMemberFailed: {}", shown(member)),
        Event::MemberLeft(member) => tracing::info!("serf: EventMemberLeave: {}", shown(member)),
        Event::MemberChanged(member) => tracing::info!("serf: EventMemberUpdate: {}", member.profile.name),
        Event::MemberReaped(member) => tracing::info!("serf: EventMemberReap: {}", member.profile.name),
        Event::UserEvent(event) => {
            let id = uuid::Uuid::from_u128(event.fired.id);
            tracing::debug!(event_name = %event.fired.name, event_id = %id, "new event");
        }
        Event::KeysChanged(_) => tracing::info!("the keys of the pool have changed"),
        Event::KeysAnswered { .. } | Event::Joined { .. } | Event::LeftPool => {}
    }
}

fn shown(member: &Member) -> String {
    format!("{} {}", member.profile.name, member.profile.address.ip())
}

/// Writes a note down.
pub(super) fn note(note: &Note) {
    match note {
        Note::OtherPool { from, label } => tracing::warn!(%from, %label, "packets of another pool are refused"),
        Note::OtherVersion { from, version } => {
            tracing::warn!(%from, version, "packets of another version of the protocol are refused");
        }
        Note::NotAuthentic { from } => {
            tracing::warn!(%from, "packets that no key opens are refused: No installed keys could decrypt the message");
        }
        Note::NotEncrypted { from } => {
            tracing::warn!(%from, "plain packets are refused: Encryption is configured but remote state is not encrypted");
        }
        Note::Malformed { from } => tracing::warn!(%from, "packets that make no sense are refused"),
        Note::NotAllowed { address } => {
            tracing::warn!(%address, "an address outside serf_lan_allowed_cidrs is refused");
        }
        Note::NameConflict { name, ours, theirs } => {
            tracing::error!(node = %name, holder = %ours, refused = %theirs, "two members claim one name: rename one of them");
        }
        Note::IdConflict { name, holder } => {
            tracing::error!(node = %name, holder = %holder, "two members claim one node id: the later one is refused");
        }
        Note::DatagramsBlocked { name, address } => {
            tracing::warn!(node = %name, %address, "Was able to connect over TCP but UDP probes failed, network may be misconfigured");
        }
        Note::Refuted { accuser } => tracing::warn!(from = %accuser, "Refuting a suspect message"),
        Note::Suspected { name } => tracing::info!(node = %name, "Suspect node has failed, no acks received"),
        Note::PoolFull { name } => tracing::error!(node = %name, "the pool is full: a member was refused"),
        Note::ExchangeRefused { address, reason } => {
            tracing::warn!(%address, %reason, "a member refuses to exchange state");
        }
        Note::ExchangeFailed { address, reason } => {
            tracing::warn!(%address, %reason, "a member does not answer over TCP");
        }
    }
}
