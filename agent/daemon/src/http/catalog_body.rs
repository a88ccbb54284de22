//! What clients send to `/v1/catalog/register` and `/v1/catalog/deregister`.
//!
//! Decodes and validates in Consul's words; refusals that need the state come
//! later, from the state machine. Bodies here are stricter than definitions:
//! records are written as they are read, not as agents define them.

use agent_core::state::Command;
use agent_core::state::command::Register;
use agent_core::state::tables::{Check, CheckDefinition, Node, Service, Status, Weights};
use serde_json::Value;

use crate::definition::{
    DecodeError, Fields, Proxy, Source, decode_meta, milliseconds, tagged_addresses, validate_proxy,
};

/// Why a body was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It does not decode: `400`.
    Malformed(String),
    /// It decodes and is refused by validation, which Consul answers with `500`.
    Refused(String),
}

impl From<DecodeError> for BodyError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Shape(_) => BodyError::Malformed(namespaced(error.http_text())),
            DecodeError::Invalid(reason) => BodyError::Refused(reason),
        }
    }
}

/// The catalog says more about one unknown field than about others.
fn namespaced(text: String) -> String {
    match text.ends_with("unknown field \"Namespace\"") {
        true => format!("{text} - Namespaces are a Consul Enterprise feature"),
        false => text,
    }
}

fn refused(reason: impl Into<String>) -> BodyError {
    BodyError::Refused(reason.into())
}

/// A command for the catalog, and the data centre it is meant for (empty for this one).
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogWrite {
    /// What to do.
    pub command: Command,
    /// Where.
    pub datacenter: String,
}

const REGISTER_FIELDS: &[&str] = &[
    "ID",
    "Node",
    "Address",
    "Datacenter",
    "TaggedAddresses",
    "NodeMeta",
    "Service",
    "Check",
    "Checks",
    "SkipNodeUpdate",
    "Token",
];

const SERVICE_FIELDS: &[&str] = &[
    "Kind",
    "ID",
    "Service",
    "Tags",
    "Address",
    "TaggedAddresses",
    "Meta",
    "Port",
    "Weights",
    "EnableTagOverride",
    "Proxy",
    "Connect",
    "CreateIndex",
    "ModifyIndex",
];

const CHECK_FIELDS: &[&str] = &[
    "Node",
    "CheckID",
    "Name",
    "Status",
    "Notes",
    "Output",
    "ServiceID",
    "ServiceName",
    "ServiceTags",
    "Type",
    "Interval",
    "Timeout",
    "ExposedPort",
    "Definition",
    "CreateIndex",
    "ModifyIndex",
];

/// Decodes the body of `/v1/catalog/register`.
///
/// # Errors
/// [`BodyError`].
pub fn decode_register(body: &Value) -> Result<CatalogWrite, BodyError> {
    let fields = Fields::open(body, REGISTER_FIELDS, Source::Http, "structs.RegisterRequest")?.of("RegisterRequest");
    let node = Node {
        id: fields.string("ID")?,
        name: fields.string("Node")?,
        address: fields.string("Address")?,
        tagged_addresses: fields.string_map("TaggedAddresses")?,
        meta: fields.string_map("NodeMeta")?,
        ..Node::default()
    };
    let skip_node_update = fields.flag("SkipNodeUpdate")?.unwrap_or(false);
    let service = fields.get("Service").map(RawService::read).transpose()?;
    let checks = fields.get("Check").into_iter().chain(fields.list("Checks", "structs.HealthChecks")?);
    let checks = checks.map(RawCheck::read).collect::<Result<Vec<_>, _>>()?;
    validate_node(&node, skip_node_update)?;
    let service = service.map(|raw| raw.into_record(&node.name)).transpose()?;
    let checks = checks.into_iter().map(|raw| raw.into_record(&node.name)).collect::<Result<Vec<_>, _>>()?;
    Ok(CatalogWrite {
        datacenter: fields.string("Datacenter")?,
        command: Command::Register(Box::new(Register { node, skip_node_update, service, checks })),
    })
}

/// Decodes the body of `/v1/catalog/deregister`. A service wins over a check when both are named.
///
/// # Errors
/// [`BodyError`].
pub fn decode_deregister(body: &Value) -> Result<CatalogWrite, BodyError> {
    let known = ["Node", "Address", "Datacenter", "ServiceID", "CheckID", "Token"];
    let fields = Fields::open(body, &known, Source::Http, "structs.DeregisterRequest")?.of("DeregisterRequest");
    let node = fields.string("Node")?;
    let service_id = Some(fields.string("ServiceID")?).filter(|id| !id.is_empty());
    let check_id = Some(fields.string("CheckID")?).filter(|id| !id.is_empty() && service_id.is_none());
    let datacenter = fields.string("Datacenter")?;
    if node.is_empty() {
        return Err(refused("Must provide node"));
    }
    Ok(CatalogWrite { command: Command::Deregister { node, service_id, check_id }, datacenter })
}

