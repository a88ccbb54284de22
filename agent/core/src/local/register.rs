//! Definitions come and go: services, checks, maintenance, configuration files.
//!
//! A check that is registered again keeps its status and output, whatever the
//! new definition says: that is Consul's rule. Whatever the API registers is
//! persisted; whatever a file defines is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::input::{Definitions, LogLine, Output, Persisted, Record, Refusal, Weight};
use super::machine::{Local, Track};
use super::timers::Alarm;
use super::view::{LocalCheck, LocalService, Source};
use super::{CHECKS_MAX, NODE_MAINTENANCE_ID, SERVICE_MAINTENANCE_PREFIX, SERVICES_MAX};
use crate::Instant;
use crate::health::spec::{CheckKind, CheckSpec, ServiceSpec};
use crate::state::tables::{Check, Service, Status};

/// The shortest time between two runs, in milliseconds.
const INTERVAL_FLOOR_MS: u64 = 1_000;

/// The shortest time a check may be critical before its service is removed, in milliseconds.
const DEREGISTER_FLOOR_MS: u64 = 60_000;

impl Local {
    /// The agent starts.
    pub(super) fn load(&mut self, now: Instant, config: Definitions, persisted: Persisted) -> Result<(), Refusal> {
        self.restored = persisted.ttl;
        let result = self.define(now, config);
        for spec in persisted.services {
            let id = spec.service.id.clone();
            if self.view.services.contains_key(&id) {
                self.emit(Output::ForgetService(id));
            } else if let Err(refusal) = self.add_service(now, spec, Source::Api, false) {
                self.log(LogLine::new(Weight::Warn, "could not restore a service").service(&id).error(refusal));
            }
        }
        for mut spec in persisted.checks {
            let id = spec.id.clone();
            // A service that was healthy before the restart may not be so now: checks start over.
            spec.initial_status = None;
            let service_is_gone = !spec.service_id.is_empty() && !self.view.services.contains_key(&spec.service_id);
            if self.view.checks.contains_key(&id) || service_is_gone {
                self.emit(Output::ForgetCheck(id));
            } else if let Err(refusal) = self.add_check(now, spec, Source::Api) {
                self.log(LogLine::new(Weight::Warn, "could not restore a check").check(&id).error(refusal));
            }
        }
        self.restored.clear();
        result
    }

    /// Configuration files were read again.
    pub(super) fn reload(&mut self, now: Instant, definitions: Definitions) -> Result<(), Refusal> {
        let services: BTreeSet<_> = definitions.services.iter().map(|s| s.service.id.clone()).collect();
        let of_services = definitions.services.iter().flat_map(|s| &s.checks);
        let checks: BTreeSet<_> = of_services.chain(&definitions.checks).map(|c| c.id.clone()).collect();
        let is_left_out = |source: Source, is_defined: bool| source == Source::Config && !is_defined;
        let gone_services: Vec<_> = self
            .view
            .services
            .iter()
            .filter(|(id, s)| is_left_out(s.source, services.contains(*id)))
            .map(|(id, _)| id.clone())
            .collect();
        let gone_checks: Vec<_> = self
            .view
            .checks
            .iter()
            .filter(|(id, c)| is_left_out(c.source, checks.contains(*id)))
            .map(|(id, _)| id.clone())
            .collect();
        gone_services.iter().for_each(|id| self.remove_service(id));
        gone_checks.iter().for_each(|id| self.remove_check(id));
        self.define(now, definitions)
    }

    /// The catalog gets the node's record anew where its metadata differ.
    pub(super) fn set_node_meta(&mut self, meta: BTreeMap<String, String>) {
        if self.settings.node.meta != meta {
            self.settings.node.meta = meta;
            self.pending.node = true;
        }
    }

    fn define(&mut self, now: Instant, definitions: Definitions) -> Result<(), Refusal> {
        let mut first = Ok(());
        for spec in definitions.services {
            let (id, name) = (spec.service.id.clone(), spec.service.name.clone());
            if let Err(refusal) = self.add_service(now, spec, Source::Config, false) {
                self.log(LogLine::new(Weight::Warn, "could not register a service").service(&id).error(&refusal));
                first = first.and(Err(Refusal::DefinedService { name, why: Box::new(refusal) }));
            }
        }
        for spec in definitions.checks {
            let (id, name) = (spec.id.clone(), spec.name.clone());
            if let Err(refusal) = self.add_check(now, spec, Source::Config) {
                self.log(LogLine::new(Weight::Warn, "could not register a check").check(&id).error(&refusal));
                first = first.and(Err(Refusal::DefinedCheck { name, why: Box::new(refusal) }));
            }
        }
        first
    }

