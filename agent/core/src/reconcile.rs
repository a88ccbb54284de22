//! What the leader owes the catalog: members as nodes, with their health.
