//! Configuration: raw (as written in files and flags), then checked (as used).
