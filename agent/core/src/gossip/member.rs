//! Who is in the pool, as the rest of the agent sees it.
//!
//! Owns names, node ids, tags and the public view of a member. How members
//! become alive or failed is in `table` and its users.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest node name accepted, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The most bytes a member's tags may take, lengths included (memberlist's limit).
pub const TAGS_BYTES_MAX: usize = 512;

/// A node id: a UUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u128);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(formatter, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl FromStr for NodeId {
    type Err = String;

    /// Reads the usual text of a UUID: 36 characters with four dashes.
    fn from_str(text: &str) -> Result<NodeId, String> {
        let refused = || format!("node id {text:?} is not a uuid");
        let has_dashes = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !has_dashes {
            return Err(refused());
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(NodeId).map_err(|_| refused())
    }
}

/// What a member says about itself: role, data centre, ports, versions. Bounded by [`TAGS_BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// The tags, when they are small enough to travel in a datagram.
    ///
    /// # Errors
    /// When keys and values, with a byte of length each, take more than [`TAGS_BYTES_MAX`].
    pub fn new(tags: BTreeMap<String, String>) -> Result<Tags, TagsTooLarge> {
        let tags = Tags(tags);
        if tags.bytes() > TAGS_BYTES_MAX { Err(TagsTooLarge { bytes: tags.bytes() }) } else { Ok(tags) }
    }

    /// The value of a tag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All tags, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.bytes() <= TAGS_BYTES_MAX
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
    }
}

/// Tags that would not fit a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagsTooLarge {
    /// What they take.
    pub bytes: usize,
}

impl fmt::Display for TagsTooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TagsTooLarge { bytes } = self;
        write!(formatter, "Encoded length of tags exceeds limit of {TAGS_BYTES_MAX} bytes: {bytes}")
    }
}

impl std::error::Error for TagsTooLarge {}

/// What a member is to the pool. The numbers are those of `/v1/agent/members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It answers, or is only suspected.
    Alive = 1,
    /// It said that it will leave.
    Leaving = 2,
    /// It left on purpose, or was made to.
    Left = 3,
    /// It stopped answering.
    Failed = 4,
}

impl Status {
    /// The word `consul members` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Alive => "alive",
            Status::Leaving => "leaving",
            Status::Left => "left",
            Status::Failed => "failed",
        }
    }
}

/// What does not change while a member is only alive or not: sent once, not with every rumour about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The node name: unique in the pool.
    pub name: Arc<str>,
    /// The node id: unique among those alive.
    pub id: NodeId,
    /// Where it is reached, by datagram and by stream.
    pub address: SocketAddr,
    /// What it says about itself.
    pub tags: Tags,
    /// The incarnation at which this was last changed.
    pub revision: u64,
}

/// A member, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name, id, address and tags.
    pub profile: Arc<Profile>,
    /// Whether it is there.
    pub status: Status,
    /// How often it has restarted or objected; grows only.
    pub incarnation: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_written_as_it_was_read() {
        let text = "fde8952b-6678-5cf4-8251-c8d7dcfbce2a";
        assert_eq!(text.parse::<NodeId>().unwrap().to_string(), text);
        assert_eq!(NodeId(1).to_string(), "00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn node_ids_that_are_none() {
        for text in ["", "fde8952b", "fde8952b-6678-5cf4-8251-c8d7dcfbce2g", "fde8952b66785cf48251c8d7dcfbce2a----"] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn tags_are_bounded() {
        let tags = |bytes: usize| Tags::new([("k".to_owned(), "v".repeat(bytes - 3))].into());
        assert!(tags(TAGS_BYTES_MAX).is_ok());
        assert_eq!(tags(TAGS_BYTES_MAX + 1), Err(TagsTooLarge { bytes: 513 }));
    }
}
