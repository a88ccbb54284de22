//! Stories recorded from the real Consul 1.8.7 (`tests/cases/http`), told to the whole API in one process.
//!
//! Beside them stand tales of waiting, which need virtual time.

use std::sync::Arc;
use std::time::Duration;

use agent_core::health::spec::{CheckSpec, Outcome};
use agent_core::local::{Definitions, Settings};
use agent_core::state::State;
use agent_core::state::tables::Node;
use agent_core::store::Store;
use agent_raft::disk::memory::MemoryDisk;
use agent_raft::network::Alone;
use agent_raft::{Config, Consensus, Server, Timing};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use real::cases;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Api, Identity, Limits, Request, Response, handle, routes};
use crate::checks::Prober;
use crate::control;
use crate::env::{BoxFuture, Env};
use crate::sync::{self, RaftCatalog};
use crate::telemetry::{Metrics, Naming};

#[tokio::test]
async fn recorded_stories_are_answered_as_by_consul() {
    let mut differences = Vec::new();
    for file in cases::files("http", "json") {
        let api = api().await;
        differences.extend(cases::http::replay(&file, async |request| answer(&api, request).await).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_hash_waits_for_the_service_to_change() {
    let api = api().await;
    let register = |port: u16| Bytes::from(format!(r#"{{"Name":"web","Port":{port}}}"#));
    send(&api, "PUT /v1/agent/service/register", register(1)).await;
    let first = send(&api, "GET /v1/agent/service/web", Bytes::new()).await;
    let hash = first.headers["x-consul-contenthash"].to_str().expect("a hash").to_owned();

    let waiting = format!("GET /v1/agent/service/web?wait=10s&hash={hash}");
    let (second, _) = tokio::join!(send(&api, &waiting, Bytes::new()), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        send(&api, "PUT /v1/agent/service/register", register(2)).await
    });

    let body: Value = serde_json::from_slice(second.whole()).expect("JSON");
    assert_eq!(body["Port"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_read_wakes_for_its_own_service() {
    let api = api().await;
    let register = |service: &str| {
        Bytes::from(format!(r#"{{"Node":"x","Address":"1.1.1.1","Service":{{"Service":"{service}"}}}}"#))
    };
    send(&api, "PUT /v1/catalog/register", register("web")).await;
    let first = send(&api, "GET /v1/health/service/web", Bytes::new()).await;
    let index = first.headers["x-consul-index"].to_str().expect("an index").to_owned();

    let waiting = format!("GET /v1/health/service/web?wait=10s&index={index}");
    let started = tokio::time::Instant::now();
    let (second, ()) = tokio::join!(send(&api, &waiting, Bytes::new()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&api, "PUT /v1/catalog/register", register("other")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&api, "PUT /v1/catalog/register", Bytes::from_static(br#"{"Node":"x","Address":"2.2.2.2"}"#)).await;
    });

    assert!(started.elapsed() < Duration::from_secs(3), "woken by the change, not by the end of the wait");
    let body: Value = serde_json::from_slice(second.whole()).expect("JSON");
    assert_eq!(body[0]["Node"]["Address"], "2.2.2.2");
}

#[tokio::test]
async fn self_says_what_clients_decide_by() {
    let api = api().await;
    let response = send(&api, "GET /v1/agent/self", Bytes::new()).await;
    let body: Value = serde_json::from_slice(response.whole()).expect("JSON");
    assert_eq!(body["Config"]["Version"], "1.8.7");
    assert_eq!(body["Config"]["Datacenter"], "dc1");
    assert_eq!(body["Member"]["Tags"]["role"], "consul");
    assert_eq!(body["Stats"]["consul"]["leader"], "true");
    assert_eq!(body["Stats"]["raft"]["state"], "Leader");
}

#[tokio::test]
async fn metrics_come_in_both_formats() {
    let api = api().await;
    send(&api, "PUT /v1/kv/a", Bytes::from_static(b"1")).await;
    let json = send(&api, "GET /v1/agent/metrics", Bytes::new()).await;
    let body: Value = serde_json::from_slice(json.whole()).expect("JSON");
    assert!(body["Samples"].is_array());
    let gauge = |name: &str| {
        let gauges = body["Gauges"].as_array().expect("a list");
        gauges.iter().find(|gauge| gauge["Name"] == name).map(|gauge| gauge["Value"].clone())
    };
    assert_eq!(gauge("consul.state.kv_entries"), Some(1.into()));
    assert_eq!(gauge("consul.server.isLeader"), Some(1.into()));
    let text = send(&api, "GET /v1/agent/metrics?format=prometheus", Bytes::new()).await;
    let shown = String::from_utf8_lossy(text.whole());
    assert!(shown.contains("\nconsul_kvs_apply_count 1\n"), "{shown}");
    assert!(shown.contains("\nconsul_api_http_count{method=\"PUT\",path=\"/v1/kv/\"} 1\n"), "{shown}");
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
}

async fn answer(api: &Api, request: cases::http::Request) -> real::http::Response {
    let cases::http::Request { method, path, body } = request;
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let response = match Request::new(method, &path.parse().expect("a URI"), HeaderMap::new(), body.into(), None) {
        Ok(request) => handle(api, request).await,
        Err(error) => error.response(),
    };
    let text = |value: &HeaderValue| value.to_str().expect("headers are text").to_owned();
    let headers = response.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    real::http::Response { status: response.status.as_u16(), headers, body: response.whole().to_vec() }
}

async fn send(api: &Api, what: &str, body: Bytes) -> Response {
    let (method, uri) = what.split_once(' ').expect("a method and a path");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let uri = uri.parse().expect("a URI");
    handle(api, Request::new(method, &uri, HeaderMap::new(), body, None).expect("a request")).await
}

/// Runs no check: stories tell of TTL checks and of checks that have not run yet.
struct Idle;

impl Prober for Idle {
    fn probe<'a>(&'a self, _spec: &'a CheckSpec) -> BoxFuture<'a, Outcome> {
        Box::pin(std::future::pending())
    }
}

/// An agent called `n1` in memory, alone and leading.
async fn api() -> Api {
    let identity = Identity {
        datacenter: "dc1".to_owned(),
        node_name: "n1".to_owned(),
        node_id: "40e4a748-2192-161a-0510-9bf59fe950b5".to_owned(),
        address: "127.0.0.1".to_owned(),
        rpc_port: 8300,
        serf_port: 8301,
        server: true,
        ..Identity::default()
    };
    let env = Env::real();
    let store = Arc::new(Store::new(State::default()));
    let consensus = consensus(&identity, &env, &store).await;
    let node = Node {
        id: identity.node_id.clone(),
        name: "n1".to_owned(),
        address: "127.0.0.1".to_owned(),
        ..Node::default()
    };
    let metrics = Arc::new(Metrics::new(env.clock.clone(), Naming::default(), routes::names()));
    let catalog = RaftCatalog { consensus: consensus.clone(), store: store.clone(), metrics: metrics.clone() };
    let (local, _) = sync::start(sync::Deps {
        env: env.clone(),
        catalog: Arc::new(catalog),
        prober: Arc::new(Idle),
        persist: None,
        settings: Settings::new(node, 1),
        config: Definitions::default(),
    });
    let (control, _) = control::channel();
    let (renewed, _) = mpsc::channel(1);
    Api { store, consensus, env, identity, limits: Limits::default(), local, control, metrics, log: None, renewed }
}

async fn consensus(identity: &Identity, env: &Env, store: &Arc<Store>) -> Consensus {
    let (random, clock) = (env.random.clone(), env.clock.clone());
    let config = Config {
        server: Server {
            id: identity.node_id.clone(),
            node: identity.node_name.clone(),
            address: "127.0.0.1:8300".parse().expect("an address"),
            voter: true,
        },
        bootstrap: true,
        timing: Timing::default(),
        hold_time: Duration::from_secs(7),
        disk: Arc::new(MemoryDisk::new()),
        transport: Arc::new(Alone),
        store: store.clone(),
        stamp: Arc::new(move || (u128::from(random.u64()), clock.wall_ms())),
    };
    Consensus::start(config).await.expect("an empty disk in memory")
}
