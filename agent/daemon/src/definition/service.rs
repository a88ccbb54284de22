//! Service definitions with the checks inside them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use agent_core::health::spec::{CheckSpec, ServiceSpec};
use agent_core::state::tables::{Service, ServiceAddress, Weights};
use serde_json::Value;

use super::check::{RawCheck, read_nested};
use super::{DecodeError, Defaults, Fields, Proxy, Source, invalid};

/// The most pairs of metadata.
const META_PAIRS_MAX: usize = 64;
/// The longest key of metadata, in bytes.
const META_KEY_BYTES_MAX: usize = 128;
/// The longest value of metadata, in bytes.
const META_VALUE_BYTES_MAX: usize = 512;
/// Keys that start so belong to the agent itself.
const META_RESERVED_PREFIX: &str = "consul-";

const FIELDS: &[&str] = &[
    "Kind",
    "ID",
    "Name",
    "Tags",
    "Address",
    "TaggedAddresses",
    "Meta",
    "Port",
    "Check",
    "Checks",
    "Weights",
    "Token",
    "EnableTagOverride",
    "Proxy",
    "Connect",
];

/// What Consul's messages call a service in a request's body.
const GO_TYPE: &str = "struct { EnableTagOverrideSnake bool \"json:\\\"enable_tag_override\\\"\"; \
    TaggedAddressesSnake map[string]structs.ServiceAddress \"json:\\\"tagged_addresses\\\"\"; *structs.Alias }";

/// Decodes a service with its checks.
///
/// # Errors
/// [`DecodeError`], in Consul's words.
pub fn decode_service(value: &Value, defaults: &Defaults) -> Result<ServiceSpec, DecodeError> {
    let source = defaults.source;
    let fields = Fields::open(value, FIELDS, source, GO_TYPE)?;
    let raw = RawService::read(&fields, source)?;
    let token = fields.string("Token")?;
    raw.validate()?;
    let (service, checks) = raw.into_records()?;
    Ok(ServiceSpec { checks: name_checks(checks, &service), service, token })
}

/// A service as written: right in shape, not judged yet.
struct RawService {
    service: Service,
    port: i64,
    weights: Option<(i64, i64)>,
    meta: BTreeMap<String, String>,
    proxy: Proxy,
    sidecar: bool,
    checks: Vec<RawCheck>,
}

impl RawService {
    fn read(fields: &Fields<'_>, source: Source) -> Result<RawService, DecodeError> {
        let name = fields.string("Name")?;
        let id = fields.string("ID")?;
        let proxy = fields.get("Proxy").map_or(Ok(Proxy::default()), |value| Proxy::decode(value, source))?;
        let proxy = proxy.with_defaults();
        let (connect_native, sidecar) = connect(fields, source)?;
        let service = Service {
            id: if id.is_empty() { name.clone() } else { id },
            name,
            kind: fields.string("Kind")?,
            tags: fields.strings("Tags")?,
            address: fields.string("Address")?,
            tagged_addresses: tagged_addresses(fields, source)?,
            enable_tag_override: fields.flag("EnableTagOverride")?.unwrap_or(false),
            connect_native,
            proxy_json: proxy.to_json(),
            ..Service::default()
        };
        let nested = nested_checks(fields, source)?;
        Ok(RawService {
            service,
            port: fields.integer("Port")?,
            weights: weights(fields, source)?,
            meta: fields.string_map("Meta")?,
            proxy,
            sidecar,
            checks: nested.into_iter().map(|value| read_nested(value, source)).collect::<Result<_, _>>()?,
        })
    }

    /// Everything but metadata and ports, which are judged where they are converted.
    fn validate(&self) -> Result<(), DecodeError> {
        if self.service.name.is_empty() {
            return Err(invalid("Missing service name"));
        }
        if matches!(self.service.address.as_str(), "0.0.0.0" | "::" | "[::]") {
            return Err(invalid("Invalid service address"));
        }
        if let Some((passing, warning)) = self.weights {
            validate_weights(passing, warning)?;
        }
        if self.sidecar {
            let reason = "not supported; register the proxy as a service of kind connect-proxy";
            return Err(invalid(format!("Invalid SidecarService: {reason}")));
        }
        Ok(())
    }

    fn into_records(self) -> Result<(Service, Vec<CheckSpec>), DecodeError> {
        let mut service = self.service;
        service.meta = decode_meta(self.meta).map_err(|reason| invalid(format!("Invalid Service Meta: {reason}")))?;
        let in_range = "Invalid service port: must be between 0 and 65535";
        service.port = u16::try_from(self.port).map_err(|_| invalid(in_range))?;
        if let Some((passing, warning)) = self.weights {
            let narrow = |weight: i64| u32::try_from(weight).unwrap_or(0);
            service.weights = Weights { passing: narrow(passing), warning: narrow(warning) };
        }
        validate_proxy(&service, &self.proxy)?;
        tag_own_address(&mut service);
        self.checks.iter().try_for_each(RawCheck::validate)?;
        let wrong = "Status for checks must 'passing', 'warning', 'critical'";
        let judge = |check: RawCheck| {
            let status = check.status().ok_or_else(|| invalid(wrong))?;
            check.into_spec(status)
        };
        Ok((service, self.checks.into_iter().map(judge).collect::<Result<_, _>>()?))
    }
}

