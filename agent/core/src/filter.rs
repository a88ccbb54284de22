//! The filter language of `?filter=`.
