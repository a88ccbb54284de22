//! Three servers over real sockets: they elect, write through each other, and go on without their leader.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_core::state::command::{KvOp, KvWrite};
use agent_core::state::{Command, State};
use agent_core::store::Store;
use agent_raft::disk::memory::MemoryDisk;
use agent_raft::{Change, Config, Consensus, ReadMode, Refused, Rpc, Server, Timing};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::dns::Reply;
use crate::env::{BoxFuture, Env, ListenAddress};
use crate::http::Response;

/// Nobody stands for election because the machine stood still for a moment: the outcome of a write under way would be
/// unknown.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_secs(1),
    election_max: Duration::from_secs(2),
};

/// Raft alone.
struct Desk(Arc<OnceLock<Consensus>>);

impl Serve for Desk {
    fn raft(&self, rpc: Rpc, message: Bytes) -> BoxFuture<'static, Result<Vec<u8>, Refused>> {
        let consensus = self.0.get().cloned();
        Box::pin(async move {
            let consensus = consensus.ok_or_else(|| Refused::Stopped("it has not started".into()))?;
            consensus.handle(rpc, &message).await
        })
    }

    fn http(&self, _: HttpHead<'_>, _: Bytes) -> BoxFuture<'static, Response> {
        Box::pin(async { Response::empty(hyper::StatusCode::NOT_FOUND) })
    }

    fn catalog(&self, _: CatalogHead, _: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        Box::pin(async { Err("there is none".to_owned()) })
    }

    fn dns(&self, _: &DnsHead, _: &[u8]) -> Result<Reply, String> {
        Err("there is no catalog".to_owned())
    }
}

struct Running {
    consensus: Consensus,
    store: Arc<Store>,
    /// Stops the listener when dropped.
    _stop: oneshot::Sender<()>,
}

fn server(id: usize, address: SocketAddr) -> Server {
    Server { id: format!("server-{id}"), node: format!("n{id}"), address, voter: true }
}

async fn start(id: usize, listener: Box<dyn crate::env::Listener>) -> (Server, Running) {
    let ListenAddress::Tcp(address) = listener.local_address() else { panic!("it listens on TCP") };
    let handle = Arc::<OnceLock<Consensus>>::default();
    let knows = handle.clone();
    let cluster = move || knows.get().and_then(Consensus::cluster);
    let identity = Identity { datacenter: "dc1".into(), node: format!("n{id}"), cluster: Arc::new(cluster) };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let desk = Arc::new(Desk(handle.clone()));
    tokio::spawn(serve(listener, identity.clone(), desk, Arc::default(), stopped));
    let (store, env) = (Arc::new(Store::new(State::default())), Env::real());
    let pool = Pool::new(env.clone(), identity);
    let server = server(id, address);
    let config = Config {
        server: server.clone(),
        bootstrap: false,
        timing: TIMING,
        hold_time: Duration::from_secs(30),
        disk: Arc::new(MemoryDisk::new()),
        transport: Arc::new(RpcTransport::new(pool)),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(env.random.u64()), 0)),
    };
    let consensus = Consensus::start(config).await.unwrap();
    assert!(handle.set(consensus.clone()).is_ok());
    (server, Running { consensus, store, _stop: stop })
}

fn put(key: &str) -> Command {
    Command::Kv(KvOp::Set(KvWrite { key: key.into(), value: vec![7; 300].into(), flags: 0 }))
}

/// The node that leads, once this server knows of one.
async fn leader_seen_by(consensus: &Consensus) -> String {
    let mut seen = consensus.leadership();
    while seen.leader.is_none() {
        seen = consensus.leadership_changed(&seen).await;
    }
    seen.leader.unwrap().node
}

/// Three servers by node name.
async fn three() -> (Vec<Server>, BTreeMap<String, Running>) {
    let (mut servers, mut running) = (Vec::new(), BTreeMap::new());
    for id in 0..3 {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let (server, started) = start(id, Env::real().network.listen(&any).await.unwrap()).await;
        running.insert(server.node.clone(), started);
        servers.push(server);
    }
    for started in running.values() {
        started.consensus.bootstrap(&servers).await.unwrap();
    }
    (servers, running)
}

#[tokio::test]
async fn three_servers_elect_write_through_each_other_and_go_on_without_their_leader() {
    let (_, mut running) = three().await;

    for (node, started) in &running {
        started.consensus.write(put(node)).await.unwrap();
    }
    for started in running.values() {
        started.consensus.barrier(ReadMode::Quorum).await.unwrap();
        assert_eq!(started.store.snapshot().kv.len(), 3);
    }

    let leader = leader_seen_by(&running["n0"].consensus).await;
    let dead = running.remove(&leader).unwrap();
    dead.consensus.shutdown().await;
    drop(dead);
    let (_, survivor) = running.first_key_value().unwrap();
    survivor.consensus.write(put("after")).await.unwrap();
    assert_ne!(leader_seen_by(&survivor.consensus).await, leader);
}

#[tokio::test]
async fn a_fourth_server_follows_gets_a_vote_and_takes_the_lead() {
    let (_, running) = three().await;
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let (fourth, started) = start(3, Env::real().network.listen(&any).await.unwrap()).await;
    let asked = &running["n1"].consensus;

    asked.change(&Change::Add(fourth.clone())).await.unwrap();
    asked.change(&Change::Promote(fourth.id.clone())).await.unwrap();
    asked.change(&Change::Transfer(Some(fourth.id.clone()))).await.unwrap();

    started.consensus.write(put("k")).await.unwrap();
    assert!(started.consensus.leadership().is_self);
    assert_eq!(started.consensus.cluster(), asked.cluster());
}
