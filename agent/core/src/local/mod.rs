//! What this agent registered: its services and checks, and how they reach the catalog.
