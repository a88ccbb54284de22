//! Stories of local state, with stepped time and a real catalog state to sync with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::anti_entropy::Remote;
use super::*;
use crate::Instant;
use crate::health::spec::{CheckKind, CheckSpec, Outcome, ServiceSpec};
use crate::state::command::Register;
use crate::state::tables::{Check, Node, Service, State, Status};
use crate::state::{Command, Proposal, Reply, apply};

use Status::{Critical, Passing, Warning};

mod log;
mod registering;
mod running;
mod syncing;

const SECOND: Duration = Duration::from_secs(1);

/// An agent with a catalog that answers at once.
struct World {
    local: Local,
    now: Instant,
    catalog: State,
    /// While false, the catalog can neither be read nor written.
    is_reachable: bool,
    writes: Vec<Command>,
    runs: Vec<(String, RunId)>,
    persisted: Vec<String>,
    cancelled: Vec<RunId>,
    watched: Vec<String>,
    log: Vec<String>,
}

impl World {
    fn new() -> Self {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let node = Node { id: "id-1".into(), name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
        let mut settings = Settings::new(node, 7);
        change(&mut settings);
        World {
            local: Local::new(settings),
            now: Instant::START,
            catalog: State::default(),
            is_reachable: true,
            writes: Vec::new(),
            runs: Vec::new(),
            persisted: Vec::new(),
            cancelled: Vec::new(),
            watched: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Steps, performs what is wanted, and returns the reply if there was one.
    fn step(&mut self, input: Input) -> Option<Result<(), Refusal>> {
        let mut inputs = vec![input];
        let mut reply = None;
        while let Some(input) = inputs.pop() {
            for output in self.local.step(self.now, input) {
                match output {
                    Output::Run { spec, run } => self.runs.push((spec.id.clone(), run)),
                    Output::Cancel { run, .. } => self.cancelled.push(run),
                    Output::ReadRemote => inputs.push(Input::RemoteView(self.read())),
                    Output::Sync { id, commands } => {
                        let results = commands.into_iter().map(|command| self.write(command)).collect();
                        inputs.push(Input::SyncDone { id, results });
                    }
                    Output::Persist(record) => self.persisted.push(name_of(&record)),
                    Output::ForgetService(id) => self.persisted.push(format!("-service {id}")),
                    Output::ForgetCheck(id) => self.persisted.push(format!("-check {id}")),
                    Output::WatchNodes(nodes) => self.watched = nodes,
                    Output::Reply(result) => reply = Some(result),
                    Output::Log(line) if line.weight == Weight::Debug => {}
                    Output::Log(line) => self.log.push(described(&line)),
                }
            }
        }
        reply
    }

    fn read(&self) -> Result<Box<Remote>, String> {
        let remote = || Box::new(Remote::of(&self.catalog, "n1"));
        self.is_reachable.then(remote).ok_or_else(|| "No cluster leader".to_owned())
    }

    fn write(&mut self, command: Command) -> SyncResult {
        if !self.is_reachable {
            return SyncResult::Failed("No cluster leader".to_owned());
        }
        self.writes.push(command.clone());
        match self.apply(command) {
            Reply::Refused(refusal) => SyncResult::Failed(refusal.to_string()),
            _ => SyncResult::Done,
        }
    }

    fn apply(&mut self, command: Command) -> Reply {
        let index = self.catalog.index + 1;
        apply(&mut self.catalog, index, &Proposal { id: index.into(), now_ms: 1, command }).reply
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.local.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    fn finish_run(&mut self, status: Status, output: &str) {
        let (id, run) = self.runs.pop().expect("a run is in flight");
        self.step(Input::ProbeDone { id, run, outcome: Outcome { status, output: output.into() } });
    }

    fn add_service(&mut self, id: &str, checks: Vec<CheckSpec>) {
        let added = self.step(add(id, &[], checks));
        assert_eq!(added, Some(Ok(())));
    }

    fn add_check(&mut self, spec: CheckSpec) -> Option<Result<(), Refusal>> {
        self.step(Input::AddCheck { spec: Box::new(spec), source: Source::Api })
    }

    fn ttl(&mut self, id: &str, status: Status, output: &str) -> Option<Result<(), Refusal>> {
        self.step(Input::TtlUpdate { id: id.into(), status, output: output.into() })
    }

    fn check(&self, id: &str) -> (Status, String) {
        let check = &self.local.view().checks[id].check;
        (check.status, check.output.clone())
    }

    fn in_catalog(&self, id: &str) -> Option<(Status, String)> {
        let check = self.catalog.checks.get(&("n1".to_owned(), id.to_owned()))?;
        Some((check.status, check.output.clone()))
    }

    fn catalog_services(&self) -> Vec<&str> {
        self.catalog.services.keys().map(|(_, id)| id.as_str()).collect()
    }
}

fn described(line: &LogLine) -> String {
    let LogLine { weight, message, service, check, status: _, error } = line;
    let fields = [("service", service), ("check", check), ("error", error)];
    let fields = fields.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
    let fields: String = fields.collect();
    format!("{weight:?} {message}{}{fields}", if fields.is_empty() { "" } else { ":" })
}

fn name_of(record: &Record) -> String {
    match record {
        Record::Service(spec) => format!("+service {}", spec.service.id),
        Record::Check(spec) => format!("+check {}", spec.id),
        Record::Ttl { id, .. } => format!("+ttl {id}"),
    }
}

fn service(id: &str, tags: &[&str]) -> Service {
    Service {
        id: id.into(),
        name: id.into(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Service::default()
    }
}

fn add(id: &str, tags: &[&str], checks: Vec<CheckSpec>) -> Input {
    let spec = Box::new(ServiceSpec { service: service(id, tags), checks, token: String::new() });
    Input::AddService { spec, source: Source::Api, replace_existing_checks: false }
}

fn ttl(id: &str, seconds: u64) -> CheckSpec {
    CheckSpec::new(id, CheckKind::Ttl { ttl_ms: seconds * 1000 })
}

fn tcp(id: &str) -> CheckSpec {
    let kind = CheckKind::Tcp { address: "a:1".into(), use_tls: false, tls: Default::default() };
    CheckSpec { interval_ms: 10_000, ..CheckSpec::new(id, kind) }
}

fn alias(id: &str, node: &str, service: &str) -> CheckSpec {
    CheckSpec::new(id, CheckKind::Alias { node: node.into(), service: service.into() })
}
