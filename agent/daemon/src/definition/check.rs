//! Check definitions.
//!
//! Shapes are read before anything is judged, so a value of the wrong type is
//! reported ahead of a missing one. Which kind a check is follows from the fields
//! that are set; when several are, the first in [`RawCheck::kind`]'s order wins,
//! as in Consul.

use std::collections::BTreeMap;

use agent_core::health::spec::{CheckKind, CheckSpec, TlsOptions};
use agent_core::state::tables::Status;
use serde_json::{Map, Value};

use super::duration::milliseconds;
use super::{DEREGISTER_MS_MIN, DecodeError, Defaults, Fields, INTERVAL_MS_MIN, Source, invalid};

/// Fields of every check.
const FIELDS: &[&str] = &[
    "Name",
    "Notes",
    "Status",
    "Args",
    "ScriptArgs",
    "HTTP",
    "Header",
    "Method",
    "Body",
    "DisableRedirects",
    "TCP",
    "TCPUseTLS",
    "UDP",
    "H2PING",
    "H2PingUseTLS",
    "GRPC",
    "GRPCUseTLS",
    "TLSServerName",
    "TLSSkipVerify",
    "AliasNode",
    "AliasService",
    "DockerContainerID",
    "Shell",
    "Plugin",
    "Config",
    "OSService",
    "TTL",
    "Interval",
    "Timeout",
    "SuccessBeforePassing",
    "FailuresBeforeWarning",
    "FailuresBeforeCritical",
    "DeregisterCriticalServiceAfter",
    "OutputMaxSize",
    "ProxyHTTP",
    "ProxyGRPC",
];

/// Decodes a check that stands alone: of the node, or of a service that is registered already.
///
/// # Errors
/// [`DecodeError`], in Consul's words.
pub fn decode_check(value: &Value, defaults: &Defaults) -> Result<CheckSpec, DecodeError> {
    let mut known = FIELDS.to_vec();
    known.extend(["ID", "ServiceID", "Token"]);
    if defaults.source == Source::File {
        known.push("CheckID");
    }
    let fields = Fields::open(value, &known, defaults.source, "structs.CheckDefinition")?;
    let raw = RawCheck::read(&fields)?;
    let is_named_enough = match defaults.source {
        Source::Http => !raw.name.is_empty(),
        Source::File => !raw.name.is_empty() || !raw.id.is_empty(),
    };
    if !is_named_enough {
        return Err(invalid("Missing check name"));
    }
    let status = raw.status().ok_or_else(|| invalid("Bad check status"))?;
    let mut spec = raw.into_spec(status)?;
    if spec.id.is_empty() {
        spec.id.clone_from(&spec.name);
    }
    Ok(spec)
}

/// Reads the shape of a check inside a service.
pub(super) fn read_nested(value: &Value, source: Source) -> Result<RawCheck, DecodeError> {
    let mut known = FIELDS.to_vec();
    known.extend(["CheckID", "ServiceID"]);
    if source == Source::File {
        known.extend(["ID", "Token"]);
    }
    RawCheck::read(&Fields::open(value, &known, source, "structs.CheckType")?)
}

/// A check as written: right in shape, not judged yet. Durations are nanoseconds.
#[derive(Debug)]
pub(super) struct RawCheck {
    id: String,
    name: String,
    notes: String,
    service_id: String,
    token: String,
    status: String,
    args: Vec<String>,
    http: String,
    header: BTreeMap<String, Vec<String>>,
    method: String,
    body: String,
    disable_redirects: bool,
    tcp: String,
    tcp_use_tls: bool,
    udp: String,
    grpc: String,
    grpc_use_tls: bool,
    h2ping: String,
    h2ping_use_tls: bool,
    tls: TlsOptions,
    alias_node: String,
    alias_service: String,
    docker_container_id: String,
    os_service: String,
    plugin: String,
    config: Map<String, Value>,
    ttl: i64,
    interval: i64,
    timeout: i64,
    deregister_after: i64,
    success_before_passing: u32,
    failures_before_warning: Option<u32>,
    failures_before_critical: u32,
    output_size_max: i64,
}

impl RawCheck {
    fn read(fields: &Fields<'_>) -> Result<RawCheck, DecodeError> {
        let flag = |name| Ok(fields.flag(name)?.unwrap_or(false));
        let either = |first, second| {
            let text = fields.string(first)?;
            if text.is_empty() { fields.string(second) } else { Ok(text) }
        };
        let args = fields.strings("Args")?;
        let warning = fields.get("FailuresBeforeWarning").map(|_| fields.count("FailuresBeforeWarning"));
        Ok(RawCheck {
            id: either("CheckID", "ID")?,
            name: fields.string("Name")?,
            notes: fields.string("Notes")?,
            service_id: fields.string("ServiceID")?,
            token: fields.string("Token")?,
            status: fields.string("Status")?,
            args: if args.is_empty() { fields.strings("ScriptArgs")? } else { args },
            http: fields.string("HTTP")?,
            header: fields.header("Header")?,
            method: fields.string("Method")?,
            body: fields.string("Body")?,
            disable_redirects: flag("DisableRedirects")?,
            tcp: fields.string("TCP")?,
            tcp_use_tls: flag("TCPUseTLS")?,
            udp: fields.string("UDP")?,
            grpc: fields.string("GRPC")?,
            grpc_use_tls: flag("GRPCUseTLS")?,
            h2ping: fields.string("H2PING")?,
            h2ping_use_tls: fields.flag("H2PingUseTLS")?.unwrap_or(true),
            tls: TlsOptions { server_name: fields.string("TLSServerName")?, skip_verify: flag("TLSSkipVerify")? },
            alias_node: fields.string("AliasNode")?,
            alias_service: fields.string("AliasService")?,
            docker_container_id: fields.string("DockerContainerID")?,
            os_service: fields.string("OSService")?,
            plugin: fields.string("Plugin")?,
            config: fields
                .map("Config", "map[string]interface {}")?
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            ttl: fields.duration("TTL")?,
            interval: fields.duration("Interval")?,
            timeout: fields.duration("Timeout")?,
            deregister_after: fields.duration("DeregisterCriticalServiceAfter")?,
            success_before_passing: fields.count("SuccessBeforePassing")?,
            failures_before_warning: warning.transpose()?,
            failures_before_critical: fields.count("FailuresBeforeCritical")?,
            output_size_max: fields.integer("OutputMaxSize")?,
        })
    }

