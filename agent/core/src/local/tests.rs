//! Stories of local state, with stepped time.
