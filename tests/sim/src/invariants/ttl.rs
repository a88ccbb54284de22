//! A session lives at least its TTL after a renewal, and ends by twice the TTL and a little.

use std::time::Duration;

use tokio::time::Instant;

/// What may come on top of twice the TTL: two attempts to destroy it, a slow disk, the network.
const SLACK: Duration = Duration::from_secs(4);

/// The rule; it needs no memory.
pub struct Ttl;

/// A session nobody renews any more.
#[derive(Clone, Debug)]
pub struct Left {
    /// Its id.
    pub session: String,
    /// Its TTL.
    pub ttl: Duration,
    /// When the last renewal was sent.
    pub renewed_from: Instant,
    /// When it was acknowledged.
    pub renewed_by: Instant,
}

impl Ttl {
    /// A look that was sent at `sent_at` has found the session or not. A start of the agent at `booted` gave it a new period.
    ///
    /// # Errors
    /// When it ended too early or lives too long.
    pub fn looked(
        &self,
        left: &Left,
        booted: Instant,
        sent_at: Instant,
        now: Instant,
        exists: bool,
    ) -> Result<(), String> {
        let Left { session, ttl, renewed_from, renewed_by } = left;
        if !exists && now < *renewed_from + *ttl {
            return Err(format!("ttl: session {session} ended {:?} after its renewal", now - *renewed_from));
        }
        let last = booted.max(*renewed_by);
        if exists && sent_at > last + 2 * *ttl + SLACK {
            return Err(format!("ttl: session {session} still lives {:?} after its renewal", sent_at - last));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_between_one_ttl_and_two() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ttl = Duration::from_secs(10);
        let left = Left { session: "s".into(), ttl, renewed_from: start, renewed_by: at(1) };
        let looked = |booted_s, now_s, exists| Ttl.looked(&left, at(booted_s), at(now_s), at(now_s), exists).is_ok();

        assert!(looked(0, 9, true) && !looked(0, 9, false), "before its TTL");
        assert!(looked(0, 15, true) && looked(0, 15, false), "between");
        assert!(!looked(0, 26, true) && looked(0, 26, false), "after twice its TTL");
        assert!(looked(10, 26, true), "a new leader gave it a new period");
    }
}
