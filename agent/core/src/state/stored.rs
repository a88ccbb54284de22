//! How records are stored and sent: one version byte, then postcard.
//!
//! Owns the versioned form of [`Proposal`] and the errors of everything that
//! is read back. A version we do not know is refused, never guessed at.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::command::{COMMAND_VERSION, Proposal};

/// Why stored bytes could not be read. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not even a version byte.
    Empty {
        /// What was to be read.
        what: &'static str,
    },
    /// Written by a newer version of the program.
    UnknownVersion {
        /// What was to be read.
        what: &'static str,
        /// The version that was found.
        found: u8,
        /// The newest version this program reads.
        known: u8,
    },
    /// Cut off or damaged.
    Malformed {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Empty { what } => write!(f, "could not read the {what}: it is empty"),
            DecodeError::UnknownVersion { what, found, known } => write!(
                f,
                "could not read the {what}: it has version {found} and this program knows up to {known}; upgrade it"
            ),
            DecodeError::Malformed { what, why } => write!(f, "could not read the {what}: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Proposal {
    /// The stored form: `[COMMAND_VERSION][postcard]`.
    pub fn encode(&self) -> Vec<u8> {
        to_postcard(self, vec![COMMAND_VERSION])
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`DecodeError`] when it was written by a newer version, cut off or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Proposal, DecodeError> {
        let what = "command";
        let body = after_version(what, bytes, COMMAND_VERSION)?;
        from_postcard(what, body)
    }
}

/// Checks the version byte and returns what follows it.
pub(super) fn after_version<'a>(what: &'static str, bytes: &'a [u8], known: u8) -> Result<&'a [u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty { what }),
        Some((found, body)) if *found == known => Ok(body),
        Some((found, _)) => Err(DecodeError::UnknownVersion { what, found: *found, known }),
    }
}

/// Appends the postcard form of `record` to `bytes`.
pub(super) fn to_postcard<T: Serialize>(record: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(record, bytes).expect("records have no maps of unknown length and a Vec takes every byte")
}

/// Reads a record that is all of `bytes`.
pub(super) fn from_postcard<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(DecodeError::Malformed { what, why: format!("{} bytes too many", rest.len()) }),
        Err(error) => Err(DecodeError::Malformed { what, why: error.to_string() }),
    }
}

/// Values in one piece instead of byte by byte. The stored bytes are the same.
pub(super) mod shared_bytes {
    use std::fmt;
    use std::sync::Arc;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        deserializer.deserialize_bytes(SharedBytes)
    }

    struct SharedBytes;

    impl Visitor<'_> for SharedBytes {
        type Value = Arc<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::command::Command;

    fn proposal() -> Proposal {
        Proposal { id: 7, now_ms: 5, command: Command::TombstoneReap { up_to: 3 } }
    }

    #[test]
    fn a_proposal_reads_back() {
        assert_eq!(Proposal::decode(&proposal().encode()), Ok(proposal()));
    }

    #[test]
    fn what_is_not_ours_is_refused_with_the_reason() {
        let good = proposal().encode();
        let newer = [&[COMMAND_VERSION + 1], &good[1..]].concat();
        let longer = [&good[..], &[0]].concat();
        let cases: [(&[u8], &str); 4] = [
            (&[], "could not read the command: it is empty"),
            (&newer, "could not read the command: it has version 2 and this program knows up to 1; upgrade it"),
            (&longer, "could not read the command: 1 bytes too many"),
            (&good[..good.len() - 1], "could not read the command: Hit the end of buffer, expected more data"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Proposal::decode(bytes).map_err(|error| error.to_string()), Err(expected.to_string()));
        }
    }
}
