//! The loop around local state: runs checks, and syncs what changed to the catalog.
