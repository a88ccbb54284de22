//! What the machine has done and refused, as numbers.
//!
//! The daemon reads them when somebody asks for metrics; nothing is sent
//! anywhere.

/// How often things happened since the start. Every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of datagrams received.
    pub bytes_in: u64,
    /// Bytes of datagrams sent.
    pub bytes_out: u64,
    /// Streams others opened.
    pub streams_in: u64,
    /// Streams we opened.
    pub streams_out: u64,
    /// Streams we opened that were not answered.
    pub streams_failed: u64,
    /// Packets refused: another pool's label.
    pub refused_label: u64,
    /// Packets refused: another version of the protocol.
    pub refused_version: u64,
    /// Packets refused: no key opens them.
    pub refused_key: u64,
    /// Packets refused: plain, while encryption is on.
    pub refused_plain: u64,
    /// Packets and members refused: from outside the allowed networks.
    pub refused_network: u64,
    /// Packets refused: truncated, or no packets at all.
    pub malformed: u64,
    /// Messages skipped: of a kind or size this version does not know.
    pub messages_skipped: u64,
    /// Members refused: the name is taken.
    pub name_conflicts: u64,
    /// Members refused: the node id is taken.
    pub id_conflicts: u64,
    /// Members refused: the pool is full.
    pub pool_full: u64,
    /// Probes started.
    pub probes: u64,
    /// Probes nobody answered.
    pub probes_failed: u64,
    /// Probes that only a stream answered.
    pub probes_by_stream: u64,
    /// Suspicions, ours and those we heard of.
    pub suspicions: u64,
    /// Members that failed.
    pub failures: u64,
    /// Suspicions of ourselves that we objected to.
    pub refutations: u64,
    /// Full exchanges begun by us.
    pub exchanges: u64,
    /// User events heard.
    pub events: u64,
    /// Rumours given up because there were too many.
    pub rumours_dropped: u64,
}