    pub(super) fn add_service(
        &mut self,
        now: Instant,
        mut spec: ServiceSpec,
        source: Source,
        replace: bool,
    ) -> Result<(), Refusal> {
        let id = spec.service.id.clone();
        for check in &mut spec.checks {
            check.service_id.clone_from(&id);
            self.admit_check(check, source)?;
        }
        if !self.view.services.contains_key(&id) && self.view.services.len() >= SERVICES_MAX {
            return Err(Refusal::TooMany);
        }
        let kept: BTreeSet<_> = spec.checks.iter().map(|c| c.id.clone()).collect();
        let ServiceSpec { service, checks, token } = spec;
        self.put_service(service, token, source);
        if replace {
            let is_kept = |check_id: &str| kept.contains(check_id) || check_id.starts_with(SERVICE_MAINTENANCE_PREFIX);
            let replaced: Vec<_> =
                self.view.checks_of(&id).map(|c| c.check.id.clone()).filter(|c| !is_kept(c)).collect();
            replaced.iter().for_each(|check_id| self.remove_check(check_id));
        }
        checks.into_iter().for_each(|check| self.put_check(now, check, source));
        Ok(())
    }

    pub(super) fn add_check(&mut self, now: Instant, spec: CheckSpec, source: Source) -> Result<(), Refusal> {
        if !spec.service_id.is_empty() && !self.view.services.contains_key(&spec.service_id) {
            return Err(Refusal::MissingService(spec.service_id));
        }
        self.admit_check(&spec, source)?;
        self.put_check(now, spec, source);
        Ok(())
    }

    fn admit_check(&self, spec: &CheckSpec, source: Source) -> Result<(), Refusal> {
        let policy = self.settings.scripts;
        let scripts_allowed = match source {
            Source::Api => policy.from_api,
            Source::Config => policy.from_config || policy.from_api,
        };
        if matches!(spec.kind, CheckKind::Script { .. }) && !scripts_allowed {
            return Err(Refusal::ScriptsDisabled(source));
        }
        if let CheckKind::Plugin { plugin, config } = &spec.kind {
            self.admit_config(plugin, config)?;
        }
        if !self.view.checks.contains_key(&spec.id) && self.view.checks.len() >= CHECKS_MAX {
            return Err(Refusal::TooMany);
        }
        Ok(())
    }

    /// A plugin that no version of serves yet judges its configs when they are run.
    fn admit_config(&self, plugin: &str, config: &str) -> Result<(), Refusal> {
        let known = self.settings.plugins.get(plugin).ok_or_else(|| Refusal::UnknownPlugin(plugin.to_owned()))?;
        let Some(schema) = known else { return Ok(()) };
        let wrong = |mistakes| Refusal::PluginConfig { plugin: plugin.to_owned(), mistakes };
        let config = serde_json::from_str(config).map_err(|error| wrong(vec![error.to_string()]))?;
        schema.check(&config).map_err(wrong)
    }

    fn put_service(&mut self, service: Service, token: String, source: Source) {
        let service = Service { node: self.settings.node.name.clone(), create_index: 0, modify_index: 0, ..service };
        let id = service.id.clone();
        match source {
            Source::Api => {
                let spec = ServiceSpec { service: service.clone(), checks: Vec::new(), token: token.clone() };
                self.emit(Output::Persist(Record::Service(Box::new(spec))));
            }
            Source::Config if self.view.services.get(&id).is_some_and(|s| s.source == Source::Api) => {
                self.emit(Output::ForgetService(id.clone()));
            }
            Source::Config => {}
        }
        let local = LocalService { service, token, source };
        if self.view.services.get(&id).is_some_and(|known| **known == local) {
            return;
        }
        self.name_checks(&local.service);
        self.view.services.insert(id.clone(), Arc::new(local));
        self.pending.gone_services.remove(&id);
        self.touch(&id);
        self.pending.services.insert(id);
        self.changed();
    }

