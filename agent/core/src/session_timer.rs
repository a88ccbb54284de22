//! When sessions with a TTL end: the leader's timers.
