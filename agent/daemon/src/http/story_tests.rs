//! Stories recorded from the real Consul 1.8.7 (`tests/cases/http`), told to the whole API in one process.
//!
//! Beside them stand tales of waiting, which need virtual time.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use real::cases;
use serde_json::Value;

use super::tests::synced_api;
use super::{Api, Request, Response, handle};

#[tokio::test]
async fn recorded_stories_are_answered_as_by_consul() {
    let mut differences = Vec::new();
    for file in cases::files("http", "json") {
        let api = synced_api().await;
        differences.extend(cases::http::replay(&file, async |request| answer(&api, request).await).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_hash_waits_for_the_service_to_change() {
    let api = synced_api().await;
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
    let api = synced_api().await;
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
    let api = synced_api().await;
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
    let api = synced_api().await;
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
    let response = match Request::new(method, &path.parse().expect("a URI"), &HeaderMap::new(), body.into(), None) {
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
    handle(api, Request::new(method, &uri, &HeaderMap::new(), body, None).expect("a request")).await
}
