//! The whole API without sockets: requests in, responses out, over a server of one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::health::spec::{CheckSpec, Outcome};
use agent_core::local::anti_entropy::Remote;
use agent_core::local::{Definitions, Settings};
use agent_core::state::State;
use agent_core::state::command::Register;
use agent_core::state::tables::{AutopilotConfig, Check, Index, Node, Status};
use agent_raft::disk::memory::MemoryDisk;
use agent_raft::network::Alone;
use agent_raft::{Config, ReadError, Server, Timing, WriteError};
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::checks::Prober;
use crate::control;
use crate::env::{BoxFuture, ListenAddress};
use crate::gossip;
use crate::sync::{self, Catalog, RaftCatalog};
use crate::telemetry::Naming;

#[tokio::test(start_paused = true)]
async fn a_blocking_query_wakes_for_its_key_and_for_no_other() {
    let World { api, .. } = world().await;
    let index = put(&api, "a", "1").await;
    let started = tokio::time::Instant::now();
    let waiting = tokio::spawn(get(Arc::clone(&api), format!("/v1/kv/a?wait=60s&index={index}")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&api, "b", "1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&api, "a", "2").await;

    let response = waiting.await.unwrap();

    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(index_of(&response) > index);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_query_ends_with_its_wait_and_the_same_index() {
    let World { api, .. } = world().await;
    let index = put(&api, "a", "1").await;
    let started = tokio::time::Instant::now();

    let response = get(Arc::clone(&api), format!("/v1/kv/a?wait=16s&index={index}")).await;

    // Up to a sixteenth longer, so that waiters don't come back together.
    assert!((16..=17).contains(&started.elapsed().as_secs()));
    assert_eq!(index_of(&response), index);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_wait_is_one_and_less_than_none_is_the_default() {
    let World { api, .. } = world().await;
    for (wait, seconds) in [("500us", 0), ("-1s", 300)] {
        let started = tokio::time::Instant::now();
        get(Arc::clone(&api), format!("/v1/kv/a?index=9999999&wait={wait}")).await;
        assert!((seconds..=seconds + seconds / 16).contains(&started.elapsed().as_secs()), "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_for_a_nodes_services_sleeps_through_its_checks() {
    let World { api, .. } = world().await;
    let register = async |with: &str| {
        let body = format!(r#"{{"Node":"n1","SkipNodeUpdate":true,{with}}}"#);
        assert_eq!(send(&api, Method::PUT, "/v1/catalog/register", &[], body.as_bytes()).await.whole(), b"true");
    };
    for path in ["/v1/catalog/node/n1", "/v1/catalog/node-services/N1"] {
        let index = index_of(&get(Arc::clone(&api), path.to_owned()).await);
        let started = tokio::time::Instant::now();
        let waiting = tokio::spawn(get(Arc::clone(&api), format!("{path}?index={index}")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        register(&format!(r#""Check":{{"Name":"c","Notes":"{path}"}}"#)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        register(&format!(r#""Service":{{"Service":"s","Address":"{path}"}}"#)).await;

        let response = waiting.await.unwrap();

        assert_eq!(started.elapsed().as_secs(), 2);
        assert!(index_of(&response) > index);
    }
}

#[tokio::test(start_paused = true)]
async fn an_absent_key_is_waited_for_from_the_index_of_its_404() {
    let World { api, .. } = world().await;
    let index = index_of(&get(Arc::clone(&api), "/v1/kv/a".to_owned()).await);
    let waiting = tokio::spawn(get(Arc::clone(&api), format!("/v1/kv/a?index={index}")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&api, "a", "1").await;

    let response = waiting.await.unwrap();

    assert_eq!(response.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_query_leaves_no_watch_behind() {
    let World { api, .. } = world().await;
    let index = put(&api, "a", "1").await;
    let before = Arc::strong_count(&api);
    let waiting = tokio::spawn(get(Arc::clone(&api), format!("/v1/kv/a?index={index}")));
    tokio::time::sleep(Duration::from_secs(1)).await;

    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());

    assert_eq!(Arc::strong_count(&api), before);
}

#[tokio::test]
async fn a_client_that_hangs_up_releases_its_query() {
    let World { api, .. } = world().await;
    let (mut client, server) = connect(&api).await;
    client.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let read = client.read(&mut [0; 1024]).await.unwrap();
    assert!(read > 0);
    // The listening task and this test hold one each, the connection another.
    assert_eq!(Arc::strong_count(&api), 3);

    client.write_all(b"GET /v1/kv/a?index=9999999 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    drop(client);

    while Arc::strong_count(&api) > 2 {
        tokio::task::yield_now().await;
    }
    server.abort();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_connection_closed() {
    let World { api, .. } = world().await;
    let (mut client, server) = connect(&api).await;
    client.write_all(b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n").await.unwrap();

    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    server.abort();
}

#[tokio::test]
async fn requests_are_answered_whatever_their_lines_hold() {
    let World { api, .. } = world().await;
    put(&api, "a%23%22", "it").await;
    let (mut client, server) = connect(&api).await;
    for _ in 0..2 {
        client.write_all(b"GET /v1/kv/a#\"?raw&x=<> HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut room = [0; 1024];
        let count = client.read(&mut room).await.unwrap();
        let answer = std::str::from_utf8(&room[..count]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nit"), "{answer}");
    }
    server.abort();
}

#[tokio::test]
async fn renewing_a_session_with_a_ttl_tells_the_timers() {
    let World { api, mut renewals } = world().await;
    let created = send(&api, Method::PUT, "/v1/session/create", &[], br#"{"TTL":"10s"}"#).await;
    let created: Value = serde_json::from_slice(created.whole()).unwrap();
    let id = created["ID"].as_str().unwrap();

    let renewed = send(&api, Method::PUT, &format!("/v1/session/renew/{id}"), &[], b"").await;

    assert_eq!(renewed.status.as_u16(), 200);
    assert_eq!(renewals.try_recv().unwrap(), id);
}

/// A client's connection to a server of its own, and that server.
async fn connect(api: &Arc<Api>) -> (TcpStream, JoinHandle<()>) {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = api.env.network.listen(&any).await.unwrap();
    let ListenAddress::Tcp(address) = listener.local_address() else { unreachable!("it is TCP") };
    let server = tokio::spawn(server::serve(listener, Arc::clone(api), std::future::pending()));
    (TcpStream::connect(address).await.unwrap(), server)
}

async fn send(api: &Api, method: Method, path: &str, headers: &[(String, String)], body: &[u8]) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    match Request::new(method, &path.parse().unwrap(), &map, Bytes::copy_from_slice(body), None) {
        Ok(request) => handle(api, request).await,
        Err(error) => error.response(),
    }
}

async fn get(api: Arc<Api>, path: String) -> Response {
    send(&api, Method::GET, &path, &[], b"").await
}

/// Writes a key and returns its index.
async fn put(api: &Arc<Api>, key: &str, value: &str) -> u64 {
    let written = send(api, Method::PUT, &format!("/v1/kv/{key}"), &[], value.as_bytes()).await;
    assert_eq!(written.whole(), b"true");
    index_of(&get(Arc::clone(api), format!("/v1/kv/{key}")).await)
}

fn index_of(response: &Response) -> u64 {
    response.headers["x-consul-index"].to_str().unwrap().parse().unwrap()
}

/// An API over a data centre of one, and where its renewals go.
struct World {
    api: Arc<Api>,
    renewals: mpsc::Receiver<SessionId>,
}

/// Only requests move its indexes: local state never gets to the catalog.
async fn world() -> World {
    world_with(|_, _, _| Arc::new(NoCatalog)).await
}

/// The same with local state in the catalog, as in a whole agent.
pub(super) async fn synced_api() -> Arc<Api> {
    let catalog = |consensus: &Consensus, store: &Arc<Store>, metrics: &Arc<Metrics>| -> Arc<dyn Catalog> {
        Arc::new(RaftCatalog { consensus: consensus.clone(), store: store.clone(), metrics: metrics.clone() })
    };
    let World { api, mut renewals } = world_with(catalog).await;
    tokio::spawn(async move { while renewals.recv().await.is_some() {} });
    api
}

async fn world_with(catalog: impl FnOnce(&Consensus, &Arc<Store>, &Arc<Metrics>) -> Arc<dyn Catalog>) -> World {
    let env = Env::real();
    let store = Arc::new(Store::new(State::default()));
    let consensus = consensus(&store).await;
    let metrics = Arc::new(Metrics::new(env.clock.clone(), Naming::default(), routes::names()));
    let node =
        Node { id: NODE_ID.to_owned(), name: "n1".to_owned(), address: "127.0.0.1".to_owned(), ..Node::default() };
    let (local, _) = sync::start(sync::Deps {
        env: env.clone(),
        catalog: catalog(&consensus, &store, &metrics),
        prober: Arc::new(NoProber),
        persist: None,
        settings: Settings::new(node.clone(), 1),
        config: Definitions::default(),
    })
    .await
    .expect("no file defines anything");
    let (renewed, renewals) = mpsc::channel(16);
    let (control, limits) = (control::channel().0, Limits::default());
    let gossip = pool().await;
    let agent = AgentApi {
        metrics,
        env,
        identity: identity(),
        limits,
        adjustable: ArcSwap::default(),
        local,
        gossip,
        control,
        plugins: None,
        log: None,
        shedding: Shedding::default(),
    };
    let server = Arc::new(ServerApi {
        agent,
        store,
        consensus,
        servers: Pool::new(Env::real(), nobody()),
        encoded: Encoded::default(),
        renewed,
        board: Arc::new(Board::new(AutopilotConfig::default(), Timing::default().heartbeat)),
    });
    let alive =
        Check { node: "n1".to_owned(), id: "serfHealth".to_owned(), status: Status::Passing, ..Check::default() };
    let register = Register { node, checks: vec![alive], ..Register::default() };
    server.write(Command::Register(Box::new(register))).await.unwrap();
    World { api: Arc::new(Api::Server(server)), renewals }
}

/// Who this server is to others; there are none.
fn nobody() -> crate::rpc::Identity {
    crate::rpc::Identity { datacenter: "dc1".to_owned(), node: "n1".to_owned(), cluster: Arc::new(|| None) }
}

const NODE_ID: &str = "40e4a748-2192-161a-0510-9bf59fe950b5";

fn identity() -> Identity {
    Identity {
        datacenter: "dc1".to_owned(),
        node_name: "n1".to_owned(),
        node_id: NODE_ID.to_owned(),
        address: "127.0.0.1".to_owned(),
        rpc_port: 8300,
        serf_port: 8301,
        server: true,
        ..Identity::default()
    }
}

/// A pool with nobody else in it, for as long as the test runs.
async fn pool() -> GossipHandle {
    let env = Env::real();
    let identity = gossip::Identity {
        name: "n1".to_owned(),
        id: NODE_ID.to_owned(),
        datacenter: "dc1".to_owned(),
        server_port: Some(8300),
        ..gossip::Identity::default()
    };
    let bound = gossip::bind(&env, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let settings = gossip::Settings::lan(identity, "127.0.0.1:8301".parse().unwrap());
    let (stop, stopped) = watch::channel(false);
    let local = Box::new(|| Arc::new(agent_core::local::LocalView::default()));
    let mut tasks = JoinSet::new();
    let deps = gossip::Deps { env, settings, bound, local };
    let handle = gossip::start(deps, &mut tasks, &stopped).await.unwrap();
    tasks.spawn(async move { stop.closed().await });
    tasks.detach_all();
    handle
}

/// Raft alone, with ids that count.
async fn consensus(store: &Arc<Store>) -> Consensus {
    let counter = AtomicU64::new(1);
    Consensus::start(Config {
        server: Server {
            id: NODE_ID.to_owned(),
            node: "n1".to_owned(),
            address: "127.0.0.1:8300".parse().unwrap(),
            voter: true,
        },
        bootstrap: true,
        timing: Timing::default(),
        hold_time: Duration::from_secs(7),
        disk: Arc::new(MemoryDisk::new()),
        transport: Arc::new(Alone),
        store: Arc::clone(store),
        stamp: Arc::new(move || (u128::from(counter.fetch_add(1, Ordering::Relaxed)), 1_000)),
    })
    .await
    .unwrap()
}

/// Runs no check: tales tell of TTL checks and of checks that have not run yet.
struct NoProber;

impl Prober for NoProber {
    fn probe<'a>(&'a self, _: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        Box::pin(std::future::pending())
    }
}

/// Local state that never gets to the catalog, so that only requests move its indexes.
struct NoCatalog;

impl Catalog for NoCatalog {
    fn write(&self, _: Command) -> BoxFuture<'_, Result<Reply, WriteError>> {
        Box::pin(std::future::pending())
    }

    fn read<'a>(&'a self, _: &'a str, _: Index) -> BoxFuture<'a, Result<(Index, Remote), ReadError>> {
        Box::pin(std::future::pending())
    }

    fn servers_changed<'a>(&'a self, _: &'a mut u64) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}
