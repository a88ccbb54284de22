//! `/v1/agent`: what concerns the process as a whole: reload, leave, maintenance, metrics, log.

use agent_core::local::Input;
use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::agent_service::maintenance_wish;
use super::authorize::{Access, Resource};
use super::query::check_namespace;
use super::routes::{Route, route};
use super::{Api, ApiError, Request, Response, autopilot};
use crate::telemetry::exposition::Gauge;
use crate::telemetry::{Level, gauges};

/// Lines of the log on their way to one client; more are dropped by the log.
const MONITOR_LINES: usize = 64;

pub(super) const ROUTES: &[Route] = &[
    route!(here PUT "/v1/agent/maintenance" => maintenance),
    route!(here PUT "/v1/agent/reload" => reload),
    route!(here PUT "/v1/agent/leave" => leave),
    route!(here GET "/v1/agent/metrics" => metrics),
    route!(here GET "/v1/agent/monitor" => monitor),
];

async fn maintenance(api: &Api, request: &Request) -> Result<Response, ApiError> {
    check_namespace(request)?;
    let (enable, reason) = maintenance_wish(request)?;
    request.require(Access::Write, Resource::Node(&api.identity.node_name))?;
    api.local.send(Input::NodeMaintenance { enable, reason }).await?;
    Ok(Response::empty(StatusCode::OK))
}

async fn reload(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Write, Resource::Agent)?;
    api.control.reload().await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Response::empty(StatusCode::OK))
}

async fn leave(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Write, Resource::Agent)?;
    api.control.leave().await.map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(Response::empty(StatusCode::OK))
}

async fn metrics(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Read, Resource::Agent)?;
    if request.parameter("format") != Some("prometheus") {
        return Ok(Response::json(request, api.limits.pretty, &api.metrics.interval(&gauges(api).await)));
    }
    let mut response = Response::text(StatusCode::OK, api.metrics.prometheus(&gauges(api).await));
    response.set_header("content-type", "text/plain; version=0.0.4; charset=utf-8");
    Ok(response)
}

async fn gauges(api: &Api) -> Vec<Gauge> {
    let mut found = vec![gauges::plain("rpc.queries_blocking", api.metrics.queries_blocking() as f64)];
    match api {
        Api::Server(server) => {
            let (state, consensus) = (server.store.snapshot(), &server.consensus);
            found.extend(gauges::of_state(&state, &api.identity.datacenter));
            let report = consensus.leadership().is_self.then(|| autopilot::report(server));
            found.extend(gauges::of_server(&state, consensus.stats(), report.as_ref()));
        }
        Api::Client(client) => found.push(gauges::plain("client.servers", client.servers.count() as f64)),
    }
    if let Some(plugins) = &api.plugins {
        let view = api.local.view();
        found.extend(gauges::of_plugins(plugins, |check| view.checks.contains_key(check)));
    }
    // Without a loop there is no pool to speak of.
    if let Ok((stats, counters)) = api.gossip.look(|pool| (pool.stats(), *pool.counters())).await {
        found.extend(gauges::of_pool(&stats, &counters, api.gossip.refused_streams()));
    }
    // A system without it has no figures of memory to show.
    let status = tokio::task::spawn_blocking(|| std::fs::read_to_string("/proc/self/status")).await;
    found.extend(gauges::of_process(&status.ok().and_then(Result::ok).unwrap_or_default()));
    found
}

/// The log as it is written, until the client goes away.
async fn monitor(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.require(Access::Read, Resource::Agent)?;
    let word = request.parameter("loglevel").filter(|word| !word.is_empty()).unwrap_or("info");
    let level =
        Level::parse(word).ok_or_else(|| ApiError::bad_request(format!("Bad request: Unknown log level: {word}")))?;
    let log = api.log.as_ref().ok_or_else(|| ApiError::internal("this agent writes no log to follow"))?;
    let lines = log.follow(level, request.has("logjson"));
    let (sender, chunks) = mpsc::channel(MONITOR_LINES);
    tokio::spawn(forward(lines, sender));
    let mut response = Response::stream(chunks);
    response.set_header("content-type", "text/plain; charset=utf-8");
    Ok(response)
}

async fn forward(mut lines: mpsc::Receiver<String>, sender: mpsc::Sender<Bytes>) {
    loop {
        let line = tokio::select! {
            biased;
            () = sender.closed() => return,
            line = lines.recv() => line,
        };
        let Some(line) = line else { return };
        if sender.send(Bytes::from(line)).await.is_err() {
            return;
        }
    }
}
