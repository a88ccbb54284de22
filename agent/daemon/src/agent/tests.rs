//! The rooms together, in one process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use agent_core::local::Definitions;

use super::*;
use crate::checks::SystemProber;
use crate::config::{Config, Reloadable};

const NODE_ID: &str = "7a1a6d5e-0000-4000-8000-000000000001";

async fn started() -> Agent {
    let settings = Settings::alone("one", NODE_ID, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1);
    let parts = Parts { prober: Arc::new(SystemProber::default()), plugins: None, log: None };
    Agent::start(settings, Env::real(), parts).await.expect("an agent in memory starts")
}

#[tokio::test]
async fn a_new_agent_leads_and_is_in_its_own_catalog() {
    let agent = started().await;
    assert!(agent.server().expect("it is one").consensus.leadership().is_self);
    let [ListenAddress::Tcp(address)] = agent.http_addresses() else { panic!("one TCP listener was asked for") };
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let path = "/v1/health/service/consul?index=1&wait=10s&passing";
    let request = hyper::Request::get(path).body(http_body_util::Empty::<bytes::Bytes>::new()).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    let found: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(found[0]["Node"]["Node"], "one");
    agent.shutdown().await;
}

#[tokio::test]
async fn a_reload_applies_what_is_reloadable() {
    let mut agent = started().await;
    let old = Reloadable::of(&Config::dev_for_tests("one"));
    let node_meta = BTreeMap::from([("rack".to_owned(), "2".to_owned())]);
    let new = Reloadable { node_meta, http_conns_per_client_max: 3, ..old.clone() };

    agent.reload(&old, new, Definitions::default()).await.expect("nothing is defined");

    let adjusted = agent.api.adjustable.load_full();
    assert_eq!((adjusted.meta["rack"].as_str(), adjusted.connections_per_client_max), ("2", 3));
    agent.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_is_said_by_name() {
    let first = started().await;
    let [ListenAddress::Tcp(address)] = *first.http_addresses() else { panic!("one TCP listener was asked for") };
    let settings = Settings::alone("two", NODE_ID, address, 1);
    let parts = Parts { prober: Arc::new(SystemProber::default()), plugins: None, log: None };
    let error = Agent::start(settings, Env::real(), parts).await.map(|_| ()).expect_err("the port is in use");
    assert!(
        error.to_string().contains(&address.to_string()) && error.to_string().contains("already in use"),
        "{error}"
    );
    first.shutdown().await;
}