fn validate_node(node: &Node, skip_node_update: bool) -> Result<(), BodyError> {
    if node.name.is_empty() {
        return Err(refused("Must provide node"));
    }
    if node.address.is_empty() && !skip_node_update {
        return Err(refused("Must provide address if SkipNodeUpdate is not set"));
    }
    if node.id.is_empty() {
        return Ok(());
    }
    uuid_fault(&node.id).map_or(Ok(()), |fault| Err(refused(format!("Bad node ID: {fault}"))))
}

/// What is wrong with a UUID in text form.
fn uuid_fault(text: &str) -> Option<String> {
    if text.len() != 36 {
        return Some("uuid string is wrong length".to_owned());
    }
    let dashed = |place: usize| matches!(place, 8 | 13 | 18 | 23);
    if text.bytes().enumerate().any(|(place, byte)| dashed(place) && byte != b'-') {
        return Some("uuid is improperly formatted".to_owned());
    }
    let odd = text.chars().enumerate().find(|(place, c)| !dashed(*place) && !c.is_ascii_hexdigit());
    odd.map(|(_, c)| format!("encoding/hex: invalid byte: U+{:04X} {c:?}", u32::from(c)))
}

/// A service right in shape, not judged yet.
struct RawService {
    service: Service,
    port: i64,
    proxy: Proxy,
}

impl RawService {
    fn read(value: &Value) -> Result<RawService, DecodeError> {
        let fields = Fields::open(value, SERVICE_FIELDS, Source::Http, "structs.NodeService")?.of("NodeService");
        let name = fields.string("Service")?;
        let id = fields.string("ID")?;
        let proxy = fields.get("Proxy").map_or(Ok(Proxy::default()), |value| Proxy::decode(value, Source::Http))?;
        let connect =
            fields.get("Connect").map(|value| Fields::open_any(value, Source::Http, "structs.ServiceConnect"));
        let service = Service {
            id: if id.is_empty() { name.clone() } else { id },
            name,
            kind: fields.string("Kind")?,
            tags: fields.strings("Tags")?,
            address: fields.string("Address")?,
            tagged_addresses: tagged_addresses(&fields, Source::Http)?,
            meta: fields.string_map("Meta")?,
            weights: weights(&fields)?,
            enable_tag_override: fields.flag("EnableTagOverride")?.unwrap_or(false),
            connect_native: connect.transpose()?.map_or(Ok(None), |c| c.flag("Native"))?.unwrap_or(false),
            proxy_json: proxy.to_json(),
            ..Service::default()
        };
        Ok(RawService { service, port: fields.integer("Port")?, proxy })
    }

    fn into_record(self, node: &str) -> Result<Service, BodyError> {
        let mut service = self.service;
        if service.id.is_empty() {
            return Err(refused("failed inserting service: failed inserting service: object missing primary index"));
        }
        if service.name.is_empty() {
            return Err(refused("Must provide service name with ID"));
        }
        if matches!(service.address.as_str(), "0.0.0.0" | "::" | "[::]") {
            return Err(refused("Invalid service address"));
        }
        service.port = u16::try_from(self.port)
            .map_err(|_| BodyError::Malformed("Invalid service port: must be between 0 and 65535".to_owned()))?;
        validate_proxy(&service, &self.proxy)?;
        let id = &service.id;
        service.meta = decode_meta(service.meta).map_err(|reason| {
            refused(format!(
                "failed inserting service: Invalid Service Meta for node {node} and serviceID {id}: {reason}"
            ))
        })?;
        node.clone_into(&mut service.node);
        Ok(service)
    }
}

/// Weights that DNS can carry; the default for all others, as Consul stores them.
fn weights(fields: &Fields<'_>) -> Result<Weights, DecodeError> {
    let Some(value) = fields.get("Weights") else {
        return Ok(Weights::default());
    };
    let fields = Fields::open(value, &["Passing", "Warning"], Source::Http, "structs.Weights")?.of("Weights");
    let in_range = |weight: i64| u16::try_from(weight).ok().map(u32::from);
    Ok(match (in_range(fields.integer("Passing")?), in_range(fields.integer("Warning")?)) {
        (Some(passing @ 1..), Some(warning)) => Weights { passing, warning },
        _ => Weights::default(),
    })
}