/// Checks metadata against Consul's limits and gives it back.
///
/// # Errors
/// Which pair breaks which limit.
pub fn decode_meta(meta: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    if meta.len() > META_PAIRS_MAX {
        return Err(format!("Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"));
    }
    for (key, value) in &meta {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let reason = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(valid) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY_BYTES_MAX {
            format!("Key is too long (limit: {META_KEY_BYTES_MAX} characters)")
        } else if key.starts_with(META_RESERVED_PREFIX) {
            format!("Key prefix '{META_RESERVED_PREFIX}' is reserved for internal use")
        } else if value.len() > META_VALUE_BYTES_MAX {
            format!("Value is too long (limit: {META_VALUE_BYTES_MAX} characters)")
        } else {
            continue;
        };
        return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {reason}"));
    }
    Ok(meta)
}

/// Adds a service's own IP address to its tagged ones, as the agent does when it takes a registration.
pub fn tag_own_address(service: &mut Service) {
    let names = match service.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return,
    };
    for name in names {
        let own = ServiceAddress { address: service.address.clone(), port: service.port };
        service.tagged_addresses.entry(name.to_owned()).or_insert(own);
    }
}

/// Reads `TaggedAddresses`.
///
/// # Errors
/// [`DecodeError`]: the shape is wrong or a port out of range.
pub fn tagged_addresses(fields: &Fields<'_>, source: Source) -> Result<BTreeMap<String, ServiceAddress>, DecodeError> {
    let mut found = BTreeMap::new();
    for (name, value) in fields.map("TaggedAddresses", "map[string]structs.ServiceAddress")? {
        let address = Fields::open(value, &["Address", "Port"], source, "structs.ServiceAddress")?;
        let port = u16::try_from(address.integer("Port")?)
            .map_err(|_| invalid(format!("Invalid port of tagged address {name:?}: must be between 0 and 65535")))?;
        found.insert(name.clone(), ServiceAddress { address: address.string("Address")?, port });
    }
    Ok(found)
}

/// Whether the application speaks the mesh protocol itself, and whether a sidecar is asked for.
fn connect(fields: &Fields<'_>, source: Source) -> Result<(bool, bool), DecodeError> {
    let Some(connect) = fields.get("Connect") else {
        return Ok((false, false));
    };
    let connect = Fields::open_any(connect, source, "structs.ServiceConnect")?;
    Ok((connect.flag("Native")?.unwrap_or(false), connect.get("SidecarService").is_some()))
}

fn weights(fields: &Fields<'_>, source: Source) -> Result<Option<(i64, i64)>, DecodeError> {
    let Some(value) = fields.get("Weights") else {
        return Ok(None);
    };
    let weights = Fields::open(value, &["Passing", "Warning"], source, "structs.Weights")?;
    Ok(Some((weights.integer("Passing")?, weights.integer("Warning")?)))
}

/// Refuses weights that DNS cannot carry.
fn validate_weights(passing: i64, warning: i64) -> Result<(), DecodeError> {
    let reason = if passing < 1 {
        "Passing must be greater than 0"
    } else if warning < 0 {
        "Warning must be greater or equal than 0"
    } else if passing.max(warning) > i64::from(u16::MAX) {
        "DNS Weight must be between 0 and 65535"
    } else {
        return Ok(());
    };
    Err(invalid(format!("Invalid Weights: {reason}")))
}

/// Refuses a proxy that leads nowhere, in the words clients know. Catalog registrations are judged by it too.
///
/// # Errors
/// All that is wrong, as one list.
pub fn validate_proxy(service: &Service, proxy: &Proxy) -> Result<(), DecodeError> {
    let mut wrong = Vec::new();
    match service.kind.as_str() {
        "connect-proxy" => {
            if proxy.destination_service_name.is_empty() {
                wrong.push("Proxy.DestinationServiceName must be non-empty for Connect proxy services");
            }
            if service.port == 0 {
                wrong.push("Port must be set for a Connect proxy");
            }
            if service.connect_native {
                wrong.push("A Proxy cannot also be Connect Native, only typical services");
            }
        }
        "mesh-gateway" if service.port == 0 => wrong.push("Port must be non-zero for a mesh-gateway"),
        _ => {}
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let count = if wrong.len() == 1 { "1 error".to_owned() } else { format!("{} errors", wrong.len()) };
    Err(invalid(format!("{count} occurred:\n\t* {}\n\n", wrong.join("\n\t* "))))
}

/// The `check` and the `checks` of a definition: a file's single one comes last, a request's first. Their places are in
/// the ids of those without one. An empty `check` is none.
fn nested_checks<'a>(fields: &Fields<'a>, source: Source) -> Result<Vec<&'a Value>, DecodeError> {
    let single: &[Value] = match fields.get("Check") {
        None => &[],
        Some(Value::Object(object)) if object.is_empty() => &[],
        Some(Value::Array(items)) if source == Source::File => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
    };
    let several = fields.list("Checks", "structs.CheckTypes")?;
    Ok(match source {
        Source::Http => single.iter().chain(several).collect(),
        Source::File => several.iter().chain(single).collect(),
    })
}

/// Gives checks of a service the ids and names they have when the definition is silent.
fn name_checks(mut checks: Vec<CheckSpec>, service: &Service) -> Vec<CheckSpec> {
    let several = checks.len() > 1;
    for (place, check) in checks.iter_mut().enumerate() {
        if check.id.is_empty() {
            check.id = match several {
                true => format!("service:{}:{}", service.id, place + 1),
                false => format!("service:{}", service.id),
            };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
        check.service_id.clone_from(&service.id);
    }
    checks
}
