//! What renderers read, asked of an agent over HTTP.

use std::sync::Arc;

use agent_wasm::catalog::{Answer, Catalog, CatalogFailure, Entry, Health, Instance, Node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::address::escape_path;
use super::super::client::{Call, Client};

/// The catalog behind an agent's API.
pub struct AgentCatalog {
    client: Arc<Client>,
}

impl AgentCatalog {
    /// A catalog that asks with `client`. Its futures must be polled within [`Client::wait_for`].
    pub fn new(client: Arc<Client>) -> AgentCatalog {
        AgentCatalog { client }
    }

    /// The agent's node and data centre; empty when it can't be reached, since not every renderer asks.
    pub async fn identity(client: &Client) -> (String, String) {
        let answer = client.answer(get("/v1/agent/self")).await.and_then(|answer| answer.ok()?.json());
        let own = answer.unwrap_or_default();
        (text(&own["Config"]["NodeName"]), text(&own["Config"]["Datacenter"]))
    }

    /// Reads a path; nothing when there is nothing.
    async fn read(&self, call: Call, datacenter: &str) -> Result<Option<Value>, CatalogFailure> {
        let call = if datacenter.is_empty() { call } else { call.with("dc", datacenter) };
        let answer = self.client.answer(call).await.map_err(CatalogFailure::Unavailable)?;
        match answer.status {
            404 => Ok(None),
            403 => Err(CatalogFailure::Denied(String::from_utf8_lossy(&answer.body).into_owned())),
            400..=499 => Err(CatalogFailure::Invalid(String::from_utf8_lossy(&answer.body).into_owned())),
            _ => answer.ok().and_then(|answer| answer.json()).map(Some).map_err(CatalogFailure::Unavailable),
        }
    }

    async fn list<T>(&self, call: Call, datacenter: &str, item: fn(&Value) -> T) -> Result<Vec<T>, CatalogFailure> {
        let found = self.read(call, datacenter).await?.unwrap_or_default();
        Ok(found.as_array().into_iter().flatten().map(item).collect())
    }
}

impl Catalog for AgentCatalog {
    fn instances<'a>(
        &'a self,
        service: &'a str,
        tag: &'a str,
        passing: bool,
        datacenter: &'a str,
    ) -> Answer<'a, Vec<Instance>> {
        Box::pin(async move {
            let mut call = get(format!("/v1/health/service/{}", escape_path(service)));
            if !tag.is_empty() {
                call = call.with("tag", tag);
            }
            if passing {
                call = call.with("passing", "");
            }
            let mut instances = self.list(call, datacenter, instance).await?;
            instances.sort_by(|a, b| (&a.node.name, &a.id).cmp(&(&b.node.name, &b.id)));
            Ok(instances)
        })
    }

    fn services<'a>(&'a self, datacenter: &'a str) -> Answer<'a, Vec<(String, Vec<String>)>> {
        Box::pin(async move {
            let found = self.read(get("/v1/catalog/services"), datacenter).await?.unwrap_or_default();
            let services = found.as_object().into_iter().flatten();
            Ok(services.map(|(name, tags)| (name.clone(), texts(tags))).collect())
        })
    }

    fn nodes<'a>(&'a self, datacenter: &'a str) -> Answer<'a, Vec<Node>> {
        Box::pin(async move {
            let mut nodes = self.list(get("/v1/catalog/nodes"), datacenter, node).await?;
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(nodes)
        })
    }

    fn key<'a>(&'a self, path: &'a str, datacenter: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let found = self.list(get(format!("/v1/kv/{}", escape_path(path))), datacenter, entry).await?;
            Ok(found.into_iter().next())
        })
    }

    fn tree<'a>(&'a self, prefix: &'a str, datacenter: &'a str) -> Answer<'a, Vec<Entry>> {
        Box::pin(self.list(get(format!("/v1/kv/{}", escape_path(prefix))).with("recurse", ""), datacenter, entry))
    }
}

fn get(path: impl Into<String>) -> Call {
    Call::new("GET", path)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn node(found: &Value) -> Node {
    Node {
        name: text(&found["Node"]),
        address: text(&found["Address"]),
        datacenter: text(&found["Datacenter"]),
        meta: pairs(&found["Meta"]),
    }
}

fn instance(found: &Value) -> Instance {
    let (node, service) = (node(&found["Node"]), &found["Service"]);
    let own = text(&service["Address"]);
    let weight = |kind: &str| u32::try_from(service["Weights"][kind].as_u64().unwrap_or(1)).unwrap_or(1);
    Instance {
        id: text(&service["ID"]),
        service: text(&service["Service"]),
        address: if own.is_empty() { node.address.clone() } else { own },
        node,
        port: u16::try_from(service["Port"].as_u64().unwrap_or(0)).unwrap_or(0),
        tags: texts(&service["Tags"]),
        meta: pairs(&service["Meta"]),
        weights: (weight("Passing"), weight("Warning")),
        health: health(&found["Checks"]),
    }
}

/// The worst of the checks, of which those for maintenance are worse than any.
fn health(checks: &Value) -> Health {
    let checks = checks.as_array().into_iter().flatten();
    let of = |check: &Value| match (check["CheckID"].as_str().unwrap_or_default(), check["Status"].as_str()) {
        (id, _) if id == "_node_maintenance" || id.starts_with("_service_maintenance") => (3, Health::Maintenance),
        (_, Some("passing")) => (0, Health::Passing),
        (_, Some("warning")) => (1, Health::Warning),
        _ => (2, Health::Critical),
    };
    checks.map(of).max_by_key(|(badness, _)| *badness).map_or(Health::Passing, |(_, health)| health)
}

fn entry(found: &Value) -> Entry {
    Entry {
        key: text(&found["Key"]),
        value: STANDARD.decode(text(&found["Value"])).unwrap_or_default(),
        flags: found["Flags"].as_u64().unwrap_or(0),
    }
}
