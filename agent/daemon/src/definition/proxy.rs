//! The `Proxy` part of a service: kept for those who read it back, never acted on.
//!
//! Stored as JSON text with canonical field names, so the views need not know
//! how the client spelled them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DecodeError, Fields, Source};

/// What a mesh proxy stands for and connects to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Proxy {
    /// The service it stands for.
    pub destination_service_name: String,
    /// The instance it stands for.
    #[serde(rename = "DestinationServiceID")]
    pub destination_service_id: String,
    /// Where that instance listens.
    pub local_service_address: String,
    /// Where that instance listens, zero when not given.
    pub local_service_port: i64,
    /// Opaque to us.
    pub config: Option<Map<String, Value>>,
    /// What it connects to.
    pub upstreams: Vec<Upstream>,
    /// How it reaches other data centres.
    pub mesh_gateway: MeshGateway,
    /// `Expose` as sent, empty object when not given.
    pub expose: Map<String, Value>,
}

/// A service that a proxy connects to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Upstream {
    /// `service` or `prepared_query`.
    pub destination_type: String,
    /// Empty for the default.
    pub destination_namespace: String,
    /// What it connects to.
    pub destination_name: String,
    /// In which data centre.
    pub datacenter: String,
    /// The address it listens on for the application.
    pub local_bind_address: String,
    /// The port it listens on for the application.
    pub local_bind_port: i64,
    /// Opaque to us.
    pub config: Option<Map<String, Value>>,
    /// How it reaches other data centres.
    pub mesh_gateway: MeshGateway,
}

/// How a proxy reaches other data centres.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MeshGateway {
    /// `local`, `remote`, `none` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

const FIELDS: &[&str] = &[
    "DestinationServiceName",
    "DestinationServiceID",
    "LocalServiceAddress",
    "LocalServicePort",
    "Config",
    "Upstreams",
    "MeshGateway",
    "Expose",
];

const UPSTREAM_FIELDS: &[&str] = &[
    "DestinationType",
    "DestinationNamespace",
    "DestinationName",
    "Datacenter",
    "LocalBindAddress",
    "LocalBindPort",
    "Config",
    "MeshGateway",
];

impl Proxy {
    /// Decodes the object a client sent.
    ///
    /// # Errors
    /// [`DecodeError::Shape`].
    pub fn decode(value: &Value, source: Source) -> Result<Proxy, DecodeError> {
        let fields = Fields::open(value, FIELDS, source, "structs.ConnectProxyConfig")?;
        let upstreams = fields.list("Upstreams", "structs.Upstreams")?;
        Ok(Proxy {
            destination_service_name: fields.string("DestinationServiceName")?,
            destination_service_id: fields.string("DestinationServiceID")?,
            local_service_address: fields.string("LocalServiceAddress")?,
            local_service_port: fields.integer("LocalServicePort")?,
            config: config(&fields)?,
            upstreams: upstreams.iter().map(|one| Upstream::decode(one, source)).collect::<Result<_, _>>()?,
            mesh_gateway: mesh_gateway(&fields, source)?,
            expose: fields.map("Expose", "structs.ExposeConfig")?.map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }

    /// Fills in what an agent fills in for its own services; the catalog keeps proxies as they come.
    #[must_use]
    pub fn with_defaults(mut self) -> Proxy {
        for upstream in &mut self.upstreams {
            if upstream.destination_type.is_empty() {
                upstream.destination_type.push_str("service");
            }
        }
        self
    }

    /// Reads [`Proxy::to_json`]'s text back; anything else is an empty proxy.
    pub fn from_json(text: &str) -> Proxy {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The text to store; empty when nothing is set.
    pub fn to_json(&self) -> String {
        if *self == Proxy::default() {
            return String::new();
        }
        serde_json::to_string(self).expect("strings, numbers and JSON values always serialise")
    }
}

impl Upstream {
    fn decode(value: &Value, source: Source) -> Result<Upstream, DecodeError> {
        let fields = Fields::open(value, UPSTREAM_FIELDS, source, "structs.Upstream")?;
        Ok(Upstream {
            destination_type: fields.string("DestinationType")?,
            destination_namespace: fields.string("DestinationNamespace")?,
            destination_name: fields.string("DestinationName")?,
            datacenter: fields.string("Datacenter")?,
            local_bind_address: fields.string("LocalBindAddress")?,
            local_bind_port: fields.integer("LocalBindPort")?,
            config: config(&fields)?,
            mesh_gateway: mesh_gateway(&fields, source)?,
        })
    }
}

fn config(fields: &Fields<'_>) -> Result<Option<Map<String, Value>>, DecodeError> {
    if fields.get("Config").is_none() {
        return Ok(None);
    }
    let entries = fields.map("Config", "map[string]interface {}")?;
    Ok(Some(entries.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

fn mesh_gateway(fields: &Fields<'_>, source: Source) -> Result<MeshGateway, DecodeError> {
    let Some(value) = fields.get("MeshGateway") else {
        return Ok(MeshGateway::default());
    };
    let fields = Fields::open(value, &["Mode"], source, "structs.MeshGatewayConfig")?;
    Ok(MeshGateway { mode: fields.string("Mode")? })
}
