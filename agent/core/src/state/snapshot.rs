//! The whole state as a stream of records.
//!
//! `[SNAPSHOT_VERSION]`, then frames `[u32 little-endian length][postcard Record]`,
//! the last of which is [`Record::End`] with the number of frames before it. Only
//! what cannot be derived is stored; reading rebuilds the secondary tables.
//! Records are only ever appended, and `tests/golden.rs` pins the bytes.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::stored::{DecodeError, from_postcard, to_postcard};
use super::tables::{
    AutopilotConfig, Check, Index, KvEntry, Node, NodeName, Plugin, PluginFile, PluginIndexes, Service, ServiceName,
    Session, State, TableIndexes, UnixMs, fold,
};
use crate::plugin::digest::Digest;

/// The version byte in front of every snapshot.
pub const SNAPSHOT_VERSION: u8 = 1;

/// The longest record accepted, in bytes: far above the largest value a key may be configured to hold.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

const WHAT: &str = "snapshot";

/// One record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Record {
    /// The first record.
    Start { index: Index, indexes: TableIndexes },
    /// A node.
    Node(Arc<Node>),
    /// An instance.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
    /// A key.
    Kv(Arc<KvEntry>),
    /// A deleted key.
    Tombstone(String, Index),
    /// A session.
    Session(Arc<Session>),
    /// Until when a key may not be acquired.
    LockDelay(String, UnixMs),
    /// The last change of a service, by folded name.
    ServiceIndex(ServiceName, Index),
    /// The last change of a node, by folded name.
    NodeIndex(NodeName, Index),
    /// The last record: how many there were before it.
    End { records: u64 },
    /// How the leader cares for the servers.
    Autopilot(Arc<AutopilotConfig>),
    /// A plugin.
    Plugin(Arc<Plugin>),
    /// A plugin's file; its chunks follow, one record each.
    PluginFile { digest: Digest, size: u64, create_index: Index },
    /// A chunk of the file that was begun last.
    PluginChunk(Chunk),
    /// The last change of the plugins as a whole. Left out while there never was one.
    PluginIndexes(PluginIndexes),
}

/// Bytes in one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chunk(#[serde(with = "super::stored::shared_bytes")] Arc<[u8]>);

/// The stored form of `state`, in memory.
pub fn encode(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(state, &mut bytes).expect("a Vec takes every byte");
    bytes
}

/// Writes the stored form of `state`, one record at a time.
///
/// # Errors
/// Those of `out`; what was written is then of no use.
pub fn write(state: &State, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[SNAPSHOT_VERSION])?;
    let mut frame = Vec::new();
    let mut count = 0;
    for record in records(state) {
        write_record(&record, &mut frame, out)?;
        count += 1;
    }
    write_record(&Record::End { records: count }, &mut frame, out)
}

fn write_record(record: &Record, frame: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    frame.clear();
    *frame = to_postcard(record, std::mem::take(frame));
    let length = u32::try_from(frame.len()).map_err(|_| io::Error::other("a record of the snapshot is too long"))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(frame)
}

fn records(state: &State) -> impl Iterator<Item = Record> {
    let start = Record::Start { index: state.index, indexes: state.indexes };
    std::iter::once(start)
        .chain(state.nodes.values().cloned().map(Record::Node))
        .chain(state.services.values().cloned().map(Record::Service))
        .chain(state.checks.values().cloned().map(Record::Check))
        .chain(state.kv.values().cloned().map(Record::Kv))
        .chain(state.tombstones.iter().map(|(key, at)| Record::Tombstone(key.clone(), *at)))
        .chain(state.sessions.values().cloned().map(Record::Session))
        .chain(state.lock_delays.iter().map(|(key, until_ms)| Record::LockDelay(key.clone(), *until_ms)))
        .chain(state.service_indexes.iter().map(|(name, at)| Record::ServiceIndex(name.clone(), *at)))
        .chain(state.node_indexes.iter().map(|(name, at)| Record::NodeIndex(name.clone(), *at)))
        .chain(state.autopilot.iter().cloned().map(Record::Autopilot))
        .chain(plugin_records(state))
}

/// One chunk at a time: together they may be tens of megabytes.
fn plugin_records(state: &State) -> impl Iterator<Item = Record> {
    let indexes = Some(state.plugin_indexes).filter(|indexes| *indexes != PluginIndexes::default());
    let files = state.plugin_files.iter().flat_map(|(digest, file)| {
        let head = Record::PluginFile { digest: *digest, size: file.size, create_index: file.create_index };
        std::iter::once(head).chain(file.chunks.iter().cloned().map(|bytes| Record::PluginChunk(Chunk(bytes))))
    });
    let plugins = state.plugins.values().cloned().map(Record::Plugin);
    indexes.map(Record::PluginIndexes).into_iter().chain(files).chain(plugins)
}

/// Reads the stored form from memory.
///
/// # Errors
/// [`DecodeError`] when it was written by a newer version, cut off or damaged.
pub fn decode(mut bytes: &[u8]) -> Result<State, DecodeError> {
    let state = read(&mut bytes)?;
    if bytes.is_empty() { Ok(state) } else { Err(malformed(format!("{} bytes too many", bytes.len()))) }
}

