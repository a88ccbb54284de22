//! The `Proxy` and `Connect` parts of services.
//!
//! The catalog and the agent print upstreams differently: the catalog spells
//! out an empty data centre and configuration, the agent leaves them away.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{is_false, is_zero};
use crate::definition::{MeshGateway, Proxy, Upstream};

/// `Connect` of a service.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConnectView {
    #[serde(skip_serializing_if = "is_false")]
    pub native: bool,
}

/// Who prints a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Catalog,
    Agent,
}

/// `Proxy` of a service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ProxyView {
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_service_name: String,
    #[serde(rename = "DestinationServiceID", skip_serializing_if = "String::is_empty")]
    destination_service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_service_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    local_service_port: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstreams: Vec<UpstreamView>,
    mesh_gateway: MeshGateway,
    expose: Map<String, Value>,
}

impl ProxyView {
    /// A proxy from the text the record keeps.
    pub(super) fn new(proxy_json: &str, style: Style) -> Self {
        let proxy = if proxy_json.is_empty() { Proxy::default() } else { Proxy::from_json(proxy_json) };
        ProxyView {
            destination_service_name: proxy.destination_service_name,
            destination_service_id: proxy.destination_service_id,
            local_service_address: proxy.local_service_address,
            local_service_port: proxy.local_service_port,
            config: proxy.config.filter(|config| !config.is_empty()),
            upstreams: proxy.upstreams.into_iter().map(|one| UpstreamView::new(one, style)).collect(),
            mesh_gateway: proxy.mesh_gateway,
            expose: proxy.expose,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpstreamView {
    destination_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_namespace: String,
    destination_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacenter: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    local_bind_address: String,
    #[serde(skip_serializing_if = "is_zero")]
    local_bind_port: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
    mesh_gateway: MeshGateway,
}

impl UpstreamView {
    fn new(upstream: Upstream, style: Style) -> Self {
        let config = upstream.config.map_or(Value::Null, Value::Object);
        let all = style == Style::Catalog;
        UpstreamView {
            destination_type: upstream.destination_type,
            destination_namespace: upstream.destination_namespace,
            destination_name: upstream.destination_name,
            datacenter: (all || !upstream.datacenter.is_empty()).then_some(upstream.datacenter),
            local_bind_address: upstream.local_bind_address,
            local_bind_port: upstream.local_bind_port,
            config: (all || !config.is_null()).then_some(config),
            mesh_gateway: upstream.mesh_gateway,
        }
    }
}