/// A check right in shape, not judged yet.
struct RawCheck {
    check: Check,
    status: String,
}

impl RawCheck {
    fn read(value: &Value) -> Result<RawCheck, DecodeError> {
        let fields = Fields::open(value, CHECK_FIELDS, Source::Http, "structs.HealthCheck")?.of("HealthCheck");
        let definition = fields.get("Definition").map(definition).transpose()?.unwrap_or_default();
        let name = fields.string("Name")?;
        let id = fields.string("CheckID")?;
        let mut kind = fields.string("Type")?;
        if kind.is_empty() {
            kind.push_str(kind_of(&definition));
        }
        let check = Check {
            node: fields.string("Node")?,
            id: if id.is_empty() { name.clone() } else { id },
            name,
            status: Status::Critical,
            notes: fields.string("Notes")?,
            output: fields.string("Output")?,
            service_id: fields.string("ServiceID")?,
            service_name: fields.string("ServiceName")?,
            service_tags: fields.strings("ServiceTags")?,
            kind,
            definition,
            create_index: 0,
            modify_index: 0,
        };
        Ok(RawCheck { check, status: fields.string("Status")? })
    }

    fn into_record(self, node: &str) -> Result<Check, BodyError> {
        let mut check = self.check;
        if check.node.is_empty() {
            node.clone_into(&mut check.node);
        }
        if !check.node.eq_ignore_ascii_case(node) {
            return Err(refused(format!("check node {:?} does not match node {node:?}", check.node)));
        }
        if check.id.is_empty() {
            let missing = "failed inserting check: failed inserting check: object missing primary index";
            return Err(refused(format!("{missing} on node {node:?}")));
        }
        if !self.status.is_empty() {
            check.status = Status::parse(&self.status).ok_or_else(|| {
                let allowed = "must be passing, warning or critical";
                BodyError::Malformed(format!("Invalid status {:?} of check {:?}: {allowed}", self.status, check.id))
            })?;
        }
        Ok(check)
    }
}

/// The service of a transaction as it was written: what it lacks is for the state machine to say.
///
/// # Errors
/// What Go's decoder says.
pub(super) fn transacted_service(value: &Value) -> Result<Service, DecodeError> {
    let empty = Value::Object(serde_json::Map::new());
    let value = if value.is_null() { &empty } else { value };
    let raw = RawService::read(value)?;
    let port = u16::try_from(raw.port)
        .map_err(|_| DecodeError::Shape("invalid service port: must be between 0 and 65535".to_owned()))?;
    let modify_index = Fields::open_any(value, Source::Http, "structs.NodeService")?.index("ModifyIndex")?;
    Ok(Service { port, modify_index, ..raw.service })
}

/// The check of a transaction as it was written. Nothing said about its status means critical.
///
/// # Errors
/// What Go's decoder says, or an unknown status.
pub(super) fn transacted_check(value: &Value) -> Result<Check, DecodeError> {
    let empty = Value::Object(serde_json::Map::new());
    let value = if value.is_null() { &empty } else { value };
    let RawCheck { check, status } = RawCheck::read(value)?;
    let status = match status.as_str() {
        "" => Status::Critical,
        text => Status::parse(text).ok_or_else(|| {
            DecodeError::Shape(format!("invalid check status {text:?}: must be passing, warning or critical"))
        })?,
    };
    let modify_index = Fields::open_any(value, Source::Http, "structs.HealthCheck")?.index("ModifyIndex")?;
    // Transactions know of no type, neither a named one nor one that the definition gives away.
    Ok(Check { status, kind: String::new(), modify_index, ..check })
}

/// How others run the check. Unknown fields are ignored, as Consul does here and only here.
fn definition(value: &Value) -> Result<CheckDefinition, DecodeError> {
    let fields = Fields::open_any(value, Source::Http, "structs.HealthCheckDefinition")?.of("HealthCheckDefinition");
    Ok(CheckDefinition {
        http: fields.string("HTTP")?,
        tls_server_name: fields.string("TLSServerName")?,
        tls_skip_verify: fields.flag("TLSSkipVerify")?.unwrap_or(false),
        header: fields.header("Header")?,
        method: fields.string("Method")?,
        body: fields.string("Body")?,
        tcp: fields.string("TCP")?,
        interval_ms: milliseconds(fields.duration("Interval")?),
        timeout_ms: milliseconds(fields.duration("Timeout")?),
        deregister_critical_service_after_ms: milliseconds(fields.duration("DeregisterCriticalServiceAfter")?),
    })
}

