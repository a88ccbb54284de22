//! What the agent keeps on its own disk beside Raft: registered services and checks, TTL states, its node id.
