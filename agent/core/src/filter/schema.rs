//! Which selectors each family of records has, and which operators they take.
//!
//! The names are the keys of Consul's JSON. What is not listed here (indexes,
//! check definitions, opaque proxy configuration) can't be selected there either.

use super::parser::Operator;

/// A kind of record that an endpoint lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `/v1/catalog/nodes`: [`super::NodeRow`].
    Nodes,
    /// `/v1/catalog/service/:name`: [`super::InstanceRow`].
    Instances,
    /// `/v1/catalog/node/:name`, `/v1/catalog/node-services/:name`, `/v1/agent/services`:
    /// [`crate::state::tables::Service`].
    Services,
    /// `/v1/health/node`, `/v1/health/checks`, `/v1/health/state`, `/v1/agent/checks`:
    /// [`crate::state::tables::Check`].
    Checks,
    /// `/v1/health/service/:name`: [`super::HealthRow`].
    Health,
}

impl Family {
    pub(super) fn shape(self) -> &'static Shape {
        match self {
            Family::Nodes => &NODE,
            Family::Instances => &INSTANCE,
            Family::Services => &SERVICE,
            Family::Checks => &CHECK,
            Family::Health => &HEALTH,
        }
    }
}

/// The type of a selector.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Int,
    Bool,
    Texts,
    Map(&'static Shape),
    Record(&'static [(&'static str, &'static Shape)]),
    /// A list of records: a selector goes into each of them.
    Records(&'static Shape),
}

impl Shape {
    /// The type of what `path` names.
    ///
    /// # Errors
    /// The length of the shortest start of `path` that names nothing.
    pub(super) fn resolve(&self, path: &[String]) -> Result<&Shape, usize> {
        let Some((head, rest)) = path.split_first() else { return Ok(self) };
        let found = match self {
            Shape::Text | Shape::Int | Shape::Bool | Shape::Texts => None,
            Shape::Map(value) => Some(*value),
            Shape::Record(fields) => fields.iter().find(|(name, _)| name == head).map(|(_, field)| *field),
            Shape::Records(record) => return record.resolve(path),
        };
        found.ok_or(1_usize)?.resolve(rest).map_err(|length| length + 1)
    }

    pub(super) fn takes(&self, operator: Operator) -> bool {
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let membership = matches!(operator, Operator::In | Operator::NotIn);
        let emptiness = matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
        match self {
            Shape::Text => !emptiness,
            Shape::Int | Shape::Bool => equality,
            Shape::Texts | Shape::Map(_) => membership || emptiness,
            Shape::Records(_) => emptiness,
            Shape::Record(_) => false,
        }
    }
}

const TEXT: &Shape = &Shape::Text;
const INT: &Shape = &Shape::Int;
const BOOL: &Shape = &Shape::Bool;
const TEXTS: &Shape = &Shape::Texts;
const TEXT_MAP: &Shape = &Shape::Map(TEXT);
const ADDRESS_MAP: &Shape = &Shape::Map(&Shape::Record(&[("Address", TEXT), ("Port", INT)]));
const WEIGHTS: &Shape = &Shape::Record(&[("Passing", INT), ("Warning", INT)]);
const CONNECT: &Shape = &Shape::Record(&[("Native", BOOL)]);
const MESH_GATEWAY: &Shape = &Shape::Record(&[("Mode", TEXT)]);

const PROXY: &Shape = &Shape::Record(&[
    ("DestinationServiceName", TEXT),
    ("DestinationServiceID", TEXT),
    ("LocalServiceAddress", TEXT),
    ("LocalServicePort", INT),
    (
        "Upstreams",
        &Shape::Records(&Shape::Record(&[
            ("DestinationType", TEXT),
            ("DestinationNamespace", TEXT),
            ("DestinationName", TEXT),
            ("Datacenter", TEXT),
            ("LocalBindAddress", TEXT),
            ("LocalBindPort", INT),
            ("MeshGateway", MESH_GATEWAY),
        ])),
    ),
    ("MeshGateway", MESH_GATEWAY),
    (
        "Expose",
        &Shape::Record(&[
            ("Checks", BOOL),
            (
                "Paths",
                &Shape::Records(&Shape::Record(&[
                    ("ListenerPort", INT),
                    ("Path", TEXT),
                    ("LocalPathPort", INT),
                    ("Protocol", TEXT),
                    ("ParsedFromCheck", BOOL),
                ])),
            ),
        ]),
    ),
]);

const NODE: Shape = Shape::Record(&[
    ("ID", TEXT),
    ("Node", TEXT),
    ("Address", TEXT),
    ("Datacenter", TEXT),
    ("TaggedAddresses", TEXT_MAP),
    ("Meta", TEXT_MAP),
]);

const SERVICE: Shape = Shape::Record(&[
    ("Kind", TEXT),
    ("ID", TEXT),
    ("Service", TEXT),
    ("Tags", TEXTS),
    ("Address", TEXT),
    ("TaggedAddresses", ADDRESS_MAP),
    ("Meta", TEXT_MAP),
    ("Port", INT),
    ("Weights", WEIGHTS),
    ("EnableTagOverride", BOOL),
    ("Proxy", PROXY),
    ("Connect", CONNECT),
]);

const INSTANCE: Shape = Shape::Record(&[
    ("ID", TEXT),
    ("Node", TEXT),
    ("Address", TEXT),
    ("Datacenter", TEXT),
    ("TaggedAddresses", TEXT_MAP),
    ("NodeMeta", TEXT_MAP),
    ("ServiceKind", TEXT),
    ("ServiceID", TEXT),
    ("ServiceName", TEXT),
    ("ServiceTags", TEXTS),
    ("ServiceAddress", TEXT),
    ("ServiceTaggedAddresses", ADDRESS_MAP),
    ("ServiceWeights", WEIGHTS),
    ("ServiceMeta", TEXT_MAP),
    ("ServicePort", INT),
    ("ServiceEnableTagOverride", BOOL),
    ("ServiceProxy", PROXY),
    ("ServiceConnect", CONNECT),
]);

const CHECK: Shape = Shape::Record(&[
    ("Node", TEXT),
    ("CheckID", TEXT),
    ("Name", TEXT),
    ("Status", TEXT),
    ("Notes", TEXT),
    ("Output", TEXT),
    ("ServiceID", TEXT),
    ("ServiceName", TEXT),
    ("ServiceTags", TEXTS),
    ("Type", TEXT),
]);

const HEALTH: Shape = Shape::Record(&[("Node", &NODE), ("Service", &SERVICE), ("Checks", &Shape::Records(&CHECK))]);
