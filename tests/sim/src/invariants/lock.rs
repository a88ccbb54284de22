//! A lock has at most one live holder.
//!
//! A holder is certain from the acknowledgement of its acquire until it begins
//! to give the lock up, or until its session may have expired.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Who holds which lock for certain.
#[derive(Default)]
pub struct Locks {
    holders: BTreeMap<String, Holder>,
}

struct Holder {
    session: String,
    since: Instant,
    /// No server may end the session before this.
    alive_until: Instant,
}

impl Locks {
    /// An acquire that was sent at `sent_at` was granted now. The session lives at least until `alive_until`.
    ///
    /// # Errors
    /// When another session held the lock for certain all that time.
    pub fn granted(
        &mut self,
        lock: &str,
        session: &str,
        sent_at: Instant,
        now: Instant,
        alive_until: Instant,
    ) -> Result<(), String> {
        let other = self.holders.get(lock).filter(|holder| holder.session != session);
        let verdict = match other {
            Some(holder) if holder.since < sent_at && now < holder.alive_until => {
                Err(format!("lock: {lock} was granted to {session} while {} held it", holder.session))
            }
            _ => Ok(()),
        };
        let holder = Holder { session: session.to_owned(), since: now, alive_until };
        self.holders.insert(lock.to_owned(), holder);
        verdict
    }

    /// The session was renewed and lives at least until `alive_until`.
    pub fn renewed(&mut self, session: &str, alive_until: Instant) {
        let held = self.holders.values_mut().filter(|holder| holder.session == session);
        held.for_each(|holder| holder.alive_until = holder.alive_until.max(alive_until));
    }

    /// The session begins to give up what it holds.
    pub fn ends(&mut self, session: &str) {
        self.holders.retain(|_, holder| holder.session != session);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_holder_is_noticed_unless_the_first_may_be_gone() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let held = || {
            let mut locks = Locks::default();
            locks.granted("l", "a", at(0), at(1), at(10)).unwrap();
            locks
        };

        assert!(held().granted("l", "b", at(2), at(3), at(12)).is_err());
        assert!(held().granted("l", "b", at(9), at(10), at(19)).is_ok(), "its session may have expired");
        let mut renewed = held();
        renewed.renewed("a", at(15));
        assert!(renewed.granted("l", "b", at(9), at(10), at(19)).is_err());
        let mut ended = held();
        ended.ends("a");
        assert!(ended.granted("l", "b", at(2), at(3), at(12)).is_ok());
    }
}
