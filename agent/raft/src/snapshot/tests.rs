//! What is read while the next snapshot is being kept.

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, Proposal, apply};
use tokio::sync::Semaphore;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::disk::{BoxFuture, Loaded};
use crate::types::{StoredMembership, log_id};

/// A disk that reads its snapshot, and says that one is durable, only when it is let.
#[derive(Default)]
struct Gated {
    disk: MemoryDisk,
    reads: Gate,
    ends: Gate,
}

/// Closed for tests that step through it; whoever comes says so.
struct Gate {
    came: Semaphore,
    may_pass: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { came: Semaphore::new(0), may_pass: Semaphore::new(0) }
    }
}

impl Gate {
    async fn pass(&self) {
        self.came.add_permits(1);
        self.may_pass.acquire().await.unwrap().forget();
    }

    async fn someone_came(&self) {
        self.came.acquire().await.unwrap().forget();
    }

    fn open(&self) {
        self.may_pass.add_permits(1);
    }
}

impl Disk for Gated {
    fn load(&self) -> BoxFuture<'_, io::Result<Loaded>> {
        self.disk.load()
    }

    fn submit(&self, op: Op, done: Done) -> BoxFuture<'_, ()> {
        let is_end = matches!(op, Op::Snapshot { .. });
        Box::pin(async move {
            self.disk.submit(op, Done::nobody()).await;
            if is_end {
                self.ends.pass().await;
            }
            done.complete(Ok(()));
        })
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> BoxFuture<'_, io::Result<Vec<Bytes>>> {
        self.disk.read(from, to, bytes_max)
    }

    fn read_snapshot(&self) -> BoxFuture<'_, io::Result<Option<StoredSnapshot>>> {
        Box::pin(async {
            self.reads.pass().await;
            self.disk.read_snapshot().await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.disk.close()
    }
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(1, index)),
        last_membership: StoredMembership::new(None, crate::types::Membership::default()),
    }
}

/// The encoded state after so many writes.
fn state(writes: u64) -> Vec<u8> {
    let mut state = State::default();
    for index in 1..=writes {
        let write = KvWrite { key: index.to_string(), value: vec![7; 1000].into(), flags: 0 };
        apply(
            &mut state,
            index,
            &Proposal { id: u128::from(index), now_ms: 0, command: Command::Kv(KvOp::Set(write)) },
        );
    }
    encoding::encode(&state)
}

#[tokio::test]
async fn a_snapshot_that_is_read_while_a_newer_one_takes_its_place_is_one_of_the_two() {
    let disk = Arc::new(Gated::default());
    let store = SnapshotStore::load(disk.clone(), Arc::default()).await.unwrap();
    let (old, new) = (state(3), state(9));
    disk.ends.open();
    store.keep(&meta(3), &old).await.unwrap();
    disk.ends.someone_came().await;

    // The disk reads only after the newer one is there, and the store has not heard of it yet.
    let reader = tokio::spawn({
        let store = store.clone();
        async move { store.current().await.unwrap().unwrap() }
    });
    disk.reads.someone_came().await;
    let writer = tokio::spawn(async move { store.keep(&meta(9), &new).await.unwrap() });
    disk.ends.someone_came().await;
    disk.reads.open();
    let found = reader.await.unwrap();
    disk.ends.open();
    writer.await.unwrap();

    let expected = match found.meta {
        read if read == meta(3) => old,
        read if read == meta(9) => state(9),
        read => panic!("{read:?} was never kept"),
    };
    assert_eq!(found.snapshot, expected);
}