    /// The status it starts with; nothing when the word is not one of Consul's.
    pub(super) fn status(&self) -> Option<Option<Status>> {
        if self.status.is_empty() { Some(None) } else { Status::parse(&self.status).map(Some) }
    }

    /// Refuses what makes no sense together.
    pub(super) fn validate(&self) -> Result<(), DecodeError> {
        let targets = [&self.http, &self.tcp, &self.udp, &self.grpc, &self.h2ping, &self.plugin];
        let runs = targets.iter().any(|target| !target.is_empty()) || !self.args.is_empty();
        let alias = !self.alias_node.is_empty() || !self.alias_service.is_empty();
        let reason = if !self.docker_container_id.is_empty() {
            "Docker checks are not supported; run the command with Args instead"
        } else if !self.os_service.is_empty() {
            "OSService checks are not supported; run the command with Args instead"
        } else if self.plugin.is_empty() && !self.config.is_empty() {
            "Config is for Plugin checks: name the plugin with Plugin"
        } else if self.interval > 0 && self.ttl > 0 {
            "Interval and TTL cannot both be specified"
        } else if runs && self.interval <= 0 {
            "Interval must be > 0 for Script, HTTP, or TCP checks"
        } else if runs && alias {
            "Interval cannot be set for Alias checks"
        } else if alias && self.ttl > 0 {
            "TTL must be not be set for Alias checks"
        } else if !runs && !alias && self.ttl <= 0 {
            "TTL must be > 0 for TTL checks"
        } else if self.output_size_max < 0 {
            "MaxOutputMaxSize must be positive"
        } else if self.failures_before_warning.is_some_and(|warning| warning > self.failures_before_critical) {
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        } else {
            return Ok(());
        };
        Err(invalid(format!("Invalid check: {reason}")))
    }

    /// Judges the check and fills in defaults. The id stays empty unless one was given.
    pub(super) fn into_spec(self, initial_status: Option<Status>) -> Result<CheckSpec, DecodeError> {
        self.validate()?;
        let floor = |value: u64, least: u64| if value == 0 { 0 } else { value.max(least) };
        Ok(CheckSpec {
            id: self.id.clone(),
            name: self.name.clone(),
            notes: self.notes.clone(),
            service_id: self.service_id.clone(),
            initial_status,
            interval_ms: floor(milliseconds(self.interval), INTERVAL_MS_MIN),
            timeout_ms: milliseconds(self.timeout),
            success_before_passing: self.success_before_passing,
            failures_before_warning: self.failures_before_warning.unwrap_or(self.failures_before_critical),
            failures_before_critical: self.failures_before_critical,
            deregister_critical_service_after_ms: floor(milliseconds(self.deregister_after), DEREGISTER_MS_MIN),
            output_bytes_max: usize::try_from(self.output_size_max).unwrap_or(0),
            token: self.token.clone(),
            kind: self.kind(),
        })
    }

    fn kind(self) -> CheckKind {
        let RawCheck { tls, .. } = self;
        if self.ttl > 0 {
            CheckKind::Ttl { ttl_ms: milliseconds(self.ttl) }
        } else if !self.http.is_empty() {
            CheckKind::Http {
                url: self.http,
                method: self.method,
                header: self.header,
                body: self.body,
                disable_redirects: self.disable_redirects,
                tls,
            }
        } else if !self.tcp.is_empty() {
            CheckKind::Tcp { address: self.tcp, use_tls: self.tcp_use_tls, tls }
        } else if !self.udp.is_empty() {
            CheckKind::Udp { address: self.udp }
        } else if !self.grpc.is_empty() {
            CheckKind::Grpc { target: self.grpc, use_tls: self.grpc_use_tls, tls }
        } else if !self.h2ping.is_empty() {
            CheckKind::H2ping { address: self.h2ping, use_tls: self.h2ping_use_tls, tls }
        } else if !self.args.is_empty() {
            CheckKind::Script { args: self.args }
        } else if !self.plugin.is_empty() {
            CheckKind::Plugin { plugin: self.plugin, config: Value::Object(self.config).to_string() }
        } else {
            CheckKind::Alias { node: self.alias_node, service: self.alias_service }
        }
    }
}
