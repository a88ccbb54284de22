//! Checks.

use std::collections::BTreeMap;

use agent_core::duration;
use agent_core::state::tables::{Check, CheckDefinition, Index};
use serde::{Serialize, Serializer};

use super::{is_false, some_tags};

/// A check as the catalog prints it, and the agent under `/v1/agent/checks`.
pub type CheckView<'a> = Printed<'a, &'a [String], DefinitionView<'a>>;

/// A check as `/v1/agent/health/service` prints it: without type and tags, with a definition that is spelled out and empty.
pub type AgentCheckView<'a> = Printed<'a, Option<&'a [String]>, SpelledOutDefinition>;

/// A check as the result of a transaction: with `null` instead of no tags.
pub type TxnCheckView<'a> = Printed<'a, Option<&'a [String]>, DefinitionView<'a>>;

/// A check, whatever its tags and its definition look like.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Printed<'a, Tags, Definition> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: &'static str,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Tags,
    r#type: &'a str,
    definition: Definition,
    create_index: Index,
    modify_index: Index,
}

impl<'a, Tags, Definition> Printed<'a, Tags, Definition> {
    fn of(check: &'a Check, service_tags: Tags, definition: Definition) -> Self {
        Printed {
            node: &check.node,
            check_id: &check.id,
            name: &check.name,
            status: check.status.as_str(),
            notes: &check.notes,
            output: &check.output,
            service_id: &check.service_id,
            service_name: &check.service_name,
            service_tags,
            r#type: &check.kind,
            definition,
            create_index: check.create_index,
            modify_index: check.modify_index,
        }
    }
}

impl<'a> CheckView<'a> {
    /// A check of the catalog or of this agent.
    pub fn new(check: &'a Check) -> Self {
        Printed::of(check, &*check.service_tags, DefinitionView::new(&check.definition))
    }
}

impl<'a> TxnCheckView<'a> {
    /// A check of the catalog.
    pub fn new(check: &'a Check) -> Self {
        Printed::of(check, some_tags(&check.service_tags), DefinitionView::new(&check.definition))
    }
}

impl<'a> AgentCheckView<'a> {
    /// A check of this agent.
    pub fn new(check: &'a Check) -> Self {
        let printed = Printed::of(check, some_tags(&check.service_tags), SpelledOutDefinition::EMPTY);
        Printed { r#type: "", create_index: 0, modify_index: 0, ..printed }
    }
}

/// Milliseconds, printed as Go prints a duration.
#[derive(Clone, Copy, Debug)]
struct GoDuration(u64);

impl GoDuration {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format_ms(self.0))
    }
}

/// The definition of a check, without what it leaves out.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DefinitionView<'a> {
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    interval: GoDuration,
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    timeout: GoDuration,
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    deregister_critical_service_after: GoDuration,
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    http: &'a str,
    #[serde(rename = "TLSServerName", skip_serializing_if = "str::is_empty")]
    tls_server_name: &'a str,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_false")]
    tls_skip_verify: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    tcp: &'a str,
}

impl<'a> DefinitionView<'a> {
    fn new(definition: &'a CheckDefinition) -> Self {
        DefinitionView {
            interval: GoDuration(definition.interval_ms),
            timeout: GoDuration(definition.timeout_ms),
            deregister_critical_service_after: GoDuration(definition.deregister_critical_service_after_ms),
            http: &definition.http,
            tls_server_name: &definition.tls_server_name,
            tls_skip_verify: definition.tls_skip_verify,
            header: &definition.header,
            method: &definition.method,
            body: &definition.body,
            tcp: &definition.tcp,
        }
    }
}

/// The definition of no check, with every field there.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SpelledOutDefinition {
    interval: &'static str,
    timeout: &'static str,
    deregister_critical_service_after: &'static str,
    #[serde(rename = "HTTP")]
    http: &'static str,
    header: Option<()>,
    method: &'static str,
    body: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
}

impl SpelledOutDefinition {
    const EMPTY: SpelledOutDefinition = SpelledOutDefinition {
        interval: "0s",
        timeout: "0s",
        deregister_critical_service_after: "0s",
        http: "",
        header: None,
        method: "",
        body: "",
        tls_skip_verify: false,
        tcp: "",
    };
}
