//! Service instances, in the four forms Consul has for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::state::catalog::{HealthInstance, Instance};
use agent_core::state::tables::{Check, Index, Service, ServiceAddress, Weights};
use serde::{Serialize, Serializer};

use super::proxy::{ConnectView, ProxyView, Style};
use super::{CheckView, NodeView, NullWhenEmpty, some_tags};

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WeightsView {
    passing: u32,
    warning: u32,
}

impl From<Weights> for WeightsView {
    fn from(Weights { passing, warning }: Weights) -> Self {
        WeightsView { passing, warning }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressView<'a> {
    address: &'a str,
    port: u16,
}

#[derive(Clone, Copy, Debug)]
struct AddressesView<'a>(&'a BTreeMap<String, ServiceAddress>);

impl AddressesView<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AddressesView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, tagged)| {
            let ServiceAddress { address, port } = tagged;
            (name, AddressView { address, port: *port })
        }))
    }
}

/// An instance as it stands beside its node: in `/v1/health/service` and `/v1/catalog/node`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: Option<&'a [String]>,
    address: &'a str,
    #[serde(skip_serializing_if = "AddressesView::is_empty")]
    tagged_addresses: AddressesView<'a>,
    meta: NullWhenEmpty<'a>,
    port: u16,
    weights: WeightsView,
    enable_tag_override: bool,
    proxy: ProxyView,
    connect: ConnectView,
    create_index: Index,
    modify_index: Index,
}

impl<'a> ServiceView<'a> {
    /// An instance of the catalog.
    pub fn new(service: &'a Service) -> Self {
        ServiceView {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: Some(&service.tags),
            address: &service.address,
            tagged_addresses: AddressesView(&service.tagged_addresses),
            meta: NullWhenEmpty(&service.meta),
            port: service.port,
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
            proxy: ProxyView::new(&service.proxy_json, Style::Catalog),
            connect: ConnectView { native: service.connect_native },
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }

    /// The result of a transaction: `null` instead of no tags.
    pub fn in_txn(service: &'a Service) -> Self {
        ServiceView { tags: some_tags(&service.tags), ..ServiceView::new(service) }
    }
}

/// An instance with its node in one object, as `/v1/catalog/service` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogServiceView<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: NullWhenEmpty<'a>,
    node_meta: NullWhenEmpty<'a>,
    service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "AddressesView::is_empty")]
    service_tagged_addresses: AddressesView<'a>,
    service_weights: WeightsView,
    service_meta: &'a BTreeMap<String, String>,
    service_port: u16,
    service_enable_tag_override: bool,
    service_proxy: ProxyView,
    service_connect: ConnectView,
    create_index: Index,
    modify_index: Index,
}

impl<'a> CatalogServiceView<'a> {
    /// An instance of the catalog of `datacenter`.
    pub fn new(instance: &'a Instance, datacenter: &'a str) -> Self {
        let Instance { node, service } = instance;
        CatalogServiceView {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: NullWhenEmpty(&node.tagged_addresses),
            node_meta: NullWhenEmpty(&node.meta),
            service_kind: &service.kind,
            service_id: &service.id,
            service_name: &service.name,
            service_tags: &service.tags,
            service_address: &service.address,
            service_tagged_addresses: AddressesView(&service.tagged_addresses),
            service_weights: service.weights.into(),
            service_meta: &service.meta,
            service_port: service.port,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: ProxyView::new(&service.proxy_json, Style::Catalog),
            service_connect: ConnectView { native: service.connect_native },
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// An instance with its node and checks, as `/v1/health/service` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthView<'a> {
    node: NodeView<'a>,
    service: ServiceView<'a>,
    #[serde(serialize_with = "checks")]
    checks: &'a [Arc<Check>],
}

fn checks<S: Serializer>(checks: &[Arc<Check>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(checks.iter().map(|check| CheckView::new(check)))
}

impl<'a> HealthView<'a> {
    /// An instance of the catalog of `datacenter`.
    pub fn new(instance: &'a HealthInstance, datacenter: &'a str) -> Self {
        HealthView {
            node: NodeView::new(&instance.node, datacenter),
            service: ServiceView::new(&instance.service),
            checks: &instance.checks,
        }
    }
}

/// An instance as its own agent prints it, under `/v1/agent/services` and `/v1/agent/service`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentServiceView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    port: u16,
    address: &'a str,
    #[serde(skip_serializing_if = "AddressesView::is_empty")]
    tagged_addresses: AddressesView<'a>,
    weights: WeightsView,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<ProxyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<ConnectView>,
}

impl<'a> AgentServiceView<'a> {
    /// An instance of this agent, with the hash of its definition where the endpoint gives one.
    pub fn new(service: &'a Service, content_hash: Option<&'a str>) -> Self {
        AgentServiceView {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            meta: &service.meta,
            port: service.port,
            address: &service.address,
            tagged_addresses: AddressesView(&service.tagged_addresses),
            weights: service.weights.into(),
            enable_tag_override: service.enable_tag_override,
            content_hash,
            proxy: (!service.kind.is_empty()).then(|| ProxyView::new(&service.proxy_json, Style::Agent)),
            connect: service.connect_native.then_some(ConnectView { native: true }),
        }
    }
}