/// Reads the stored form, one record at a time. Reads nothing past its end.
///
/// # Errors
/// [`DecodeError`] when it was written by a newer version, cut off or damaged, or when `from` fails.
pub fn read(from: &mut impl Read) -> Result<State, DecodeError> {
    let mut version = [0];
    from.read_exact(&mut version).map_err(|_| DecodeError::Empty { what: WHAT })?;
    if version[0] != SNAPSHOT_VERSION {
        return Err(DecodeError::UnknownVersion { what: WHAT, found: version[0], known: SNAPSHOT_VERSION });
    }
    let mut state = State::default();
    let mut frame = Vec::new();
    let mut count: u64 = 0;
    // The file whose chunks come.
    let mut begun = None;
    loop {
        read_frame(from, &mut frame)?;
        match from_postcard(WHAT, &frame)? {
            Record::PluginChunk(Chunk(bytes)) => add_chunk(&mut state, begun, bytes)?,
            Record::PluginFile { digest, size, create_index } => {
                begun = Some(digest);
                let file = PluginFile { size, chunks: Vec::new(), create_index };
                state.plugin_files.insert(digest, Arc::new(file));
            }
            Record::End { records } if records == count => return Ok(state),
            Record::End { records } => return Err(malformed(format!("{count} records of {records}"))),
            record => insert(&mut state, record)?,
        }
        count += 1;
    }
}

fn read_frame(from: &mut impl Read, frame: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(|error| malformed(error.to_string()))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(malformed(format!("a record of {length} bytes, more than {RECORD_BYTES_MAX}")));
    }
    frame.clear();
    // Grows with what really arrives: a false length costs nothing.
    from.by_ref().take(length as u64).read_to_end(frame).map_err(|error| malformed(error.to_string()))?;
    if frame.len() == length { Ok(()) } else { Err(malformed("cut off".to_string())) }
}

fn insert(state: &mut State, record: Record) -> Result<(), DecodeError> {
    match record {
        Record::Start { index, indexes } => {
            state.index = index;
            state.indexes = indexes;
        }
        Record::Node(node) => {
            let name = fold(&node.name);
            if !node.id.is_empty() {
                state.node_ids.insert(fold(&node.id), name.clone());
            }
            state.nodes.insert(name, node);
        }
        Record::Service(service) => {
            let (name, node) = (fold(&service.name), fold(&service.node));
            state.services.insert((node.clone(), service.id.clone()), service.clone());
            state.services_by_name.insert((name, node, service.id.clone()), service);
        }
        Record::Check(check) => {
            state.checks.insert((fold(&check.node), check.id.clone()), check);
        }
        Record::Kv(entry) => {
            if !entry.session.is_empty() {
                state.session_keys.insert((entry.session.clone(), entry.key.clone()), ());
            }
            state.kv.insert(entry);
        }
        Record::Tombstone(key, at) => {
            state.tombstones.insert(key, at);
        }
        Record::Session(session) => {
            state.node_sessions.insert((fold(&session.node), session.id.clone()), ());
            state.sessions.insert(session.id.clone(), session);
        }
        Record::LockDelay(key, until_ms) => {
            state.lock_delays.insert(key, until_ms);
        }
        Record::ServiceIndex(name, at) => {
            state.service_indexes.insert(name, at);
        }
        Record::NodeIndex(name, at) => {
            state.node_indexes.insert(name, at);
        }
        Record::Autopilot(config) => {
            state.autopilot = Some(config);
        }
        Record::Plugin(plugin) => {
            state.plugins.insert(plugin.name.clone(), plugin);
        }
        Record::PluginIndexes(indexes) => state.plugin_indexes = indexes,
        Record::PluginFile { .. } | Record::PluginChunk(_) => {
            return Err(malformed("a file outside of its place".to_string()));
        }
        Record::End { .. } => return Err(malformed("a record after the last".to_string())),
    }
    Ok(())
}

fn add_chunk(state: &mut State, begun: Option<Digest>, bytes: Arc<[u8]>) -> Result<(), DecodeError> {
    let file = begun.and_then(|digest| state.plugin_files.get_mut(&digest));
    let file = file.ok_or_else(|| malformed("a chunk of no file".to_string()))?;
    Arc::make_mut(file).chunks.push(bytes);
    Ok(())
}

fn malformed(why: String) -> DecodeError {
    DecodeError::Malformed { what: WHAT, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_refused() {
        let good = encode(&State::default());
        let newer = [&[SNAPSHOT_VERSION + 1], &good[1..]].concat();
        let endless = [&[SNAPSHOT_VERSION][..], &u32::MAX.to_le_bytes()].concat();
        let false_length = [&[SNAPSHOT_VERSION][..], &1000u32.to_le_bytes(), &[1, 2]].concat();
        let cases: [(&[u8], &str); 6] = [
            (&[], "could not read the snapshot: it is empty"),
            (&newer, "could not read the snapshot: it has version 2 and this program knows up to 1; upgrade it"),
            (&endless, "could not read the snapshot: a record of 4294967295 bytes, more than 67108864"),
            (&false_length, "could not read the snapshot: cut off"),
            (&good[..good.len() - 1], "could not read the snapshot: cut off"),
            (&[&good[..], &[0]].concat(), "could not read the snapshot: 1 bytes too many"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(bytes).map_err(|error| error.to_string()), Err(expected.to_string()));
        }
    }

    #[test]
    fn a_missing_record_is_noticed() {
        let mut bytes = vec![SNAPSHOT_VERSION];
        write_record(&Record::End { records: 1 }, &mut Vec::new(), &mut bytes).unwrap();
        assert_eq!(decode(&bytes), Err(malformed("0 records of 1".to_string())));
    }
}
