//! Rules as tables: what is done, and what comes of it.