fn kind_of(definition: &CheckDefinition) -> &'static str {
    match definition {
        CheckDefinition { interval_ms: 0, .. } => "",
        CheckDefinition { http, .. } if !http.is_empty() => "http",
        CheckDefinition { tcp, .. } if !tcp.is_empty() => "tcp",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn registrations_are_refused_in_consuls_words() {
        let at_x = |rest: Value| {
            let mut body = json!({"Node": "x", "Address": "1.1.1.1"});
            let fields = rest.as_object().expect("an object").clone();
            body.as_object_mut().expect("an object").extend(fields);
            body
        };
        let malformed = |text: &str| BodyError::Malformed(format!("Request decode failed: {text}"));
        let cases = [
            (json!({}), refused("Must provide node")),
            (json!({"Address": "x"}), refused("Must provide node")),
            (json!({"Node": "x"}), refused("Must provide address if SkipNodeUpdate is not set")),
            (at_x(json!({"Foo": 1})), malformed("json: unknown field \"Foo\"")),
            (
                json!({"Node": 5}),
                malformed("json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string"),
            ),
            (
                at_x(json!({"Service": {"Service": "s", "Namespace": "default"}})),
                malformed("json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature"),
            ),
            (at_x(json!({"ID": "bad"})), refused("Bad node ID: uuid string is wrong length")),
            (
                at_x(json!({"ID": "40e4a748x2192-161a-0510-9bf59fe950b9"})),
                refused("Bad node ID: uuid is improperly formatted"),
            ),
            (
                at_x(json!({"ID": "zze4a748-2192-161a-0510-9bf59fe950b9"})),
                refused("Bad node ID: encoding/hex: invalid byte: U+007A 'z'"),
            ),
            (at_x(json!({"Service": {"ID": "s"}})), refused("Must provide service name with ID")),
            (
                at_x(json!({"Service": {"Service": "s", "Meta": {"a b": "c"}}})),
                refused(
                    "failed inserting service: Invalid Service Meta for node x and serviceID s: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
                ),
            ),
            (at_x(json!({"Service": {"Service": "v", "Address": "0.0.0.0"}})), refused("Invalid service address")),
            (
                at_x(json!({"Checks": [{"Node": "other", "CheckID": "c5"}]})),
                refused("check node \"other\" does not match node \"x\""),
            ),
            (
                at_x(json!({"Check": {}})),
                refused("failed inserting check: failed inserting check: object missing primary index on node \"x\""),
            ),
            (
                at_x(json!({"Check": {"Name": "x", "Definition": {"Interval": "zz"}}})),
                malformed("time: invalid duration \"zz\""),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(decode_register(&body), Err(expected), "{body}");
        }
    }

    #[test]
    fn a_check_gets_its_id_node_status_and_type() {
        let body = json!({"Node": "x", "Address": "1.1.1.1", "Check": {
            "Name": "c1", "Definition": {"TCP": "a:1", "Interval": "5s", "Bogus": 1}}});
        let write = decode_register(&body).expect("valid");
        let Command::Register(register) = write.command else { panic!("a registration, not {:?}", write.command) };
        let check = &register.checks[0];
        assert_eq!((check.id.as_str(), check.node.as_str(), check.kind.as_str()), ("c1", "x", "tcp"));
        assert_eq!((check.status, check.definition.interval_ms), (Status::Critical, 5_000));
    }

    #[test]
    fn a_check_in_a_transaction_has_no_type() {
        for body in [json!({"Type": "http"}), json!({"Definition": {"HTTP": "http://x", "Interval": "5s"}})] {
            assert_eq!(transacted_check(&body).expect("valid").kind, "", "{body}");
        }
    }

    #[test]
    fn weights_that_dns_cannot_carry_become_the_default() {
        let body = json!({"Node": "x", "Address": "1.1.1.1",
            "Service": {"Service": "w", "Weights": {"Passing": -1, "Warning": 99999}}});
        let write = decode_register(&body).expect("valid");
        let Command::Register(register) = write.command else { panic!("a registration, not {:?}", write.command) };
        assert_eq!(register.service.expect("a service").weights, Weights { passing: 1, warning: 1 });
    }

    #[test]
    fn deregistration_of_a_service_leaves_a_named_check_alone() {
        let body = json!({"Node": "x", "ServiceID": "s", "CheckID": "c"});
        let expected = Command::Deregister { node: "x".to_owned(), service_id: Some("s".to_owned()), check_id: None };
        assert_eq!(decode_deregister(&body).expect("valid").command, expected);
        assert_eq!(decode_deregister(&json!({})), Err(refused("Must provide node")));
    }
}
