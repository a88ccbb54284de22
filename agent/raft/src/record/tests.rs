//! The stored bytes, pinned: a change of these breaks every data dir in the field.

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, Proposal};

use super::*;

fn membership() -> Membership {
    membership_of(0)
}

fn membership_of(cluster: u128) -> Membership {
    let address = "10.0.0.1:8300".parse().unwrap();
    let node = ServerNode { id: "adf4".into(), node: "n1".into(), address, cluster };
    Membership::new(vec![BTreeSet::from([3])], BTreeMap::from([(3, node)])).unwrap()
}

fn put() -> Entry {
    let write = KvWrite { key: "k".into(), value: Arc::from(*b"v"), flags: 7 };
    let proposal = Proposal { id: 1, now_ms: 1000, command: Command::Kv(KvOp::Set(write)) };
    Entry { log_id: log_id(2, 300), payload: Payload::Normal(Proposed(Arc::new(proposal))) }
}

#[test]
fn stored_bytes_never_change() {
    let vote = Vote::new_committed(2, 300);
    assert_eq!(*encode_vote(&vote), [1, 2, 172, 2, 1]);
    assert_eq!(*encode_log_id(log_id(2, 300)), [1, 2, 172, 2]);
    assert_eq!(*encode_entry(&Entry { log_id: log_id(2, 300), payload: Payload::Blank }), [1, 2, 172, 2, 0]);
    assert_eq!(*encode_entry(&put()), [1, 2, 172, 2, 1, 1, 1, 232, 7, 2, 0, 1, b'k', 1, b'v', 7]);
    let entry = Entry { log_id: log_id(2, 300), payload: Payload::Membership(membership()) };
    let servers = b"\x01\x03\x04adf4\x02n1\x00\x0a\x00\x00\x01\xec\x40";
    assert_eq!(*encode_entry(&entry), [&[1, 2, 172, 2, 2, 1, 1, 3], servers.as_slice()].concat());
    let entry = Entry { log_id: log_id(2, 300), payload: Payload::Membership(membership_of(300)) };
    assert_eq!(*encode_entry(&entry), [&[1, 2, 172, 2, 2, 1, 1, 3], servers.as_slice(), &[172, 2]].concat());
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(2, 300)),
        last_membership: StoredMembership::new(Some(log_id(1, 1)), membership()),
    };
    let head = encode_snapshot_head(&SnapshotHead { meta, chunks: 2, size_bytes: 300 });
    assert_eq!(*head, [&[1, 1, 2, 172, 2, 1, 1, 1, 1, 1, 3], servers.as_slice(), &[2, 172, 2]].concat());
}

#[test]
fn what_was_stored_is_read_back() {
    let memberships = [membership(), membership_of(u128::MAX)].map(Payload::Membership);
    for payload in [Payload::Blank, put().payload].into_iter().chain(memberships) {
        let entry = Entry { log_id: log_id(9, 1 << 40), payload };
        assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
    }
    let vote = Vote::new(5, u64::MAX);
    assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
    let empty = SnapshotHead { meta: SnapshotMeta::default(), chunks: 0, size_bytes: 0 };
    assert_eq!(decode_snapshot_head(&encode_snapshot_head(&empty)).unwrap(), empty);
}

#[test]
fn bytes_that_are_no_record_are_an_error() {
    let whole = encode_entry(&put());
    for cut in 0..whole.len() {
        assert!(decode_entry(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let mut newer = whole.to_vec();
    newer[0] = 2;
    assert!(decode_entry(&newer).unwrap_err().to_string().contains("version 2 is not known"));
}