    /// Tells a service's checks its name and tags.
    fn name_checks(&mut self, service: &Service) {
        let is_stale = |c: &Check| c.service_name != service.name || c.service_tags != service.tags;
        let stale: Vec<_> =
            self.view.checks_of(&service.id).filter(|c| is_stale(&c.check)).map(|c| c.check.id.clone()).collect();
        for check_id in stale {
            let local = Arc::make_mut(self.view.checks.get_mut(&check_id).expect("listed from the same map"));
            local.check.service_name.clone_from(&service.name);
            local.check.service_tags.clone_from(&service.tags);
        }
    }

    fn put_check(&mut self, now: Instant, mut spec: CheckSpec, source: Source) {
        self.fill_in(&mut spec);
        let id = spec.id.clone();
        let previous = self.view.checks.get(&id).cloned();
        match source {
            Source::Api => self.emit(Output::Persist(Record::Check(Box::new(spec.clone())))),
            Source::Config if previous.as_ref().is_some_and(|p| p.source == Source::Api) => {
                self.emit(Output::ForgetCheck(id.clone()));
            }
            Source::Config => {}
        }
        let check = self.record(&spec, previous.as_deref());
        let starts_over = previous.as_ref().is_none_or(|p| *p.spec != spec);
        if let Some(previous) = &previous {
            self.touch(&previous.check.service_id);
        }
        self.touch(&check.service_id);
        if previous.as_ref().is_none_or(|p| p.check != check) {
            self.pending.checks.insert(id.clone());
        }
        self.pending.gone_checks.remove(&id);
        let spec = Arc::new(spec);
        self.view.checks.insert(id, Arc::new(LocalCheck { spec: spec.clone(), check, source }));
        self.changed();
        self.arm(now, &spec, starts_over);
    }

    fn fill_in(&self, spec: &mut CheckSpec) {
        let runs = !matches!(spec.kind, CheckKind::Ttl { .. } | CheckKind::Alias { .. } | CheckKind::Fixed);
        if runs {
            spec.interval_ms = spec.interval_ms.max(INTERVAL_FLOOR_MS);
        }
        if spec.deregister_critical_service_after_ms > 0 {
            spec.deregister_critical_service_after_ms =
                spec.deregister_critical_service_after_ms.max(DEREGISTER_FLOOR_MS);
        }
        if spec.output_bytes_max == 0 {
            spec.output_bytes_max = self.settings.output_bytes_max;
        }
    }

    fn record(&self, spec: &CheckSpec, previous: Option<&LocalCheck>) -> Check {
        let restored = self.restored.get(&spec.id).filter(|_| matches!(spec.kind, CheckKind::Ttl { .. }));
        let (status, output) = match (previous, restored) {
            (Some(previous), _) => (previous.check.status, previous.check.output.clone()),
            (None, Some(restored)) => (restored.status, restored.output.clone()),
            (None, None) => (spec.initial_status.unwrap_or(Status::Critical), String::new()),
        };
        let service = self.view.services.get(&spec.service_id).map(|s| &s.service);
        Check {
            node: self.settings.node.name.clone(),
            id: spec.id.clone(),
            name: spec.name.clone(),
            status,
            notes: spec.notes.clone(),
            output,
            service_id: spec.service_id.clone(),
            service_name: service.map(|s| s.name.clone()).unwrap_or_default(),
            service_tags: service.map(|s| s.tags.clone()).unwrap_or_default(),
            kind: spec.kind.as_str().to_owned(),
            ..Check::default()
        }
    }

    /// Starts what makes a check have results. A definition that says the same as before keeps its place in the schedule.
    fn arm(&mut self, now: Instant, spec: &CheckSpec, starts_over: bool) {
        if starts_over {
            self.disarm(&spec.id);
            let note = self.restored.remove(&spec.id).map(|state| state.output).unwrap_or_default();
            let track = self.tracks.entry(spec.id.clone()).or_default();
            *track = Track { critical_since: track.critical_since, note, ..Track::default() };
        }
        match &spec.kind {
            CheckKind::Ttl { ttl_ms } => {
                self.timers.set(Alarm::Expire(spec.id.clone()), now + Duration::from_millis(*ttl_ms));
            }
            CheckKind::Alias { .. } => {
                self.aliases.insert(spec.id.clone());
            }
            CheckKind::Fixed => {}
            CheckKind::Http { .. }
            | CheckKind::Tcp { .. }
            | CheckKind::Udp { .. }
            | CheckKind::Grpc { .. }
            | CheckKind::H2ping { .. }
            | CheckKind::Script { .. }
            | CheckKind::Plugin { .. } => {
                if starts_over {
                    let interval = Duration::from_millis(spec.interval_ms);
                    let stagger = self.draw(interval);
                    self.schedule.start(now, &spec.id, interval, stagger);
                }
            }
        }
        self.watch_nodes();
    }

