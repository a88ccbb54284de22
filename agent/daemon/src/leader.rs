//! What only the leader does: registers members, ends sessions, reaps tombstones.