    fn disarm(&mut self, id: &str) {
        if let Some(run) = self.schedule.stop(id) {
            self.emit(Output::Cancel { id: id.to_owned(), run });
        }
        self.timers.cancel(&Alarm::Expire(id.to_owned()));
        self.aliases.remove(id);
    }

    pub(super) fn remove_service(&mut self, id: &str) {
        let Some(service) = self.view.services.remove(id) else { return };
        let checks: Vec<_> = self.view.checks_of(id).map(|c| c.check.id.clone()).collect();
        checks.iter().for_each(|check_id| self.remove_check(check_id));
        if service.source == Source::Api {
            self.emit(Output::ForgetService(id.to_owned()));
        }
        self.pending.services.remove(id);
        self.pending.gone_services.insert(id.to_owned());
        self.touch(id);
        self.changed();
        self.log(LogLine::new(Weight::Debug, "removed service").service(id));
    }

    pub(super) fn remove_check(&mut self, id: &str) {
        let Some(check) = self.view.checks.remove(id) else { return };
        self.disarm(id);
        self.watch_nodes();
        self.timers.cancel(&Alarm::Flush(id.to_owned()));
        self.tracks.remove(id);
        if check.source == Source::Api || matches!(check.spec.kind, CheckKind::Ttl { .. }) {
            self.emit(Output::ForgetCheck(id.to_owned()));
        }
        self.touch(&check.check.service_id);
        self.pending.checks.remove(id);
        self.pending.gone_checks.insert(id.to_owned(), check.check.service_id.clone());
        self.changed();
        self.log(LogLine::new(Weight::Debug, "removed check").check(id));
    }

    pub(super) fn node_maintenance(&mut self, now: Instant, enable: bool, reason: String) -> Result<(), Refusal> {
        let notes = default_reason(reason, "node");
        let spec = CheckSpec {
            name: "Node Maintenance Mode".to_owned(),
            notes,
            ..CheckSpec::new(NODE_MAINTENANCE_ID, CheckKind::Fixed)
        };
        self.maintenance(now, enable, spec)
    }

    pub(super) fn service_maintenance(
        &mut self,
        now: Instant,
        id: &str,
        enable: bool,
        reason: String,
    ) -> Result<(), Refusal> {
        if !self.view.services.contains_key(id) {
            return Err(Refusal::UnknownService(id.to_owned()));
        }
        let spec = CheckSpec {
            name: "Service Maintenance Mode".to_owned(),
            notes: default_reason(reason, "service"),
            service_id: id.to_owned(),
            ..CheckSpec::new(&format!("{SERVICE_MAINTENANCE_PREFIX}{id}"), CheckKind::Fixed)
        };
        self.maintenance(now, enable, spec)
    }

    /// Maintenance that is already as wanted stays as it is, with its first reason.
    fn maintenance(&mut self, now: Instant, enable: bool, spec: CheckSpec) -> Result<(), Refusal> {
        if enable == self.view.checks.contains_key(&spec.id) {
            return Ok(());
        }
        let service_id = spec.service_id.clone();
        if enable {
            self.add_check(now, spec, Source::Api)?;
        } else {
            self.remove_check(&spec.id);
        }
        let line = |message| LogLine::new(Weight::Info, message);
        self.log(match (service_id.as_str(), enable) {
            ("", true) => line("Node entered maintenance mode"),
            ("", false) => line("Node left maintenance mode"),
            (id, true) => line("Service entered maintenance mode").service(id),
            (id, false) => line("Service left maintenance mode").service(id),
        });
        Ok(())
    }
}

fn default_reason(reason: String, what: &str) -> String {
    if reason.is_empty() {
        format!("Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message.")
    } else {
        reason
    }
}
